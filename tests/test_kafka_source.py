"""The reader of a topic, against a broker in memory."""

from __future__ import annotations

import pickle

import fake_kafka
import pytest
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Timestamp
from confluent_kafka import OFFSET_BEGINNING, KafkaError

from transforms.fields import Fields
from transforms.io import kafka_source, unbounded
from transforms.io.kafka_batches import BATCH_RECORDS
from transforms.io.kafka_client import KafkaCluster
from transforms.io.kafka_errors import ReadFailed
from transforms.io.kafka_mark import KafkaMark, Reached
from transforms.io.kafka_source import KafkaReader, KafkaSettings, KafkaSource
from transforms.io.kafka_tail import Tail
from transforms.records import Batch
from transforms.watermark import EventTimes

SECOND = 1_000_000
MINUTE = 60 * SECOND
TIMES = EventTimes("json", (Fields("d", "value", ("series",), "time", "unix_us"),))
CLUSTER = KafkaCluster(fake_kafka.SERVERS)


class TailOf(Tail):
    """Looks at the broker in memory."""

    def __init__(self, broker):
        super().__init__(CLUSTER, "t", "g", TIMES, broker.clock, broker.pace)
        self._consumer = fake_kafka.Consumer(broker, most=100)


def settings_of(start="earliest", topic="t", disorder=0, idle_after=MINUTE, period=0):
    return KafkaSettings(CLUSTER, topic, "g", start, TIMES, disorder, idle_after, period)


def reader_of(broker, source=None, mark=None, sleep=lambda seconds: None, **settings):
    return KafkaReader(
        settings_of(**settings),
        source or KafkaSource("t"),
        mark,
        topic=fake_kafka.Topic(broker),
        consumer=fake_kafka.Consumer(broker),
        tail=TailOf(broker),
        clock=broker.clock,
        pace=broker.pace,
        sleep=sleep,
    )


def run(reader, broker, seconds, step=0.1):
    """What the reader gives in so many seconds: (partition, first offset, number of payloads)."""
    found = []
    end = broker.seconds + seconds
    while broker.seconds < end - 1e-9:
        while reader.advance():
            batch = Batch(*reader.get_current())
            found.append((batch.ordinal, batch.first_position, len(batch.payloads)))
        broker.seconds += step
    return found


def watermark(reader):
    value = reader.get_watermark()
    return None if value == MIN_TIMESTAMP else value.micros


# shares


@pytest.mark.parametrize(
    ("wanted", "desired", "made"), [(0, 20, 4), (0, 3, 3), (0, 0, 1), (5, 2, 5)]
)
def test_splits_share_the_partitions_among_them(wanted, desired, made):
    shares = KafkaSource("t", wanted).split(desired)
    assert len(shares) == made
    owners = [[share.owns(partition) for share in shares] for partition in range(40)]
    assert all(sum(each) == 1 for each in owners)


def test_a_source_that_was_not_split_reads_everything():
    assert all(KafkaSource("t", 8).owns(partition) for partition in range(40))


def test_a_savepoint_holds_a_name_and_a_share_and_no_setting():
    source = KafkaSource("t", 8, 3)
    assert source.__reduce__() == (KafkaSource, ("t", 8, 3))
    written = pickle.dumps(source)
    assert pickle.loads(written) == source
    assert len(written) < 120


def test_a_reader_takes_the_settings_of_the_running_job(monkeypatch):
    made = []
    monkeypatch.setattr(kafka_source, "KafkaReader", lambda *args: made.append(args))
    read = unbounded._ReadFn(settings_of())
    read.start_bundle()
    KafkaSource("t").create_reader(None, None)
    assert made == [(settings_of(), KafkaSource("t"), None)]
    with pytest.raises(ReadFailed, match="savepoint is of topic other, the job reads t"):
        KafkaSource("other").create_reader(None, None)


# reading


def test_every_record_is_given_once_in_batches_of_one_partition():
    broker = fake_kafka.Broker(2)
    broker.write(0, *range(5))
    broker.write(1, *range(2))
    found = run(reader_of(broker), broker, 1)
    assert sorted(found) == [(0, 0, 3), (0, 3, 2), (1, 0, 2)]


def seconds_until(broker, happens):
    begun = broker.seconds
    while not happens():
        broker.seconds += 0.0005
        assert broker.seconds < begun + 4
    return broker.seconds - begun


