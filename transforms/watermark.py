"""How far a live stream's event time has come: the watermark of one split of a source.

A source reads partitions (Kafka) or shards (Kinesis) and tells a `SplitWatermark` what it saw::

    times = EventTimes("json", (fields,))
    watermark = SplitWatermark(allowed_disorder, idle_after)
    watermark.add(partition)                                  # it is this split's from now on
    watermark.read(partition, times.newest(batch, now))       # a batch was handed over
    watermark.value                                           # microseconds, or None: unknown yet

A partition that is caught up holds nobody up. Since records may come while the broker is asked for
the end, what counts is how far the topic was *before* the question::

    stands, asked = watermark.stands, now
    ...                                                       # ask the broker; only if it answers:
    watermark.caught_up(partition, stands)                    # position == end
    watermark.peeked(newest)                                  # seen in partitions of other splits
    watermark.quiet(asked)                                    # nothing new in the whole topic
    watermark.stirred()                                       # or: something new somewhere

Nothing here reads a clock or does I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

import numpy as np

from transforms.fields import (
    LAST_MICROS,
    Fields,
    Record,
    Unusable,
    decoder,
    micros_of,
    read_point,
)
from transforms.parse import MOST_PAYLOAD_BYTES
from transforms.parse_columns import json_records, times_of
from transforms.records import Batch, Integers

_SAMPLE = 1000
"""Records in which series are counted."""


class Extent(NamedTuple):
    """How far a batch reaches.

    Attributes
    ----------
    newest : int or None
        The newest event time that every detector has reached, microseconds since 1970; None if no
        record is usable.
    oldest : int or None
        The oldest that a detector can use.
    elements : int
        About how many elements of the stateful step it is: series, for each detector.
    """

    newest: int | None
    oldest: int | None
    elements: int


@dataclass(frozen=True)
class EventTimes:
    """Where a job finds the event times of its records.

    Parameters
    ----------
    payload_format : str
        ``json``, ``csv`` or ``number``.
    fields : tuple of Fields
        Where each detector finds what.
    """

    payload_format: str
    fields: tuple[Fields, ...]

    @property
    def are_broker_times(self) -> bool:
        """Whether a detector takes the broker's time, so that a batch may hold only one time."""
        return any(f.time_field is None and f.time_format != "counter" for f in self.fields)

    def extent(self, batch: Batch, now: int) -> Extent:
        """How far the batch reaches; what `transforms.parse` refuses does not count.

        A record of next year, or one without a value, moves no watermark. A detector that can use
        no record of the batch has no say.

        Parameters
        ----------
        batch : Batch
            What was read.
        now : int
            The clock, microseconds since 1970; only to refuse event times in the far future.
        """
        records = self._records(batch)
        orders: dict[tuple[str | None, str, str], Integers] = {}
        newest: list[int] = []
        oldest: list[int] = []
        for fields in self.fields:
            clock = (fields.time_field, fields.time_format, fields.time_zone)
            if clock not in orders:
                orders[clock] = _newest_first(records, fields)
            order = orders[clock]
            newest += islice(_usable(records, order, batch, fields, now), 1)
            oldest += islice(_usable(records, order[::-1], batch, fields, now), 1)
        series = {fields.dimensions: _series(records, fields.dimensions) for fields in self.fields}
        elements = sum(series[fields.dimensions] for fields in self.fields)
        return Extent(min(newest, default=None), min(oldest, default=None), elements)

    def newest(self, batch: Batch, now: int) -> int | None:
        """The newest event time of `extent`."""
        return self.extent(batch, now).newest

    def _records(self, batch: Batch) -> list[Record | None]:
        payloads = batch.payloads
        is_json = self.payload_format not in ("csv", "number")
        if is_json and payloads and max(map(len, payloads)) <= MOST_PAYLOAD_BYTES:
            records = json_records(payloads, keep=True)
            if records is not None:
                return list(records)
        decode = decoder(self.payload_format, batch.header, [f.measure for f in self.fields])
        found: list[Record | None] = []
        for payload in payloads:
            try:
                found.append(decode(payload) if len(payload) <= MOST_PAYLOAD_BYTES else None)
            except Unusable:
                found.append(None)
        return found


def _newest_first(records: list[Record | None], fields: Fields) -> Integers:
    """Indices of the records, the newest event time first, whether they are usable or not."""
    name = fields.time_field
    if name is None or fields.time_format == "counter":
        return np.arange(len(records))[::-1]

    def rank(text: object) -> int:
        try:
            micros = micros_of(text, fields.time_format, fields.time_zone)
        except ValueError:
            return -1
        return max(-1, min(micros, LAST_MICROS))  # beyond, none is usable

    texts = [None if record is None else record.get(name) for record in records]
    try:
        if len(set(map(type, texts))) == 1 and isinstance(texts[0], str | int | float):
            times = times_of(texts, fields.time_format, fields.time_zone)
            return np.argsort(times)[::-1]
    except (ValueError, OverflowError):
        pass
    return np.argsort(np.array([rank(text) for text in texts], np.int64))[::-1]


