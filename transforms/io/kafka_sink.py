"""Results into a Kafka topic: keyed, idempotent, each delivery checked before a bundle is done."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import apache_beam as beam
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from transforms.io.kafka_client import KafkaCluster
from transforms.io.kafka_errors import NotDelivered, error_text

_WAIT_SECONDS = 0.05
_IDS = {name: f'"{name}":"'.encode() for name in ("alertId", "resultId")}
"""None is found inside a text: a quote within a JSON text has a backslash before it."""


class WriteKafkaFn(beam.DoFn):
    """(key, JSON lines) into one message a line; see `transforms.io.kafka.WriteKafka`.

    Parameters
    ----------
    cluster : KafkaCluster
        Where to.
    topic : str
        Which topic.
    producers : callable, optional
        Gives the process's producer of a cluster; for tests.
    """

    def __init__(
        self,
        cluster: KafkaCluster,
        topic: str,
        producers: Callable[[KafkaCluster], Producer] | None = None,
    ) -> None:
        self._cluster = cluster
        self._topic = topic
        self._producers = producers

    def start_bundle(self) -> None:
        """Count from nought."""
        self._producer = (self._producers or _PRODUCERS.get)(self._cluster)
        self._bundle = _Deliveries()

    def process(self, element: tuple[str, bytes]) -> None:
        """Hand the lines to the producer, which sends them in the background."""
        key, lines = element
        for line in lines.split(b"\n"):
            if line:
                self._send(key.encode(), line)

    def _send(self, key: bytes, line: bytes) -> None:
        while True:
            try:
                self._bundle.sent += 1
                self._producer.produce(
                    self._topic,
                    line,
                    key,
                    headers=headers_of(line),
                    on_delivery=self._bundle.delivered,
                )
                return
            except BufferError:  # its queue is full: it empties, or deliveries run out of time
                self._bundle.sent -= 1
                self._producer.poll(_WAIT_SECONDS)
            except KafkaException as error:
                self._fail(error.args[0])

    def finish_bundle(self) -> None:
        """Wait until each message is delivered, or the producer has given up on one."""
        while self._bundle.waiting:
            # reports of this bundle may also come while another thread polls the shared producer
            self._producer.poll(_WAIT_SECONDS)
        if self._bundle.error is not None:
            self._fail(self._bundle.error)

    def _fail(self, error: KafkaError) -> None:
        if error.fatal():
            _PRODUCERS.drop(self._cluster)
        raise NotDelivered(
            f"{self._bundle.failed or 1} of {self._bundle.sent} messages of a bundle could not be"
            f" written to topic {self._topic}: {error_text(error)}"
        )


def headers_of(line: bytes) -> list[tuple[str, bytes]]:
    """The IDs that a JSON line names, as headers, so that nobody needs to parse it for them."""
    found = []
    for name, begin in _IDS.items():  # several times as fast as an expression for both
        at = line.find(begin)
        if at >= 0:
            start = at + len(begin)
            found.append((name, line[start : line.index(b'"', start)]))
    return found


class _Deliveries:
    """What became of the messages of one bundle."""

    def __init__(self) -> None:
        self.sent = 0
        self.failed = 0
        self.error: KafkaError | None = None
        self._reported = 0
        self._lock = threading.Lock()

    @property
    def waiting(self) -> bool:
        return self._reported < self.sent

    def delivered(self, error: KafkaError | None, _: Message) -> None:
        """The producer's report of one message."""
        with self._lock:
            self._reported += 1
            if error is not None:
                self.failed += 1
                self.error = error


class _Producers:
    """One producer a cluster for all threads of the process."""

    def __init__(self) -> None:
        self._made: dict[KafkaCluster, Any] = {}
        self._lock = threading.Lock()

    def get(self, cluster: KafkaCluster) -> Any:
        with self._lock:
            if cluster not in self._made:
                self._made[cluster] = cluster.producer()
            return self._made[cluster]

    def drop(self, cluster: KafkaCluster) -> None:
        """Forget a producer that has met a fatal error and takes no more."""
        with self._lock:
            self._made.pop(cluster, None)


_PRODUCERS = _Producers()
