"""The lake of a live stream: Parquet objects by event time, which are sets that only grow.

An object is ``TABLE/date=YYYY-MM-DD/HHMMSS-600s-03of08-00000.parquet``: rows of the 600 seconds
that start at HHMMSS (UTC), the third of eight shards, part 0. Rows wait in a bag until event time
has passed their bucket, or a part of it that the job names. Then one flush reads the object, adds
the rows that it does not have yet, and puts it back whole. What comes after that is added in the
same way by a later flush.

So it does not matter what became of an earlier flush: one that is repeated after a crash, with the
same rows or others, adds what is missing and nothing twice.
"""

from __future__ import annotations

import datetime as dt
import itertools
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import orjson
import pyarrow as pa
from apache_beam.coders import BytesCoder
from apache_beam.io.filesystems import FileSystems
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import (
    BagRuntimeState,
    BagStateSpec,
    RuntimeTimer,
    TimerSpec,
    on_timer,
)
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from transforms.io.objects import Changed, Store, Stored, store_at
from transforms.io.parquet import of_parquet, rows_of, to_parquet
from transforms.records import MICROSECONDS

GRACE = 10 * MICROSECONDS
"""So long after its bucket's end a flush waits for the steps before it, in event time."""
_DAY_SECONDS = 86_400
_END = int(GlobalWindow().max_timestamp().micros)
_WINDOWS = (GlobalWindow(),)
_SHARD_FIELD = "timeseriesId"
_MOST_CHANGES = 9


@dataclass(frozen=True)
class Layout:
    """How rows are spread over objects. It is part of every name: another one never meets it.

    Parameters
    ----------
    bucket : int
        Length of a bucket in microseconds: whole seconds that divide a day.
    shards : int
        Objects that a bucket is spread over.
    """

    bucket: int
    shards: int

    def __post_init__(self) -> None:
        seconds, rest = divmod(self.bucket, MICROSECONDS)
        if rest or seconds < 1 or _DAY_SECONDS % seconds:
            raise ValueError(
                "bucket must be whole seconds that divide a day, in microseconds, "
                f"got {self.bucket}"
            )
        if not 1 <= self.shards <= 99:
            raise ValueError(f"shards must be from 1 to 99, got {self.shards}")

    def shard(self, values: Sequence[object]) -> int:
        """The shard of a row that has these values."""
        return zlib.crc32(orjson.dumps(values)) % self.shards

    def stem(self, time: str, shard: int) -> str:
        """Where a row lies in its table: ``date=YYYY-MM-DD/HHMMSS-600s-03of08``.

        Parameters
        ----------
        time : str
            The row's time, ``YYYY-MM-DD HH:MM:SS[.ffffff]``.
        shard : int
            Its shard, from 0.
        """
        seconds = self.bucket // MICROSECONDS
        second = int(time[11:13]) * 3600 + int(time[14:16]) * 60 + int(time[17:19])
        start = second - second % seconds
        clock = f"{start // 3600:02}{start // 60 % 60:02}{start % 60:02}"
        return f"date={time[:10]}/{clock}-{seconds}s-{shard:02}of{self.shards:02}"


def bucket_of(stem: str) -> tuple[int, int]:
    """Start and end, microseconds since 1970, of the bucket that a stem names."""
    date, clock, seconds = stem[5:15], stem[16:22], stem[23:].partition("s")[0]
    start = dt.datetime.strptime(f"{date} {clock} +0000", "%Y-%m-%d %H%M%S %z")
    micros = int(start.timestamp()) * MICROSECONDS
    return micros, micros + int(seconds) * MICROSECONDS


