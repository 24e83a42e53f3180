"""The records that move between steps: series, blocks of points, batches of payloads.

Between steps a block is bytes, by the codec here: an explicit format, because what a runner writes
into a checkpoint must not depend on class names or on a Beam version.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

MICROSECONDS = 1_000_000
NO_ID = np.int64(0)


@dataclass(frozen=True)
class Series:
    """One series of one detector.

    Parameters
    ----------
    detector : str
        Name of the detector in the job.
    measure : str
        Name of the measured field.
    dimensions : tuple of (str, str)
        Name and value of each dimension, in the job's order.
    """

    detector: str
    measure: str
    dimensions: tuple[tuple[str, str], ...]

    @cached_property
    def id(self) -> str:
        """SHA-256 of the canonical measure and dimensions (names sorted), 64 hex digits."""
        canonical = orjson.dumps([self.measure, sorted(self.dimensions)])
        return hashlib.sha256(canonical).hexdigest()

    @cached_property
    def key(self) -> str:
        """The key that state is kept under: detector and series ID."""
        return f"{self.detector}/{self.id}"

    @cached_property
    def seed(self) -> int:
        """The model's seed, 63 bits from the key, so that equal input gives equal output."""
        return int.from_bytes(hashlib.sha256(self.key.encode()).digest()[:8], "big") >> 1

    def to_bytes(self) -> bytes:
        """Canonical JSON, for blocks and state."""
        return orjson.dumps([self.detector, self.measure, self.dimensions])

    @classmethod
    @lru_cache(maxsize=1 << 16)  # more than the series of a worker: in turn, fewer find none
    def from_bytes(cls, text: bytes) -> Series:
        """The series that `to_bytes` wrote."""
        detector, measure, dimensions = orjson.loads(text)
        return cls(detector, measure, tuple((name, value) for name, value in dimensions))


class Batch(NamedTuple):
    """Payloads of one source, in its order, as read.

    Attributes
    ----------
    source : str
        Where they come from: a file's path, a topic.
    first_position : int
        Position of the first payload; the others follow by one each.
    ordinal : int
        Rank of the source among the job's sources, from 0; history comes before, below 0.
    history : bool
        Learnt to warm the models up; raises no alert.
    time : int
        The broker's time, or the file's last change; microseconds since 1970.
    header : bytes
        CSV only: the file's header line.
    payloads : list of bytes
        The records, untouched.
    """

    source: str
    first_position: int
    ordinal: int
    history: bool
    time: int
    header: bytes
    payloads: list[bytes]


@dataclass(frozen=True)
class Block:
    """Points of one series, in the order they were read.

    Attributes
    ----------
    series : Series
        Whose points they are.
    times : int64[n]
        Event times, microseconds since 1970.
    values : float64[n]
        Measured values, finite.
    ids : int64[n]
        Record IDs, or positions where the job orders by position; zeros where it names neither.
    history : bool
        Whether they come from history files.
    until : int or None
        Set on a mark (n = 0): the bounded input as a whole reached this event time, so that gaps
        at the series' end may be filled up to it.
    """

    series: Series
    times: Integers
    values: Floats
    ids: Integers
    history: bool = False
    until: int | None = None

    @classmethod
    def mark(cls, series: Series, until: int) -> Block:
        """An empty block that says how far the bounded input reaches."""
        none = np.empty(0, np.int64)
        return cls(series, none, np.empty(0), none, until=until)


def join_blocks(blocks: Sequence[Block]) -> Block:
    """Blocks of one series, none of them a mark, as one; in the order given."""
    return Block(
        blocks[0].series,
        np.concatenate([block.times for block in blocks]),
        np.concatenate([block.values for block in blocks]),
        np.concatenate([block.ids for block in blocks]),
        blocks[0].history,
    )


_BLOCK_HEAD = struct.Struct("<2sBBIIq")
_BLOCK_MAGIC = b"B1"
_HISTORY, _MARK = 1, 2


def encode_block(block: Block) -> bytes:
    """A block as bytes: head, series, then the three columns, little-endian."""
    series = block.series.to_bytes()
    flags = (_HISTORY if block.history else 0) | (_MARK if block.until is not None else 0)
    head = _BLOCK_HEAD.pack(_BLOCK_MAGIC, flags, 0, len(series), len(block.times), block.until or 0)
    columns = (block.times, block.values, block.ids)
    return head + series + b"".join(column.tobytes() for column in columns)


