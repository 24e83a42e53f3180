"""Both ends of a job at Kafka: batches from a topic, results into one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from confluent_kafka import TopicPartition

from transforms.io.kafka_batches import BATCH_RECORDS, batches, events
from transforms.io.kafka_client import KafkaCluster
from transforms.io.kafka_errors import ReadFailed, Seldom, passes
from transforms.io.kafka_sink import WriteKafkaFn
from transforms.io.kafka_source import KafkaSettings, KafkaSource
from transforms.io.kafka_topic import Question, Topic
from transforms.io.unbounded import ReadUnbounded, check_parameters
from transforms.watermark import EventTimes

__all__ = ["KafkaCluster", "ReadKafka", "WriteKafka"]

_BATCH = tuple[str, int, int, bool, int, bytes, list[bytes]]
_WAIT_SECONDS = 1.0


class ReadKafka(beam.PTransform):
    """Batches of the payloads of a topic.

    A batch's source is ``kafka://TOPIC/PARTITION``, its ordinal the partition, its positions are
    offsets without a gap, and its time is the broker's time of its first message (of all of them,
    where a detector takes it as event time).

    Parameters
    ----------
    cluster : KafkaCluster
        Where the topic is.
    topic : str
        Name of the topic.
    group : str
        Consumer group that offsets are committed to, for whoever watches its lag; a job goes on
        from its own checkpoints and never reads them.
    start : {"earliest", "latest"} or int
        Where a job without a savepoint begins; a number is microseconds since 1970 by the broker's
        clock. A partition that is added later is read from its beginning.
    times : EventTimes
        Where the event times are, for the watermark.
    allowed_disorder : int
        How much older than the newest record of its topic a record may be, microseconds.
    idle_after : int
        How long the whole topic is quiet before the watermark goes on with the clock, microseconds.
    splits : int or None
        Readers side by side; fixed with the first start. None: what the runner wants, at most 4.
    bounded : bool
        Read up to the ends as they are when it starts, then end; for the Direct runner.
    period : int
        Event times that are multiples of it are waited for, microseconds: a reader does not gather
        beyond them. 0: none are.

    Raises
    ------
    ValueError
        A parameter out of its range.
    """

    def __init__(
        self,
        cluster: KafkaCluster,
        topic: str,
        group: str,
        start: str | int,
        times: EventTimes,
        allowed_disorder: int,
        idle_after: int,
        splits: int | None = None,
        bounded: bool = False,
        period: int = 0,
    ) -> None:
        super().__init__()
        check_parameters(start, allowed_disorder, idle_after, splits)
        self._settings = KafkaSettings(
            cluster, topic, group, start, times, allowed_disorder, idle_after, period
        )
        self._splits = splits
        self._bounded = bounded

    def expand(self, begin: Any) -> Any:
        """Read to the end as it is now, or for ever."""
        settings = self._settings
        if self._bounded:
            return (
                begin
                | "Topic" >> beam.Create([settings.topic])
                | "Partitions" >> beam.ParDo(_PartitionsFn(settings))
                | beam.Reshuffle()
                | "Read" >> beam.ParDo(_ReadPartitionFn(settings)).with_output_types(_BATCH)
            )
        source = KafkaSource(settings.topic, self._splits or 0)
        batches = begin | "Live" >> ReadUnbounded(source, settings)
        batches.element_type = _BATCH
        return batches


class _PartitionsFn(beam.DoFn):
    """A topic's name into (partition, first offset, end) of each partition."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings

    def process(self, name: str) -> Iterator[tuple[int, int, int]]:
        """Ask, and wait for the answers."""
        settings = self._settings
        topic = Topic(settings.cluster, name)
        partitions = topic.partitions(topic.ask_partitions())
        if partitions is None:
            raise _unanswered(settings, topic)
        ends = _offsets(settings, topic, topic.ask_ends(partitions))
        first = ends
        if settings.start == "earliest":
            first = _offsets(settings, topic, topic.ask_starts(partitions))
        elif isinstance(settings.start, int):
            first = _offsets(settings, topic, topic.ask_since(partitions, settings.start))
        for each in partitions:
            if 0 <= first[each] < ends[each]:
                yield each, first[each], ends[each]


def _offsets(settings: KafkaSettings, topic: Topic, asked: Question) -> dict[int, int]:
    found = topic.offsets(asked)
    if found is None:
        raise _unanswered(settings, topic)
    return found


def _unanswered(settings: KafkaSettings, topic: Topic) -> ReadFailed:
    servers = ", ".join(settings.cluster.bootstrap_servers)
    return ReadFailed(f"topic {topic.name} at {servers} could not be read: {topic.error}")


class _ReadPartitionFn(beam.DoFn):
    """(partition, first offset, end) into batches."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings

    def process(self, part: tuple[int, int, int]) -> Iterator[Any]:
        """Read one partition up to its end."""
        number, first, end = part
        settings = self._settings
        trouble = Seldom(f"reading topic {settings.topic}")
        consumer = settings.cluster.consumer(settings.group)
        try:
            consumer.assign([TopicPartition(settings.topic, number, first)])
            reached = first
            while reached < end:
                found = events(consumer.consume(BATCH_RECORDS, _WAIT_SECONDS))
                for _, error in found.errors:
                    if passes(error, f"kafka://{settings.topic}/{number}", reached):
                        trouble(error)
                messages = [each for each in found.messages if each.offset() < end]
                for taken in batches(settings.topic, messages, settings.times.are_broker_times):
                    reached = taken.next_offset
                    yield tuple(taken.batch)
                reached = max(reached, found.ends.get(number, reached))
                if len(messages) < len(found.messages):
                    return
        finally:
            consumer.close()


class WriteKafka(beam.PTransform):
    """(key, JSON lines) into a topic: a message a line, at least once.

    A message has the key, the line, and the headers ``resultId`` and ``alertId`` where the line
    names them: what comes twice after a failure is known by them. The bundle is done when the
    cluster has taken each message; when it does not within ``delivery.timeout.ms`` (2 minutes, an
    option of the cluster), the bundle fails and says why.

    Parameters
    ----------
    cluster : KafkaCluster
        Where the topic is.
    topic : str
        Name of the topic, which exists.
    """

    def __init__(self, cluster: KafkaCluster, topic: str) -> None:
        super().__init__()
        self._write = WriteKafkaFn(cluster, topic)

    def expand(self, lines: Any) -> Any:
        """Write each element."""
        return (
            lines
            | "Typed" >> beam.Map(lambda each: each).with_output_types(tuple[str, bytes])
            | "Write" >> beam.ParDo(self._write)
        )
