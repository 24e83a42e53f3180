"""The quick way through a batch gives what the way record by record gives, or nothing."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from transforms import parse, parse_columns
from transforms.fields import LAST_MICROS, UNITS, Fields, unix_micros
from transforms.parse import parse_batch
from transforms.parse_columns import json_records, times_of
from transforms.records import Batch

NOW = 1_800_000_000_000_000
DETECTORS = (
    Fields("a", "v", ("d", "e"), time_field="t", record_id="id"),
    Fields("b", "w", (), time_field="u", time_format="unix_ms", by_position=True),
)


def record(**changes):
    plain = {"v": 1.5, "w": 2, "d": "x", "e": "y", "t": "2024-08-05T00:00:00Z", "u": 5, "id": 7}
    return json.dumps({**plain, **changes}).encode()


def batch_of(payloads):
    return Batch("f", 100, 1, False, 0, b"", payloads)


def plain(found):
    blocks, dead = found
    columns = {
        (b.series.key, repr(b.series)): (b.times.tolist(), b.values.tolist(), b.ids.tolist())
        for b in blocks
    }
    return columns, dead


def both_ways(payloads, monkeypatch_context):
    quick = plain(parse_batch(batch_of(payloads), "json", DETECTORS, NOW))
    with monkeypatch_context() as patch:
        patch.setattr(parse, "_take_quickly", lambda *_: False)
        slow = plain(parse_batch(batch_of(payloads), "json", DETECTORS, NOW))
    return quick, slow


ODD = [
    b"",
    b"{",
    b"{}",
    b"[]",
    b"1",
    b"null",
    b'{"v":[1',
    b"2]}",
    b"{},{}",
    b'{"a":"b',
    b'"}',
    b"\xff",
    b'{"x":NaN}',
    record(v=None),
    record(v="3"),
    record(v="x"),
    record(v=True),
    record(v=10**30),
    record(v=1e200),
    record(d=5),
    record(d=1.0),
    record(d=True),
    record(d=[1]),
    record(t="2024-08-05 00:00:00"),
    record(t="2024-08-05T02:00:00+02:00"),
    record(t="yesterday"),
    record(t="2999-01-01T00:00:00Z"),
    record(t="1969-01-01T00:00:00Z"),
    record(t=5),
    record(u=5.5),
    record(u="6"),
    record(u=-1),
    record(id="text"),
    record(id=None),
    record(id=2**63),
    b'{"v":1,"v":2}',
]


@settings(max_examples=150, deadline=None)
@given(
    picks=st.lists(st.integers(-6, len(ODD) - 1), min_size=1, max_size=12),
    least=st.sampled_from([1, 2, 512]),
)
def test_both_ways_give_the_same(picks, least):
    good = [
        record(),
        record(d="z"),
        record(v=-3, id=8),
        record(u=9),
        record(e="\u00e9"),
        record(w=0),
    ]
    payloads = [ODD[i] if i >= 0 else good[i] for i in picks]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parse, "_QUICK_LEAST", least)
        quick, slow = both_ways(payloads, pytest.MonkeyPatch.context)
    assert quick == slow


def test_the_quick_way_is_taken_where_nothing_is_wrong(monkeypatch):
    monkeypatch.setattr(parse, "_take_one_by_one", None)  # calling it would fail
    blocks, dead = parse_batch(batch_of([record(), record(d="z")] * 3), "json", DETECTORS, NOW)
    assert len(blocks) == 3
    assert not dead


@pytest.mark.parametrize(
    "payloads",
    [
        [b'{"a":[1', b"2]}"],
        [b"{},{}", b'{"a":[1', b"2]}"],
        [b'{"a":"b', b'c"}'],
        [b"{}", b""],
        [b"{}", b"[]"],
    ],
)
def test_payloads_that_only_together_are_json_are_not_taken(payloads):
    assert json_records(payloads) is None


def test_json_records_are_what_orjson_reads():
    payloads = [record(), b' {"a": [{"b": null}], "c": "\\u00e9"} ']
    assert json_records(payloads) == [orjson.loads(payload) for payload in payloads]


def test_what_is_kept_is_read_once_and_given_once(monkeypatch):
    reads = []
    read = parse_columns._json_records
    monkeypatch.setattr(
        parse_columns, "_json_records", lambda payloads: reads.append(0) or read(payloads)
    )
    payloads, others = [b'{"a":1}'], [b'{"a":1}']
    kept = json_records(payloads, keep=True)
    assert json_records(others) == kept
    assert len(reads) == 2
    assert json_records(payloads) is kept
    assert len(reads) == 2
    assert json_records(payloads) is not kept
    assert len(reads) == 3


def test_only_the_last_records_are_kept(monkeypatch):
    monkeypatch.setattr(parse_columns, "_KEPT_RECORDS", 5)
    lists = [[b"{}"] * 2 for _ in range(3)]
    kept = [json_records(each, keep=True) for each in lists]
    assert [json_records(a) is b for a, b in zip(lists, kept, strict=True)] == [False, True, True]


@given(
    st.lists(st.integers(-(10**19), 10**19), min_size=1, max_size=5),
    st.sampled_from(["unix_s", "unix_ms", "unix_us"]),
)
@example([-(2**63)], "unix_s")
def test_times_of_integers_are_those_of_each_or_none(column, time_format):
    try:
        times = times_of(column, time_format, "UTC")
    except (ValueError, OverflowError):
        assert max(map(abs, column)) > LAST_MICROS // UNITS[time_format]
    else:
        assert times.tolist() == [unix_micros(each, UNITS[time_format]) for each in column]
