"""Messages into batches."""

from __future__ import annotations

import fake_kafka
from confluent_kafka import KafkaError
from hypothesis import given
from hypothesis import strategies as st

from transforms.io import kafka_batches
from transforms.io.kafka_batches import batches, events

Message = fake_kafka.Message


def cuts(messages, one_time=False):
    found = batches("t", messages, one_time)
    return [(t.partition, t.batch.first_position, len(t.batch.payloads)) for t in found]


def test_a_batch_says_where_it_comes_from():
    (taken,) = batches("t", [Message(3, 7, b"a", 5), Message(3, 8, b"b", 6)], False)
    assert taken.batch == ("kafka://t/3", 7, 3, False, 5000, b"", [b"a", b"b"])
    assert taken.next_offset == 9


def test_partitions_that_take_turns_are_not_cut():
    mixed = [Message(0, 0), Message(1, 5), Message(0, 1), Message(1, 6)]
    assert cuts(mixed) == [(0, 0, 2), (1, 5, 2)]


def test_a_gap_in_the_offsets_ends_a_batch():
    assert cuts([Message(0, 0), Message(0, 1), Message(0, 3)]) == [(0, 0, 2), (0, 3, 1)]


def test_a_batch_has_a_most_of_records_and_of_bytes(monkeypatch):
    monkeypatch.setattr(kafka_batches, "BATCH_RECORDS", 2)
    assert cuts([Message(0, i) for i in range(5)]) == [(0, 0, 2), (0, 2, 2), (0, 4, 1)]
    monkeypatch.setattr(kafka_batches, "BATCH_BYTES", 3)
    assert cuts([Message(0, i, b"xxx") for i in range(2)]) == [(0, 0, 1), (0, 1, 1)]


def test_where_the_brokers_time_counts_a_batch_has_one():
    three = [Message(0, 0, b"", 5), Message(0, 1, b"", 5), Message(0, 2, b"", 6)]
    assert cuts(three) == [(0, 0, 3)]
    assert cuts(three, one_time=True) == [(0, 0, 2), (0, 2, 1)]


def test_a_message_without_value_or_time_is_an_empty_payload_of_1970():
    (taken,) = batches("t", [Message(0, 0, None, -1)], False)
    assert taken.batch.payloads == [b""]
    assert taken.batch.time == 0


def test_ends_and_errors_are_no_records():
    end = Message(1, 9, error=KafkaError._PARTITION_EOF)
    wrong = Message(2, 0, error=KafkaError._TRANSPORT)
    record = Message(0, 0)
    found = events([end, record, wrong])
    assert (found.messages, found.ends) == ([record], {1: 9})
    assert [(at, error.code()) for at, error in found.errors] == [(2, KafkaError._TRANSPORT)]


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.integers(0, 2)), max_size=30),
    st.booleans(),
)
def test_no_cut_loses_or_moves_a_record(steps, one_time):
    ends = {}
    messages = []
    for partition, step, millis in steps:
        ends[partition] = ends.get(partition, -1) + step
        payload = b"%d/%d" % (partition, ends[partition])
        messages.append(Message(partition, ends[partition], payload, millis))
    found = batches("t", messages, one_time)
    records = {
        (t.partition, t.batch.first_position + i): payload
        for t in found
        for i, payload in enumerate(t.batch.payloads)
    }
    assert records == {(m.partition(), m.offset()): m.value() for m in messages}
    assert len(messages) == sum(len(t.batch.payloads) for t in found)
