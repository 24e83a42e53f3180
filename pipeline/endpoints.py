"""Where the job's records come from and its results go, as transforms."""

from __future__ import annotations

import math
from typing import Any

import apache_beam as beam
import orjson
import pyarrow as pa
from apache_beam.coders import BytesCoder
from apache_beam.io.filesystems import FileSystems

from pipeline.connect import kafka_cluster, kinesis_stream
from pipeline.job import Job
from pipeline.plan import fields_of
from pipeline.recipients import recipients_of, wording_of
from transforms import mute, schema
from transforms.io.files import ReadFiles
from transforms.io.parquet import ROWS_AN_OBJECT, WriteLake
from transforms.mute import MuteAlerts, ReadRulesFn
from transforms.watermark import EventTimes

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

_TIME_FIELD = {"results": "detectionPeriodStartTime", "late": "eventTime", "dead_letters": "time"}
_DAY_FIELD = {"late": b'"eventTime":"', "dead_letters": b'"time":"'}
_KEY_FIELD = {
    "alerts": "timeseriesId",
    "late": "timeseriesId",
    "dead_letters": "source",
    "undelivered": "channel",
}
"""Fields that key a message, so that what belongs together keeps its order."""


IDLE_RULES = 30_000_000
"""Microseconds after which a quiet topic of rules holds nobody up; nobody waits for it anyhow."""


class ReadSource(beam.PTransform):
    """Batches of the job's history and its source, in one collection.

    Parameters
    ----------
    job : Job
        Names them.
    bounded : bool
        Read a live source up to where it ends now; files are bounded anyhow.
    """

    def __init__(self, job: Job, bounded: bool = True) -> None:
        super().__init__()
        source = job.source
        self._kind = source.kind
        self._read = _live_source(job, bounded) if source.is_live else _files(job)
        self._history = (
            ReadFiles(list(source.history), source.format, history=True) if source.history else None
        )

    def expand(self, begin: Any) -> Any:
        """Read both; they meet before anything looks at event time."""
        read = begin | self._kind.capitalize() >> self._read
        if self._history is None:
            return read
        return (read, begin | "History" >> self._history) | beam.Flatten()


def _files(job: Job) -> beam.PTransform:
    return ReadFiles(list(job.source.files), job.source.format)


def _live_source(job: Job, bounded: bool) -> beam.PTransform:
    source = job.source
    times = EventTimes(source.format, fields_of(job))
    disorder = max(detector.allowed_disorder for detector in job.detectors)
    live = source.kafka or source.kinesis
    if live is None:
        raise ValueError("the job has no live source")
    how = (live.start, times, disorder, live.idle_after, live.splits, bounded)
    if source.kafka:
        from transforms.io.kafka import ReadKafka

        topic, group = source.kafka.topic, source.kafka.group or job.job
        return ReadKafka(kafka_cluster(job), topic, group, *how, period=_shared_period(job))
    from transforms.io.kinesis import ReadKinesis

    return ReadKinesis(kinesis_stream(job, source.name), *how)


def _shared_period(job: Job) -> int:
    """Microseconds; each detector's period ends at multiples of it. 0: one has no periods."""
    periods = [each.aggregation.period if each.aggregation else 0 for each in job.detectors]
    return math.gcd(*periods) if all(periods) else 0


class HeedFeedback(beam.PTransform):
    """Alerts as JSON lines into those that say which rule keeps them quiet, and dead letters.

    The rules' event time waits for nothing and holds nobody up, except what waits for event time:
    so their dead letters go to the sink of lines, not to the lake.
    """

    def __init__(self, job: Job, bounded: bool) -> None:
        super().__init__()
        self._detectors = frozenset(detector.name for detector in job.detectors)
        self._mute = MuteAlerts(bounded)
        feedback = job.feedback
        if feedback is None:
            raise ValueError("the job has no feedback")
        times = EventTimes("json", ())  # a rule moves no watermark
        how = ("earliest", times, 0, IDLE_RULES, 1, bounded)
        self._read: Any
        if feedback.kafka:
            from transforms.io.kafka import ReadKafka

            group = f"{job.job}-feedback"
            self._read = ReadKafka(kafka_cluster(job), feedback.name, group, *how)
        elif feedback.kinesis:
            from transforms.io.kinesis import ReadKinesis

            self._read = ReadKinesis(kinesis_stream(job, feedback.name), *how)
        elif FileSystems.exists(feedback.name):
            self._read = ReadFiles([feedback.name], "json")
        else:  # nobody has said anything yet
            self._read = beam.Create([])

    def expand(self, alerts: Any) -> Any:
        """Read the rules, bring them to the alerts."""
        read = beam.ParDo(ReadRulesFn(self._detectors)).with_outputs(mute.DEAD, main="rules")
        said = alerts.pipeline | "Read" >> self._read | "Rules" >> read
        return (alerts, said.rules) | "Mute" >> self._mute, said[mute.DEAD]