def due_time(stem: str, now: int, every: int) -> int:
    """Event time of the flush that takes in a row that comes at event time ``now``.

    While its bucket lasts that is the next multiple of ``every`` and `GRACE`. For a row that comes
    after the bucket it is whole buckets after its end, so that a backlog rewrites an object once a
    bucket of progress and not once a row.

    Parameters
    ----------
    stem : str
        Names the bucket.
    now : int
        Microseconds since 1970.
    every : int
        From one flush to the next, microseconds; divides the bucket.
    """
    start, end = bucket_of(stem)
    first, spacing = (start + every, every) if now <= end + GRACE else (end, end - start)
    first += GRACE
    late = max(0, -(-(now - first) // spacing))
    return min(first + late * spacing, _END)


class WriteLakeLive(beam.PTransform):
    """JSON lines, one or more an element, into one table of the lake; yields the paths written.

    Parameters
    ----------
    path : str
        Folder of the lake: local, ``s3://`` or what Beam has a file system for.
    table : str
        Name of the table: a folder in the lake.
    record : pyarrow.Schema
        The JSON records' schema.
    dimensions : sequence of str
        All dimension names of the job.
    order : sequence of str
        Columns that identify a row and put an object's rows into one order. Of rows that are
        equal in all of them the lake has one.
    time_field : str
        The field with the row's event time, ``YYYY-MM-DD HH:MM:SS[.ffffff]`` in UTC.
    bucket : int
        Length of a bucket in microseconds: whole seconds that divide a day.
    flush_every : int
        How long rows wait in state until they become visible, microseconds: divides the bucket.
        Its objects are put anew at each flush.
    shards : int
        Objects that a bucket is spread over, and so how many workers write at once.
    rows : int
        Most rows of an object; a bucket's shard with more gets further parts.
    """

    def __init__(
        self,
        path: str,
        table: str,
        record: pa.Schema,
        dimensions: Sequence[str],
        order: Sequence[str],
        time_field: str,
        bucket: int,
        flush_every: int,
        shards: int,
        rows: int,
    ) -> None:
        super().__init__()
        if rows < 1:
            raise ValueError(f"rows must be >= 1, got {rows}")
        if flush_every < 1 or bucket % flush_every:
            raise ValueError(f"flush_every must divide the bucket, {bucket}, got {flush_every}")
        if time_field not in record.names:
            raise ValueError(f"time_field must be one of {record.names}, got {time_field!r}")
        self._folder = FileSystems.join(path, table)
        self._record = record
        self._dimensions = tuple(dimensions)
        self._order = tuple(order)
        self._rows = rows
        self._every = flush_every
        shard_fields = (_SHARD_FIELD,) if _SHARD_FIELD in record.names else self._order
        self._place = PlaceFn(Layout(bucket, shards), time_field, shard_fields)

    def expand(self, lines: beam.PCollection[bytes]) -> beam.PCollection[str]:
        """Place every row, let it wait, add it to its object."""
        store = store_at(self._folder, lines.pipeline.options)
        table = GrowingTable(
            store, self._folder, self._record, self._dimensions, self._order, self._rows
        )
        placed = lines | "Place" >> beam.ParDo(self._place).with_output_types(tuple[str, bytes])
        flush = FlushFn(table, self._every)
        return placed | "Flush" >> beam.ParDo(flush).with_output_types(str)


class PlaceFn(beam.DoFn):
    """JSON lines into (stem, JSON lines), gathered over a bundle: state costs by the touch.

    Parameters
    ----------
    layout : Layout
        Buckets and shards.
    time_field : str
        The field with the row's time.
    shard_fields : tuple of str
        The fields whose values the shard is hashed from.
    """

    def __init__(self, layout: Layout, time_field: str, shard_fields: tuple[str, ...]) -> None:
        self._layout = layout
        self._time_field = time_field
        self._shard_fields = shard_fields
        self._lines: dict[tuple[str, int], list[bytes]] = {}

    def start_bundle(self) -> None:
        """Forget what a failed bundle left."""
        self._lines = {}

    def process(self, lines: bytes, timestamp: Timestamp = beam.DoFn.TimestampParam) -> None:
        """Place each line."""
        micros = int(timestamp.micros)
        stems: dict[tuple[str, tuple[object, ...]], list[bytes]] = {}
        for line in lines.split(b"\n"):
            record = orjson.loads(line)
            values = tuple([record[field] for field in self._shard_fields])
            stems.setdefault((record[self._time_field][:19], values), []).append(line)
        for (second, values), found in stems.items():
            stem = self._layout.stem(second, self._layout.shard(values))
            self._lines.setdefault((stem, micros), []).extend(found)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Put out what the bundle had."""
        for (stem, micros), lines in self._lines.items():
            block = (stem, b"\n".join(lines))
            yield WindowedValue(block, Timestamp(micros=micros), _WINDOWS)
        self._lines = {}


class FlushFn(beam.DoFn):
    """(stem, JSON lines) into objects; yields their paths.

    ``process`` reads no state, for a read is what a runner makes a worker wait for. A timer only
    wakes: early, repeated or out of order, it adds what waits and the objects end the same.

    Parameters
    ----------
    table : GrowingTable
        Where rows go.
    every : int
        From one flush of a bucket to the next, microseconds.
    """

    WAITING = BagStateSpec("waiting", BytesCoder())
    # a name of its own: where two steps of one bundle share a timer's name, Beam's Direct runner
    # (2.77) gives each the other's timers
    DUE = TimerSpec("flush", TimeDomain.WATERMARK)

    def __init__(self, table: GrowingTable, every: int) -> None:
        self._table = table
        self._every = every

    def process(
        self,
        element: tuple[str, bytes],
        timestamp: Timestamp = beam.DoFn.TimestampParam,
        waiting: BagRuntimeState = beam.DoFn.StateParam(WAITING),
        due: RuntimeTimer = beam.DoFn.TimerParam(DUE),
    ) -> None:
        """Let the lines wait for the next flush."""
        stem, lines = element
        waiting.add(lines)
        micros = due_time(stem, int(timestamp.micros), self._every)
        # a tag of its own, so that a later row does not move an earlier one's flush
        due.set(Timestamp(micros=micros), dynamic_timer_tag=str(micros))

    @on_timer(DUE)
    def flush(
        self,
        stem: str = beam.DoFn.KeyParam,
        waiting: BagRuntimeState = beam.DoFn.StateParam(WAITING),
    ) -> Iterator[str]:
        """Add what waits to the bucket's objects."""
        blocks = list(waiting.read())
        if blocks:
            yield from self._table.add(stem, blocks)
            waiting.clear()


@dataclass(frozen=True)
class GrowingTable:
    """A table whose objects are sets of rows: `add` is repeatable, and nothing is taken away.

    Parameters
    ----------
    store : Store
        Where the objects are.
    folder : str
        The table's folder.
    record, dimensions, order, rows
        See `WriteLakeLive`.
    """

    store: Store
    folder: str
    record: pa.Schema
    dimensions: tuple[str, ...]
    order: tuple[str, ...]
    rows: int

    def add(self, stem: str, blocks: Iterable[bytes]) -> list[str]:
        """Add the rows that the objects of ``stem`` do not have yet; the paths that were written.

        A part is only ever replaced by one with more rows, so a crash between two puts leaves
        nothing out and the next flush adds the rest.
        """
        rows = rows_of(blocks, self.record, self.dimensions)
        path = f"{self.folder}/{stem}"
        for _ in range(_MOST_CHANGES):
            try:
                return self._add(path, rows)
            except Changed:
                continue  # another worker, given up but still running, wrote it since it was read
        return self._add(path, rows)

    def _add(self, path: str, rows: pa.Table) -> list[str]:
        parts = list(self._parts(path))
        fresh = self._missing(rows, [table for _, table in parts])
        puts: list[tuple[int, Stored | None, pa.Table]] = []
        start = 0
        if parts and parts[-1][1].schema.equals(fresh.schema):
            known, last = parts[-1]
            start = max(0, self.rows - last.num_rows)
            if fresh.num_rows and start:
                puts.append((len(parts) - 1, known, pa.concat_tables([last, fresh[:start]])))
        for number, first in enumerate(range(start, fresh.num_rows, self.rows), len(parts)):
            puts.append((number, None, fresh.slice(first, self.rows)))
        for number, stored, table in puts:
            self.store.replace(_part(path, number), to_parquet(self._sorted(table)), stored)
        return [_part(path, number) for number, _, _ in puts]

    def _parts(self, path: str) -> Iterator[tuple[Stored, pa.Table]]:
        """The objects that there are."""
        for number in itertools.count():
            stored = self.store.read(_part(path, number))
            if stored is None:
                return
            yield stored, of_parquet(stored.data)

    def _missing(self, rows: pa.Table, stored: list[pa.Table]) -> pa.Table:
        """The rows that are in none of the tables, each once, in order."""
        seen = {identity for table in stored for identity in self._identities(table)}
        new = []
        for identity in self._identities(rows):
            new.append(identity not in seen)
            seen.add(identity)
        return self._sorted(rows.filter(pa.array(new, pa.bool_())))

    def _identities(self, table: pa.Table) -> Iterator[tuple[Any, ...]]:
        # not a join: for Arrow a null is never equal to a null
        return zip(*(table[column].to_pylist() for column in self.order), strict=True)

    def _sorted(self, table: pa.Table) -> pa.Table:
        return table.sort_by([(column, "ascending") for column in self.order])


def _part(path: str, number: int) -> str:
    return f"{path}-{number:05}.parquet"
