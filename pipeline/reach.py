"""Whether the brokers, topics and streams that a job names can be reached, before it starts."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.connect import kafka_cluster, kinesis_stream
from pipeline.job import Job
from pipeline.job_ends import END_WORDS
from pipeline.job_errors import JobFileError, Mistake, Place, describe

PATIENCE_SECONDS = 10.0
"""How long the brokers may take to answer."""


def check_reach(job: Job, file: str) -> None:
    """Ask for every topic and stream of the job; creates nothing.

    Parameters
    ----------
    job : Job
        What is about to start.
    file : str
        The job file, for the messages.

    Raises
    ------
    JobFileError
        The brokers do not answer, or a topic or stream is not there; one line each.
    """
    mistakes: list[Mistake] = []
    if topics := _ends(job, "kafka"):
        mistakes += _kafka(job, topics)
    for place, stream in _ends(job, "kinesis").items():
        mistakes += _kinesis(job, place, stream)
    if mistakes:
        raise JobFileError(file, mistakes)


def _ends(job: Job, kind: str) -> dict[Place, str]:
    """Topics or streams of the job, by their place in the file."""
    word = END_WORDS[kind]
    ends: dict[Place, str] = {}
    if job.source.kind == kind:
        ends["source", kind, word] = job.source.name
    if job.feedback and job.feedback.kind == kind:
        ends["feedback", kind, word] = job.feedback.name
    for name, sink in job.sinks.lines.items():
        if sink.kind == kind:
            ends["sinks", name, kind, word] = sink.name
    return ends


def _kafka(job: Job, topics: dict[Place, str]) -> Iterator[Mistake]:
    from confluent_kafka import KafkaException

    cluster = kafka_cluster(job)
    try:
        admin = cluster.admin()
    except ValueError as error:
        yield ("kafka",), str(error)
        return
    try:
        known = admin.list_topics(timeout=PATIENCE_SECONDS).topics
    except KafkaException as error:
        servers = ", ".join(cluster.bootstrap_servers)
        sentence = f"no answer from {servers} in {PATIENCE_SECONDS:g} s: {error.args[0].str()}"
        yield ("kafka", "bootstrap_servers"), sentence
        return
    for place, topic in topics.items():
        if topic not in known:
            yield place, f"{describe(topic)} is not a topic there, or may not be seen; create it"


def _kinesis(job: Job, place: Place, name: str) -> Iterator[Mistake]:
    from botocore.exceptions import BotoCoreError, ClientError

    from transforms.io import aws

    stream = kinesis_stream(job, name)
    try:
        client = aws.client("kinesis", stream.endpoint_url, stream.region)
        client.describe_stream_summary(StreamName=name)
    except ClientError as error:
        if aws.code_of(error) == "ResourceNotFoundException":
            yield place, f"{describe(name)} is not a stream there; create it"
        else:
            yield place, f"{describe(name)} cannot be looked at: {error}"
    except BotoCoreError as error:
        yield place, f"{describe(name)} cannot be reached: {error}"
