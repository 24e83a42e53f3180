"""A share of a Kinesis stream's shards as an endless Beam source.

`KinesisSource` is what a savepoint holds: the stream's name and a share. `KinesisReader` does the
work, with the settings of the job that runs. It never waits for AWS: requests run on threads of
their own, one at a time for each shard, and their answers are taken when the runner asks.
"""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from apache_beam.io.unbounded_source import UnboundedReader, UnboundedSource
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Timestamp

from transforms.io.kinesis_batches import Reached, Taken, batches
from transforms.io.kinesis_mark import KinesisMark, KinesisMarkCoder, ShardMark
from transforms.io.kinesis_shards import (
    Answer,
    KinesisSettings,
    ReadFailed,
    Shard,
    get_records,
    in_order,
    list_shards,
    passes,
    shard_number,
)
from transforms.io.unbounded import bundle_settings
from transforms.records import MICROSECONDS
from transforms.watermark import SplitWatermark

_LOGGER = logging.getLogger(__name__)
READ_SECONDS = 0.25
"""Between two reads of a shard: Kinesis allows five a second, to all that read it together."""
LIST_SECONDS = 10.0
SETTLED_SECONDS = 2.0
"""A shard counts as idle when it had nothing new for so long: after an outage, producers reach one
shard before another."""
_MOST_BACKOFF_SECONDS = 15.0
_MOST_THREADS = 32


@dataclass(frozen=True)
class KinesisSource(UnboundedSource):
    """Those shards of a stream whose number has the remainder ``share`` by ``shares``.

    Parameters
    ----------
    stream : str
        Name of the stream.
    shares : int
        Number of splits.
    share : int or None
        Which of them; None: all shards, since Beam may go on unsplit.
    """

    stream: str
    shares: int = 1
    share: int | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        # this is what every savepoint holds: a name and two plain values
        return KinesisSource, (self.stream, self.shares, self.share)

    def owns(self, shard: str) -> bool:
        """Whether the shard belongs to this split."""
        return self.share is None or shard_number(shard) % self.shares == self.share

    def split(self, desired_num_splits: int, options: Any = None) -> list[KinesisSource]:
        """All shares; asks nobody how many shards there are, for that may change."""
        return [KinesisSource(self.stream, self.shares, share) for share in range(self.shares)]

    def create_reader(self, options: Any, checkpoint_mark: KinesisMark | None) -> KinesisReader:
        """A reader that goes on after the mark, with the settings of the running job."""
        settings: KinesisSettings = bundle_settings()
        if settings.stream.name != self.stream:
            raise ReadFailed(
                f"the savepoint is of stream {self.stream}, the job reads {settings.stream.name}:"
                " start it without the savepoint, or name the same stream"
            )
        return KinesisReader(settings, self, checkpoint_mark)

    def get_checkpoint_mark_coder(self) -> KinesisMarkCoder:
        """The coder of `KinesisMark`."""
        return KinesisMarkCoder()


@dataclass
class _Reading:
    """A shard that is being read."""

    id: str
    given: Reached
    iterator: str | None = None
    request: Future[Answer] | None = None
    asked: float = 0.0
    stands: int | None = None
    due: float = 0.0
    failures: int = 0
    waiting: int = 0
    """Batches that the runner has not taken yet."""
    quiet_since: float | None = None
    ended: float | None = None
    """When a closed shard was found to have no more records."""

    @property
    def is_idle(self) -> bool:
        return self.quiet_since is not None and self.asked - self.quiet_since >= SETTLED_SECONDS


@dataclass
class _Listing:
    """The list of shards, asked for again and again."""

    request: Future[dict[str, Shard]] | None = None
    asked: float = 0.0
    due: float = 0.0
    failures: int = 0
    is_known: bool = False