def _series(records: list[Record | None], dimensions: tuple[str, ...]) -> int:
    """About how many series the records are of: those of the first, if they show that few recur."""
    sample = [record for record in records[:_SAMPLE] if record is not None]
    try:
        found = len({tuple([record.get(name) for name in dimensions]) for record in sample})
    except TypeError:  # a list or an object; parsing refuses it
        return len(records)
    return len(records) if found > _SAMPLE // 2 else found


def _usable(
    records: list[Record | None], order: Integers, batch: Batch, fields: Fields, now: int
) -> Iterator[int]:
    """Event times of the usable records, in that order."""
    for i in order.tolist():
        record = records[i]
        if record is None:
            continue
        try:
            yield read_point(record, batch, i, fields, now).time
        except Unusable:
            continue


@dataclass
class _Partition:
    newest: int | None
    stands: int | None = None
    is_idle: bool = False

    @property
    def bound(self) -> int | None:
        """How far it lets the watermark come, the allowed disorder aside."""
        return self.stands if self.is_idle else self.newest


@dataclass
class SplitWatermark:
    """The watermark of the partitions that one split reads; it never goes back.

    A partition stands at its newest event time less the allowed disorder. One that is idle, which
    is to say known to be caught up, stands where the topic stood when that was asked. One that was
    never read and is not known to be empty holds the watermark. When the whole topic has been quiet
    for ``idle_after``, the watermark goes on as fast as the clock, from where it stood: it does not
    jump to now, so that old data that are played again are not late after a pause.

    Parameters
    ----------
    allowed_disorder : int
        How much older than the newest record one may be, microseconds.
    idle_after : int
        How long the topic is quiet before the watermark goes on with the clock, microseconds.
    value : int or None
        Where the watermark stands, microseconds since 1970; from a checkpoint at first.
    """

    allowed_disorder: int
    idle_after: int
    value: int | None = None
    stands: int | None = field(default=None, init=False)
    """Newest event time seen in the topic, in partitions of this split or by a peek."""
    _partitions: dict[object, _Partition] = field(default_factory=dict, init=False)
    _quiet_since: int | None = field(default=None, init=False)
    _quiet_value: int | None = field(default=None, init=False)

    def add(self, partition: object, newest: int | None = None) -> None:
        """Watch one more partition; ``newest`` comes from a checkpoint."""
        self._partitions[partition] = _Partition(newest)
        self._see(newest)

    def drop(self, partition: object) -> None:
        """Watch a partition no longer: it was read to its very end and gets no more records."""
        del self._partitions[partition]
        self._advance()

    def newest(self, partition: object) -> int | None:
        """The newest event time that was read from a partition."""
        return self._partitions[partition].newest

    def read(self, partition: object, newest: int | None) -> None:
        """Take note of a batch; ``newest`` is None if it has no usable event time."""
        found = self._partitions[partition]
        found.is_idle = False
        if newest is not None and (found.newest is None or newest > found.newest):
            found.newest = newest
        self._see(newest)
        self.stirred()

    def after(self, reads: Iterable[tuple[object, int | None]]) -> int | None:
        """Where it will stand when batches of these partitions, with these newest, are read."""
        read: dict[object, int | None] = {}
        for partition, newest in reads:
            seen = (read.get(partition, self.newest(partition)), newest)
            read[partition] = max((each for each in seen if each is not None), default=None)
        reached = self._reached(self._bounds | read)
        if reached is None or (self.value is not None and self.value > reached):
            return self.value
        return reached

    def peeked(self, newest: int | None) -> None:
        """Take note of a record at the end of a partition that another split reads."""
        self._see(newest)

    def caught_up(self, partition: object, stands: int | None) -> None:
        """Take note that the broker gave as a partition's end the position reached.

        Parameters
        ----------
        partition : object
            Which one.
        stands : int or None
            What `stands` was when the question was sent: a record that came between question and
            answer may be older than what was read since.
        """
        found = self._partitions[partition]
        found.is_idle = True
        found.stands = stands
        self._advance()

    def quiet(self, asked: int) -> None:
        """Take note that at ``asked`` the whole topic had nothing new, as its brokers said."""
        if self._quiet_since is None:
            self._quiet_since, self._quiet_value = asked, self.value
        past = max(0, asked - self._quiet_since - self.idle_after)
        reached = self._reached(self._bounds)
        stood = [each for each in (self._quiet_value, reached) if each is not None]
        if stood:
            self.raise_to(max(stood) + past)

    def stirred(self) -> None:
        """Take note that the topic has something new."""
        self._quiet_since = None
        self._advance()

    def _see(self, newest: int | None) -> None:
        if newest is not None and (self.stands is None or newest > self.stands):
            self.stands = newest
            if not self._partitions:
                self._advance()

    @property
    def _bounds(self) -> dict[object, int | None]:
        return {name: each.bound for name, each in self._partitions.items()}

    def _reached(self, bounds: dict[object, int | None]) -> int | None:
        found = list(bounds.values()) or [self.stands]
        known = [bound for bound in found if bound is not None]
        return min(known) - self.allowed_disorder if len(known) == len(found) else None

    def _advance(self) -> None:
        reached = self._reached(self._bounds)
        if reached is not None:
            self.raise_to(reached)

    def raise_to(self, micros: int) -> None:
        """Move to an event time that nothing will be behind, unless it stands there or beyond."""
        self.value = micros if self.value is None else max(self.value, micros)
