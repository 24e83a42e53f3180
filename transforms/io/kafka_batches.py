"""Messages of a Kafka consumer into batches: one partition, offsets without a gap."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from confluent_kafka import KafkaError

from transforms.io.files import BATCH_BYTES
from transforms.records import Batch

BATCH_RECORDS = 10_000
_MICROS_A_MILLI = 1000


class Events(NamedTuple):
    """What a consumer gave at once.

    Attributes
    ----------
    messages : list of confluent_kafka.Message
        Those that are records.
    ends : dict of int to int
        Partitions that were read to their end, and the offset there.
    errors : list of (int, KafkaError)
        The rest, by partition.
    """

    messages: list[Any]
    ends: dict[int, int]
    errors: list[tuple[int, KafkaError]]


def events(given: Iterable[Any]) -> Events:
    """Records, ends and errors told apart."""
    found = Events([], {}, [])
    for message in given:
        error = message.error()
        if error is None:
            found.messages.append(message)
        elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the client's own name
            found.ends[message.partition()] = message.offset()
        else:
            found.errors.append((message.partition(), error))
    return found


class Taken(NamedTuple):
    """A batch of one partition and the offset after it."""

    partition: int
    batch: Batch
    next_offset: int


def batches(topic: str, messages: Iterable[Any], one_time: bool) -> list[Taken]:
    """The messages as batches, each partition's in order.

    A gap in the offsets, as compaction and transactions leave them, ends a batch, because a
    record's position is counted from the batch's first. So do `BATCH_RECORDS` and `BATCH_BYTES`.
    A message without a value is an empty payload.

    Parameters
    ----------
    topic : str
        Where they come from.
    messages : iterable of confluent_kafka.Message
        Without errors.
    one_time : bool
        Whether a batch may hold only one time of the broker: it is the records' event time, and
        then no result may depend on how the stream was cut.
    """
    found: list[_Run] = []
    runs: dict[int, _Run] = {}
    for message in messages:
        partition, offset = message.partition(), message.offset()
        payload = message.value() or b""
        run = runs.get(partition)
        if (
            run is None
            or offset != run.next_offset
            or run.size >= BATCH_BYTES
            or len(run.payloads) >= BATCH_RECORDS
            or (one_time and message.timestamp()[1] != run.millis)
        ):
            run = runs[partition] = _Run(partition, offset, message.timestamp()[1])
            found.append(run)
        run.payloads.append(payload)
        run.size += len(payload)
        run.next_offset += 1
    return [run.taken(topic) for run in found]


class _Run:
    """A batch that grows."""

    __slots__ = ("first", "millis", "next_offset", "partition", "payloads", "size")

    def __init__(self, partition: int, offset: int, millis: int) -> None:
        self.partition = partition
        self.first = self.next_offset = offset
        self.millis = millis
        self.payloads: list[bytes] = []
        self.size = 0

    def taken(self, topic: str) -> Taken:
        source = f"kafka://{topic}/{self.partition}"
        time = max(self.millis, 0) * _MICROS_A_MILLI  # -1: the message has none
        batch = Batch(source, self.first, self.partition, False, time, b"", self.payloads)
        return Taken(self.partition, batch, self.next_offset)
