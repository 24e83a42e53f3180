"""How a job's clients reach Kafka and Kinesis; importing it costs no Beam."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.job import Job
from pipeline.job_connections import Kinesis

if TYPE_CHECKING:
    from transforms.io.kafka_client import KafkaCluster
    from transforms.io.kinesis import KinesisStream


def kafka_cluster(job: Job) -> KafkaCluster:
    """The job's brokers, for clients."""
    if job.kafka is None:
        raise ValueError("the job names no brokers")
    return job.kafka.cluster


def kinesis_stream(job: Job, name: str) -> KinesisStream:
    """A stream, for clients."""
    from transforms.io.kinesis import KinesisStream

    connection = job.kinesis or Kinesis()
    return KinesisStream(name, connection.region, connection.endpoint_url)
