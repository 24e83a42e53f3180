"""Payloads into blocks of points, one a series and batch; what fails becomes a dead letter."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MAX_TIMESTAMP, Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from transforms import metrics
from transforms.dead_letter import DeadLetter, dead_letter_line
from transforms.fields import (
    FUTURE_MICROS,
    MOST_VALUE,
    Fields,
    Record,
    Unusable,
    decoder,
    place_of,
    read_point,
)
from transforms.parse_columns import Columns, by_series, columns, json_records
from transforms.records import (
    MICROSECONDS,
    Batch,
    Block,
    Floats,
    Integers,
    Series,
    encode_block,
    join_blocks,
)

DEAD, TALLY = "dead", "tally"
MOST_PAYLOAD_BYTES = 262_144
"""A larger payload is refused: no record of one measurement is so large."""
Piece = tuple[Integers, Floats, Integers]
Lists = tuple[list[int], list[float], list[int]]
MOST_GATHERED_POINTS = 32_768
"""Points of several batches are gathered up to so many, a batch of a file."""
_QUICK_LEAST = 512
"""So many payloads are not taken apart further to look for what is wrong with them."""
_QUICK_PARTS = 8


class _Points:
    """Points of each detector's series, gathered in pieces."""

    def __init__(self, batch: Batch, detectors: tuple[Fields, ...], now: int) -> None:
        self.batch = batch
        self.detectors = detectors
        self.now = now
        self._found: dict[tuple[int, tuple[str, ...]], list[Piece]] = {}

    def add(self, number: int, names: tuple[str, ...], piece: Piece) -> None:
        """Points of the series ``names`` of detector ``number``, after those before."""
        self._found.setdefault((number, names), []).append(piece)

    def blocks(self) -> list[Block]:
        """One block a series."""
        return [
            Block(_series(self.detectors[number], names), *_joined(pieces), self.batch.history)
            for (number, names), pieces in self._found.items()
        ]


def _joined(pieces: list[Piece]) -> Piece:
    if len(pieces) == 1:
        return pieces[0]
    times, values, ids = zip(*pieces, strict=True)
    return np.concatenate(times), np.concatenate(values), np.concatenate(ids)


