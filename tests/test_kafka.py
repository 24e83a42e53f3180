"""Both ends at a real Kafka broker."""

from __future__ import annotations

import socket
import time
from collections import Counter

import apache_beam as beam
import fake_kafka
import orjson
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, TimerSpec, on_timer
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Timestamp
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from runners import prism
from runners.cluster.kafka_broker import kafka_broker
from runners.cluster.server import LOOPBACK
from transforms.fields import Fields
from transforms.io.kafka import ReadKafka, WriteKafka
from transforms.io.kafka_client import KafkaCluster
from transforms.io.kafka_errors import NotDelivered, ReadFailed
from transforms.io.kafka_mark import KafkaMark, Reached
from transforms.io.kafka_source import KafkaReader, KafkaSettings, KafkaSource
from transforms.records import Batch
from transforms.watermark import EventTimes

SECOND = 1_000_000
MINUTE = 60 * SECOND
TIMES = EventTimes("json", (Fields("d", "value", (), "time", "unix_us"),))
PASSWORD = "open-sesame"  # of a broker that lives for one test run
CLIENT_TIMEOUT = {"delivery.timeout.ms": "2000"}

RUNNER = "BundleBasedDirectRunner"  # by its own name; DirectRunner would first look for Prism


def free_port():
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return probe.getsockname()[1]


# what can be refused without a broker


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"start": "first"}, "start must be earliest, latest or microseconds, got 'first'"),
        ({"start": -1}, "start must be >= 0 microseconds since 1970, got -1"),
        ({"allowed_disorder": -1}, "allowed_disorder must be >= 0 microseconds, got -1"),
        ({"idle_after": -1}, "idle_after must be >= 0 microseconds, got -1"),
        ({"splits": 0}, "splits must be >= 1, got 0"),
    ],
)
def test_a_parameter_out_of_range_is_refused(wrong, told):
    with pytest.raises(ValueError, match=told):
        read(KafkaCluster(fake_kafka.SERVERS), "t", **wrong)


def test_the_pipeline_holds_no_secret(monkeypatch):
    monkeypatch.setenv("TIDE_PASSWORD", PASSWORD)
    cluster = KafkaCluster(fake_kafka.SERVERS, (), (("sasl.password", "TIDE_PASSWORD"),))
    pipeline = beam.Pipeline()
    batches = pipeline | read(cluster, "t")
    batches | beam.Map(lambda _: ("k", b"")) | WriteKafka(cluster, "u")
    proto = pipeline.to_runner_api().SerializeToString()
    assert PASSWORD.encode() not in proto
    assert batches.element_type == tuple[str, int, int, bool, int, bytes, list[bytes]]


def read(cluster, topic, **settings):
    plain = {"start": "earliest", "allowed_disorder": 0, "idle_after": MINUTE}
    return ReadKafka(cluster, topic, f"group-{topic}", times=TIMES, **{**plain, **settings})


