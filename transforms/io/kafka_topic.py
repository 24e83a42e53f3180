"""Questions about a Kafka topic that nobody waits for: partitions, offsets.

A reader must not block, and a cluster that is away must not look like one that has nothing new. So
each question is sent, looked at again later, and counts only when every broker asked has answered.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any, TypeVar

from confluent_kafka import IsolationLevel, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from transforms.io.kafka_client import KafkaCluster
from transforms.io.kafka_errors import Seldom, error_text

_ANSWER_SECONDS = 5.0
_MICROS_A_MILLI = 1000
Answer = TypeVar("Answer")
Question = dict[int, "Future[Any]"]
"""What was asked of each partition."""


class Topic:
    """Asks about one topic.

    Parameters
    ----------
    cluster : KafkaCluster
        Where it is.
    name : str
        The topic.
    """

    def __init__(self, cluster: KafkaCluster, name: str) -> None:
        self.name = name
        self._admin: AdminClient = cluster.admin()
        self.error = ""  # why the last question had no answer
        self._trouble = Seldom(f"topic {name} at {', '.join(cluster.bootstrap_servers)}")

    def poll(self) -> None:
        """Let the client renew its token and tell its errors."""
        self._admin.poll(0)

    def ask_partitions(self) -> Future[Any]:
        """Ask which partitions there are."""
        topics = TopicCollection([self.name])
        return self._admin.describe_topics(topics, request_timeout=_ANSWER_SECONDS)[self.name]

    def partitions(self, asked: Future[Any]) -> list[int] | None:
        """The numbers of the partitions; None if there was no answer, which is logged."""
        found = self._answers({0: asked})
        return None if found is None else sorted(each.id for each in found[0].partitions)

    def ask_ends(self, partitions: Iterable[int]) -> Question:
        """Ask for the offset after the last message that a consumer gets to see."""
        return self._ask(partitions, OffsetSpec.latest())

    def ask_starts(self, partitions: Iterable[int]) -> Question:
        """Ask for the first offset that is still there."""
        return self._ask(partitions, OffsetSpec.earliest())

    def ask_since(self, partitions: Iterable[int], micros: int) -> Question:
        """Ask for the first offset that the broker's clock gave this time or later; else -1."""
        return self._ask(partitions, OffsetSpec.for_timestamp(-(-micros // _MICROS_A_MILLI)))

    def _ask(self, partitions: Iterable[int], spec: OffsetSpec) -> Question:
        asked = {TopicPartition(self.name, each): spec for each in partitions}
        if not asked:
            return {}
        futures = self._admin.list_offsets(
            asked,
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=_ANSWER_SECONDS,
        )
        return {each.partition: future for each, future in futures.items()}

    def offsets(self, asked: Question) -> dict[int, int] | None:
        """The offsets; None if not every one was answered, which is logged."""
        found = self._answers(asked)
        return None if found is None else {number: each.offset for number, each in found.items()}

    def _answers(self, asked: Question) -> dict[int, Any] | None:
        found = {}
        for number, future in asked.items():
            try:
                found[number] = future.result()
            except KafkaException as error:
                self.error = error_text(error)
                self._trouble(error)
                return None
        return found


def is_answered(asked: Question) -> bool:
    """Whether nothing of it is still under way."""
    return all(future.done() for future in asked.values())
