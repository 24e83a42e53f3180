"""Bounded input: files on any file system Beam knows, read in batches with their positions.

One reader reads one file from its start, so that a record's position is its line (or row) number;
files are read side by side. Many middling files therefore read faster than one large one.
"""

from __future__ import annotations

import bz2
import gzip
import os
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from transforms.records import MICROSECONDS, Batch

BATCH_RECORDS = 32_768
BATCH_BYTES = 4 << 20
_CHUNK = 1 << 20


_DECOMPRESS: dict[str, Callable[[Any], Any]] = {".gz": gzip.open, ".bz2": bz2.open}
"""Python's own readers say when a file is cut short; Beam's end there without a word."""


class NoFiles(ValueError):
    """A path or glob that matches nothing."""


class DamagedFile(ValueError):
    """A file that cannot be read to its end."""


def match(patterns: list[str]) -> list[str]:
    """The files that ``patterns`` match, each once, in the order of their paths.

    Raises
    ------
    NoFiles
        A pattern matches nothing.
    """
    paths: set[str] = set()
    # Beam finds no file for a local glob without a folder
    named = [p if os.path.dirname(p) or not _is_glob(p) else f"./{p}" for p in patterns]
    for pattern, found in zip(patterns, FileSystems.match(named), strict=True):
        if not found.metadata_list:
            raise NoFiles(f"{pattern!r} matches no file")
        paths.update(metadata.path for metadata in found.metadata_list)
    return sorted(paths)


def _is_glob(path: str) -> bool:
    return any(sign in path for sign in "*?[")


class ReadFiles(beam.PTransform):
    """Batches of the payloads of files.

    Parameters
    ----------
    patterns : list of str
        Paths or globs; matched when the pipeline is built.
    payload_format : str
        ``json``, ``csv`` and ``number`` are lines; ``parquet`` rows become JSON.
    history : bool
        Whether the records only warm the models up.
    """

    def __init__(self, patterns: list[str], payload_format: str, history: bool = False) -> None:
        super().__init__()
        self._paths = match(patterns)
        self._format = payload_format
        self._history = history
        self._first = -len(self._paths) if history else 0

    def expand(self, begin: Any) -> Any:
        """Create the paths, spread them, read each."""
        read = ReadParquetFn() if self._format == "parquet" else ReadLinesFn(self._format == "csv")
        ranked = enumerate(self._paths, self._first)
        files = [(ordinal, path, self._history) for ordinal, path in ranked]
        return begin | "Paths" >> beam.Create(files) | beam.Reshuffle() | "Read" >> beam.ParDo(read)


class ReadLinesFn(beam.DoFn):
    """Lines of a file in batches; a last line without its end counts, an empty line does not.

    Parameters
    ----------
    header : bool
        Whether the first line names the columns.
    """

    def __init__(self, header: bool) -> None:
        self._header = header

    def process(self, file: tuple[int, str, bool]) -> Iterator[Any]:
        """Read one file."""
        ordinal, path, history = file
        changed = _last_change(path)
        lines = _lines(path)
        header = next(lines, b"") if self._header else b""
        for position, payloads in _runs(lines):
            yield tuple(Batch(path, position, ordinal, history, changed, header, payloads))


def _runs(lines: Iterator[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """Position of its first payload and payloads of each batch; an empty one ends a batch."""
    run: list[bytes] = []
    first = size = 0
    for position, line in enumerate(lines):
        if line:
            first = first if run else position
            run.append(line)
            size += len(line)
        if run and (not line or len(run) >= BATCH_RECORDS or size >= BATCH_BYTES):
            yield first, run
            run, size = [], 0
    if run:
        yield first, run


def _last_change(path: str) -> int:
    return int((FileSystems.last_updated(path) or 0) * MICROSECONDS)


def _lines(path: str) -> Iterator[bytes]:
    begun: list[bytes] = []  # pieces of a line that goes on: joined once, however long it is
    for chunk in _chunks(path):
        *lines, rest = chunk.split(b"\n")
        if lines:
            lines[0] = b"".join([*begun, lines[0]])
            begun = []
            yield from (line.removesuffix(b"\r") for line in lines)
        begun.append(rest)
    if last := b"".join(begun):
        yield last.removesuffix(b"\r")


def _chunks(path: str) -> Iterator[bytes]:
    decompress = _DECOMPRESS.get(os.path.splitext(path)[1].lower())
    compression = CompressionTypes.UNCOMPRESSED if decompress else CompressionTypes.AUTO
    with FileSystems.open(path, compression_type=compression) as stored:
        file = decompress(stored) if decompress else stored
        try:
            while chunk := file.read(_CHUNK):
                yield chunk
        except (OSError, EOFError, zlib.error) as error:
            raise DamagedFile(f"{path} cannot be read to its end: {error}") from error


class ReadParquetFn(beam.DoFn):
    """Rows of a Parquet file as JSON objects, in batches."""

    def process(self, file: tuple[int, str, bool]) -> Iterator[Any]:
        """Read one file."""
        ordinal, path, history = file
        changed = _last_change(path)
        for position, payloads in _runs(_rows(path)):
            yield tuple(Batch(path, position, ordinal, history, changed, b"", payloads))


def _rows(path: str) -> Iterator[bytes]:
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as source:
        try:
            for rows in pq.ParquetFile(source).iter_batches(BATCH_RECORDS):
                # a nanosecond is no event time: Python's datetime ends at the microsecond
                schema = pa.schema([_in_microseconds(field) for field in rows.schema])
                plain = rows.cast(schema, safe=False)
                yield from (_json(row) for row in plain.to_pylist())
        except (OSError, pa.ArrowException) as error:
            raise DamagedFile(f"{path} cannot be read to its end: {error}") from error


def _in_microseconds(field: pa.Field) -> pa.Field:
    kind = field.type
    is_finer = pa.types.is_timestamp(kind) and kind.unit == "ns"
    return field.with_type(pa.timestamp("us", kind.tz)) if is_finer else field


def _json(row: dict[str, Any]) -> bytes:
    # NaN has no JSON: it stays in sight as text, for the parser to refuse by name
    plain = {k: str(v) if isinstance(v, float) and v - v != 0 else v for k, v in row.items()}
    return orjson.dumps(plain, default=str)
