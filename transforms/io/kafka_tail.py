"""A look at the last records of partitions that other splits read."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

from confluent_kafka import TopicPartition

from transforms.io.kafka_batches import batches, events
from transforms.io.kafka_client import KafkaCluster
from transforms.io.kafka_errors import Seldom
from transforms.records import MICROSECONDS
from transforms.watermark import EventTimes

_RECORDS = 10
"""So many from the end: the last offset may hold no record, or an unusable one."""
_GIVE_UP_SECONDS = 5.0


class Tail:
    """Reads the ends of partitions with a consumer of its own, made when it is first needed.

    Parameters
    ----------
    cluster : KafkaCluster
        Where the topic is.
    topic, group : str
        What to read, and as whom; nothing is committed.
    times : EventTimes
        Where the event times are.
    clock, pace : callable, optional
        Seconds since 1970, and seconds that never jump; for tests.
    """

    def __init__(
        self,
        cluster: KafkaCluster,
        topic: str,
        group: str,
        times: EventTimes,
        clock: Callable[[], float] = time.time,
        pace: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster, self._topic, self._group, self._times = cluster, topic, group, times
        self._clock, self._pace = clock, pace
        self._trouble = Seldom(f"looking at the end of topic {topic}")
        self._consumer: Any = None

    def peek(self, ends: dict[int, int]) -> Generator[bool, None, int | None]:
        """The newest event time near the ends; one step never waits, and gives that more follow.

        Parameters
        ----------
        ends : dict of int to int
            Partitions, and the offset after the last record of each.
        """
        if self._consumer is None:
            self._consumer = self._cluster.consumer(self._group, offset_reset="earliest")
        starts = {number: max(0, end - _RECORDS) for number, end in ends.items()}
        self._consumer.assign([TopicPartition(self._topic, *each) for each in starts.items()])
        left: set[int] = set(ends)
        found: list[Any] = []
        until = self._pace() + _GIVE_UP_SECONDS
        while left and self._pace() < until:
            yield True
            read = events(self._consumer.consume(_RECORDS * len(ends), 0))
            for _, error in read.errors:
                self._trouble(error)
            found += read.messages
            left -= read.ends.keys()
            left -= {m.partition() for m in read.messages if m.offset() + 1 >= ends[m.partition()]}
        self._consumer.unassign()
        now = int(self._clock() * MICROSECONDS)
        taken = batches(self._topic, found, self._times.are_broker_times)
        newest = [self._times.newest(each.batch, now) for each in taken]
        return max((each for each in newest if each is not None), default=None)

    def close(self) -> None:
        """Leave the cluster."""
        if self._consumer is not None:
            self._consumer.close()
