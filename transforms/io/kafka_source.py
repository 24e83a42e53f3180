"""A share of a Kafka topic's partitions as an endless Beam source.

`KafkaSource` is what a savepoint holds: the topic's name and a share. `KafkaReader` does the work,
with the settings of the job that runs. It hardly waits for a broker: what takes a while is a
generator, which goes on whenever the runner asks for records.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from apache_beam.io.unbounded_source import UnboundedReader, UnboundedSource
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Timestamp
from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from transforms.io.kafka_batches import BATCH_RECORDS, Taken, batches, events
from transforms.io.kafka_client import KafkaCluster
from transforms.io.kafka_errors import ReadFailed, Seldom, passes
from transforms.io.kafka_mark import KafkaMark, KafkaMarkCoder, Reached
from transforms.io.kafka_pace import FetchPace
from transforms.io.kafka_tail import Tail
from transforms.io.kafka_topic import Topic, is_answered
from transforms.io.unbounded import bundle_settings
from transforms.records import MICROSECONDS
from transforms.watermark import EventTimes, Extent, SplitWatermark

MOST_SPLITS = 4
"""Of a job that says nothing: each has a consumer, whether it has a partition or not."""
DISCOVER_SECONDS = 10.0
LOOK_SECONDS = 0.5
RETRY_SECONDS = 1.0
SOON_SECONDS, SOON_STEPS = 0.001, 20
"""How often a task is asked again in one poll while a broker's answer is under way: a look at idle
partitions is a few questions, and a busy runner polls only once a second."""
_PAST = 1000
"""Microseconds beyond the close: Flink fires a timer when the watermark is past it."""
SETTLED_SECONDS = 2.0
"""A partition counts as idle when it had nothing new for so long: after an outage, producers reach
one partition before another."""


@dataclass(frozen=True)
class KafkaSettings:
    """What a reader needs to know; see `transforms.io.kafka.ReadKafka`."""

    cluster: KafkaCluster
    topic: str
    group: str
    start: str | int
    times: EventTimes
    allowed_disorder: int
    idle_after: int
    period: int = 0


@dataclass(frozen=True)
class KafkaSource(UnboundedSource):
    """Those partitions of a topic whose number has the remainder ``share`` by ``shares``.

    Parameters
    ----------
    topic : str
        Name of the topic.
    shares : int
        Number of splits; 0: what the runner wants, at most `MOST_SPLITS`.
    share : int or None
        Which of them; None: all partitions, since Beam may go on unsplit.
    """

    topic: str
    shares: int = 0
    share: int | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        # this is what every savepoint holds: a name and three plain values
        return KafkaSource, (self.topic, self.shares, self.share)

    def owns(self, partition: int) -> bool:
        """Whether the partition belongs to this split."""
        return self.share is None or partition % self.shares == self.share

    def split(self, desired_num_splits: int, options: Any = None) -> list[KafkaSource]:
        """All shares; asks nobody how many partitions there are, for that may change."""
        shares = self.shares or max(1, min(desired_num_splits, MOST_SPLITS))
        return [KafkaSource(self.topic, shares, share) for share in range(shares)]

    def create_reader(self, options: Any, checkpoint_mark: KafkaMark | None) -> KafkaReader:
        """A reader that goes on after the mark, with the settings of the running job."""
        settings: KafkaSettings = bundle_settings()
        if settings.topic != self.topic:
            raise ReadFailed(
                f"the savepoint is of topic {self.topic}, the job reads {settings.topic}:"
                " start it without the savepoint, or name the same topic"
            )
        return KafkaReader(settings, self, checkpoint_mark)

    def get_checkpoint_mark_coder(self) -> KafkaMarkCoder:
        """The coder of `KafkaMark`."""
        return KafkaMarkCoder()


class KafkaReader(UnboundedReader):
    """Reads the partitions of one split, finds new ones, and says how far event time has come.

    Parameters
    ----------
    settings : KafkaSettings
        Of the running job.
    source : KafkaSource
        Which partitions.
    mark : KafkaMark or None
        Where to go on.
    topic, consumer, tail : optional
        Clients, for tests.
    clock, pace, sleep : callable, optional
        Seconds since 1970, seconds that never jump, and how to wait for some; for tests.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        source: KafkaSource,
        mark: KafkaMark | None,
        topic: Any = None,
        consumer: Any = None,
        tail: Any = None,
        clock: Callable[[], float] = time.time,
        pace: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings
        self._owns = source.owns
        self._topic = topic or Topic(settings.cluster, settings.topic)
        self._consumer = consumer or settings.cluster.consumer(settings.group)
        self._tail = tail or Tail(settings.cluster, settings.topic, settings.group, settings.times)
        self._clock, self._pace, self._sleep = clock, pace, sleep
        self._trouble = Seldom(f"reading topic {settings.topic}")
        self._watermark = SplitWatermark(
            settings.allowed_disorder, settings.idle_after, mark.watermark if mark else None
        )
        self._others: list[int] = []
        self._given: dict[int, int] = {}  # the next offset that the runner gets
        self._fetched: dict[int, int] = {}  # the next offset that the client gets
        self._pending: deque[tuple[Taken, Extent]] = deque()
        self._fetching = FetchPace(settings.period, settings.allowed_disorder, pace())
        self._current: tuple[Taken, Timestamp] | None = None
        self._is_started = self._is_closed = False
        if mark is not None and mark.partitions is not None:
            self._begin(mark.partitions)
        self._background = (self._discover(), self._look())

    def start(self) -> bool:
        """Read the first batch, if it is there already."""
        return self.advance()

    def advance(self) -> bool:
        """Read the next batch, if it is there."""
        if self._fetching.holds_back(self._pace()):
            return False
        if not self._pending:
            self._given.update(self._fetched)  # also past what consumers do not get to see
            self._topic.poll()
            self._go_on()
            self._fetch()
            if self._closes_first():
                return False
        if not self._pending:
            return False
        taken, extent = self._pending.popleft()
        self._current = taken, self._timestamp()
        self._given[taken.partition] = taken.next_offset
        self._watermark.read(taken.partition, extent.newest)
        return True

    def get_current(self) -> tuple[Any, ...]:
        """The batch, as a plain tuple."""
        return tuple(self._taken()[0].batch)

    def get_current_timestamp(self) -> Timestamp:
        """Where the watermark stood before this batch: a time that no record of it is behind.

        Event times are in the payloads; the element's own time only must not come late.
        """
        return self._taken()[1]

    def _taken(self) -> tuple[Taken, Timestamp]:
        if self._current is None:
            raise ValueError("there is no current batch: start or advance gave False")
        return self._current

    def get_watermark(self) -> Timestamp:
        """How far event time has come."""
        return self._timestamp()

    def _timestamp(self) -> Timestamp:
        value = self._watermark.value
        return MIN_TIMESTAMP if value is None else max(MIN_TIMESTAMP, Timestamp(micros=value))

    def get_checkpoint_mark(self) -> KafkaMark:
        """How far the runner got."""
        partitions = None
        if self._is_started:
            newest = self._watermark.newest
            partitions = {each: Reached(at, newest(each)) for each, at in self._given.items()}
        return KafkaMark(partitions, self._watermark.value, self._commit)

    def _commit(self, mark: KafkaMark) -> None:
        reached = [
            TopicPartition(self._settings.topic, number, each.offset)
            for number, each in (mark.partitions or {}).items()
            if each.offset >= 0
        ]
        if reached and not self._is_closed:
            self._consumer.commit(offsets=reached, asynchronous=True)

    def close(self) -> None:
        """Leave the cluster."""
        self._is_closed = True
        self._consumer.close()
        self._tail.close()

    def _go_on(self) -> None:
        """Let the tasks go on until they wait for a time, or an answer takes too long."""
        for _ in range(SOON_STEPS):
            if not any([next(task) for task in self._background]):
                return
            self._sleep(SOON_SECONDS)

    def _fetch(self) -> None:
        now = self._pace()
        if not self._fetching.is_due(self._watermark.value, now):
            return
        name = self._settings.topic
        found = events(self._consumer.consume(BATCH_RECORDS, 0))
        for partition, error in found.errors:
            if passes(error, f"kafka://{name}/{partition}", self._given.get(partition)):
                self._trouble(error)
        times, clock = self._settings.times, int(self._clock() * MICROSECONDS)
        for taken in batches(name, found.messages, times.are_broker_times):
            self._pending.append((taken, times.extent(taken.batch, clock)))
            self._fetched[taken.partition] = taken.next_offset
        elements = sum(extent.elements for _, extent in self._pending)
        self._fetching.fetched(elements, len(found.messages) == BATCH_RECORDS, now)
        for partition, end in found.ends.items():
            # a transaction's marker at the end is an offset without a message
            self._fetched[partition] = max(end, self._fetched.get(partition, end))

    def _closes_first(self) -> bool:
        """Whether a period closes before all that was fetched; if so, the watermark says it now.

        All series of the period are woken at once. Records that come after it can wait for that.
        """
        value, period = self._watermark.value, self._settings.period
        if value is None or not period or not self._pending or self._fetching.is_behind:
            return False
        newest = [(taken.partition, extent.newest) for taken, extent in self._pending]
        close = (self._watermark.after(newest) or value) // period * period
        if close <= value:
            return False
        oldest = [extent.oldest for _, extent in self._pending]
        if any(each is not None and each < close for each in oldest):
            return False
        self._watermark.raise_to(close + _PAST)
        self._fetching.closed(self._pace())
        return True

    def _begin(self, partitions: dict[int, Reached]) -> None:
        topic = self._settings.topic
        for number, reached in partitions.items():
            self._given[number] = reached.offset
            self._watermark.add(number, reached.newest)
        if partitions:
            self._consumer.incremental_assign(
                [TopicPartition(topic, number, each.offset) for number, each in partitions.items()]
            )
        self._is_started = True

    # Tasks: a step gives whether the next one is worth taking soon, since an answer is under way.

    def _discover(self) -> Iterator[bool]:
        """Find the partitions of this split, again and again."""
        while True:
            asked = self._topic.ask_partitions()
            yield from _answer({0: asked})
            found = self._topic.partitions(asked)
            if found is not None:
                self._others = [each for each in found if not self._owns(each)]
                new = [each for each in found if self._owns(each) and each not in self._given]
                first = yield from self._first_offsets(new)
                if first is not None:
                    self._begin({number: Reached(offset, None) for number, offset in first.items()})
            yield from self._wait(DISCOVER_SECONDS if self._is_started else RETRY_SECONDS)

    def _first_offsets(self, new: list[int]) -> Generator[bool, None, dict[int, int] | None]:
        start = self._settings.start
        if self._is_started or start == "earliest":
            # what was written to a new partition before it was found counts as well
            return dict.fromkeys(new, OFFSET_BEGINNING)
        ends = yield from self._ends(new)
        if ends is None or not isinstance(start, int):
            return ends
        asked = self._topic.ask_since(new, start)  # after the ends: nothing falls in between
        yield from _answer(asked)
        since = self._topic.offsets(asked)
        if since is None:
            return None
        return {each: offset if offset >= 0 else ends[each] for each, offset in since.items()}

    def _look(self) -> Iterator[bool]:
        """Find out which partitions are idle, and whether the whole topic is."""
        settled: dict[tuple[int, int], float] = {}
        known: dict[int, int] = {}
        is_idle = False
        while True:
            yield from self._wait(LOOK_SECONDS)
            if not self._is_started:
                continue
            # the others first: idle partitions then stand where the topic is by now
            was_idle, looked_at = is_idle, self._pace()
            has_moved = yield from self._peek(self._others if was_idle else [], known)
            stands, asked_at = self._watermark.stands, self._pace()
            ends = yield from self._ends(list(self._given))
            if has_moved is None or ends is None:
                settled, is_idle = {}, False
                self._watermark.stirred()
                continue
            # where a partition has been at its end, and since when
            places = [(each, self._given[each]) for each in ends if self._given[each] >= ends[each]]
            settled = {place: settled.get(place, asked_at) for place in places}
            idle = {
                partition
                for (partition, _), since in settled.items()
                if asked_at - since >= SETTLED_SECONDS
            }
            for partition in idle:
                self._watermark.caught_up(partition, stands)
            is_idle = idle >= self._given.keys()
            if was_idle and is_idle and not has_moved:
                self._watermark.quiet(int(looked_at * MICROSECONDS))

    def _peek(self, others: list[int], known: dict[int, int]) -> Generator[bool, None, bool | None]:
        """Whether partitions of other splits have something new; None if no broker says so."""
        ends = yield from self._ends(others)
        if ends is None:
            return None
        moved = {each: end for each, end in ends.items() if end != known.get(each, 0)}
        if moved:
            self._watermark.stirred()
            self._watermark.peeked((yield from self._tail.peek(moved)))
            known.update(moved)
        return bool(moved)

    def _ends(self, partitions: list[int]) -> Generator[bool, None, dict[int, int] | None]:
        asked = self._topic.ask_ends(partitions)
        yield from _answer(asked)
        return self._topic.offsets(asked)

    def _wait(self, seconds: float) -> Iterator[bool]:
        until = self._pace() + seconds
        while self._pace() < until:
            yield False


def _answer(asked: dict[int, Future[Any]]) -> Iterator[bool]:
    while not is_answered(asked):
        yield True
