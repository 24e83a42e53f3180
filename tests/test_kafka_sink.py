"""Writing to a topic, with a producer in memory."""

from __future__ import annotations

import pickle

import numpy as np
import orjson
import pytest
from confluent_kafka import KafkaError, KafkaException

from detectors.model import Scores
from transforms.aggregate import Rows
from transforms.decide import Event
from transforms.io import kafka_sink
from transforms.io.kafka_client import KafkaCluster
from transforms.io.kafka_errors import NotDelivered
from transforms.io.kafka_sink import WriteKafkaFn, headers_of
from transforms.records import Series
from transforms.results import alert_line, result_ids, result_lines

CLUSTER = KafkaCluster(("127.0.0.1:1",))


class Producer:
    """Delivers when polled; ``errors`` has the fate of single messages."""

    def __init__(self, room=1000, errors=()):
        self.room = room
        self.errors = dict(errors)
        self.queue, self.delivered = [], []

    def produce(self, topic, value, key, headers, on_delivery):
        if len(self.queue) >= self.room:
            raise BufferError
        self.queue.append((topic, value, key, headers, on_delivery))

    def poll(self, timeout):
        if self.queue:
            *message, on_delivery = self.queue.pop(0)
            error = self.errors.get(message[1])
            if error is None:
                self.delivered.append(tuple(message))
            on_delivery(error, None)


def write(producer, *elements):
    fn = WriteKafkaFn(CLUSTER, "t", lambda cluster: producer)
    fn.start_bundle()
    for element in elements:
        fn.process(element)
    fn.finish_bundle()


def test_a_message_a_line_each_with_the_key():
    producer = Producer()
    write(producer, ("a", b'{"x":1}\n{"x":2}'), ("b", b'{"x":3}\n'), ("c", b""))
    assert [message[:3] for message in producer.delivered] == [
        ("t", b'{"x":1}', b"a"),
        ("t", b'{"x":2}', b"a"),
        ("t", b'{"x":3}', b"b"),
    ]


def test_the_ids_of_a_line_are_its_headers():
    line = b'{"alertId":"ab-1","value":1,"resultId":"cd"}'
    assert headers_of(line) == [("alertId", b"ab-1"), ("resultId", b"cd")]
    assert headers_of(b'{"value":1}') == []


def test_an_id_within_a_text_is_none():
    text = '"resultId":"no"'
    line = orjson.dumps({"name": text, "resultId": "yes", "value": "resultId"})
    assert headers_of(line) == [("resultId", b"yes")]


def test_results_and_alerts_name_their_ids():
    series = Series("d", "m", (("shop", 'a"resultId":"x'),))
    number = 3
    column = np.arange(number, dtype=np.float64)
    kinds = {
        name: {} if str(kind.type).startswith("dict") else column
        for name, kind in Scores.__dataclass_fields__.items()
    }
    kinds |= {"learning": np.zeros(number, bool)}
    kinds |= {each: np.arange(number) for each in ("points", "neighbour") if each in kinds}
    scores = Scores(**kinds)
    rows = Rows(
        starts=np.arange(number) * 60_000_000,
        ends=np.arange(1, number + 1) * 60_000_000,
        values=column,
        identities=np.arange(number),
        imputed=np.zeros(number, bool),
        history=np.zeros(number, bool),
    )
    ids = result_ids(series, b"hash", rows)
    lines = result_lines(series, rows, scores, np.zeros(number, bool), {}, None, ids)
    assert [headers_of(line) for line in lines] == [[("resultId", each.encode())] for each in ids]
    event = Event("alert", 1, "abc-1", 0, 99.0)
    line = alert_line(series, rows, scores, event, ids)
    assert headers_of(line) == [("alertId", b"abc-1"), ("resultId", ids[1].encode())]


def test_a_full_queue_is_waited_for():
    producer = Producer(room=2)
    write(producer, ("a", b"\n".join(b"%d" % i for i in range(20))))
    assert [message[1] for message in producer.delivered] == [b"%d" % i for i in range(20)]


def test_a_message_that_was_not_taken_fails_the_bundle_with_the_reason():
    producer = Producer(errors={b"2": KafkaError(KafkaError._MSG_TIMED_OUT)})
    with pytest.raises(NotDelivered, match=r"1 of 3 messages .* topic t: _MSG_TIMED_OUT: Local"):
        write(producer, ("a", b"1\n2\n3"))
    assert len(producer.delivered) == 2, "the others were waited for"


def test_a_message_that_the_producer_refuses_fails_the_bundle():
    producer = Producer()

    def produce(*args, **kwargs):
        raise KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))

    producer.produce = produce
    with pytest.raises(NotDelivered, match="MSG_SIZE_TOO_LARGE"):
        write(producer, ("a", b"1"))


def test_a_producer_serves_the_whole_process_until_it_is_broken(monkeypatch):
    made = []

    def make(cluster):
        made.append(Producer())
        return made[-1]

    monkeypatch.setattr(KafkaCluster, "producer", make)
    monkeypatch.setattr(kafka_sink, "_PRODUCERS", kafka_sink._Producers())
    for _ in range(2):
        fn = pickle.loads(pickle.dumps(WriteKafkaFn(CLUSTER, "t")))
        fn.start_bundle()
        fn.process(("a", b"1"))
        fn.finish_bundle()
    assert len(made) == 1
    broken = KafkaError(KafkaError._FENCED, "fenced", fatal=True)
    made[0].errors = {b"2": broken}
    fn.start_bundle()
    fn.process(("a", b"2"))
    with pytest.raises(NotDelivered, match="fenced"):
        fn.finish_bundle()
    fn.start_bundle()
    assert len(made) == 2
