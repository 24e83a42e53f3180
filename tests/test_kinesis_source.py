"""The Kinesis source on a stream in memory: resharding, restarts, expiry, refusals, idleness."""

from __future__ import annotations

import logging
import pickle
from collections import defaultdict

import orjson
import pytest
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from fake_kinesis import STREAM, Clock, FakeKinesis, Slow, error
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.fields import Fields
from transforms.io import aws, unbounded
from transforms.io.kinesis_mark import KinesisMarkCoder
from transforms.io.kinesis_shards import KinesisSettings, KinesisStream, ReadFailed
from transforms.io.kinesis_source import KinesisReader, KinesisSource
from transforms.records import Batch
from transforms.watermark import EventTimes

TIMES = EventTimes("json", (Fields("d", "v", time_field="t", time_format="unix_us"),))
SECOND = 1_000_000
CODER = KinesisMarkCoder()


class World:
    """A stream, a clock and the reader of the moment; what it gave, by shard."""

    def __init__(self, shards=1, start="earliest", most=10_000, disorder=0, idle=60, delays=(0,)):
        self.clock = Clock()
        self.kinesis = FakeKinesis(self.clock, shards, most)
        self.settings = KinesisSettings(
            KinesisStream(STREAM), start, TIMES, disorder, idle * SECOND
        )
        self.executor = Slow(self.clock, delays)
        self.given = defaultdict(list)
        self.order = []
        self.begun = False
        self.written = 0
        self.reader = self.make(None)

    def make(self, mark):
        self.begun = False
        return KinesisReader(
            self.settings, KinesisSource(STREAM), mark, self.executor, self.clock, self.clock
        )

    def write(self, shard, seconds_ago=0.0):
        self.clock.seconds += 0.001
        self.written += 1
        time = self.clock.micros - int(seconds_ago * SECOND)
        self.kinesis.add(shard, orjson.dumps({"v": self.written, "t": time}))

    def read(self, seconds=1.0, step=0.1):
        """Poll as a runner does for so long."""
        until = self.clock.seconds + seconds
        while self.clock.seconds < until:
            if not self.read_one():
                self.clock.seconds += step

    def read_one(self):
        found = self.reader.advance() if self.begun else self.reader.start()
        self.begun = True
        if found:
            batch = Batch(*self.reader.get_current())
            records = [orjson.loads(payload) for payload in batch.payloads]
            stood = self.reader.get_current_timestamp()
            assert all(stood.micros <= record["t"] for record in records), "late"
            for i, record in enumerate(records):
                self.given[batch.source].append((batch.first_position + i, record["v"]))
                self.order.append(record["v"])
        return found

    def restart(self):
        """A crash: only what is in the mark is left."""
        mark = CODER.decode(CODER.encode(self.reader.get_checkpoint_mark()))
        self.reader.close()
        self.reader = self.make(mark)

    @property
    def watermark(self):
        value = self.reader.get_watermark()
        return None if value == MIN_TIMESTAMP else value.micros

    def check(self, complete=True):
        """Each payload once, positions without a gap."""
        for rows in self.given.values():
            assert [position for position, _ in rows] == list(range(len(rows)))
        if complete:
            assert sorted(self.order) == list(range(1, self.written + 1))


@pytest.fixture
def world(monkeypatch):
    def make(*args, **named):
        made = World(*args, **named)
        monkeypatch.setattr(aws, "client", lambda *_: made.kinesis)
        return made

    return make


SHARD = "shardId-000000000000"


def test_positions_count_from_the_first_record_and_go_on_after_a_restart(world):
    w = world()
    for _ in range(5):
        w.write(SHARD)
    w.read()
    w.restart()
    for _ in range(3):
        w.write(SHARD)
    w.read()
    first = w.kinesis.shards[SHARD].records[0]["SequenceNumber"]
    assert w.given == {f"kinesis://{STREAM}/{SHARD}@{first}": [(n, n + 1) for n in range(8)]}


def test_a_split_is_followed_parents_first(world):
    w = world(most=2)
    for _ in range(5):
        w.write(SHARD)
    one, other = w.kinesis.split(SHARD)
    for _ in range(5):
        w.write(one)
        w.write(other)
    w.read(60)
    w.check()
    assert sorted(w.order[:5]) == [1, 2, 3, 4, 5]
    assert w.reader.get_checkpoint_mark().finished == (SHARD,)


