"""A Kafka cluster of one topic in memory, with a clock that tests move, for readers to talk to."""

from __future__ import annotations

from concurrent.futures import Future

import orjson
from confluent_kafka import OFFSET_BEGINNING, KafkaError

SERVERS = ("127.0.0.1:1",)


class Message:
    def __init__(self, partition, offset, value=b"{}", millis=0, error=None):
        self._all = partition, offset, value, millis, error

    def partition(self):
        return self._all[0]

    def offset(self):
        return self._all[1]

    def value(self):
        return self._all[2]

    def timestamp(self):
        return 1, self._all[3]

    def error(self):
        return None if self._all[4] is None else KafkaError(self._all[4])


class Broker:
    """Logs of partitions; offsets without a message are those of markers or compacted ones."""

    def __init__(self, partitions):
        self.seconds = 0.0
        self.logs = {number: {} for number in range(partitions)}
        self.ends = dict.fromkeys(self.logs, 0)
        self.is_away = self.is_slow = False
        self.asked = []
        self.unanswered = []

    def clock(self):
        return 1_700_000_000.0 + self.seconds

    def pace(self):
        return self.seconds

    def add_partition(self):
        number = len(self.logs)
        self.logs[number], self.ends[number] = {}, 0

    def write(self, partition, *times, series=1, **fields):
        """Records of these event times, of so many series that take turns."""
        for time in times:
            offset = self.ends[partition]
            record = {"time": time, "value": 1.0, "series": offset % series}
            payload = orjson.dumps(record | fields)
            self.logs[partition][offset] = Message(partition, offset, payload, time // 1000)
            self.ends[partition] += 1

    def write_marker(self, partition):
        self.ends[partition] += 1

    def answer(self):
        """Answer what was asked while it was slow, with what was true then."""
        self.is_slow = False
        for future, value in self.unanswered:
            future.set_result(value)


class Consumer:
    def __init__(self, broker, most=3):
        self.broker, self.most = broker, most
        self.next = {}
        self.told = {}
        self.committed = {}
        self.is_closed = False
        self.assigned = []

    def assign(self, parts):
        self.next, self.told = {}, {}
        self.incremental_assign(parts)

    def unassign(self):
        self.next = {}

    def incremental_assign(self, parts):
        for part in parts:
            assert part.partition not in self.next
            self.assigned.append((part.partition, part.offset))
            self.next[part.partition] = 0 if part.offset == OFFSET_BEGINNING else part.offset

    def consume(self, num_messages, timeout):
        assert timeout == 0, "a reader must not wait"
        given = []
        if self.broker.is_away:
            return given
        for number in self.next:
            log, end = self.broker.logs[number], self.broker.ends[number]
            for offset in range(self.next[number], end):
                if len(given) >= min(self.most, num_messages):
                    break
                self.next[number] = offset + 1
                if offset in log:
                    given.append(log[offset])
            if self.next[number] == end and self.told.get(number) != end:
                self.told[number] = end
                given.append(Message(number, end, error=KafkaError._PARTITION_EOF))
        return given

    def commit(self, offsets, asynchronous):
        assert asynchronous
        self.committed = {each.partition: each.offset for each in offsets}

    def close(self):
        self.is_closed = True


class Topic:
    """Answers at once, or, while the broker is away, not at all."""

    def __init__(self, broker):
        self.broker = broker

    def poll(self):
        pass

    def _answer(self, value):
        future = Future()
        if self.broker.is_away:
            value = None
        if self.broker.is_slow:
            self.broker.unanswered.append((future, value))
        else:
            future.set_result(value)
        return future

    def ask_partitions(self):
        return self._answer(sorted(self.broker.logs))

    def partitions(self, asked):
        return asked.result()

    def ask_ends(self, partitions):
        self.broker.asked.append(sorted(partitions))
        return {each: self._answer(self.broker.ends[each]) for each in partitions}

    def ask_since(self, partitions, micros):
        return {each: self._answer(self._since(each, micros)) for each in partitions}

    def _since(self, partition, micros):
        log = self.broker.logs[partition]
        later = [at for at in sorted(log) if log[at].timestamp()[1] * 1000 >= micros]
        return later[0] if later else -1

    def offsets(self, asked):
        found = {number: future.result() for number, future in asked.items()}
        return None if None in found.values() else found