class WriteLines(beam.PTransform):
    """JSON lines into the job's sink of that name: a folder's files, a topic or a stream.

    Elements are single lines, or (key, one or more lines) for results. A file is
    ``FOLDER/part-00000-of-0000N.jsonl``.

    Parameters
    ----------
    job : Job
        Names the sinks.
    name : str
        ``results``, ``alerts``, ``late``, ``dead_letters`` or ``undelivered``.
    """

    def __init__(self, job: Job, name: str) -> None:
        super().__init__()
        self._sink = job.sinks.lines[name]
        self._key_field = _KEY_FIELD.get(name)
        self._write: Any
        if self._sink.kafka:
            from transforms.io.kafka import WriteKafka

            self._write = WriteKafka(kafka_cluster(job), self._sink.name)
        elif self._sink.kinesis:
            from transforms.io.kinesis import WriteKinesis

            self._write = WriteKinesis(kinesis_stream(job, self._sink.name))
        else:
            path = FileSystems.join(self._sink.name, "part")
            self._write = beam.io.WriteToText(path, ".jsonl", coder=BytesCoder())

    def expand(self, lines: Any) -> Any:
        """Write all lines."""
        if self._sink.path:
            if self._key_field is None:
                lines = lines | "Lines" >> beam.Values()
        elif self._key_field is not None:
            lines = lines | "Keyed" >> beam.Map(_keyed, self._key_field)
        if not self._sink.path:
            lines = lines | "Typed" >> beam.Map(_same).with_output_types(tuple[str, bytes])
        return lines | self._write


def _keyed(line: bytes, field: str) -> tuple[str, bytes]:
    return str(orjson.loads(line)[field]), line


def _same(element: Any) -> Any:
    return element


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
    """(date, lines) or single JSON lines into one of `LAKE_TABLES`.

    Files make objects of a day, live sources objects of a bucket of event time, also where they
    are read to their end: so a live run can go on in the same lake.
    """

    def __init__(self, job: Job, table: str, bounded: bool) -> None:
        super().__init__()
        lake = job.sinks.lake
        if lake is None:
            raise ValueError("the job has no lake")
        self._day_field = _DAY_FIELD.get(table)
        self._is_live = job.source.is_live
        self._bounded = bounded
        names = list({name: None for detector in job.detectors for name in detector.dimensions})
        record, order = LAKE_TABLES[table]
        self._write: Any
        if self._is_live:
            from transforms.io.lake_live import WriteLakeLive

            time_field = _TIME_FIELD[table]
            when = (time_field, lake.bucket, lake.flush_every or lake.bucket)
            how = (*when, lake.shards, ROWS_AN_OBJECT)
            self._write = WriteLakeLive(lake.path, table, record, names, order, *how)
        else:
            self._write = WriteLake(lake.path, table, record, names, order)

    def expand(self, lines: Any) -> Any:
        """Bring the lines into the form that is written, then write."""
        if self._is_live and self._day_field is None:
            lines = lines | "Lines" >> beam.Values()
        if self._is_live and self._bounded:
            # in one stage with the step before, whose timers fire at the end of the input, Beam's
            # Direct runner (2.77) would drop the timers that are set then
            lines = lines | "Apart" >> beam.Reshuffle()
        if not self._is_live and self._day_field is not None:
            lines = lines | "Dated" >> beam.Map(_dated, self._day_field)
        return lines | self._write


def _dated(line: bytes, field: bytes) -> tuple[str, bytes]:
    start = line.index(field) + len(field)
    return line[start : start + 10].decode(), line


class NotifyPeople(beam.PTransform):
    """Alerts as JSON lines to the job's channels; yields what could not be delivered."""

    def __init__(self, job: Job, ends: bool) -> None:
        super().__init__()
        from transforms.io.notify import Notify

        self._notify = Notify(recipients_of(job), wording_of(job), job.sinks.deliveries_path, ends)

    def expand(self, alerts: Any) -> Any:
        """Tell them."""
        return alerts | self._notify


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