def test_a_merge_waits_for_both_parents(world):
    w = world(shards=2, most=1)
    one, other = w.kinesis.open
    for _ in range(6):
        w.write(one)
    w.write(other)
    merged = w.kinesis.merge(one, other)
    w.write(merged)
    w.read(120)
    w.check()
    assert w.order[-1] == 8


def test_a_list_from_before_a_split_does_not_let_the_watermark_past_the_children(world):
    w = world(shards=2)
    one, other = w.kinesis.open
    w.write(one)
    w.read(5)
    w.executor.of_call["list_shards"] = 5
    while w.kinesis.calls.count("ListShards") == 1:
        w.read(0.1)
    child, _ = w.kinesis.split(one)
    w.write(child)
    w.write(other)
    w.read(30)
    w.check()


def test_closed_shards_that_expired_are_forgotten(world):
    w = world()
    w.write(SHARD)
    one, _ = w.kinesis.split(SHARD)
    w.read(30)
    w.kinesis.expire()
    w.write(one)
    w.read(30)
    w.restart()
    w.write(one)
    w.read(30)
    w.check()
    assert w.reader.get_checkpoint_mark().finished == ()


def test_a_shard_that_expired_before_it_was_read_fails_loudly(world):
    w = world()
    w.write(SHARD)
    w.read()
    w.kinesis.split(SHARD)
    w.restart()
    w.kinesis.expire()
    with pytest.raises(ReadFailed, match=f"has no {SHARD} any more"):
        w.read(30)


ACTIONS = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 9)),
    st.tuples(st.just("read"), st.floats(0.1, 5)),
    st.tuples(st.just("one"), st.just(0)),
    st.tuples(st.just("split"), st.integers(0, 9)),
    st.tuples(st.just("merge"), st.integers(0, 9)),
    st.tuples(st.just("restart"), st.just(0)),
    st.tuples(st.just("pause"), st.floats(0, 400)),
    st.tuples(st.just("throttle"), st.integers(1, 3)),
)


@settings(deadline=None, max_examples=300)
@given(
    shards=st.integers(1, 3),
    most=st.integers(1, 3),
    actions=st.lists(ACTIONS, max_size=40),
    idle=st.integers(0, 60),
    delays=st.lists(st.sampled_from([0.0, 0.05, 0.5, 3.0]), min_size=1),
)
def test_whatever_happens_each_record_is_read_once_and_none_late(
    shards, most, actions, idle, delays
):
    w = World(shards, most=most, idle=idle, delays=delays)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aws, "client", lambda *_: w.kinesis)
        stood = None
        for action, much in actions:
            names = w.kinesis.open
            if action == "write":
                w.write(names[much % len(names)])
            elif action == "read":
                w.read(much)
            elif action == "one":
                w.read_one()
            elif action == "split":
                w.kinesis.split(names[much % len(names)])
            elif action == "merge" and len(names) > 1:
                w.kinesis.merge(names[much % len(names)], names[much % len(names) - 1])
            elif action == "restart":
                w.restart()
            elif action == "pause":
                w.clock.seconds += much
            elif action == "throttle":
                code = "ProvisionedThroughputExceededException"
                w.kinesis.failures["GetRecords"] = [error(code) for _ in range(much)]
            assert stood is None or w.watermark >= stood, "the watermark went back"
            stood = w.watermark
        for _ in range(20):
            if len(w.order) < w.written:
                w.read(30, step=0.5)
        w.check()


def test_an_iterator_that_expired_is_made_anew(world):
    w = world()
    w.write(SHARD)
    w.read()
    w.clock.seconds += 301
    w.write(SHARD)
    w.read()
    w.check()
    assert w.kinesis.calls.count("GetShardIterator") == 2


def test_a_shard_is_read_four_times_a_second(world):
    w = world()
    w.read(10, step=0.01)
    assert 38 <= w.kinesis.calls.count("GetRecords") <= 41


