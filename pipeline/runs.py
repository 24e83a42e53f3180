"""The results of a run, wherever they were written: files, a lake, a Kafka topic."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson
import pyarrow.parquet as pq
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.job import Job
from pipeline.topics import Unreadable, values_of
from transforms import schema
from transforms.io.files import ReadLinesFn
from transforms.records import Batch

Row = dict[str, Any]
_KAFKA = re.compile(r"kafka://(?P<brokers>[^/]+)/(?P<topic>[^/]+)")
_FILES = ("{}/part-?????-of-?????.jsonl", "{}/results/date=*/*.parquet", "{}/date=*/*.parquet")
_ROWS_A_READ = 4096
_TAKEN = {name.lower() for name in schema.RESULT.names} | {"date"}


class NoRun(ValueError):
    """What was named as a run cannot be read as one."""


def rows_of(run: str, job: Job | None = None) -> Iterator[Row]:
    """Every result that a run wrote, in any order, repetitions among them.

    Parameters
    ----------
    run : str
        A folder of JSON-lines files, a lake or its table of results, one ``.jsonl`` or
        ``.parquet`` file or a glob of them, or ``kafka://HOST:PORT[,HOST:PORT]/TOPIC``, which is
        read up to its present end.
    job : Job, optional
        Its ``kafka`` section says how to get into the brokers.

    Raises
    ------
    NoRun
        Nothing is there, or it is not the results of a run.
    """
    if found := _KAFKA.fullmatch(run):
        lines = _topic(found["brokers"].split(","), found["topic"], job)
        yield from (_parsed(line, run) for line in lines)
        return
    for path in _files(run.rstrip("/")):
        yield from _parquet(path) if path.endswith(".parquet") else _jsonl(path)


def _files(run: str) -> list[str]:
    is_file = re.search(r"\.(jsonl(\.gz|\.bz2)?|parquet)$", run)
    FileSystems.set_options(PipelineOptions([]))  # s3:// and gs:// ask for them
    patterns = [run] if is_file else [pattern.format(run) for pattern in _FILES]
    for found in FileSystems.match(patterns):
        if found.metadata_list:
            return sorted(metadata.path for metadata in found.metadata_list)
    raise NoRun(
        f"{run}: no results there; name a folder with part-*.jsonl, a lake, a .jsonl or .parquet "
        "file, or kafka://HOST:PORT/TOPIC"
    )


def _jsonl(path: str) -> Iterator[Row]:
    for elements in ReadLinesFn(header=False).process((0, path, False)):
        for line in Batch(*elements).payloads:
            yield _parsed(line, path)


def _parsed(line: bytes, where: str) -> Row:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise NoRun(f"{where}: not JSON: {error}") from error
    if not isinstance(row, dict) or "resultId" not in row:
        raise NoRun(f"{where}: a row has no resultId; only the layout stack can be compared")
    if "dimensionList" in row:
        pairs = row.pop("dimensionList")
        row["dimensions"] = {_column(pair["name"]): pair["value"] for pair in pairs}
    return row


def _column(dimension: str) -> str:
    """A dimension's column in the lake, as long as no two differ in case alone."""
    return f"dimension_{dimension}" if dimension.lower() in _TAKEN else dimension


def _parquet(path: str) -> Iterator[Row]:
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as source:
        file = pq.ParquetFile(source)
        if "resultId" not in file.schema_arrow.names:
            raise NoRun(f"{path}: has no column resultId; name the lake or its table of results")
        for batch in file.iter_batches(_ROWS_A_READ):
            yield from map(_unflattened, batch.to_pylist())


def _unflattened(row: Row) -> Row:
    """A row of the lake as the JSON record has it; a dimension that is null is not the series'."""
    plain = {name: value for name, value in row.items() if name in schema.RESULT.names}
    plain["dimensions"] = {
        name: value for name, value in row.items() if name not in plain and value is not None
    }
    return plain


def _topic(brokers: list[str], topic: str, job: Job | None) -> Iterator[bytes]:
    """Values of a topic's messages, from its first to those that are its last now."""
    try:
        yield from values_of(_cluster(brokers, job), topic)
    except Unreadable as error:
        raise NoRun(str(error)) from error


def _cluster(brokers: list[str], job: Job | None) -> Any:
    from transforms.io.kafka_client import KafkaCluster

    known = job.kafka if job is not None else None
    if known is None:
        return KafkaCluster(tuple(brokers))
    return KafkaCluster(
        tuple(brokers),
        tuple(known.properties.items()),
        tuple(known.secrets.items()),
        known.msk_iam_region,
    )


def canonical(row: Row, ignored: frozenset[str]) -> str:
    """The row as one text: equal texts are equal bits, as a number's shortest text names it."""
    kept = {name: value for name, value in row.items() if name not in ignored}
    return orjson.dumps(kept, option=orjson.OPT_SORT_KEYS).decode()
