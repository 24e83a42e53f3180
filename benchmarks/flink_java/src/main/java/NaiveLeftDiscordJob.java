import java.util.Properties;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.serialization.SimpleStringSchema;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;

/**
 * The plain left discord by definition, keyed by series: each point's subsequence of n points
 * against each of the m before it, O(m n) a point; threshold mean + 2 standard deviations.
 * Arguments: brokers, input topic, output topic, m, n, parallelism.
 */
public final class NaiveLeftDiscordJob {
    private NaiveLeftDiscordJob() {}

    /** The last m + 2 n points of a series, and the distances' sums. */
    public static final class History {
        public double[] ring;
        public long points;
        public double sum;
        public double squares;
        public long distances;
    }

    static final class Discord extends KeyedProcessFunction<String, JsonNode, String> {
        private final int m;
        private final int n;
        private transient ValueState<History> state;

        Discord(int m, int n) {
            this.m = m;
            this.n = n;
        }

        @Override
        public void open(Configuration configuration) {
            state = getRuntimeContext().getState(new ValueStateDescriptor<>("history", History.class));
        }

        @Override
        public void processElement(JsonNode record, Context ignored,
                Collector<String> out) throws Exception {
            History history = state.value();
            if (history == null) {
                history = new History();
                history.ring = new double[m + 2 * n];
            }
            double value = record.get("value").asDouble();
            history.ring[(int) (history.points % history.ring.length)] = value;
            history.points++;
            String tag = "INITIALISING";
            double distance = 0.0;
            if (history.points >= history.ring.length) {
                distance = nearest(history);
                double mean = history.sum / history.distances;
                double variance = history.squares / history.distances - mean * mean;
                tag = distance > mean + 2 * Math.sqrt(variance) ? "IS_ANOMALY" : "IS_NOT_ANOMALY";
                history.sum += distance;
                history.squares += distance * distance;
                history.distances++;
            }
            state.update(history);
            out.collect("{\"series\":\"" + record.get("series").asText() + "\",\"index\":" + history.points
                    + ",\"input\":" + value + ",\"mp\":" + distance + ",\"anomalyTag\":\"" + tag + "\"}");
        }

        private double nearest(History history) {
            double[] ring = history.ring;
            int size = ring.length;
            int oldest = (int) (history.points % size);
            double best = Double.POSITIVE_INFINITY;
            for (int j = 0; j < m; j++) {
                double sum = 0.0;
                int ours = (oldest + size - n) % size;
                int theirs = (oldest + j) % size;
                for (int k = 0; k < n; k++) {
                    double difference = ring[ours] - ring[theirs];
                    sum += difference * difference;
                    ours = ours + 1 == size ? 0 : ours + 1;
                    theirs = theirs + 1 == size ? 0 : theirs + 1;
                }
                best = Math.min(best, sum);
            }
            return Math.sqrt(best);
        }
    }

    public static void main(String[] arguments) throws Exception {
        String brokers = arguments[0];
        int m = Integer.parseInt(arguments[3]);
        int n = Integer.parseInt(arguments[4]);
        StreamExecutionEnvironment environment = StreamExecutionEnvironment.getExecutionEnvironment();
        environment.setParallelism(Integer.parseInt(arguments[5]));
        environment.enableCheckpointing(10_000);
        Properties producer = new Properties();
        producer.setProperty("linger.ms", "20");
        producer.setProperty("compression.type", "lz4");
        KafkaSource<String> source = KafkaSource.<String>builder()
                .setBootstrapServers(brokers)
                .setTopics(arguments[1])
                .setGroupId("naive-left-discord")
                .setStartingOffsets(OffsetsInitializer.earliest())
                .setValueOnlyDeserializer(new SimpleStringSchema())
                .build();
        KafkaSink<String> sink = KafkaSink.<String>builder()
                .setBootstrapServers(brokers)
                .setKafkaProducerConfig(producer)
                .setRecordSerializer(KafkaRecordSerializationSchema.builder()
                        .setTopic(arguments[2])
                        .setValueSerializationSchema(new SimpleStringSchema())
                        .build())
                .setDeliveryGuarantee(DeliveryGuarantee.AT_LEAST_ONCE)
                .build();
        ObjectMapper mapper = new ObjectMapper();
        environment.fromSource(source, WatermarkStrategy.noWatermarks(), "read")
                .map(mapper::readTree)
                .returns(JsonNode.class)
                .keyBy(record -> record.get("series").asText())
                .process(new Discord(m, n))
                .sinkTo(sink);
        environment.execute("naive-left-discord");
    }
}
