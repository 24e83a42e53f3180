"""The job file: what is read, which series are watched and how, and where results go.

A job file is YAML, checked as a whole before anything starts: `load_job` names every mistake by
its place, its value and what is allowed. Rules between keys are checked where the keys they
concern are right by themselves. Importing and checking costs no Beam.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator

from pipeline.job_connections import Kafka, Kinesis, connection_missing
from pipeline.job_detector import Detector
from pipeline.job_ends import END_WORDS, SINK_KINDS, SOURCE_KINDS, Feedback, Sinks, Source
from pipeline.job_errors import Mistake, describe, rule_broken
from pipeline.job_file import FileSchema, load_file
from pipeline.job_notify import CHANNEL_KINDS
from pipeline.job_section import Section, Text, repeated


class Job(Section):
    """A whole job file."""

    job: Text = Field(
        pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$",
        max_length=63,
        description="Name of the job: lower-case letters, digits and -, starting with a letter, "
        "not ending in -, at most 63",
    )
    kafka: Kafka | None = Field(
        default=None, description="The brokers of all topics that the job names"
    )
    kinesis: Kinesis | None = Field(
        default=None, description="Where all streams are that the job names"
    )
    source: Source = Field(description="Where records come from")
    detectors: Annotated[tuple[Detector, ...], Field(strict=False)] = Field(
        min_length=1, description="What is watched; at least one"
    )
    feedback: Feedback | None = Field(
        default=None, description="Where rules are that keep expected alerts quiet"
    )
    sinks: Sinks = Field(description="Where results go")

    @field_validator("source")
    @classmethod
    def _source_is_reached(cls, source: Source, info: ValidationInfo) -> Source:
        if source.kafka and (sentence := connection_missing("kafka", info.data)):
            raise rule_broken((("kafka",), sentence))
        return source

    @field_validator("detectors")
    @classmethod
    def _detectors_fit(
        cls, detectors: tuple[Detector, ...], info: ValidationInfo
    ) -> tuple[Detector, ...]:
        mistakes: list[Mistake] = [
            ((i, "name"), f"{describe(name)} is another detector's name; names must be unique")
            for i, name in repeated(detector.name for detector in detectors)
        ]
        if source := info.data.get("source"):
            for i, detector in enumerate(detectors):
                against = _against(detector, source)
                mistakes += [((i, *place), sentence) for place, sentence in against]
        if mistakes:
            raise rule_broken(*mistakes)
        return detectors

    @field_validator("feedback")
    @classmethod
    def _feedback_is_reached(
        cls, feedback: Feedback | None, info: ValidationInfo
    ) -> Feedback | None:
        if feedback is None:
            return None
        if sentence := connection_missing(feedback.kind, info.data):
            raise rule_broken(((feedback.kind,), sentence))
        source = info.data.get("source")
        if source and (feedback.kind, feedback.name) == (source.kind, source.name):
            word = END_WORDS[feedback.kind]
            sentence = f"{describe(feedback.name)} is the source's {word}"
            raise rule_broken(((feedback.kind, word), sentence))
        return feedback

    @field_validator("sinks")
    @classmethod
    def _sinks_are_reached(cls, sinks: Sinks, info: ValidationInfo) -> Sinks:
        source, feedback = info.data.get("source"), info.data.get("feedback")
        mistakes: list[Mistake] = []
        given = {name: sink for name, sink in sinks.lines.items() if getattr(sinks, name)}
        for name, sink in given.items():
            if sentence := connection_missing(sink.kind, info.data):
                mistakes.append(((name, sink.kind), sentence))
            elif source and (sink.kind, sink.name) == (source.kind, source.name):
                sentence = f"{describe(sink.name)} is the source's {END_WORDS[sink.kind]}"
                mistakes.append(((name, sink.kind, END_WORDS[sink.kind]), sentence))
            elif feedback and (sink.kind, sink.name) == (feedback.kind, feedback.name):
                sentence = f"{describe(sink.name)} is where feedback is read"
                place = "path" if sink.path else sink.kind
                mistakes.append(((name, place), sentence))
        if mistakes:
            raise rule_broken(*mistakes)
        return sinks

    @field_validator("sinks")
    @classmethod
    def _layout_fits(cls, sinks: Sinks, info: ValidationInfo) -> Sinks:
        types = {model.type for each in info.data.get("detectors", ()) for model in each.models}
        if sinks.results.format == "left_discords" and types - {"LeftDiscord"}:
            others = ", ".join(sorted(types - {"LeftDiscord"}))
            sentence = f"'left_discords' needs models of type LeftDiscord, but there is {others}"
            raise rule_broken((("results", "format"), sentence + "; write stack"))
        return sinks


def _against(detector: Detector, source: Source) -> list[Mistake]:
    """What a detector lacks for the records of the source, or asks of them in vain."""
    if source.format == "number":
        return _against_numbers(detector)
    if source.is_live:
        return _against_live(detector)
    return _against_fields(detector)


def _against_live(detector: Detector) -> list[Mistake]:
    """What a detector asks of files that a live source has not."""
    mistakes: list[Mistake] = []
    if "measure" not in detector.model_fields_set:
        mistakes.append((("measure",), "missing; the field with the value"))
    if detector.event_time.format == "counter":
        sentence = "counter counts the records of a file; name a field with the event time"
        mistakes.append((("event_time", "format"), sentence))
    if detector.event_time.order == "position":
        sentence = "'position' is for files; partitions have no common order"
        mistakes.append((("event_time", "order"), sentence))
    return mistakes


def _against_fields(detector: Detector) -> list[Mistake]:
    """What a detector lacks for records that have fields."""
    mistakes: list[Mistake] = []
    if "measure" not in detector.model_fields_set:
        mistakes.append((("measure",), "missing; the field with the value"))
    if detector.event_time.format != "counter" and detector.event_time.field is None:
        sentence = "missing; the field with the event time, unless format is counter"
        mistakes.append((("event_time", "field"), sentence))
    return mistakes


def _against_numbers(detector: Detector) -> list[Mistake]:
    """What a detector asks of fields that bare numbers do not have."""
    mistakes: list[Mistake] = []
    if detector.event_time.format != "counter":
        sentence = f"'{detector.event_time.format}' needs a field, which format number has not"
        mistakes.append((("event_time", "format"), sentence + "; write counter"))
    for key in ("dimensions", "record_id"):
        if getattr(detector, key):
            mistakes.append(((key,), "names fields, which format number has not; remove it"))
    return mistakes


def load_job(path: str | Path) -> Job:
    """The job that the file at ``path`` describes.

    Raises
    ------
    JobFileError
        With every mistake in the file, one line each.
    """
    return load_file(path, Job, job_schema, "a job file starts with `job: <name>`")


def job_schema() -> dict[str, Any]:
    """The JSON Schema of a job file, for editors; `load_job` checks more than it can say."""
    schema = Job.model_json_schema(schema_generator=FileSchema)
    kinds = {
        "Source": SOURCE_KINDS,
        "Sink": SINK_KINDS,
        "Results": SINK_KINDS,
        "Feedback": SINK_KINDS,
        "Channel": CHANNEL_KINDS,
    }
    for section, words in kinds.items():
        schema["$defs"][section]["oneOf"] = [{"required": [word]} for word in words]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
