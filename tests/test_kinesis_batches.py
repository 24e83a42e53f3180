"""Records of a shard into batches: aggregated records, positions, times of arrival; the mark."""

from __future__ import annotations

import datetime as dt
import hashlib

import pytest
from aws_kinesis_agg.aggregator import RecordAggregator
from hypothesis import given
from hypothesis import strategies as st

from transforms.io import kinesis_batches
from transforms.io.kinesis_batches import Reached, batches, payloads_of
from transforms.io.kinesis_mark import KinesisMark, KinesisMarkCoder, ShardMark

SHARD = "shardId-000000000007"
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def aggregated(*payloads):
    made = RecordAggregator()
    for number, payload in enumerate(payloads):
        made.add_user_record(f"key {number}", payload)
    return made.clear_and_get().get_contents()[2]


def records(*datas, first=10**50, at=lambda _: 5):
    return [
        {
            "SequenceNumber": str(first + 3 * i),
            "ApproximateArrivalTimestamp": EPOCH + dt.timedelta(seconds=at(i)),
            "Data": data,
        }
        for i, data in enumerate(datas)
    ]


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=30))
def test_aggregated_records_are_taken_apart(payloads):
    assert payloads_of(aggregated(*payloads)) == payloads


@given(st.binary(max_size=200))
def test_what_only_looks_like_one_is_one_payload(data):
    assert payloads_of(data) == [data]
    assert payloads_of(b"\xf3\x89\x9a\xc2" + data) == [b"\xf3\x89\x9a\xc2" + data]


def test_a_right_digest_of_a_wrong_message_is_one_payload():
    for message in (b"\xff\xff", b"\x1a\x02\x08\x00"):  # no message; a record without data
        data = b"\xf3\x89\x9a\xc2" + message + hashlib.md5(message).digest()
        assert payloads_of(data) == [data]


def test_positions_count_payloads_from_the_first_record():
    first, second = records(b"a", aggregated(b"b", b"c", b"d")), records(b"e", first=10**51)
    (one,) = batches("s", SHARD, Reached(), first, False)
    assert one.batch.payloads == [b"a", b"b", b"c", b"d"]
    assert one.batch[:6] == (f"kinesis://s/{SHARD}@{10**50}", 0, 7, False, 5_000_000, b"")
    assert one.reached == Reached(str(10**50 + 3), str(10**50), 4)
    (two,) = batches("s", SHARD, one.reached, second, False)
    assert two.batch.source == one.batch.source
    assert two.batch.first_position == 4
    assert two.reached == Reached(str(10**51), str(10**50), 5)


@pytest.mark.parametrize("limit", ["BATCH_RECORDS", "BATCH_BYTES"])
def test_a_record_is_never_in_two_batches(limit, monkeypatch):
    monkeypatch.setattr(kinesis_batches, limit, 2)
    found = batches("s", SHARD, Reached(), records(b"a", aggregated(b"b", b"c"), b"d"), False)
    assert [payload for each in found for payload in each.batch.payloads] == [
        b"a",
        b"b",
        b"c",
        b"d",
    ]
    assert {len(each.batch.payloads) for each in found} == {3, 1}
    assert [each.batch.first_position for each in found] == [0, 3]
    assert [each.reached.payloads for each in found] == [3, 4]


def test_a_batch_has_one_time_of_arrival_where_it_is_the_event_time():
    given_ = records(b"a", b"b", b"c", at=lambda i: i // 2)
    assert len(batches("s", SHARD, Reached(), given_, False)) == 1
    found = batches("s", SHARD, Reached(), given_, True)
    assert [(each.batch.time, len(each.batch.payloads)) for each in found] == [(0, 2), (10**6, 1)]


def test_the_mark_is_json():
    mark = KinesisMark(
        5,
        {SHARD: ShardMark(Reached("12", "3", 4), 6), "shardId-1": ShardMark(Reached(), None)},
        ("shardId-000000000002",),
        None,
    )
    data = KinesisMarkCoder().encode(mark)
    assert data == (
        b'{"version":1,"watermark":null,"since":5,"finished":["shardId-000000000002"],'
        b'"shards":[["shardId-000000000007","12","3",4,6],["shardId-1",null,null,0,null]]}'
    )
    assert KinesisMarkCoder().decode(data) == mark
    assert KinesisMarkCoder() == KinesisMarkCoder()
    assert KinesisMarkCoder().is_deterministic()
    with pytest.raises(ValueError, match="mark of version 2, this is for version 1"):
        KinesisMarkCoder().decode(data.replace(b'"version":1', b'"version":2'))
