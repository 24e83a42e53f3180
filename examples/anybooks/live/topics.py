"""The Kafka topics of the live shop, and what is in them."""

from __future__ import annotations

import json
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from examples.anybooks.live.stack import NAME, Stack
from pipeline.topics import values_of
from transforms.io.kafka_client import KafkaCluster

SALES = "sales"
PARTITIONS = 2
"""Of each topic: one for each product."""
ENDS = ("results", "alerts", "late", "dead-letters", "undelivered", "feedback")
"""What a job's own topics are called, after its name and a hyphen."""
_ANSWER_SECONDS = 10.0


def make_topics(stack: Stack, job: str = NAME) -> None:
    """Create what is missing of the topics of a job.

    Raises
    ------
    KafkaException
        The broker does not do it.
    """
    names = [SALES, *(f"{job}-{end}" for end in ENDS)]
    admin = AdminClient({"bootstrap.servers": stack.brokers})
    made = admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names])
    for future in made.values():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise


def messages_in(stack: Stack, topic: str = SALES) -> int:
    """How many messages a topic has."""
    consumer = Consumer({"bootstrap.servers": stack.brokers, "group.id": "anybooks-looks"})
    try:
        spans = [
            consumer.get_watermark_offsets(TopicPartition(topic, i), timeout=_ANSWER_SECONDS)
            for i in range(PARTITIONS)
        ]
    finally:
        consumer.close()
    return sum(end - start for start, end in spans)


def records_of(stack: Stack, end: str, job: str = NAME) -> list[dict[str, Any]]:
    """All JSON records of one of a job's topics, repetitions among them.

    Parameters
    ----------
    stack : Stack
        Where it is.
    end : str
        One of `ENDS`.
    job : str
        Whose.
    """
    cluster = KafkaCluster((stack.brokers,))
    return [json.loads(value) for value in values_of(cluster, f"{job}-{end}")]