class KinesisReader(UnboundedReader):
    """Reads the shards of one split, parents before children, and says how far event time is.

    Parameters
    ----------
    settings : KinesisSettings
        Of the running job.
    source : KinesisSource
        Which shards.
    mark : KinesisMark or None
        Where to go on.
    executor : Executor, optional
        Where requests run; for tests.
    clock, pace : callable, optional
        Seconds since 1970, and seconds that never jump; for tests.
    """

    def __init__(
        self,
        settings: KinesisSettings,
        source: KinesisSource,
        mark: KinesisMark | None,
        executor: Executor | None = None,
        clock: Callable[[], float] = time.time,
        pace: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._owns = source.owns
        self._executor = executor or ThreadPoolExecutor(_MOST_THREADS, "kinesis")
        self._clock, self._pace = clock, pace
        mark = mark or KinesisMark(_since(settings.start, clock), {}, (), None)
        self._since = mark.since
        self._watermark = SplitWatermark(
            settings.allowed_disorder, settings.idle_after, mark.watermark
        )
        self._finished = set(mark.finished)
        self._reading: dict[str, _Reading] = {}
        self._listing = _Listing()
        self._pending: deque[Taken] = deque()
        self._current: tuple[Taken, Timestamp] | None = None
        for shard, found in mark.shards.items():
            self._reading[shard] = _Reading(shard, found.reached)
            self._watermark.add(shard, found.newest)

    def start(self) -> bool:
        """Read the first batch, if it is there already."""
        return self.advance()

    def advance(self) -> bool:
        """Read the next batch, if it is there."""
        if not self._pending:
            self._take_answers()
            self._ask()
        if not self._pending:
            return False
        taken = self._pending.popleft()
        self._current = taken, self._timestamp()
        shard = self._reading[taken.shard]
        shard.given = taken.reached
        shard.waiting -= 1
        now = int(self._clock() * MICROSECONDS)
        self._watermark.read(taken.shard, self._settings.times.newest(taken.batch, now))
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

    def get_checkpoint_mark(self) -> KinesisMark:
        """How far the runner got."""
        shards = {
            each.id: ShardMark(each.given, self._watermark.newest(each.id))
            for each in self._reading.values()
        }
        return KinesisMark(
            self._since, shards, tuple(sorted(self._finished)), self._watermark.value
        )

    def close(self) -> None:
        """Ask no more."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _ask(self) -> None:
        """Send the requests that are due; a shard's next one when its batches were taken."""
        now, stream = self._pace(), self._settings.stream
        listing = self._listing
        if listing.request is None and now >= listing.due:
            listing.asked = now
            listing.request = self._executor.submit(list_shards, stream)
        if not listing.is_known:
            return  # a child of a finished parent may be missing among the shards of the mark
        for shard in self._reading.values():
            if shard.request or shard.waiting or shard.ended is not None or now < shard.due:
                continue
            shard.asked, shard.stands, shard.due = now, self._watermark.stands, now + READ_SECONDS
            after = shard.given.sequence
            shard.request = self._executor.submit(
                get_records, stream, shard.id, shard.iterator, after, self._since
            )

    def _take_answers(self) -> None:
        listing = self._listing
        if listing.request is not None and listing.request.done():
            request, listing.request = listing.request, None
            self._take_listing(request)
        for shard in list(self._reading.values()):
            if shard.request is not None and shard.request.done():
                answered, shard.request = shard.request, None
                self._take_records(shard, answered)

    def _take_records(self, shard: _Reading, request: Future[Answer]) -> None:
        error = request.exception()
        if error is not None:
            self._try_later(shard, error, "GetRecords")
            shard.quiet_since = None
            self._watermark.stirred()  # a shard that cannot be reached is not idle
            return
        answer = request.result()
        shard.failures, shard.iterator = 0, answer.iterator
        name, times = self._settings.stream.name, self._settings.times
        found = batches(name, shard.id, shard.given, answer.records, times.are_broker_times)
        shard.waiting = len(found)
        self._pending += found
        if answer.iterator is None:
            shard.ended = self._listing.due = self._pace()
        if answer.records or not answer.is_caught_up:
            shard.quiet_since = None
            self._watermark.stirred()
        else:
            shard.quiet_since = shard.asked if shard.quiet_since is None else shard.quiet_since
            self._rest(shard)

    def _rest(self, shard: _Reading) -> None:
        """Take note that there was nothing new in a shard."""
        if shard.is_idle:
            self._watermark.caught_up(shard.id, shard.stands)
        reading = self._reading.values()
        if not all(each.is_idle and each.ended is None for each in reading):
            self._watermark.stirred()
        else:
            self._watermark.quiet(int(min(each.asked for each in reading) * MICROSECONDS))

    def _take_listing(self, request: Future[dict[str, Shard]]) -> None:
        listing = self._listing
        listing.due = listing.asked + LIST_SECONDS
        error = request.exception()
        if error is not None:
            self._try_later(listing, error, "ListShards")
            return
        listing.failures = 0
        listed = {id_: shard for id_, shard in request.result().items() if self._owns(id_)}
        gone = [shard for shard in self._reading if shard not in listed]
        if gone:
            raise ReadFailed(
                f"stream {self._settings.stream.name} has no {', '.join(gone)} any more: older"
                " than the stream's retention. Records may be lost: keep them longer, and start"
                " the job without its savepoint to read what is left"
            )
        over = [  # a list that was asked for earlier may not have the children yet
            shard
            for shard in self._reading.values()
            if shard.ended is not None and shard.ended <= listing.asked
        ]
        self._finished = {each for each in self._finished if each in listed}
        self._finished.update(shard.id for shard in over)
        for shard in in_order(listed.values()):
            if shard.id not in self._reading and shard.id not in self._finished:
                self._meet(shard, listed)
        for done in over:  # after its children are watched: the watermark must not get past them
            del self._reading[done.id]
            self._watermark.drop(done.id)
        if any(shard.ended is not None for shard in self._reading.values()):
            listing.due = listing.asked
        listing.is_known = True

    def _meet(self, shard: Shard, listed: dict[str, Shard]) -> None:
        """Begin a shard if its parents were read to their end."""
        if all(parent in self._finished for parent in shard.parents if parent in listed):
            self._reading[shard.id] = _Reading(shard.id, Reached())
            self._watermark.add(shard.id)

    def _try_later(self, what: _Reading | _Listing, error: BaseException, action: str) -> None:
        passes(error, self._settings.stream, action)
        what.failures += 1
        pause = min(READ_SECONDS * 2**what.failures, _MOST_BACKOFF_SECONDS)
        what.due = self._pace() + pause * random.uniform(0.5, 1.0)  # noqa: S311 - only a pause
        if what.failures & (what.failures - 1) == 0:  # the 1st, 2nd, 4th, ... time
            _LOGGER.warning(
                "%s of stream %s failed %d times: %s; still trying",
                action,
                self._settings.stream.name,
                what.failures,
                error,
            )


def _since(start: str | int, clock: Callable[[], float]) -> int | None:
    """Where shards begin; "latest" is a time, so that a restart before the first record knows."""
    if start == "earliest":
        return None
    return int(clock() * MICROSECONDS) if isinstance(start, str) else start