def test_throttling_is_waited_for_with_growing_pauses(world, caplog):
    w = world()
    code = "ProvisionedThroughputExceededException"
    w.kinesis.failures["GetRecords"] = [error(code) for _ in range(6)]
    w.write(SHARD)
    with caplog.at_level(logging.WARNING):
        w.read(3)
        assert w.order == []
        assert w.kinesis.calls.count("GetRecords") <= 5
        w.read(60)
    w.check()
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 3
    assert "GetRecords of stream stream failed 4 times" in told[2]


@pytest.mark.parametrize("action", ["ListShards", "GetRecords"])
def test_what_does_not_pass_fails_and_says_what_to_do(world, action):
    w = world()
    w.kinesis.failures[action] = [error("AccessDeniedException", action)]
    with pytest.raises(ReadFailed, match=f"allow kinesis:{action} to the worker"):
        w.read()
    w = world()
    w.kinesis.failures[action] = [error("ResourceNotFoundException", action)]
    with pytest.raises(ReadFailed, match="name a stream that is there"):
        w.read()


def test_an_idle_shard_holds_nobody_up(world):
    w = world(shards=3)
    one, two, _ = w.kinesis.open
    w.write(two)
    w.read(1)
    for _ in range(20):
        w.write(one)
        newest = w.clock.micros
        w.read(1)
    assert newest - w.watermark < 4 * SECOND


def test_a_shard_that_cannot_be_reached_is_not_idle(world):
    w = world()
    w.write(SHARD)
    w.read(1)
    stood = w.watermark
    w.kinesis.failures["GetRecords"] = [error("InternalFailure", status=500) for _ in range(99)]
    w.read(300)
    assert w.watermark == stood


def test_when_all_are_idle_the_watermark_goes_on_with_the_clock(world):
    w = world(shards=2, idle=60)
    w.write(SHARD)
    w.read(59)
    stood = w.watermark
    w.read(61)
    late = w.watermark
    assert stood < late < w.clock.micros - 55 * SECOND
    w.read(100)
    assert abs(w.watermark - late - 100 * SECOND) < SECOND


def test_the_allowed_disorder_is_kept(world):
    w = world(disorder=5 * SECOND)
    w.write(SHARD)
    newest = w.clock.micros
    w.read(1)
    assert w.watermark == newest - 5 * SECOND


def test_latest_begins_with_the_job_even_if_it_is_restarted_before_the_first_record(world):
    w = world(start="latest")
    w.clock.seconds -= 1
    w.write(SHARD)
    w.written = 0
    w.clock.seconds += 2
    w.read(2)
    assert w.order == []
    mark = w.reader.get_checkpoint_mark()
    w.write(SHARD)
    w.reader = w.make(CODER.decode(CODER.encode(mark)))
    w.read(2)
    w.check()


def test_a_time_begins_in_children_too(world):
    w = world()
    w.write(SHARD)
    one, _ = w.kinesis.split(SHARD)
    w.write(one)
    w.written = 0
    w.clock.seconds += 5
    start = w.clock.micros
    w.write(one)
    w.settings = KinesisSettings(KinesisStream(STREAM), start, TIMES, 0, SECOND)
    w.reader = w.make(None)
    w.read(60)
    w.check()


def test_the_source_is_small_and_asks_nobody():
    source = KinesisSource("s", 2)
    assert source.split(20) == [KinesisSource("s", 2, 0), KinesisSource("s", 2, 1)]
    assert pickle.loads(pickle.dumps(source)) == source
    assert len(pickle.dumps(source)) < 100
    owned = [[s.owns(f"shardId-{n:012}") for n in range(4)] for s in source.split(1)]
    assert owned == [[True, False, True, False], [False, True, False, True]]
    assert KinesisSource("s").owns(SHARD)


def test_a_savepoint_of_another_stream_is_refused(world, monkeypatch):
    w = world()
    monkeypatch.setattr(unbounded._BUNDLE, "settings", w.settings, raising=False)
    with pytest.raises(ReadFailed, match="the savepoint is of stream other, the job reads stream"):
        KinesisSource("other").create_reader(None, None)
    assert isinstance(KinesisSource(STREAM).create_reader(None, None), KinesisReader)