def parse_batch(
    batch: Batch, payload_format: str, detectors: tuple[Fields, ...], now: int
) -> tuple[list[Block], list[DeadLetter]]:
    """One block a series and detector, and the records that none or not all could use.

    Parameters
    ----------
    batch : Batch
        What was read.
    payload_format : str
        ``json``, ``csv`` or ``number``.
    detectors : tuple of Fields
        Where each detector finds what.
    now : int
        The clock, microseconds since 1970; only to refuse event times in the far future.
    """
    points, dead = _Points(batch, detectors, now), []
    is_json = payload_format not in ("csv", "number")
    parts = [(0, len(batch.payloads))]
    while parts:
        start, end = parts.pop(0)
        if is_json and _take_quickly(points, start, end):
            continue
        if is_json and end - start > _QUICK_LEAST:
            step = -(-(end - start) // _QUICK_PARTS)
            parts[:0] = [(a, min(a + step, end)) for a in range(start, end, step)]
            continue
        dead += _take_one_by_one(points, payload_format, start, end)
    return points.blocks(), dead


def _take_quickly(points: _Points, start: int, end: int) -> bool:
    """Take the payloads from ``start`` to ``end`` if each of them is right for each detector."""
    payloads = points.batch.payloads
    if end - start < len(payloads):
        payloads = payloads[start:end]
    if start == end or max(map(len, payloads)) > MOST_PAYLOAD_BYTES:
        return start == end
    records = json_records(payloads)
    if records is None:
        return False
    found: dict[Fields, list[tuple[tuple[str, ...], Piece]]] = {}
    same = [replace(fields, detector="") for fields in points.detectors]
    for fields in same:  # detectors often read the same fields
        if fields not in found:
            each = _quick_columns(points, records, start, fields)
            if each is None:
                return False
            found[fields] = _pieces(each)
    for number, fields in enumerate(same):
        for names, piece in found[fields]:
            points.add(number, names, piece)
    return True


def _pieces(found: Columns) -> list[tuple[tuple[str, ...], Piece]]:
    return [
        (tuple(map(str, raw)), (found.times[rows], found.values[rows], found.ids[rows]))
        for raw, rows in by_series(found)
    ]


def _quick_columns(
    points: _Points, records: list[Record], start: int, fields: Fields
) -> Columns | None:
    batch = points.batch
    if fields.time_field is None:
        return None
    found = columns(
        records,
        fields.measure,
        MOST_VALUE,
        fields.time_field,
        fields.time_format,
        fields.time_zone,
        None if fields.by_position else fields.record_id,
        fields.dimensions,
    )
    latest = points.now + FUTURE_MICROS
    if found is None or found.times.min() < 0 or found.times.max() > latest:
        return None
    if not fields.by_position:
        return found
    first = place_of(batch, batch.first_position + start)
    return found._replace(ids=first + np.arange(len(records)))


def _take_one_by_one(
    points: _Points, payload_format: str, start: int, end: int
) -> list[DeadLetter]:
    """Take what can be used of the payloads from ``start`` to ``end``, and say what can not."""
    batch, detectors = points.batch, points.detectors
    decode = decoder(payload_format, batch.header, [fields.measure for fields in detectors])
    found: dict[tuple[int, tuple[str, ...]], Lists] = {}
    dead: list[DeadLetter] = []
    for i in range(start, end):
        payload = batch.payloads[i]
        try:
            if len(payload) > MOST_PAYLOAD_BYTES:
                raise Unusable(f"{len(payload)} bytes, at most {MOST_PAYLOAD_BYTES} are allowed")
            record = decode(payload)
        except Unusable as error:
            dead.append(DeadLetter(i, str(error)))
            continue
        for number, fields in enumerate(detectors):
            try:
                point = read_point(record, batch, i, fields, points.now)
            except Unusable as error:
                dead.append(DeadLetter(i, str(error), fields.detector))
                continue
            times, values, ids = found.setdefault((number, point.names), ([], [], []))
            times.append(point.time)
            values.append(point.value)
            ids.append(point.id)
    for (number, names), (times, values, ids) in found.items():
        piece = (
            np.array(times, np.int64),
            np.array(values, np.float64),
            np.array(ids, np.int64),
        )
        points.add(number, names, piece)
    return dead


@lru_cache(maxsize=1 << 16)  # its ID is a hash; more than the series of a worker, see `Series`
def _series(fields: Fields, names: tuple[str, ...]) -> Series:
    dimensions = tuple(zip(fields.dimensions, names, strict=True))
    return Series(fields.detector, fields.measure, dimensions)


class _Gathered:
    """Blocks of several batches, one a series, and a time that none of their records is behind."""

    def __init__(self) -> None:
        self._blocks: dict[tuple[Series, bool], list[Block]] = {}
        self._since = MAX_TIMESTAMP
        self.points = 0

    def add(self, blocks: list[Block], since: Timestamp) -> None:
        """Take in the blocks of a batch whose element has the timestamp ``since``."""
        self._since = min(self._since, since)
        for block in blocks:
            self.points += len(block.times)
            self._blocks.setdefault((block.series, block.history), []).append(block)

    def elements(self) -> Iterator[WindowedValue]:
        """(series key, block as bytes) of each series."""
        for blocks in self._blocks.values():
            whole = blocks[0] if len(blocks) == 1 else join_blocks(blocks)
            element = (whole.series.key, encode_block(whole))
            yield WindowedValue(element, self._since, (GlobalWindow(),))


class ParseFn(beam.DoFn):
    """Batches into (series key, block as bytes); `DEAD` and `TALLY` beside.

    The blocks of a bundle's batches are put together, so that a series is one element of it: on a
    live stream batches are small, and an element costs the stateful step more than its points do.

    Parameters
    ----------
    payload_format : str
        ``json``, ``csv`` or ``number``.
    detectors : tuple of Fields
        Where each detector finds what.
    clock : callable, optional
        Seconds since 1970, for tests.
    """

    def __init__(
        self,
        payload_format: str,
        detectors: tuple[Fields, ...],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._format = payload_format
        self._detectors = detectors
        self._clock = clock
        self._gathered = _Gathered()

    def start_bundle(self) -> None:
        """Forget what a failed bundle left."""
        self._gathered = _Gathered()

    def process(
        self, batch: tuple[Any, ...], timestamp: Timestamp = beam.DoFn.TimestampParam
    ) -> Iterator[Any]:
        """Parse a batch."""
        batch = Batch(*batch)
        now = int(self._clock() * MICROSECONDS)
        blocks, dead = parse_batch(batch, self._format, self._detectors, now)
        self._gathered.add(blocks, timestamp)
        if self._gathered.points >= MOST_GATHERED_POINTS:
            yield from self.finish_bundle()
        for letter in dead:
            line = dead_letter_line(batch, letter, "parse")
            yield beam.pvalue.TaggedOutput(DEAD, line)
        metrics.count("read", len(batch.payloads))
        metrics.count("bytes", sum(map(len, batch.payloads)))
        metrics.count("parsed", sum(len(block.times) for block in blocks))
        metrics.count("dead", len(dead))
        for fields in self._detectors:
            refused = sum(letter.detector in (None, fields.detector) for letter in dead)
            counters = {"read": len(batch.payloads), "dead": refused}
            for counter, number in counters.items():
                yield beam.pvalue.TaggedOutput(TALLY, (fields.detector, counter, number))

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Give out what is left."""
        gathered, self._gathered = self._gathered, _Gathered()
        yield from gathered.elements()
