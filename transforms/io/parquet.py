"""The lake: date-partitioned Parquet with names that depend on the data alone.

An object is ``TABLE/date=YYYY-MM-DD/part-00000.parquet``: the day's rows sorted and cut at a row
limit, written by one PUT under its final name. A repeated bundle therefore writes the same object
again, and there is no rename that could be lost.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystems import FileSystems

from transforms.flatten import table_of
from transforms.io.objects import Store, store_at

ROWS_AN_OBJECT = 500_000
_PARSED_BYTES = 64 << 20


class WriteLake(beam.PTransform):
    """(date, JSON lines) into one table of the lake; yields the paths written.

    Parameters
    ----------
    path : str
        Folder of the lake, on any file system Beam knows.
    table : str
        Name of the table: a folder in the lake.
    record : pyarrow.Schema
        The JSON records' schema.
    dimensions : sequence of str
        All dimension names of the job.
    order : sequence of str
        Columns that put a day's rows into one order.
    """

    def __init__(
        self,
        path: str,
        table: str,
        record: pa.Schema,
        dimensions: Sequence[str],
        order: Sequence[str],
    ) -> None:
        super().__init__()
        self._folder = FileSystems.join(path, table)
        self._record = record
        self._dimensions = dimensions
        self._order = order

    def expand(self, lines: beam.PCollection[tuple[str, bytes]]) -> beam.PCollection[str]:
        """Group by day, write each."""
        store = store_at(self._folder, lines.pipeline.options)
        write = WriteDayFn(self._folder, self._record, self._dimensions, self._order, store)
        return (
            lines
            | "Typed" >> beam.Map(lambda row: row).with_output_types(tuple[str, bytes])
            | "ByDay" >> beam.GroupByKey()
            | "WriteDay" >> beam.ParDo(write)
        )


class WriteDayFn(beam.DoFn):
    """A day's lines into Parquet objects; see `WriteLake`."""

    def __init__(
        self,
        folder: str,
        record: pa.Schema,
        dimensions: Sequence[str],
        order: Sequence[str],
        store: Store,
    ) -> None:
        self._folder = folder
        self._record = record
        self._dimensions = tuple(dimensions)
        self._order = [(column, "ascending") for column in order]
        self._store = store

    def process(self, day: tuple[str, Iterable[bytes]]) -> Iterator[str]:
        """Write one day."""
        date, blocks = day
        table = rows_of(blocks, self._record, self._dimensions).sort_by(self._order)
        for part, start in enumerate(range(0, table.num_rows, ROWS_AN_OBJECT)):
            path = f"{self._folder}/date={date}/part-{part:05}.parquet"
            self._store.put(path, to_parquet(table.slice(start, ROWS_AN_OBJECT)))
            yield path


def rows_of(blocks: Iterable[bytes], record: pa.Schema, dimensions: Sequence[str]) -> pa.Table:
    """The rows that blocks of JSON lines hold; at least one line in all.

    Parameters
    ----------
    blocks : iterable of bytes
        One or more lines each.
    record : pyarrow.Schema
        The JSON records' schema.
    dimensions : sequence of str
        All dimension names of the job.
    """
    return pa.concat_tables([table_of(run, record, dimensions) for run in _joined(blocks)])


def to_parquet(table: pa.Table) -> bytes:
    """An object of the lake."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def of_parquet(data: bytes) -> pa.Table:
    """The rows of an object of the lake."""
    return pq.ParquetFile(io.BytesIO(data)).read()


def _joined(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """All lines, in runs that are read at once: Arrow reads less than 2 GiB in a go."""
    run: list[bytes] = []
    size = 0
    for block in blocks:
        run.append(block)
        size += len(block)
        if size >= _PARSED_BYTES:
            yield b"\n".join(run)
            run, size = [], 0
    if run:
        yield b"\n".join(run)
