"""All values of a Kafka topic up to its present end, for commands; importing it costs no Beam."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from confluent_kafka import KafkaException, TopicPartition

from transforms.io.kafka_client import KafkaCluster

_MESSAGES_A_READ = 4096
_ANSWER_SECONDS = 10.0
_LOOK_SECONDS = 0.2
"""A read waits so long for as many messages as it may give, though there be fewer."""
_GROUP = "tidewatch-verify"


class Unreadable(ValueError):
    """A topic cannot be read to its end."""


def values_of(cluster: KafkaCluster, topic: str) -> Iterator[bytes]:
    """Values of a topic's messages, from its first to those that are its last now.

    Raises
    ------
    Unreadable
        It cannot be read; the text says why.
    """
    consumer = cluster.consumer(_GROUP)
    try:
        metadata = consumer.list_topics(topic, timeout=_ANSWER_SECONDS).topics[topic]
        if metadata.error is not None:
            raise Unreadable(f"kafka topic {topic}: {metadata.error.str()}")
        spans = {}
        for number in metadata.partitions:
            partition = TopicPartition(topic, number)
            spans[number] = consumer.get_watermark_offsets(partition, timeout=_ANSWER_SECONDS)
        left = {number: end for number, (start, end) in spans.items() if end > start}
        consumer.assign([TopicPartition(topic, number, spans[number][0]) for number in left])
        yield from _until_end(consumer.consume, left)
    except KafkaException as error:
        raise Unreadable(f"kafka topic {topic}: {error.args[0].str()}") from error
    finally:
        consumer.close()


def _until_end(consume: Callable[..., Iterable[Any]], left: dict[int, int]) -> Iterator[bytes]:
    """Values up to the end of each partition; ``left`` maps those that are not read yet to it."""
    heard = time.monotonic()
    while left:
        messages = list(consume(_MESSAGES_A_READ, timeout=_LOOK_SECONDS))
        if messages:
            heard = time.monotonic()
        elif time.monotonic() - heard > _ANSWER_SECONDS:
            raise Unreadable(
                f"no message in {_ANSWER_SECONDS:g} s, but partitions {list(left)} go on"
            )
        for message in messages:
            error = message.error()
            if error is not None and error.name() != "_PARTITION_EOF":
                raise Unreadable(f"reading stopped: {error.str()}")
            number = message.partition()
            if error is None and message.value():
                yield message.value()
            # the end may be a transaction's mark, which no consumer gets to see
            if number in left and (error is not None or message.offset() + 1 >= left[number]):
                del left[number]