@pytest.mark.parametrize(
    ("fetched", "series", "after"),
    [(1, 1, 0.005), (5_000, 1, 0.005), (300, 60, 0.3), (5_000, 2_500, 1.0), (BATCH_RECORDS, 9, 0)],
    ids=[
        "a few are not waited for",
        "nor is one series",
        "many are gathered",
        "for a second",
        "a heap is taken at once",
    ],
)
def test_after_a_fetch_the_next_waits_for_more(fetched, series, after):
    broker = fake_kafka.Broker(1)
    broker.write(0, *[1] * fetched, series=series)
    reader = reader_of(broker)
    reader._consumer = fake_kafka.Consumer(broker, most=BATCH_RECORDS)
    while not reader.advance():
        broker.seconds += 0.1
    broker.write(0, 1)
    assert seconds_until(broker, reader.advance) == pytest.approx(after, abs=0.001)


def reader_before_a_close(broker, first, period=MINUTE):
    """A reader with two seconds of disorder that was just given records of 2,000 series."""
    broker.write(0, *[first] * 2_000, series=2_000)
    reader = reader_of(broker, disorder=2 * SECOND, period=period)
    reader._consumer = fake_kafka.Consumer(broker, most=BATCH_RECORDS)
    while not reader.advance():
        broker.seconds += 0.1
    return reader


@pytest.mark.parametrize(("period", "after"), [(0, 1.0), (MINUTE, 0.35), (11 * SECOND, 0.55)])
@pytest.mark.parametrize("disorder", [0, 2 * SECOND], ids=["its last records", "what closes it"])
def test_a_period_that_ends_is_not_gathered_beyond(period, after, disorder):
    broker = fake_kafka.Broker(1)
    reader = reader_before_a_close(broker, MINUTE - 300_000 + disorder, period)
    broker.write(0, MINUTE - 100_000 + disorder)
    assert seconds_until(broker, reader.advance) == pytest.approx(after, abs=0.001)


