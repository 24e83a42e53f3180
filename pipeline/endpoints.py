"""Where the job's records come from and its results go, as transforms."""

from __future__ import annotations

from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.coders import BytesCoder
from apache_beam.io.filesystems import FileSystems

from pipeline.job import Job
from transforms import schema
from transforms.io.files import ReadFiles
from transforms.io.parquet import WriteLake

LAKE_TABLES: dict[str, tuple[pa.Schema, tuple[str, ...]]] = {
    "results": (
        schema.RESULT,
        ("detectorName", "timeseriesId", "detectionPeriodStartTime", "resultId"),
    ),
    "late": (
        schema.LATE,
        ("detectorName", "timeseriesId", "eventTime", "recordId", "measureValue"),
    ),
    "dead_letters": (schema.DEAD_LETTER, ("source", "position", "detectorName")),
}
"""The lake's tables: their JSON records and the order of a day's rows."""

_DAY_FIELD = {"late": b'"eventTime":"', "dead_letters": b'"time":"'}


class ReadSource(beam.PTransform):
    """Batches of the job's history and its source, in one collection."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        source = job.source
        self._files = ReadFiles(list(source.files), source.format)
        self._history = (
            ReadFiles(list(source.history), source.format, history=True) if source.history else None
        )

    def expand(self, begin: Any) -> Any:
        """Read both; they meet before anything looks at event time."""
        files = begin | "Files" >> self._files
        if self._history is None:
            return files
        return (files, begin | "History" >> self._history) | beam.Flatten()


class WriteLines(beam.PTransform):
    """JSON lines into ``FOLDER/part-00000-of-0000N.jsonl``."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        path = FileSystems.join(folder, "part")
        self._write = beam.io.WriteToText(path, ".jsonl", coder=BytesCoder())

    def expand(self, lines: Any) -> Any:
        """Write all lines; an element may hold several."""
        return lines | self._write


class WriteObject(beam.PTransform):
    """The one element of a collection into one file."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._write = beam.io.WriteToText(
            path, num_shards=1, shard_name_template="", coder=BytesCoder()
        )

    def expand(self, text: Any) -> Any:
        """Write it under its final name."""
        return text | self._write


class WriteLakeTable(beam.PTransform):
    """(date, lines) or single JSON lines into one of `LAKE_TABLES`."""

    def __init__(self, job: Job, table: str) -> None:
        super().__init__()
        if job.sinks.lake is None:
            raise ValueError("the job has no lake")
        names = {name: None for detector in job.detectors for name in detector.dimensions}
        record, order = LAKE_TABLES[table]
        self._write = WriteLake(job.sinks.lake.path, table, record, list(names), order)
        self._day_field = _DAY_FIELD.get(table)

    def expand(self, lines: Any) -> Any:
        """Put a date to lines that have none, then write."""
        if self._day_field is not None:
            lines = lines | "Dated" >> beam.Map(_dated, self._day_field)
        return lines | self._write


def _dated(line: bytes, field: bytes) -> tuple[str, bytes]:
    start = line.index(field) + len(field)
    return line[start : start + 10].decode(), line


def previous_output(job: Job) -> list[str]:
    """Files at the job's sinks that an earlier run left and this one would not overwrite whole."""
    patterns = []
    for name, path in job.sinks.paths.items():
        if name == "lake":
            patterns += [f"{path.rstrip('/')}/{table}/date=*/*.parquet" for table in LAKE_TABLES]
        elif name != "balance":
            patterns.append(f"{path.rstrip('/')}/part-?????-of-?????.jsonl")
    found = FileSystems.match(patterns)
    return sorted(file.path for result in found for file in result.metadata_list)
