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
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from transforms.flatten import table_of

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
        self._write = WriteDayFn(FileSystems.join(path, table), record, dimensions, order)

    def expand(self, lines: beam.PCollection[tuple[str, bytes]]) -> beam.PCollection[str]:
        """Group by day, write each."""
        return (
            lines
            | "Typed" >> beam.Map(lambda row: row).with_output_types(tuple[str, bytes])
            | "ByDay" >> beam.GroupByKey()
            | "WriteDay" >> beam.ParDo(self._write)
        )


class WriteDayFn(beam.DoFn):
    """A day's lines into Parquet objects; see `WriteLake`."""

    def __init__(
        self, folder: str, record: pa.Schema, dimensions: Sequence[str], order: Sequence[str]
    ) -> None:
        self._folder = folder
        self._record = record
        self._dimensions = tuple(dimensions)
        self._order = [(column, "ascending") for column in order]

    def process(self, day: tuple[str, Iterable[bytes]]) -> Iterator[str]:
        """Write one day."""
        date, blocks = day
        tables = [table_of(lines, self._record, self._dimensions) for lines in _joined(blocks)]
        table = pa.concat_tables(tables).sort_by(self._order)
        folder = FileSystems.join(self._folder, f"date={date}")
        try:
            FileSystems.mkdirs(folder)
        except OSError:
            pass  # it is there already, or the store has no folders
        for part, start in enumerate(range(0, table.num_rows, ROWS_AN_OBJECT)):
            path = FileSystems.join(folder, f"part-{part:05}.parquet")
            _put(path, table.slice(start, ROWS_AN_OBJECT))
            yield path


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


def _put(path: str, table: pa.Table) -> None:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    with FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        file.write(buffer.getvalue())
