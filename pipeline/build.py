"""The whole graph, in the order of the data."""

from __future__ import annotations

from typing import Any

import apache_beam as beam

from pipeline.endpoints import (
    HeedFeedback,
    NotifyPeople,
    ReadSource,
    WriteLakeTable,
    WriteLines,
    WriteObject,
)
from pipeline.job import Job
from pipeline.plan import detections_of, fields_of
from transforms import detect, parse
from transforms.balance import Balance
from transforms.detect import DetectFn, Settings
from transforms.parse import ParseFn
from transforms.silence import MarkInputEnd


def build(pipeline: beam.Pipeline, job: Job, settings: Settings) -> None:
    """Read, parse, score and decide by series, write; every label is the identity of saved state.

    Parameters
    ----------
    pipeline : beam.Pipeline
        Where the steps are added.
    job : Job
        What is read, watched and written.
    settings : Settings
        How the stateful step runs; no result depends on it. Its ``flush_every`` also says whether
        the run ends: None, and a live source is read up to its present end.
    """
    detections = detections_of(job)
    sinks = job.sinks
    ends = settings.flush_every is None

    parsed = (
        pipeline
        | "Read" >> ReadSource(job, bounded=ends)
        | "Parse"
        >> beam.ParDo(ParseFn(job.source.format, fields_of(job))).with_outputs(
            parse.DEAD, parse.TALLY, main="blocks"
        )
    )
    blocks = parsed.blocks | "Keyed" >> beam.Map(_same).with_output_types(tuple[str, bytes])
    fills = frozenset(name for name, each in detections.items() if each.fills)
    if fills and ends:
        marks = blocks | "MarkInputEnd" >> MarkInputEnd(fills)
        blocks = (blocks, marks) | "WithMarks" >> beam.Flatten()
    found = blocks | "Detect" >> beam.ParDo(DetectFn(detections, settings)).with_outputs(
        detect.ALERTS, detect.LATE, detect.TALLY, detect.LEFT_DISCORDS, main="results"
    )

    alerts, dead = found[detect.ALERTS], parsed[parse.DEAD]
    if job.feedback:
        alerts, refused = alerts | "Feedback" >> HeedFeedback(job, ends)
        dead = (dead, refused) | "AllDead" >> beam.Flatten()

    discords = sinks.results.format == "left_discords"
    shown = found[detect.LEFT_DISCORDS] if discords else found.results
    shown | "ResultLines" >> beam.Map(_keyed) | "WriteResults" >> WriteLines(job, "results")
    found[detect.LATE] | "WriteLate" >> WriteLines(job, "late")
    dead | "WriteDeadLetters" >> WriteLines(job, "dead_letters")
    if sinks.alerts:
        alerts | "WriteAlerts" >> WriteLines(job, "alerts")
    if sinks.notify:
        undelivered = alerts | "Notify" >> NotifyPeople(job, ends)
        undelivered | "WriteUndelivered" >> WriteLines(job, "undelivered")
    if sinks.lake:
        by_date = found.results | "ByDate" >> beam.Map(lambda row: (row[1], row[2]))
        by_date | "LakeResults" >> WriteLakeTable(job, "results", ends)
        found[detect.LATE] | "LakeLate" >> WriteLakeTable(job, "late", ends)
        parsed[parse.DEAD] | "LakeDeadLetters" >> WriteLakeTable(job, "dead_letters", ends)
    if sinks.balance_path and ends:
        tallies = (parsed[parse.TALLY], found[detect.TALLY]) | "Tallies" >> beam.Flatten()
        balance = tallies | "Balance" >> Balance(list(detections))
        balance | "WriteBalance" >> WriteObject(sinks.balance_path)


def _same(element: Any) -> Any:
    return element


def _keyed(result: tuple[str, str, bytes]) -> tuple[str, bytes]:
    series, _, lines = result
    return series, lines
