"""What people say of anomalies, brought to where a job reads it; costs no Beam."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.job import Job
from pipeline.job_connections import Kinesis
from transforms.feedback_rules import (
    Feedback,
    FeedbackRule,
    now_text,
    rule_id,
    rule_of,
    time_text,
)

NOT_AN_ANOMALY_DAYS = 30
"""How long "not an anomaly" holds where nobody says until when."""
_DELIVERY_SECONDS = 10.0


class CannotSay(Exception):
    """Feedback could not be given; the text says why and what to do."""


def make_rule(
    kind: str,
    detector: str,
    series: str | None,
    valid_from: str,
    valid_until: str,
    most_score: float | None = None,
    alert_id: str | None = None,
    note: str | None = None,
    clock: float | None = None,
) -> FeedbackRule:
    """A rule with its ID.

    Parameters
    ----------
    kind : str
        ``not_an_anomaly`` or ``expected``.
    detector, series : str
        Whose alerts; no series: all of the detector.
    valid_from, valid_until : str
        ISO 8601, event time.
    most_score : float, optional
        Only alerts whose score is not above it.
    alert_id, note : str, optional
        The anomaly that it is said of, and why.
    clock : float, optional
        Seconds since 1970; None: now.

    Raises
    ------
    CannotSay
        A time is none, or the end is not after the start.
    """
    try:
        start, end = time_text(valid_from), time_text(valid_until)
    except ValueError as error:
        raise CannotSay(str(error)) from None
    if end <= start:
        raise CannotSay(f"it would be valid until {end}, which is not after its start, {start}")
    if most_score is not None and not 0 <= most_score <= 100:
        raise CannotSay(f"the score must be 0 to 100, got {most_score:g}")
    identity = rule_id(kind, detector, series, alert_id or start)
    made = now_text(time.time() if clock is None else clock)
    return FeedbackRule(
        identity, kind, detector, series, start, end, most_score, alert_id, note, made
    )


def say(job: Job, rule: FeedbackRule) -> None:
    """Put a rule where the job reads it; returns when it is there.

    Raises
    ------
    CannotSay
        The job has no feedback, no detector of this name, or its topic, stream or file cannot be
        written.
    """
    if job.feedback is None:
        raise CannotSay("the job reads no feedback; name a place for it, feedback: {...}")
    names = [detector.name for detector in job.detectors]
    if rule.detectorName not in names:
        raise CannotSay(
            f"the job has no detector {rule.detectorName!r}; its detectors: {', '.join(names)}"
        )
    if job.feedback.kafka:
        _to_kafka(job, job.feedback.name, rule)
    elif job.feedback.kinesis:
        _to_kinesis(job, job.feedback.name, rule)
    else:
        _to_file(job.feedback.name, rule)


def _to_kafka(job: Job, topic: str, rule: FeedbackRule) -> None:
    from confluent_kafka import KafkaException

    from pipeline.connect import kafka_cluster

    failed: list[Any] = []

    def reported(error: Any, _: Any) -> None:
        if error is not None:
            failed.append(error)

    try:
        producer = kafka_cluster(job).producer()
        producer.produce(
            topic,
            rule.to_line(),
            rule.ruleId,
            on_delivery=reported,
        )
        left = producer.flush(_DELIVERY_SECONDS)
    except (KafkaException, ValueError) as error:
        raise CannotSay(f"topic {topic} cannot be written: {error}") from error
    if left or failed:
        reason = failed[0].str() if failed else f"no answer in {_DELIVERY_SECONDS:g} s"
        raise CannotSay(f"topic {topic} did not take it: {reason}")


def _to_kinesis(job: Job, stream: str, rule: FeedbackRule) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    from transforms.io import aws

    where = job.kinesis or Kinesis()
    try:
        client = aws.client("kinesis", where.endpoint_url, where.region)
        client.put_record(StreamName=stream, Data=rule.to_line(), PartitionKey=rule.ruleId)
    except (BotoCoreError, ClientError) as error:
        raise CannotSay(f"stream {stream} did not take it: {error}") from error


def _to_file(path: str, rule: FeedbackRule) -> None:
    if "://" in path:
        raise CannotSay(f"{path} is not a file of this machine; add the rule to it yourself")
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with Path(path).open("ab") as file:
            file.write(rule.to_line() + b"\n")
    except OSError as error:
        raise CannotSay(f"{path} cannot be written: {error.strerror}") from error


def said(job: Job) -> list[FeedbackRule]:
    """The rules that hold as they stand now, withdrawn ones left out.

    Raises
    ------
    CannotSay
        They cannot be read.
    """
    if job.feedback is None:
        raise CannotSay("the job reads no feedback; name a place for it, feedback: {...}")
    if job.feedback.kinesis:
        raise CannotSay("the rules of a Kinesis stream cannot be listed; read the stream")
    try:
        lines = list(_lines(job, job.feedback.name))
    except (OSError, ValueError) as error:
        raise CannotSay(f"{job.feedback.name} cannot be read: {error}") from error
    feedback = Feedback()
    for line in lines:
        try:
            feedback.add(rule_of(line))
        except ValueError:
            continue  # the job makes a dead letter of it
    return [each for each in feedback.rules if each.kind != "withdrawn"]


def _lines(job: Job, name: str) -> Iterator[bytes]:
    if job.feedback and job.feedback.kafka:
        from pipeline.connect import kafka_cluster
        from pipeline.topics import values_of

        return values_of(kafka_cluster(job), name)
    path = Path(name)
    return iter(path.read_bytes().splitlines() if path.exists() else [])
