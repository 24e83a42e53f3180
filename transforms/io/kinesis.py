"""Both ends of a job at Kinesis: batches from a stream, results into one."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam

from transforms.io import aws
from transforms.io.kinesis_batches import Reached, batches
from transforms.io.kinesis_shards import (
    KinesisSettings,
    KinesisStream,
    arrival,
    get_records,
    in_order,
    list_shards,
    passes,
)
from transforms.io.kinesis_sink import WriteKinesisFn
from transforms.io.kinesis_source import READ_SECONDS, KinesisSource
from transforms.io.unbounded import ReadUnbounded, check_parameters
from transforms.records import MICROSECONDS
from transforms.watermark import EventTimes

__all__ = ["KinesisStream", "ReadKinesis", "WriteKinesis"]

_LOGGER = logging.getLogger(__name__)
_BATCH = tuple[str, int, int, bool, int, bytes, list[bytes]]


class ReadKinesis(beam.PTransform):
    """Batches of the payloads of a stream.

    Records that the Kinesis Producer Library put together are taken apart. A batch's source is
    ``kinesis://STREAM/SHARD@FIRST``, its ordinal the shard's number, its positions count payloads
    from the record FIRST on, where the job began to read the shard, and its time is when Kinesis
    took its first record (all of them, where a detector takes it as event time).

    Parameters
    ----------
    stream : KinesisStream
        What to read.
    start : {"earliest", "latest"} or int
        Where a job without a savepoint begins; a number is microseconds since 1970 by the clock
        of Kinesis. A shard that is added later is read from its beginning.
    times : EventTimes
        Where the event times are, for the watermark.
    allowed_disorder : int
        How much older than the newest record of its stream a record may be, microseconds.
    idle_after : int
        How long the whole stream is quiet before the watermark goes on with the clock,
        microseconds.
    splits : int or None
        Readers side by side; fixed with the first start. None: one. With more, a reader sees only
        its own shards: one without a shard holds the watermark for ever, one whose shards are
        idle for `idle_after`.
    bounded : bool
        Read what arrived until it starts, then end; for the Direct runner.

    Raises
    ------
    ValueError
        A parameter out of its range.
    """

    def __init__(
        self,
        stream: KinesisStream,
        start: str | int,
        times: EventTimes,
        allowed_disorder: int,
        idle_after: int,
        splits: int | None = None,
        bounded: bool = False,
    ) -> None:
        super().__init__()
        check_parameters(start, allowed_disorder, idle_after, splits)
        self._settings = KinesisSettings(stream, start, times, allowed_disorder, idle_after)
        self._splits = splits or 1
        self._bounded = bounded

    def expand(self, begin: Any) -> Any:
        """Read what has arrived, or for ever."""
        settings = self._settings
        if self._bounded:
            return (
                begin
                | "Stream" >> beam.Create([settings.stream.name])
                | "Shards" >> beam.ParDo(_ShardsFn(settings))
                | beam.Reshuffle()
                | "Read" >> beam.ParDo(_ReadShardFn(settings)).with_output_types(_BATCH)
            )
        source = KinesisSource(settings.stream.name, self._splits)
        found = begin | "Live" >> ReadUnbounded(source, settings)
        found.element_type = _BATCH
        return found


class _ShardsFn(beam.DoFn):
    """A stream's name into (shard, time now, microseconds) of each shard."""

    def __init__(self, settings: KinesisSettings, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._clock = clock

    def process(self, _: str) -> Iterator[tuple[str, int]]:
        """List the shards."""
        now = int(self._clock() * MICROSECONDS)
        stream = self._settings.stream
        for shard in in_order(_tried(stream, "ListShards", list_shards, stream).values()):
            yield shard.id, now


class _ReadShardFn(beam.DoFn):
    """(shard, time) into the batches of what arrived until then."""

    def __init__(self, settings: KinesisSettings) -> None:
        self._settings = settings

    def process(self, part: tuple[str, int]) -> Iterator[Any]:
        """Read one shard up to the time."""
        shard, until = part
        stream, start = self._settings.stream, self._settings.start
        since = until if start == "latest" else start if isinstance(start, int) else None
        one_time = self._settings.times.are_broker_times
        reached, iterator = Reached(), None
        while True:
            answer = _tried(
                stream, "GetRecords", get_records, stream, shard, iterator, reached.sequence, since
            )
            records = list(
                itertools.takewhile(lambda record: arrival(record) <= until, answer.records)
            )
            for taken in batches(stream.name, shard, reached, records, one_time):
                reached = taken.reached
                yield tuple(taken.batch)
            iterator = answer.iterator
            is_past = len(records) < len(answer.records)
            if is_past or iterator is None or (answer.is_caught_up and not records):
                return
            time.sleep(READ_SECONDS)


def _tried(stream: KinesisStream, action: str, call: Callable[..., Any], *arguments: Any) -> Any:
    retrying = aws.retrying(_LOGGER, lambda error: passes(error, stream, action))
    return retrying(call, *arguments)


class WriteKinesis(beam.PTransform):
    """(key, JSON lines) into a stream: a record a line, at least once.

    The partition key is the key, hashed if it is longer than Kinesis allows. A bundle is done when
    the stream has taken each record; those that it refuses for want of capacity are sent again for
    up to five minutes, then the bundle fails and says why. What comes twice after a failure is
    known by the ``resultId`` in the line.

    Parameters
    ----------
    stream : KinesisStream
        Where to.
    """

    def __init__(self, stream: KinesisStream) -> None:
        super().__init__()
        self._write = WriteKinesisFn(stream)

    def expand(self, lines: Any) -> Any:
        """Write each element."""
        return (
            lines
            | "Typed" >> beam.Map(lambda each: each).with_output_types(tuple[str, bytes])
            | "Write" >> beam.ParDo(self._write)
        )
