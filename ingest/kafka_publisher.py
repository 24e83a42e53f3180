"""Messages into a Kafka topic: an idempotent producer, and each delivery's report read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from ingest.publisher import Message, NotPublished
from transforms.io.kafka_client import KafkaCluster
from transforms.io.kafka_errors import error_text

DELIVERY_SECONDS = 30
"""How long the client tries a message, unless ``delivery.timeout.ms`` is among the properties."""
_WAIT_SECONDS = 0.1
_LASTING = {
    KafkaError._INVALID_ARG,  # noqa: SLF001 - the client's own names
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.INVALID_MSG,
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.TOPIC_EXCEPTION,
}
"""Errors that do not go away by themselves."""


class KafkaPublisher:
    """See `ingest.publisher.Publisher`.

    Parameters
    ----------
    cluster : KafkaCluster
        Where to.
    topic : str
        Which topic; it must be there.
    """

    def __init__(self, cluster: KafkaCluster, topic: str) -> None:
        patience = ("delivery.timeout.ms", str(DELIVERY_SECONDS * 1000))
        self._cluster = replace(cluster, properties=(patience, *cluster.properties))
        self._topic = topic
        self._made: Producer | None = None
        self._forget()

    def _forget(self) -> None:
        self._sent = self._reported = 0
        self._failed: list[Message] = []
        self._error: KafkaError | None = None

    @property
    def _producer(self) -> Producer:
        if self._made is None:
            self._made = self._cluster.producer()
        return self._made

    def send(self, payload: bytes, key: str | None = None) -> None:
        """Take a message."""
        while True:
            try:
                self._producer.produce(self._topic, payload, key, on_delivery=self._report)
            except BufferError:  # its queue is full: it empties, or deliveries run out of time
                self._producer.poll(_WAIT_SECONDS)
            except KafkaException as error:
                self._fail(error.args[0], f"a message of {len(payload)} bytes")
            else:
                self._sent += 1
                self._producer.poll(0)
                return

    def flush(self) -> None:
        """Wait for the report on each message."""
        while self._reported < self._sent:
            self._producer.poll(_WAIT_SECONDS)
        if self._error is not None:
            self._fail(self._error, f"{len(self._failed)} of {self._sent} messages", self._failed)
        self._forget()

    def close(self) -> None:
        """Forget the producer with all that waits in it."""
        if self._made is not None:
            self._made.purge()
        self._made = None
        self._forget()

    def _report(self, error: KafkaError | None, sent: Any) -> None:
        self._reported += 1
        if error is not None:
            key = sent.key()
            self._failed.append(Message(sent.value(), None if key is None else key.decode()))
            self._error = error

    def _fail(self, error: Any, what: str, failed: Sequence[Message] = ()) -> None:
        # a producer that met an error may have met a fatal one: the next message makes a new one
        self.close()
        raise NotPublished(
            f"{what} could not be written to topic {self._topic} at "
            f"{', '.join(self._cluster.bootstrap_servers)}: {error_text(error)}",
            may_pass=error.code() not in _LASTING,
            failed=failed,
        )
