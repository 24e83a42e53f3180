import com.amazon.randomcutforest.RandomCutForest;
import com.amazon.randomcutforest.config.Precision;
import com.amazon.randomcutforest.config.TransformMethod;
import com.amazon.randomcutforest.parkservices.AnomalyDescriptor;
import com.amazon.randomcutforest.parkservices.ThresholdedRandomCutForest;
import com.amazon.randomcutforest.parkservices.state.ThresholdedRandomCutForestMapper;
import com.amazon.randomcutforest.parkservices.state.ThresholdedRandomCutForestState;
import io.protostuff.LinkedBuffer;
import io.protostuff.ProtostuffIOUtil;
import io.protostuff.Schema;
import io.protostuff.runtime.RuntimeSchema;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.DoubleBuffer;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * The opponent of {@code benchmarks.forest}: answers one line on standard input with one on
 * standard output, so that both sides can take turns in one run.
 *
 * <pre>
 * score core|full|grade shingle trees seed points values scores   -> CPU nanoseconds of all series
 * state core|full shingle trees seed values                 -> snapshot bytes, to bytes ns, from bytes ns
 * heap core|full shingle trees seed values                  -> bytes of heap a model takes
 * </pre>
 *
 * Files hold float64, little-endian. {@code points} are the points of a series: a file longer than
 * that is many series, each with a model of its own, made inside the time taken. The time is the
 * thread's own CPU time: what the JVM spends beside it on compiling and on garbage is not counted.
 */
public final class Main {
    private static final int SAMPLES = 256;
    private static final int MODELS = 20;
    private static final int REPEATS = 20;
    private static final ThreadMXBean CLOCK = ManagementFactory.getThreadMXBean();

    private Main() {}

    /** One model of either kind. */
    private interface Model {
        double score(double value, long row);
    }

    public static void main(String[] arguments) throws IOException {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            System.out.println(answer(line.split(" ")));
        }
    }

    private static String answer(String[] words) throws IOException {
        String kind = words[1];
        int shingle = Integer.parseInt(words[2]);
        int trees = Integer.parseInt(words[3]);
        long seed = Long.parseLong(words[4]);
        switch (words[0]) {
            case "score":
                int points = Integer.parseInt(words[5]);
                return score(kind, shingle, trees, seed, points, words[6], words[7]);
            case "state":
                return state(shingle, trees, seed, read(words[5]));
            case "heap":
                return heap(kind, shingle, trees, seed, read(words[5]));
            default:
                throw new IllegalArgumentException("score, state or heap, got " + words[0]);
        }
    }

    private static RandomCutForest core(int shingle, int trees, long seed) {
        return RandomCutForest.builder().dimensions(shingle).shingleSize(shingle)
                .numberOfTrees(trees).sampleSize(SAMPLES).randomSeed(seed)
                .internalShinglingEnabled(true).parallelExecutionEnabled(false).build();
    }

    private static ThresholdedRandomCutForest full(int shingle, int trees, long seed) {
        return ThresholdedRandomCutForest.builder().dimensions(shingle).shingleSize(shingle)
                .numberOfTrees(trees).sampleSize(SAMPLES).randomSeed(seed)
                .internalShinglingEnabled(true).parallelExecutionEnabled(false)
                .precision(Precision.FLOAT_32).transformMethod(TransformMethod.NORMALIZE)
                .autoAdjust(true).anomalyRate(0.005).build();
    }

    private static Model model(String kind, int shingle, int trees, long seed) {
        if (!kind.equals("core")) {
            boolean grade = kind.equals("grade");
            ThresholdedRandomCutForest forest = full(shingle, trees, seed);
            return (value, row) -> {
                AnomalyDescriptor found = forest.process(new double[] {value}, row);
                return grade ? found.getAnomalyGrade() : found.getRCFScore();
            };
        }
        RandomCutForest forest = core(shingle, trees, seed);
        return (value, row) -> {
            double[] point = {value};
            double score = forest.getAnomalyScore(point);
            forest.update(point);
            return score;
        };
    }

    private static String score(String kind, int shingle, int trees, long seed, int points,
            String valuesFile, String scoresFile) throws IOException {
        double[] values = read(valuesFile);
        double[] scores = new double[values.length];
        long start = CLOCK.getCurrentThreadCpuTime();
        for (int first = 0; first < values.length; first += points) {
            Model model = model(kind, shingle, trees, seed + first);
            for (int i = first; i < Math.min(first + points, values.length); i++) {
                scores[i] = model.score(values[i], i - first);
            }
        }
        long taken = CLOCK.getCurrentThreadCpuTime() - start;
        write(scoresFile, scores);
        return Long.toString(taken);
    }

    /** Bytes and CPU time of a round trip, with the mapper's defaults and protostuff. */
    private static String state(int shingle, int trees, long seed, double[] values) {
        ThresholdedRandomCutForest forest = full(shingle, trees, seed);
        for (int i = 0; i < values.length; i++) {
            forest.process(new double[] {values[i]}, i);
        }
        Schema<ThresholdedRandomCutForestState> schema =
                RuntimeSchema.getSchema(ThresholdedRandomCutForestState.class);
        ThresholdedRandomCutForestMapper mapper = new ThresholdedRandomCutForestMapper();
        byte[] bytes = null;
        long write = 0;
        long read = 0;
        for (int i = 0; i < 2 * REPEATS; i++) {
            long start = CLOCK.getCurrentThreadCpuTime();
            bytes = ProtostuffIOUtil.toByteArray(mapper.toState(forest), schema, LinkedBuffer.allocate(512));
            long middle = CLOCK.getCurrentThreadCpuTime();
            ThresholdedRandomCutForestState state = schema.newMessage();
            ProtostuffIOUtil.mergeFrom(bytes, state, schema);
            mapper.toModel(state);
            long end = CLOCK.getCurrentThreadCpuTime();
            if (i >= REPEATS) { // the first half warms the JVM up
                write += middle - start;
                read += end - middle;
            }
        }
        return bytes.length + " " + write / REPEATS + " " + read / REPEATS;
    }

    private static String heap(String kind, int shingle, int trees, long seed, double[] values) {
        long before = used();
        Model[] models = new Model[MODELS];
        for (int m = 0; m < MODELS; m++) {
            models[m] = model(kind, shingle, trees, seed + m);
            for (int i = 0; i < values.length; i++) {
                models[m].score(values[i], i);
            }
        }
        long after = used();
        if (models[MODELS - 1] == null) { // the models must be alive while the heap is measured
            throw new IllegalStateException();
        }
        return Long.toString((after - before) / MODELS);
    }

    private static long used() {
        for (int i = 0; i < 4; i++) {
            System.gc();
        }
        return Runtime.getRuntime().totalMemory() - Runtime.getRuntime().freeMemory();
    }

    private static double[] read(String file) throws IOException {
        ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(Path.of(file)));
        DoubleBuffer numbers = bytes.order(ByteOrder.LITTLE_ENDIAN).asDoubleBuffer();
        double[] values = new double[numbers.remaining()];
        numbers.get(values);
        return values;
    }

    private static void write(String file, double[] values) throws IOException {
        ByteBuffer bytes = ByteBuffer.allocate(8 * values.length).order(ByteOrder.LITTLE_ENDIAN);
        bytes.asDoubleBuffer().put(values);
        Files.write(Path.of(file), bytes.array());
    }
}
