"""Publishers: what arrives, what does not, and whether that may pass; and the pace before them."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException
from fake_kinesis import STREAM, Clock, FakeKinesis, error
from tenacity import stop_after_attempt

from ingest.kafka_publisher import KafkaPublisher
from ingest.kinesis_publisher import KinesisPublisher
from ingest.pace import Pace
from ingest.publisher import Message, NotPublished
from transforms.io import aws, kinesis_put
from transforms.io.kafka_client import KafkaCluster

TIMED_OUT = KafkaError(KafkaError._MSG_TIMED_OUT)
TOO_LARGE = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)


class Producer:
    """Delivers when polled, if there is room; ``fates`` has the errors of payloads, each once."""

    def __init__(self, fates=(), room=3):
        self.fates = dict(fates)
        self.room = room
        self.queue, self.delivered = [], []
        self.is_purged = False

    def produce(self, topic, value, key, on_delivery):
        if isinstance(self.fates.get(value), str):
            raise KafkaException(TOO_LARGE)
        if len(self.queue) == self.room:
            raise BufferError
        self.queue.append((topic, value, key, on_delivery))

    def poll(self, timeout):
        if timeout and self.queue:
            topic, value, key, on_delivery = self.queue.pop(0)
            fate = self.fates.pop(value, None)
            if fate is None:
                self.delivered.append((topic, value, key))
            encoded = None if key is None else key.encode()
            on_delivery(fate, SimpleNamespace(value=lambda: value, key=lambda: encoded))

    def purge(self):
        self.is_purged = True


@pytest.fixture
def kafka(monkeypatch):
    """A publisher, and the producers that it makes."""
    made = [Producer()]
    used = []

    def producer(cluster):
        used.append((dict(cluster.properties), made[len(used)]))
        return used[-1][1]

    monkeypatch.setattr(KafkaCluster, "producer", producer)
    cluster = KafkaCluster(("b:1",), (("client.id", "x"),))
    return SimpleNamespace(publisher=KafkaPublisher(cluster, "t"), made=made, used=used)


def test_a_full_queue_is_waited_for_and_all_arrive(kafka):
    for number in range(10):
        kafka.publisher.send(b"%d" % number, "k")
    kafka.publisher.flush()
    assert kafka.made[0].delivered == [("t", b"%d" % number, "k") for number in range(10)]
    kafka.publisher.flush()
    ((properties, _),) = kafka.used
    assert properties == {"delivery.timeout.ms": "30000", "client.id": "x"}


def test_what_did_not_arrive_is_named_and_a_new_producer_made(kafka):
    kafka.made[:] = [Producer({b"2": TIMED_OUT}), Producer()]
    for payload in (b"1", b"2", b"3"):
        kafka.publisher.send(payload, "k")
    with pytest.raises(NotPublished, match=r"1 of 3 messages .* topic t at b:1: _MSG_TI") as caught:
        kafka.publisher.flush()
    assert caught.value.may_pass
    assert caught.value.failed == [Message(b"2", "k")]
    assert kafka.made[0].is_purged
    kafka.publisher.send(b"2")
    kafka.publisher.flush()
    assert kafka.made[1].delivered == [("t", b"2", None)]


def test_what_never_passes_is_told_apart(kafka):
    kafka.made[0].fates = {b"xx": "refused"}
    with pytest.raises(NotPublished, match="a message of 2 bytes .* MSG_SIZE_TOO_LARGE") as caught:
        kafka.publisher.send(b"xx")
    assert not caught.value.may_pass


@pytest.fixture
def kinesis(monkeypatch):
    fake = FakeKinesis(Clock())
    monkeypatch.setattr(aws, "client", lambda *_: fake)
    quick = kinesis_put.RETRYING.copy(sleep=lambda _: None, stop=stop_after_attempt(3))
    monkeypatch.setattr(kinesis_put, "RETRYING", quick)
    return fake


def test_kinesis_gets_records_with_keys(kinesis):
    publisher = KinesisPublisher(STREAM)
    publisher.send(b"1", "a")
    publisher.send(b"2")
    publisher.send(b"3", "")
    assert kinesis.put == []
    publisher.flush()
    assert [data for _, data in kinesis.put] == [b"1", b"2", b"3"]
    assert kinesis.put[0][0] == "a"
    assert all(key for key, _ in kinesis.put)


def test_kinesis_refusals_pass_or_not(kinesis, monkeypatch):
    publisher = KinesisPublisher(STREAM)

    def put_records(failure):
        def call(**_):
            raise failure

        return call

    fates = [(error("InternalFailure", status=500), True), (error("AccessDenied"), False)]
    for failure, passes in fates:
        monkeypatch.setattr(kinesis, "put_records", put_records(failure))
        publisher.send(b"1", "a")
        with pytest.raises(NotPublished) as caught:
            publisher.flush()
        assert caught.value.may_pass is passes
        publisher.flush()  # nothing is left
    with pytest.raises(NotPublished, match="must be <= 1048576 bytes"):
        publisher.send(b"x" * (1 << 20), "a")


# Pace


class Publisher:
    """Takes messages; ``refusals`` are raised by the flushes, one each."""

    def __init__(self, refusals=()):
        self.refusals = list(refusals)
        self.sent = []

    def send(self, payload, key=None):
        self.sent.append(payload)

    def flush(self):
        if self.refusals:
            raise self.refusals.pop(0)


def run(publisher, count=5, rate=None, patience=60.0):
    pace = Pace(publisher, rate, threading.Event(), patience)
    told = []
    pace.run((Message(b"%d" % number) for number in range(count)), told.append)
    return pace, told


def test_only_what_did_not_arrive_is_sent_again():
    publisher = Publisher([NotPublished("away", True, [Message(b"3")])])
    pace, told = run(publisher)
    assert publisher.sent == [b"0", b"1", b"2", b"3", b"4", b"3"]
    assert (pace.delivered, pace.retried, told) == (5, 1, [5])


def test_all_are_sent_again_if_it_is_not_known_which():
    publisher = Publisher([NotPublished("away", True)])
    pace, _ = run(publisher)
    assert (len(publisher.sent), pace.delivered, pace.retried) == (10, 5, 5)


def test_what_never_passes_ends_it():
    pace = Pace(Publisher([NotPublished("no", False)]), None, threading.Event())
    with pytest.raises(NotPublished, match="no"):
        pace.run([Message(b"1")], lambda _: None)
    assert pace.delivered == 0


def test_the_rate_cuts_the_stream_into_parts_of_a_second_at_most():
    _, told = run(Publisher(), count=5, rate=1000)
    assert told == [5]
    pace = Pace(Publisher(), 2, threading.Event())
    told = []
    pace.run([Message(b"x")] * 2, lambda count: (told.append(count), pace._stop.set()))
    assert told == [1 + 1] or told == [2]
    with pytest.raises(ValueError, match="the rate must be > 0"):
        Pace(Publisher(), 0, threading.Event())