def test_in_the_midst_of_a_period_records_are_gathered_for_long():
    broker = fake_kafka.Broker(1)
    reader = reader_before_a_close(broker, MINUTE // 2)
    broker.write(0, MINUTE // 2 + 1)
    assert seconds_until(broker, reader.advance) == pytest.approx(3.0, abs=0.001)


def test_shortly_before_a_period_closes_nothing_is_fetched():
    broker = fake_kafka.Broker(1)
    reader = reader_before_a_close(broker, MINUTE + 2 * SECOND - 1_400_000)
    broker.write(0, MINUTE + 2 * SECOND - 400_000)
    assert seconds_until(broker, reader.advance) == pytest.approx(1.45, abs=0.001)


def test_a_period_closes_before_the_records_after_it():
    broker = fake_kafka.Broker(1)
    reader = reader_before_a_close(broker, MINUTE + 2 * SECOND - 300_000)
    broker.write(0, MINUTE, MINUTE + 2 * SECOND + 5000)
    assert watermark(reader) == MINUTE - 300_000
    closed = seconds_until(broker, lambda: reader.advance() or watermark(reader) >= MINUTE)
    assert closed == pytest.approx(0.35, abs=0.001)
    assert watermark(reader) == MINUTE + 1000
    assert reader.get_checkpoint_mark().partitions == {
        0: Reached(2_000, MINUTE + 2 * SECOND - 300_000)
    }
    assert seconds_until(broker, reader.advance) == pytest.approx(1.5, abs=0.001)
    assert len(Batch(*reader.get_current()).payloads) == 2
    assert reader.get_current_timestamp() == Timestamp(micros=MINUTE + 1000)
    assert watermark(reader) == MINUTE + 5000


def test_a_period_does_not_close_before_a_record_of_its_own():
    broker = fake_kafka.Broker(1)
    reader = reader_before_a_close(broker, MINUTE + 2 * SECOND - 300_000)
    broker.write(0, MINUTE + 2 * SECOND + 7, MINUTE - 1)
    assert seconds_until(broker, reader.advance) == pytest.approx(0.35, abs=0.001)
    assert reader.get_current_timestamp() == Timestamp(micros=MINUTE - 300_000)
    assert watermark(reader) == MINUTE + 7


def test_a_reader_that_goes_on_in_a_quiet_topic_waits_for_its_period_to_close():
    broker = fake_kafka.Broker(1)
    broker.seconds = 7.0
    mark = KafkaMark({0: Reached(0, MINUTE - 300_000)}, MINUTE - 2 * SECOND - 300_000)
    reader = reader_of(broker, mark=mark, disorder=2 * SECOND, period=MINUTE)
    assert run(reader, broker, 3) == []
    broker.write(0, MINUTE + 3 * SECOND)
    assert not reader.advance()
    assert watermark(reader) == MINUTE + 1000
    assert run(reader, broker, 2) == [(0, 0, 1)]


def test_a_partition_that_is_behind_keeps_the_period_open():
    broker = fake_kafka.Broker(2)
    broker.write(1, MINUTE)
    reader = reader_before_a_close(broker, MINUTE + 2 * SECOND - 300_000)
    seconds_until(broker, lambda: watermark(reader) is not None or reader.advance() is None)
    broker.write(0, MINUTE + 3 * SECOND)
    run(reader, broker, 1.5)
    assert watermark(reader) == MINUTE - 2 * SECOND


def test_a_share_reads_its_own_partitions_and_finds_new_ones():
    broker = fake_kafka.Broker(3)
    for partition in range(3):
        broker.write(partition, 1)
    reader = reader_of(broker, KafkaSource("t", 2, 1))
    assert run(reader, broker, 1) == [(1, 0, 1)]
    broker.add_partition()
    broker.write(3, 1, 2)
    broker.add_partition()
    broker.write(4, 1)
    assert run(reader, broker, 11) == [(3, 0, 2)]


@pytest.mark.parametrize(
    ("start", "first"), [("earliest", 0), ("latest", 3), (2000, 1), (2001, 2), (9_999_000, 3)]
)
def test_a_job_without_a_savepoint_starts_where_it_says(start, first):
    broker = fake_kafka.Broker(1)
    broker.write(0, 1000, 2000, 3000)
    reader = reader_of(broker, start=start)
    run(reader, broker, 0.5)
    broker.write(0, 4000)
    run(reader, broker, 0.5)
    (assigned,) = reader._consumer.assigned
    assert assigned == (0, OFFSET_BEGINNING if first == 0 else first)
    assert reader.get_checkpoint_mark().partitions == {0: Reached(4, 4000)}


def test_the_latest_is_that_of_the_first_start_even_if_nothing_was_read():
    broker = fake_kafka.Broker(1)
    broker.write(0, 1, 2)
    reader = reader_of(broker, start="latest")
    run(reader, broker, 0.5)
    mark = reader.get_checkpoint_mark()
    broker.write(0, 3)
    assert run(reader_of(broker, mark=mark, start="latest"), broker, 0.5) == [(0, 2, 1)]


def test_a_job_that_never_reached_the_broker_has_not_started():
    broker = fake_kafka.Broker(1)
    broker.is_away = True
    reader = reader_of(broker, start="latest")
    assert run(reader, broker, 3) == []
    mark = reader.get_checkpoint_mark()
    assert mark == KafkaMark(None, None)
    broker.write(0, 1, 2)
    broker.is_away = False
    again = reader_of(broker, mark=mark, start="latest")
    assert run(again, broker, 3) == []
    assert again.get_checkpoint_mark().partitions == {0: Reached(2, None)}


def test_it_goes_on_after_a_mark_with_what_the_runner_was_given():
    broker = fake_kafka.Broker(1)
    broker.write(0, *range(9))
    reader = reader_of(broker)
    while not reader.advance():
        broker.seconds += 0.1
    mark = reader.get_checkpoint_mark()
    assert mark.partitions == {0: Reached(3, 2)}
    assert run(reader_of(broker, mark=mark), broker, 1) == [(0, 3, 3), (0, 6, 3)]


def test_a_partition_found_after_a_restart_is_read_from_its_beginning():
    broker = fake_kafka.Broker(1)
    reader = reader_of(broker, start="latest")
    run(reader, broker, 0.5)
    mark = reader.get_checkpoint_mark()
    broker.add_partition()
    broker.write(1, 1, 2)
    assert run(reader_of(broker, mark=mark, start="latest"), broker, 1) == [(1, 0, 2)]


def test_offsets_are_committed_when_the_mark_is_durable():
    broker = fake_kafka.Broker(2)
    broker.write(0, 1, 2)
    reader = reader_of(broker)
    run(reader, broker, 1)
    mark = reader.get_checkpoint_mark()
    assert reader._consumer.committed == {}
    mark.finalize_checkpoint()
    assert reader._consumer.committed == {0: 2, 1: 0}
    reader._consumer.committed = {}
    reader.close()
    mark.finalize_checkpoint()
    assert reader._consumer.committed == {}
    assert reader._consumer.is_closed


def test_offsets_that_are_gone_are_an_error_that_says_what_to_do():
    broker = fake_kafka.Broker(1)
    broker.write(0, 1)
    reader = reader_of(broker, mark=KafkaMark({0: Reached(7, None)}, None))
    gone = fake_kafka.Message(0, 7, error=KafkaError._AUTO_OFFSET_RESET)
    reader._consumer.consume = lambda number, timeout: [gone]
    with pytest.raises(ReadFailed, match=r"kafka://t/0: offset 7 is no longer there .* savepoint"):
        reader.advance()


def test_what_passes_is_tried_again_and_what_does_not_fails():
    broker = fake_kafka.Broker(1)
    reader = reader_of(broker)
    passing = fake_kafka.Message(0, 0, error=KafkaError._TRANSPORT)
    refused = fake_kafka.Message(0, 0, error=KafkaError.TOPIC_AUTHORIZATION_FAILED)
    reader._consumer.consume = lambda number, timeout: [passing]
    assert not reader.advance()
    reader._consumer.consume = lambda number, timeout: [refused]
    with pytest.raises(ReadFailed, match="TOPIC_AUTHORIZATION_FAILED"):
        reader.advance()


# watermark


def test_a_batch_is_not_behind_the_watermark_and_moves_it():
    broker = fake_kafka.Broker(1)
    broker.write(0, 10 * SECOND, 20 * SECOND)
    reader = reader_of(broker, disorder=5 * SECOND)
    while not reader.advance():
        broker.seconds += 0.1
    assert reader.get_current_timestamp() == MIN_TIMESTAMP
    assert watermark(reader) == 15 * SECOND
    broker.write(0, 17 * SECOND)
    broker.seconds += 0.1
    assert reader.advance()
    assert reader.get_current_timestamp() == Timestamp(15)
    assert watermark(reader) == 15 * SECOND


def test_an_idle_partition_holds_nobody_up():
    broker = fake_kafka.Broker(2)
    reader = reader_of(broker)
    for second in range(10):
        broker.write(0, second * SECOND)
        run(reader, broker, 1)
    assert watermark(reader) >= 7 * SECOND


def test_a_partition_is_idle_only_when_it_had_nothing_for_a_while():
    broker = fake_kafka.Broker(2)
    reader = reader_of(broker)
    broker.write(0, SECOND)
    broker.write(1, 0)
    run(reader, broker, 2)
    assert watermark(reader) == 0
    broker.write(1, 0)
    run(reader, broker, 2)
    assert watermark(reader) == 0, "it had something"
    run(reader, broker, 2)
    assert watermark(reader) == SECOND


def test_what_was_read_while_the_broker_was_asked_moves_no_idle_partition():
    broker = fake_kafka.Broker(2)
    reader = reader_of(broker)
    broker.write(0, SECOND)
    run(reader, broker, 5)
    broker.is_slow = True
    run(reader, broker, 1)
    broker.write(0, 90 * SECOND)
    run(reader, broker, 1)
    broker.answer()
    run(reader, broker, 0.2)
    assert watermark(reader) == SECOND, "partition 1 may have got records since it was asked for"
    run(reader, broker, 2)
    assert watermark(reader) == 90 * SECOND


def test_an_end_is_seen_though_another_partition_never_ends():
    broker = fake_kafka.Broker(2)
    broker.write(1, 0)
    broker.write_marker(1)
    reader = reader_of(broker)
    for second in range(5):
        for _ in range(40):
            broker.write(0, second * SECOND)
            reader.advance()
            broker.seconds += 0.025
    assert watermark(reader) >= 2 * SECOND


def test_a_marker_at_the_end_of_a_partition_does_not_hide_that_it_is_idle():
    broker = fake_kafka.Broker(2)
    broker.write(1, 0)
    broker.write_marker(1)
    reader = reader_of(broker)
    for second in range(10):
        broker.write(0, second * SECOND)
        run(reader, broker, 1)
    assert watermark(reader) >= 7 * SECOND
    assert reader.get_checkpoint_mark().partitions[1] == Reached(2, 0)


def test_a_partition_that_is_behind_holds_the_watermark():
    broker = fake_kafka.Broker(2)
    broker.write(1, 2 * SECOND)
    reader = reader_of(broker)
    run(reader, broker, 1)
    broker.write(0, *[50 * SECOND] * 500)
    broker.write(1, 3 * SECOND)
    for _ in range(30):  # partition 0 has so much that partition 1 has not got its turn
        while not reader.advance():
            broker.seconds += 0.1
    assert watermark(reader) is None or watermark(reader) <= 3 * SECOND


def test_while_the_broker_is_away_the_watermark_stands():
    broker = fake_kafka.Broker(2)
    broker.write(0, SECOND)
    reader = reader_of(broker)
    run(reader, broker, 5)
    assert watermark(reader) == SECOND
    broker.is_away = True
    run(reader, broker, 600, step=1)
    assert watermark(reader) == SECOND


def test_a_quiet_topic_goes_on_with_the_clock_after_a_minute():
    broker = fake_kafka.Broker(2)
    broker.write(0, SECOND)
    reader = reader_of(broker)
    run(reader, broker, 50)
    assert watermark(reader) == SECOND
    run(reader, broker, 60)
    gone = watermark(reader) - SECOND
    assert 40 * SECOND < gone < 50 * SECOND
    run(reader, broker, 60)
    assert watermark(reader) - SECOND - gone == pytest.approx(60 * SECOND, abs=SECOND)
    broker.is_away = True
    before = watermark(reader)
    run(reader, broker, 60)
    broker.is_away = False
    run(reader, broker, 60)
    assert watermark(reader) == before, "it was away, which is not quiet"


def test_an_idle_split_follows_the_partitions_of_others():
    broker = fake_kafka.Broker(2)
    reader = reader_of(broker, KafkaSource("t", 2, 1))
    for second in range(20):
        broker.write(0, second * SECOND)
        run(reader, broker, 1)
    assert 17 * SECOND <= watermark(reader) <= 19 * SECOND
    assert len(broker.asked) <= 81, "two questions each half second"


def test_a_split_that_is_seldom_polled_does_a_whole_look_in_one_poll():
    broker = fake_kafka.Broker(2)
    reader = reader_of(broker, KafkaSource("t", 2, 1))
    for second in range(20):
        broker.write(0, second * SECOND)
        run(reader, broker, 1, step=1)
    assert watermark(reader) == 19 * SECOND


def test_an_answer_that_takes_long_is_left_for_the_next_poll():
    broker = fake_kafka.Broker(1)
    slept = []
    reader = reader_of(broker, sleep=slept.append)
    broker.is_slow = True
    assert not reader.advance()
    assert 0 < sum(slept) < 0.05


def test_an_idle_split_sees_a_usable_record_before_a_poisoned_one():
    broker = fake_kafka.Broker(2)
    reader = reader_of(broker, KafkaSource("t", 2, 1))
    broker.write(0, 5 * SECOND)
    broker.write(0, 9 * SECOND, value="bad")
    broker.write_marker(0)
    run(reader, broker, 10)
    assert watermark(reader) == 5 * SECOND


def test_a_split_without_a_partition_follows_too_and_a_quiet_topic_is_quiet_for_it():
    broker = fake_kafka.Broker(1)
    broker.write(0, 5 * SECOND)
    reader = reader_of(broker, KafkaSource("t", 8, 7))
    run(reader, broker, 10)
    assert watermark(reader) == 5 * SECOND
    assert reader.get_checkpoint_mark().partitions == {}
    run(reader, broker, 120)
    assert watermark(reader) > 60 * SECOND


def test_a_mark_brings_the_watermark_back():
    broker = fake_kafka.Broker(2)
    mark = KafkaMark({0: Reached(0, 9 * SECOND), 1: Reached(0, 8 * SECOND)}, 8 * SECOND)
    reader = reader_of(broker, mark=mark)
    assert watermark(reader) == 8 * SECOND
    broker.write(1, 12 * SECOND)
    run(reader, broker, 0.5)
    assert watermark(reader) == 9 * SECOND