def decode_block(data: bytes) -> Block:
    """The block that `encode_block` wrote; its arrays are read-only views."""
    flags, start, rows, until = _block_head(data)
    return Block(
        series=Series.from_bytes(data[_BLOCK_HEAD.size : start]),
        times=np.frombuffer(data, "<i8", rows, start),
        values=np.frombuffer(data, "<f8", rows, start + 8 * rows),
        ids=np.frombuffer(data, "<i8", rows, start + 16 * rows),
        history=bool(flags & _HISTORY),
        until=until if flags & _MARK else None,
    )


def decode_blocks(encoded: Sequence[bytes]) -> list[Block]:
    """What was encoded, of one series, with few blocks: those of history, the others, and marks.

    A series that waits for the end of its period has a block for each of many bundles; one after
    another they cost more than all that follows.
    """
    if len(encoded) == 1:
        return [decode_block(encoded[0])]
    blocks = []
    points: dict[int, list[tuple[bytes, int, int]]] = {0: [], _HISTORY: []}
    for data in encoded:
        flags, start, rows, _ = _block_head(data)
        if flags & _MARK:
            blocks.append(decode_block(data))
        else:
            points[flags].append((data, start, rows))
    return blocks + [_joined(alike, bool(flags)) for flags, alike in points.items() if alike]


def _joined(encoded: list[tuple[bytes, int, int]], history: bool) -> Block:
    """One block of several: (bytes, where the columns begin, rows)."""
    first, columns_at, _ = encoded[0]
    words = np.frombuffer(b"".join([data[start:] for data, start, _ in encoded]), "<i8")
    rows = np.array([rows for _, _, rows in encoded])
    # of each row, how many its block has, and where its time is among all words
    own = np.repeat(rows, rows)
    times_at = np.arange(len(own)) + 2 * np.repeat(np.cumsum(rows) - rows, rows)
    return Block(
        series=Series.from_bytes(first[_BLOCK_HEAD.size : columns_at]),
        times=words[times_at],
        values=words[times_at + own].view("<f8"),
        ids=words[times_at + 2 * own],
        history=history,
    )


def _block_head(data: bytes) -> tuple[int, int, int, int]:
    """Flags, where the columns begin, rows, and event time of a mark."""
    magic, flags, _, series_size, rows, until = _BLOCK_HEAD.unpack_from(data)
    if magic != _BLOCK_MAGIC:
        raise ValueError(f"not a block: starts with {magic!r}, expected {_BLOCK_MAGIC!r}")
    return flags, _BLOCK_HEAD.size + series_size, rows, until


def record_id(value: object) -> int:
    """A record's ID as 64 bits: a small integer is itself, anything else is hashed."""
    if type(value) is int and -(2**62) < value < 2**62:
        return value
    digest = hashlib.blake2b(str(value).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


_MINUTES = [f" {minute // 60:02}:{minute % 60:02}" for minute in range(1440)]
_SECONDS = [f":{second:02}" for second in range(60)]


@lru_cache(maxsize=1024)
def _date(days: int) -> str:
    return str(np.datetime_as_string(np.datetime64(days, "D")))


def text_time(time: int) -> str:
    """One event time, as `text_times` has it; without numpy's cost of a call."""
    minutes, micros = divmod(time, 60 * MICROSECONDS)
    seconds, fraction = divmod(micros, MICROSECONDS)
    days, minute = divmod(minutes, 1440)
    text = _date(days) + _MINUTES[minute] + _SECONDS[seconds]
    return f"{text}.{fraction:06}" if fraction else text


def text_times(times: Integers) -> list[str]:
    """Event times as ``YYYY-MM-DD HH:MM:SS`` in UTC, with the fraction only where there is one."""
    if len(times) == 1:
        return [text_time(int(times[0]))]
    minutes, micros = np.divmod(times, 60 * MICROSECONDS)
    seconds, fractions = np.divmod(micros, MICROSECONDS)
    days, minutes = np.divmod(minutes, 1440)
    days, which = np.unique(days, return_inverse=True)
    dates = np.datetime_as_string(days.astype("M8[D]")).tolist()
    # a table look-up a part: numpy formats each time anew, six times slower
    texts = [
        dates[day] + _MINUTES[minute] + _SECONDS[second]
        for day, minute, second in zip(
            which.tolist(), minutes.tolist(), seconds.tolist(), strict=True
        )
    ]
    for row in np.flatnonzero(fractions).tolist():
        texts[row] += f".{fractions[row]:06}"
    return texts


def dimension_list(dimensions: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    """Dimensions as the result record has them."""
    return [{"name": name, "value": value} for name, value in dimensions]
