"""How far a live stream has come: event times of a batch, and the watermark of a split."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.fields import FUTURE_MICROS, Fields
from transforms.parse import MOST_PAYLOAD_BYTES, parse_batch
from transforms.records import Batch
from transforms.watermark import EventTimes, SplitWatermark

SECOND = 1_000_000
MINUTE = 60 * SECOND
NOW = 1_700_000_000 * SECOND
SALES = Fields("sales", "sold", ("shop",), "time", "unix_us")
VISITS = Fields("visits", "came", (), "time", "unix_us")


def batch_of(*payloads, first=0, time=NOW, header=b""):
    written = [p if isinstance(p, bytes) else orjson.dumps(p) for p in payloads]
    return Batch("kafka://t/0", first, 0, False, time, header, written)


def newest(*payloads, fields=(SALES,), payload_format="json", **batch):
    return EventTimes(payload_format, fields).newest(batch_of(*payloads, **batch), NOW)


def sale(time, **more):
    return {"time": time, "shop": "a", "sold": 1.0, **more}


# event times


def test_the_newest_event_time_counts_not_the_last():
    assert newest(sale(5), sale(9), sale(7)) == 9


@pytest.mark.parametrize(
    "refused",
    [
        sale(NOW + FUTURE_MICROS + 1),
        sale(9, sold=None),
        sale(9, sold="many"),
        sale(9, sold=1e200),
        {"time": 9, "sold": 1.0},
        sale(True),
        sale(1e30),
        sale(-1),
        sale([9]),
        b'{"time":9,"shop":"a","sold":1.0',
        b"[9]",
        orjson.dumps(sale(9, padding="x" * MOST_PAYLOAD_BYTES)),
    ],
)
def test_what_is_refused_moves_nothing(refused):
    assert newest(refused) is None
    assert newest(sale(5), refused, sale(3)) == 5


def test_the_limit_of_the_future_is_that_of_the_parser():
    assert newest(sale(NOW + FUTURE_MICROS)) == NOW + FUTURE_MICROS


def test_an_empty_batch_has_no_event_time():
    assert newest() is None


def test_the_slower_of_two_detectors_counts():
    sold, came = sale(9), {"time": 4, "came": 1}
    assert newest(sold, came, fields=(SALES, VISITS)) == 4
    assert newest(sold, fields=(SALES, VISITS)) == 9, "one without a usable record has no say"


def test_without_a_time_field_it_is_the_brokers_time_and_a_counter_counts_positions():
    by_broker = Fields("d", "value")
    counted = Fields("d", "value", time_format="counter", step=SECOND)
    assert newest(b"1", b"2", fields=(by_broker,), payload_format="number") == NOW
    assert newest(b"x", fields=(by_broker,), payload_format="number") is None
    assert newest(b"1", b"2", b"x", first=7, fields=(counted,), payload_format="number") == (
        8 * SECOND
    )
    assert EventTimes("number", (by_broker,)).are_broker_times
    assert not EventTimes("number", (counted,)).are_broker_times


def test_lines_of_cells_are_read_with_their_header():
    assert newest(b"a,5,1.5", b"a,6", fields=(SALES,), payload_format="csv",
                  header=b"shop,time,sold") == 5  # fmt: skip


TIMES = st.one_of(
    st.integers(-2, 2**63),
    st.floats(),
    st.booleans(),
    st.none(),
    st.sampled_from(["5", "1e3", "x", "2023-11-14T22:13:20Z", "2023-11-14 22:13:20.5", ""]),
    st.integers(NOW - 5, NOW + FUTURE_MICROS + 5),
)
VALUES = st.one_of(st.floats(), st.integers(-9, 9), st.sampled_from(["1", "x", None, True]))
RECORDS = st.fixed_dictionaries(
    {}, optional={"time": TIMES, "shop": st.sampled_from(["a", 1, True, None]), "sold": VALUES}
)


@given(
    st.lists(
        st.one_of(RECORDS.map(orjson.dumps), st.sampled_from([b"", b"{", b"1", b'{}"x"'])),
        max_size=8,
    ),
    st.sampled_from(["iso8601", "unix_s", "unix_ms", "unix_us"]),
)
def test_newest_and_oldest_are_those_of_the_points_parsed(payloads, time_format):
    fields = (Fields("sales", "sold", ("shop",), "time", time_format),)
    batch = batch_of(*payloads)
    blocks, _ = parse_batch(batch, "json", fields, NOW)
    parsed = [time for block in blocks for time in block.times.tolist()]
    times = EventTimes("json", fields)
    assert times.newest(batch, NOW) == max(parsed, default=None)
    assert times.extent(batch, NOW).oldest == min(parsed, default=None)


def test_the_oldest_is_that_of_any_detector():
    times = EventTimes("json", (SALES, VISITS))
    assert times.extent(batch_of(sale(9), {"time": 4, "came": 1}), NOW).oldest == 4
    assert times.extent(batch_of(sale(9)), NOW).oldest == 9


@pytest.mark.parametrize(
    ("shops", "fields", "elements"),
    [
        (["a"] * 5_000, (SALES,), 1),
        (["a", "b", "c"] * 1_000, (SALES, SALES), 6),
        (range(10_000), (SALES,), 10_000),
        ([], (SALES,), 0),
        ([["a"], ["a"]], (SALES,), 2),
    ],
    ids=["one series", "two detectors", "a series each", "nothing", "not a name"],
)
def test_elements_are_series_for_each_detector(shops, fields, elements):
    batch = batch_of(*({"time": 9, "shop": shop, "sold": 1} for shop in shops))
    assert EventTimes("json", fields).extent(batch, NOW).elements == elements


# the watermark of a split


def split(*partitions, disorder=10, idle_after=MINUTE, value=None):
    watermark = SplitWatermark(disorder, idle_after, value)
    for partition in partitions:
        watermark.add(partition)
    return watermark


def test_the_slowest_partition_counts_less_the_disorder():
    watermark = split(0, 1)
    watermark.read(0, 100)
    assert watermark.value is None, "nothing is known of partition 1"
    watermark.read(1, 50)
    assert watermark.value == 40
    watermark.read(1, 300)
    assert watermark.value == 90


def test_it_never_goes_back():
    watermark = split(0, value=70)
    watermark.read(0, 50)
    assert watermark.value == 70
    watermark.read(0, 90)
    watermark.read(0, 20)
    watermark.read(0, None)
    assert watermark.value == 80
    watermark.add(1)
    watermark.read(1, 5)
    assert watermark.value == 80


def test_a_partition_that_is_caught_up_holds_nobody_up():
    watermark = split(0, 1)
    watermark.read(0, 100)
    watermark.caught_up(1, watermark.stands)
    assert watermark.value == 90
    watermark.read(0, 200)
    assert watermark.value == 90, "when partition 1 was asked for, the topic stood at 100"
    watermark.caught_up(1, watermark.stands)
    assert watermark.value == 190


def test_what_came_while_the_broker_was_asked_is_not_late():
    watermark = split(0, 1, disorder=10)
    watermark.read(0, 100)
    asked = watermark.stands
    watermark.read(0, 500)  # between question and answer
    watermark.caught_up(1, asked)
    assert watermark.value == 90
    watermark.read(1, 95)  # written just after the answer, within the disorder then
    assert watermark.value <= 95


def test_a_partition_that_cannot_be_reached_holds_the_watermark():
    watermark = split(0, 1)
    watermark.caught_up(1, None)
    for time in range(100, 10_000, 100):
        watermark.read(0, time)
    assert watermark.value is None


def test_a_partition_that_is_about_to_be_read_again_counts_with_what_is_read():
    watermark = split(0, 1)
    watermark.peeked(95)
    watermark.caught_up(0, 95)
    watermark.read(1, 60)
    assert watermark.value == 50
    reads = [(0, 65), (1, 90)]
    foretold = watermark.after(reads)
    for partition, newest in reads:
        watermark.read(partition, newest)
    assert watermark.value == foretold == 55, "it is idle no longer"


def test_a_partition_that_is_read_again_counts_again():
    watermark = split(0, 1)
    watermark.read(0, 100)
    watermark.caught_up(1, watermark.stands)
    watermark.read(1, 95)
    watermark.read(0, 1000)
    assert watermark.value == 90


def test_an_idle_split_stands_where_the_topic_stands():
    watermark = split(0)
    watermark.read(0, 100)
    watermark.peeked(400)
    assert watermark.value == 90, "partition 0 may have more"
    watermark.caught_up(0, watermark.stands)
    assert watermark.value == 390


def test_a_split_of_no_partition_stands_where_the_topic_stands():
    watermark = split()
    assert watermark.value is None
    watermark.peeked(400)
    assert watermark.value == 390
    watermark.peeked(None)
    watermark.peeked(300)
    assert watermark.value == 390


def test_after_a_while_of_quiet_it_goes_on_with_the_clock():
    watermark = split(0)
    watermark.read(0, 100)
    watermark.caught_up(0, watermark.stands)
    watermark.quiet(NOW)
    watermark.quiet(NOW + MINUTE)
    assert watermark.value == 90
    watermark.quiet(NOW + MINUTE + 7)
    assert watermark.value == 97, "from where it stood, not from now"
    watermark.quiet(NOW + 2 * MINUTE)
    assert watermark.value == 90 + MINUTE


def test_while_nobody_answers_it_stands_still():
    watermark = split(0)
    watermark.read(0, 100)
    watermark.caught_up(0, watermark.stands)
    watermark.quiet(NOW)
    watermark.quiet(NOW + MINUTE + 5)
    before = watermark.value
    watermark.caught_up(0, watermark.stands)
    assert watermark.value == before == 95


def test_a_record_ends_the_quiet():
    watermark = split(0)
    watermark.read(0, 100)
    watermark.caught_up(0, watermark.stands)
    watermark.quiet(NOW)
    watermark.quiet(NOW + 2 * MINUTE)
    assert watermark.value == 90 + MINUTE
    watermark.read(0, 110)
    assert watermark.value == 90 + MINUTE, "it does not go back"
    watermark.caught_up(0, watermark.stands)
    watermark.quiet(NOW + 3 * MINUTE)
    assert watermark.value == 90 + MINUTE
    watermark.quiet(NOW + 4 * MINUTE + 1)
    assert watermark.value == 90 + MINUTE + 1


def test_what_is_learnt_in_the_quiet_counts_too():
    watermark = split(0, disorder=0)
    watermark.caught_up(0, None)
    watermark.quiet(NOW)
    watermark.quiet(NOW + 2 * MINUTE)
    assert watermark.value is None, "a topic that never had a record has no time"
    watermark.peeked(500)
    watermark.caught_up(0, watermark.stands)
    watermark.quiet(NOW + 2 * MINUTE + 1)
    assert watermark.value == 500 + MINUTE + 1


def test_a_partition_that_ended_is_waited_for_no_longer():
    watermark = split("old", "new")
    watermark.read("old", 50)
    watermark.read("new", 90)
    assert watermark.value == 40
    watermark.drop("old")
    assert watermark.value == 80


def test_a_checkpoint_brings_back_what_was_read():
    watermark = SplitWatermark(10, MINUTE, value=40)
    watermark.add(0, newest=50)
    watermark.add(1, newest=90)
    assert (watermark.newest(0), watermark.value) == (50, 40)
    watermark.read(0, 95)
    assert watermark.value == 80


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["read", "ask", "answer", "peek", "quiet", "add"]),
        st.integers(0, 3),
        st.integers(0, 1000),
    ),
    max_size=60,
)


@given(STEPS)
def test_nothing_makes_it_go_back_or_pass_the_topic(steps):
    watermark = split(0, idle_after=2**62)
    asked = {}
    before = None
    for step, partition, time in steps:
        known = partition in watermark._partitions
        if step == "add" and not known:
            watermark.add(partition)
        elif step == "read" and known:
            foretold = watermark.after([(partition, time - 7), (partition, time)])
            watermark.read(partition, time)
            assert watermark.value == foretold
        elif step == "ask":
            asked[partition] = watermark.stands
        elif step == "answer" and known and partition in asked:
            watermark.caught_up(partition, asked.pop(partition))
        elif step == "peek":
            watermark.peeked(time)
        elif step == "quiet":
            watermark.quiet(time)
        if watermark.value is None:
            assert before is None
        else:
            assert before is None or watermark.value >= before
            assert watermark.value <= watermark.stands - 10
        before = watermark.value