# with a broker


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A broker with a second listener that wants a password."""
    port, controller, guarded = free_port(), free_port(), free_port()
    made = kafka_broker(tmp_path_factory.mktemp("kafka"), port, controller)
    plain = made.command
    login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    listeners = f"PLAINTEXT://{LOOPBACK}:{port},SASL_PLAINTEXT://{LOOPBACK}:{guarded}"
    more = {
        "listeners": f"{listeners},CONTROLLER://{LOOPBACK}:{controller}",
        "advertised.listeners": listeners,
        "listener.security.protocol.map": ",".join(
            f"{name}:{protocol}"
            for name, protocol in (
                ("PLAINTEXT", "PLAINTEXT"),
                ("SASL_PLAINTEXT", "SASL_PLAINTEXT"),
                ("CONTROLLER", "PLAINTEXT"),
            )
        ),
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": f'{login} user_tide="{PASSWORD}";',
    }

    def command():
        # formatting the storage reads what the broker's own settings say; the last line counts
        words = plain()
        with (made.folder / "server.properties").open("a") as settings:
            settings.writelines(f"{name}={value}\n" for name, value in more.items())
        return words

    made.command = command
    made.guarded = f"{LOOPBACK}:{guarded}"
    made.start()
    yield made
    made.stop()


class Topics:
    """Makes topics and writes to them."""

    def __init__(self, server):
        self.server = server
        self.cluster = KafkaCluster((server.address,), tuple(CLIENT_TIMEOUT.items()))
        self.admin = AdminClient({"bootstrap.servers": server.address})

    def make(self, name, partitions=1):
        self.admin.create_topics([NewTopic(name, partitions, 1)])[name].result()
        deadline = time.monotonic() + 20
        while name not in self.admin.list_topics(timeout=5).topics:
            assert time.monotonic() < deadline
        return name

    def write(self, topic, *records, partition=0, **options):
        producer = Producer({"bootstrap.servers": self.server.address, **options})
        if "transactional.id" in options:
            producer.init_transactions()
            producer.begin_transaction()
        for record in records:
            value = record if isinstance(record, bytes) else orjson.dumps(record)
            producer.produce(topic, value, partition=partition)
        if "transactional.id" in options:
            producer.commit_transaction()
        assert producer.flush(20) == 0

    def messages(self, topic):
        consumer = Consumer(
            {"bootstrap.servers": self.server.address, "group.id": "see", "enable.partition.eof": 1}
        )
        consumer.assign([TopicPartition(topic, 0, 0)])
        found = []
        while (message := consumer.poll(20)) is not None and message.error() is None:
            found.append(message)
        consumer.close()
        return found

    def committed(self, group):
        asked = self.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])
        return {each.partition: each.offset for each in asked[group].result().topic_partitions}

    def reader(self, topic, mark=None, source=None, cluster=None, **settings):
        plain = {"start": "earliest", "allowed_disorder": 0, "idle_after": MINUTE}
        made = KafkaSettings(
            cluster or self.cluster, topic, f"group-{topic}", times=TIMES, **{**plain, **settings}
        )
        return KafkaReader(made, source or KafkaSource(topic), mark)


@pytest.fixture
def topics(server):
    server.start()
    return Topics(server)


def until(reader, done, seconds=40):
    """Read until ``done`` likes the records, (source, position, payload) each."""
    found = []
    deadline = time.monotonic() + seconds
    while not done(found):
        assert time.monotonic() < deadline, f"{len(found)} records after {seconds} s"
        if reader.advance():
            found += records_of(reader.get_current())
        else:
            time.sleep(0.02)
    return found


def records_of(element):
    batch = Batch(*element)
    first = batch.first_position
    return [(batch.source, first + i, payload) for i, payload in enumerate(batch.payloads)]


def mixed(topics, name):
    """A topic with transactions, a poisoned record and an empty partition; what it holds."""
    topics.make(name, 3)
    topics.write(name, *[{"time": i * SECOND, "value": i} for i in range(50)])
    topics.write(name, b"poison", b"", {"time": 60 * SECOND, "value": 1})
    topics.write(name, {"time": SECOND, "value": 2}, partition=1, **{"transactional.id": name})
    topics.write(name, {"time": 2 * SECOND, "value": 3}, partition=1, **{"transactional.id": name})
    first = [orjson.dumps({"time": i * SECOND, "value": i}) for i in range(50)]
    last = orjson.dumps({"time": 60 * SECOND, "value": 1})
    held = dict(enumerate([*first, b"poison", b"", last]))
    held = {(f"kafka://{name}/0", at): payload for at, payload in held.items()}
    held[f"kafka://{name}/1", 0] = orjson.dumps({"time": SECOND, "value": 2})
    # between two transactions lies a marker
    held[f"kafka://{name}/1", 2] = orjson.dumps({"time": 2 * SECOND, "value": 3})
    return held


@pytest.mark.integration
def test_bounded_and_endless_read_the_same_records(topics):
    held = mixed(topics, "mixed")
    endless = until(topics.reader("mixed"), lambda found: len(found) >= len(held))
    assert {(source, at): payload for source, at, payload in endless} == held
    assert len(endless) == len(held)

    def equal(elements):
        bounded = [record for element in elements for record in records_of(element)]
        assert {(source, at): payload for source, at, payload in bounded} == held
        assert len(bounded) == len(held)

    with beam.Pipeline(runner=RUNNER) as pipeline:
        assert_that(pipeline | read(topics.cluster, "mixed", bounded=True), equal)


@pytest.mark.integration
def test_a_bounded_read_starts_where_it_says(topics):
    topics.make("since", 2)
    topics.write("since", {"time": 1, "value": 1})
    time.sleep(0.05)
    start = int(time.time() * 1e6)
    time.sleep(0.05)
    topics.write("since", {"time": 2, "value": 1})

    def check(start, offsets):
        def equal(elements):
            assert [at for each in elements for _, at, _ in records_of(each)] == offsets

        with beam.Pipeline(runner=RUNNER) as pipeline:
            assert_that(pipeline | read(topics.cluster, "since", start=start, bounded=True), equal)

    check("earliest", [0, 1])
    check(start, [1])
    check("latest", [])
    check(start + 3600 * SECOND, [])


@pytest.mark.integration
def test_a_bounded_read_of_a_topic_that_is_not_there_fails(topics):
    refused = pytest.raises(Exception, match="topic nowhere at .* UNKNOWN_TOPIC_OR_PART")
    with refused, beam.Pipeline(runner=RUNNER) as pipeline:
        pipeline | read(topics.cluster, "nowhere", bounded=True)


@pytest.mark.integration
def test_a_killed_broker_is_waited_for_and_nothing_is_lost(topics):
    topics.make("killed", 2)
    reader = topics.reader("killed")
    topics.write("killed", *[{"time": i * SECOND, "value": 1} for i in range(10)])
    topics.write("killed", {"time": 3 * SECOND, "value": 1}, partition=1)
    until(reader, lambda found: len(found) == 11)
    topics.server.kill()
    before = reader.get_watermark()
    end = time.monotonic() + 8
    assert until(reader, lambda _: time.monotonic() > end) == []
    assert reader.get_watermark() == before, "a broker that is away is not idle"
    mark = reader.get_checkpoint_mark()
    assert mark.partitions == {0: Reached(10, 9 * SECOND), 1: Reached(1, 3 * SECOND)}
    topics.server.start()
    topics.write("killed", *[{"time": i * SECOND, "value": 1} for i in range(10, 20)])
    found = until(reader, lambda found: len(found) == 10)
    assert [at for _, at, _ in found] == list(range(10, 20))
    # partition 1 has nothing more, and the broker says so
    until(reader, lambda _: reader.get_watermark() == Timestamp(19))
    reader.close()
    again = topics.reader("killed", mark)
    assert len(until(again, lambda found: len(found) == 10)) == 10
    again.close()


@pytest.mark.integration
def test_an_idle_share_follows_and_finds_new_partitions(topics):
    topics.make("grows", 1)
    idle = topics.reader("grows", source=KafkaSource("grows", 2, 1))
    topics.write("grows", {"time": 70 * SECOND, "value": 1}, b"poison", **{"transactional.id": "g"})
    until(idle, lambda _: idle.get_watermark() == Timestamp(70))
    topics.admin.create_partitions([NewPartitions("grows", 2)])["grows"].result()
    topics.write("grows", {"time": 71 * SECOND, "value": 1}, partition=1)
    assert [source for source, _, _ in until(idle, len)] == ["kafka://grows/1"]
    idle.get_checkpoint_mark().finalize_checkpoint()
    deadline = time.monotonic() + 20
    while topics.committed("group-grows") != {1: 1}:
        assert time.monotonic() < deadline
        idle.advance()
    idle.close()


@pytest.mark.integration
def test_offsets_that_retention_took_fail_loudly(topics):
    topics.make("short")
    topics.write("short", *[{"time": i, "value": 1} for i in range(9)])
    gone = TopicPartition("short", 0, 5)
    topics.admin.delete_records([gone])[gone].result()
    reader = topics.reader("short", KafkaMark({0: Reached(2, 1)}, 1))
    with pytest.raises(ReadFailed, match="kafka://short/0: offset 2 is no longer there"):
        until(reader, len)
    reader.close()
    assert [at for _, at, _ in until(topics.reader("short"), len)] == [5, 6, 7, 8]


@pytest.mark.integration
def test_a_password_lets_in_and_stays_on_the_worker(topics, server, monkeypatch, caplog):
    topics.make("guarded")
    topics.write("guarded", {"time": 1, "value": 1})
    cluster = KafkaCluster(
        (server.guarded,),
        (
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanisms", "PLAIN"),
            ("sasl.username", "tide"),
        ),
        (("sasl.password", "TIDE_PASSWORD"),),
    )
    monkeypatch.setenv("TIDE_PASSWORD", "wrong")
    refused = topics.reader("guarded", cluster=cluster)
    until(refused, lambda _: "_AUTHENTICATION" in caplog.text)
    refused.close()
    monkeypatch.setenv("TIDE_PASSWORD", PASSWORD)
    reader = topics.reader("guarded", cluster=cluster)
    assert len(until(reader, len)) == 1
    reader.close()
    assert PASSWORD not in caplog.text


@pytest.mark.integration
def test_results_are_written_with_key_and_id(topics):
    topics.make("results")
    lines = b'{"value":1,"resultId":"a1"}\n{"value":2,"resultId":"a2"}'
    alert = b'{"alertId":"a1","resultId":"a2"}'
    with beam.Pipeline(runner=RUNNER) as pipeline:
        pipeline | beam.Create([("k", lines), ("q", alert)]) | WriteKafka(topics.cluster, "results")
    found = Counter(
        (message.key(), message.value(), tuple(message.headers() or ()))
        for message in topics.messages("results")
    )
    first, second = lines.split(b"\n")
    assert found == {
        (b"k", first, (("resultId", b"a1"),)): 1,
        (b"k", second, (("resultId", b"a2"),)): 1,
        (b"q", alert, (("alertId", b"a1"), ("resultId", b"a2"))): 1,
    }


@pytest.mark.integration
def test_a_topic_that_is_not_there_fails_the_bundle(topics):
    write = WriteKafka(topics.cluster, "absent")._write
    write.start_bundle()
    write.process(("k", b"{}"))
    with pytest.raises(NotDelivered, match=r"1 of 1 messages .* topic absent: .*UNKNOWN|TIMED_OUT"):
        write.finish_bundle()


class CountFn(beam.DoFn):
    """How many records a key has had, a second of event time."""

    PENDING = BagStateSpec("pending", beam.coders.VarIntCoder())
    DUE = TimerSpec("due", TimeDomain.WATERMARK)

    def process(
        self,
        element,
        pending=beam.DoFn.StateParam(PENDING),  # noqa: B008
        due=beam.DoFn.TimerParam(DUE),  # noqa: B008
    ):
        second = element[1]
        pending.add(second)
        due.set(Timestamp(second + 1), dynamic_timer_tag=str(second))

    @on_timer(DUE)
    def wake(
        self,
        key=beam.DoFn.KeyParam,
        at=beam.DoFn.TimestampParam,
        pending=beam.DoFn.StateParam(PENDING),  # noqa: B008
    ):
        held = list(pending.read())
        closed = Counter(second for second in held if second < at.micros // SECOND)
        pending.clear()
        for second in held:
            if second not in closed:
                pending.add(second)
        for second, number in closed.items():
            yield key, b'{"second":%d,"number":%d}' % (second, number)


def seconds_of(element):
    for payload in Batch(*element).payloads:
        yield "all", orjson.loads(payload)["time"] // SECOND


@pytest.mark.integration
def test_an_endless_job_on_prism_closes_periods_and_survives_the_brokers_death(topics):
    topics.make("live", 3)
    topics.make("counts")
    options = PipelineOptions(
        [
            "--runner=PrismRunner",
            f"--prism_location={prism.binary(PipelineOptions([]))}",
            "--streaming",
            "--environment_type=LOOPBACK",
            "--experiments=disable_prism_server_singleton",
        ]
    )
    patient = KafkaCluster((topics.server.address,))
    pipeline = beam.Pipeline(options=options)
    (
        pipeline
        | "Read" >> read(patient, "live", splits=2)
        | "Seconds" >> beam.FlatMap(seconds_of).with_output_types(tuple[str, int])
        | "Count" >> beam.ParDo(CountFn()).with_output_types(tuple[str, bytes])
        | "Write" >> WriteKafka(patient, "counts")
    )
    running = pipeline.run()
    try:
        for second in range(40):
            if second == 20:
                topics.server.kill()
                time.sleep(3)
                topics.server.start()
            # partition 2 is idle all the time
            for partition in range(2):
                event = {"time": second * SECOND, "value": 1.0}
                topics.write("live", *[event] * 5, partition=partition)
        wanted = {second: 10 for second in range(39)}
        deadline = time.monotonic() + 60
        counted = Counter()
        while counted != wanted:
            assert time.monotonic() < deadline, counted
            counted = Counter()
            for line in {message.value() for message in topics.messages("counts")}:
                counted[orjson.loads(line)["second"]] += orjson.loads(line)["number"]
        assert topics.committed("group-live")[0] > 0
    finally:
        running.cancel()


def test_no_time_is_known_before_anything_was_read():
    broker = fake_kafka.Broker(1)
    topic, consumer = fake_kafka.Topic(broker), fake_kafka.Consumer(broker)
    settings = KafkaSettings(
        KafkaCluster(fake_kafka.SERVERS), "t", "g", "earliest", TIMES, 0, MINUTE
    )
    reader = KafkaReader(settings, KafkaSource("t"), None, topic=topic, consumer=consumer)
    assert reader.get_watermark() == MIN_TIMESTAMP
    with pytest.raises(ValueError, match="no current batch"):
        reader.get_current()
