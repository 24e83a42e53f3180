"""The publisher of a target, and whether what it names is there."""

from __future__ import annotations

from collections.abc import Iterator

from ingest.config import Ends
from ingest.publisher import Publisher
from pipeline.job_connections import Kinesis
from pipeline.job_errors import Mistake, describe

ANSWER_SECONDS = 10.0


def open_publisher(ends: Ends) -> Publisher:
    """A publisher to the target; connects when there is something to send.

    Raises
    ------
    ValueError
        An option or a secret is wrong; the text says which.
    """
    if ends.target.kafka and ends.kafka:
        from ingest.kafka_publisher import KafkaPublisher

        return KafkaPublisher(ends.kafka.cluster, ends.target.name)
    from ingest.kinesis_publisher import KinesisPublisher

    where = ends.kinesis or Kinesis()
    return KinesisPublisher(ends.target.name, where.region, where.endpoint_url)


def check_target(ends: Ends) -> Iterator[Mistake]:
    """Ask for the topic or stream; creates nothing. Nobody who answers is no mistake of the file.

    Yields
    ------
    mistake
        It is not there, or may not be seen.
    """
    place = ("target", ends.target.kind, "topic" if ends.target.kafka else "stream")
    name = ends.target.name
    if ends.target.kafka and ends.kafka:
        from confluent_kafka import KafkaException

        try:
            known = ends.kafka.cluster.admin().list_topics(timeout=ANSWER_SECONDS).topics
        except ValueError as error:
            yield ("kafka",), str(error)
        except KafkaException:
            return  # away: publishing waits for it
        else:
            if name not in known:
                yield place, f"{describe(name)} is not a topic there, or may not be seen; create it"
        return
    from botocore.exceptions import BotoCoreError, ClientError

    from transforms.io import aws

    where = ends.kinesis or Kinesis()
    try:
        client = aws.client("kinesis", where.endpoint_url, where.region)
        client.describe_stream_summary(StreamName=name)
    except ClientError as error:
        if aws.code_of(error) == "ResourceNotFoundException":
            yield place, f"{describe(name)} is not a stream there; create it"
        elif not aws.is_passing(error):
            yield place, f"{describe(name)} cannot be looked at: {error}"
    except BotoCoreError as error:
        if not aws.is_passing(error):
            yield place, f"{describe(name)} cannot be reached: {error}"
