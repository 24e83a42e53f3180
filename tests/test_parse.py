"""Parsing: what is usable and what is not, and that nothing is lost or fatal."""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections import Counter

import apache_beam as beam
import pytest
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Timestamp
from apache_beam.utils.windowed_value import WindowedValue
from hypothesis import example, given, settings
from hypothesis import strategies as st

from transforms import parse
from transforms.fields import FUTURE_MICROS, Fields
from transforms.parse import MOST_PAYLOAD_BYTES, ParseFn, parse_batch
from transforms.records import Batch, decode_block, record_id

NOW = 1_750_000_000_000_000
GOOD = {"t": "2024-08-29T13:35:00Z", "v": 1.5, "p": "A"}
GOOD_MICROS = 1_724_938_500_000_000
FIELDS = Fields("d", "v", ("p",), "t")


def batch_of(*payloads, header=b"", first_position=0, ordinal=0, history=False, time=7):
    return Batch("in", first_position, ordinal, history, time, header, list(payloads))


def parsed(payload, fields=FIELDS, payload_format="json", **batch):
    """(event time, value, ID, dimension values) of one payload, or the reason against it."""
    payload = json.dumps(payload).encode() if isinstance(payload, dict) else payload
    blocks, dead = parse_batch(batch_of(payload, **batch), payload_format, (fields,), NOW)
    assert len(blocks) + len(dead) == 1
    if dead:
        return dead[0].reason
    block = blocks[0]
    values = tuple(value for _, value in block.series.dimensions)
    return int(block.times[0]), float(block.values[0]), int(block.ids[0]), values


def with_value(value):
    return GOOD | {"v": value}


def at(time, **fields):
    """Event time of a record of that time, or the reason against it."""
    found = parsed(GOOD | {"t": time}, Fields("d", "v", (), "t", **fields))
    return found if isinstance(found, str) else found[0]


def micros(text):
    moment = dt.datetime.fromisoformat(text)
    return (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)


def test_a_good_record():
    assert parsed(GOOD) == (GOOD_MICROS, 1.5, 0, ("A",))


@pytest.mark.parametrize(
    ("value", "number"),
    [(1, 1.0), (-0.0, 0.0), ("2.5", 2.5), (" 3 ", 3.0), ("1e3", 1000.0), (2**64 - 1, 2.0**64)],
)
def test_numbers_and_texts_of_numbers_are_values(value, number):
    assert parsed(with_value(value))[1] == number


BAD_JSON = {
    b"": "not JSON: ",
    b"{": "not JSON: ",
    b'{"t": "2024-08-29T13:35:00Z", "v": 1.5, "p": "A"': "not JSON: ",
    b"\xff\xfe{}": "not JSON: ",
    b"\xef\xbb\xbf{}": "not JSON: ",
    b'{"t": "2024-08-29T13:35:00Z", "v": NaN, "p": "A"}': "not JSON: ",
    b'{"t": "2024-08-29T13:35:00Z", "v": Infinity, "p": "A"}': "not JSON: ",
    b'{"t": "2024-08-29T13:35:00Z", "v": 1e999, "p": "A"}': "not JSON: ",
    b'{"p": "\\ud800"}': "not JSON: ",
    b"[" * 5000 + b"]" * 5000: "not JSON: ",
    b"null": "not a JSON object but None",
    b"[1, 2]": "not a JSON object but [1, 2]",
    b'"text"': "not a JSON object but 'text'",
    b"1.5": "not a JSON object but 1.5",
    b"{}": "field 'v' is missing",
}


@pytest.mark.parametrize(("payload", "reason"), BAD_JSON.items(), ids=range(len(BAD_JSON)))
def test_what_is_no_json_object_is_refused(payload, reason):
    assert parsed(payload).startswith(reason)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "v is null"),
        (True, "v is not a number: True"),
        ([1], "v is not a number: [1]"),
        ({"a": 1}, "v is not a number: {'a': 1}"),
        ("", "v is not a number: ''"),
        ("abc", "v is not a number: 'abc'"),
        ("1_000", "v is not a number: '1_000'"),
        ("1,5", "v is not a number: '1,5'"),
        ("٣", "v is not a number: '٣'"),
        ("x" * 100, f"v is not a number: '{'x' * 56}..."),
        ("NaN", "v is not finite: nan"),
        ("-Infinity", "v is not finite: -inf"),
        ("1e999", "v is not finite: inf"),
        (1e200, "v is beyond +-1e+150: 1e+200"),
        (-1e151, "v is beyond +-1e+150: -1e+151"),
    ],
)
def test_what_is_no_finite_number_is_refused_by_name(value, reason):
    assert parsed(with_value(value)) == reason


@pytest.mark.parametrize(
    ("value", "text"),
    [("A", "A"), ("", ""), (7, "7"), (1.5, "1.5"), (True, "true"), ("é\n", "é\n")],
)
def test_a_dimension_is_text_or_becomes_it(value, text):
    assert parsed(GOOD | {"p": value})[3] == (text,)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "dimension 'p' is missing"),
        ([], "dimension p is neither text nor a number: []"),
        ({}, "dimension p is neither text nor a number: {}"),
    ],
)
def test_another_dimension_is_refused(value, reason):
    assert parsed(GOOD | {"p": value}) == reason


def test_missing_fields_are_named():
    for field, reason in {
        "v": "field 'v' is missing",
        "t": "event time field 't' is missing",
        "p": "dimension 'p' is missing",
    }.items():
        assert parsed({key: value for key, value in GOOD.items() if key != field}) == reason


@pytest.mark.parametrize(
    ("text", "same_as"),
    [
        ("2024-08-29 13:35:00", "2024-08-29T13:35:00+00:00"),
        ("2024-08-29T15:35:00+02:00", "2024-08-29T13:35:00+00:00"),
        ("2024-08-29T08:05:00-05:30", "2024-08-29T13:35:00+00:00"),
        ("20240829T133500Z", "2024-08-29T13:35:00+00:00"),
        ("2024-08-29", "2024-08-29T00:00:00+00:00"),
        ("2024-08-29T13:35:00.25", "2024-08-29T13:35:00.250000+00:00"),
        ("2024-08-29T13:35:00.123456789Z", "2024-08-29T13:35:00.123456+00:00"),
        ("1970-01-01", "1970-01-01T00:00:00+00:00"),
    ],
)
def test_iso_8601(text, same_as):
    assert at(text) == micros(same_as)


@pytest.mark.parametrize(
    ("text", "same_as"),
    [
        ("2024-01-15T12:00:00", "2024-01-15T11:00:00+00:00"),
        ("2024-07-15T12:00:00", "2024-07-15T10:00:00+00:00"),
        ("2024-07-15T12:00:00Z", "2024-07-15T12:00:00+00:00"),  # an offset beats the zone
        ("2024-10-27T02:30:00", "2024-10-27T00:30:00+00:00"),  # twice that night: the first
        ("2024-03-31T02:30:00", "2024-03-31T01:30:00+00:00"),  # never that night: as before it
    ],
)
def test_the_zone_is_for_texts_without_an_offset(text, same_as):
    assert at(text, time_zone="Europe/Berlin") == micros(same_as)


@pytest.mark.parametrize(
    ("time", "reason"),
    [
        (1724938500, "event time is not ISO 8601 text: 1724938500"),
        (["2024"], "event time is not ISO 8601 text: ['2024']"),
        ("yesterday", "event time is not ISO 8601: 'yesterday'"),
        ("2024-02-30", "event time is not ISO 8601: '2024-02-30'"),
        ("2024-08-29T13:35:61Z", "event time is not ISO 8601: '2024-08-29T13:35:61Z'"),
        ("0001-01-01T00:00:00+23:59", "event time is before 1970: -62135683140 seconds since 1970"),
        ("1969-12-31T23:59:59Z", "event time is before 1970: -1 seconds since 1970"),
        (
            "9999-12-31T23:59:59-23:59",
            "event time is more than a day in the future: 253402387139 seconds since 1970",
        ),
    ],
)
def test_other_times_are_refused(time, reason):
    assert at(time) == reason
    assert at(time, time_zone="Europe/Berlin").startswith(reason[:20])


@pytest.mark.parametrize(
    ("unit", "time", "expected"),
    [
        ("unix_s", 1724938500, GOOD_MICROS),
        ("unix_s", 1724938500.25, GOOD_MICROS + 250_000),
        ("unix_s", "1724938500", GOOD_MICROS),
        ("unix_s", "1724938500.25", GOOD_MICROS + 250_000),
        ("unix_ms", 1724938500250, GOOD_MICROS + 250_000),
        ("unix_us", 1724938500000001, GOOD_MICROS + 1),
        ("unix_us", "1724938500000001", GOOD_MICROS + 1),
        ("unix_s", 0, 0),
    ],
)
def test_unix_times(unit, time, expected):
    assert at(time, time_format=unit) == expected


@pytest.mark.parametrize(
    ("time", "reason"),
    [
        (True, "event time is not a number: True"),
        ({}, "event time is not a number: {}"),
        ("soon", "event time is not a number: 'soon'"),
        ("1_0", "event time is not a number: '1_0'"),
        ("--1", "event time is not a number: '--1'"),
        ("9" * 5000, f"event time is not a number: '{'9' * 56}..."),
        ("9" * 400, f"event time is not within +-1e+18: {'9' * 57}..."),
        (1e308, "event time is not within +-1e+18: 1e+308"),
        ("inf", "event time is not within +-1e+18: inf"),
        ("nan", "event time is not within +-1e+18: nan"),
        (-1, "event time is before 1970: -1 seconds since 1970"),
        (10**18, "event time is more than a day in the future: 1000000000000000000 seconds since"),
    ],
)
def test_other_unix_times_are_refused(time, reason):
    assert at(time, time_format="unix_s").startswith(reason)


def test_a_time_is_too_far_ahead_a_day_after_the_clock():
    assert at(NOW + FUTURE_MICROS, time_format="unix_us") == NOW + FUTURE_MICROS
    assert "more than a day in the future" in at(NOW + FUTURE_MICROS + 1, time_format="unix_us")


def test_without_a_field_the_brokers_time_counts():
    assert parsed(GOOD, Fields("d", "v"), time=GOOD_MICROS)[0] == GOOD_MICROS


def test_a_counter_counts_positions_and_knows_no_clock():
    day = 86_400_000_000
    fields = Fields("d", "v", time_format="counter", step=day)
    assert parsed(GOOD, fields, first_position=30_000)[0] == 30_000 * day, "year 2052"
    assert parsed(GOOD, fields, first_position=2_932_896)[0] == 2_932_896 * day, "year 9999"
    assert parsed(GOOD, fields, first_position=2_932_897) == (
        "event time is after the year 9999: the position times step"
    )


def test_positions_order_by_file_then_line_with_history_first():
    fields = Fields("d", "v", by_position=True, time_field="t")
    history = parsed(GOOD, fields, ordinal=-1, first_position=2**40 - 1)[2]
    first = parsed(GOOD, fields, ordinal=0, first_position=2**40 - 1)[2]
    second = parsed(GOOD, fields, ordinal=1)[2]
    assert history < 0 <= first < second


def test_record_ids():
    fields = Fields("d", "v", (), "t", record_id="id")
    assert parsed(GOOD | {"id": 12}, fields)[2] == 12
    assert parsed(GOOD | {"id": "x"}, fields)[2] == record_id("x")
    assert parsed(GOOD, fields) == "record ID 'id' is missing"
    assert parsed(GOOD | {"id": None}, fields) == "record ID 'id' is missing"


def test_a_payload_beyond_the_limit_is_refused_for_its_size():
    exact = json.dumps(GOOD).encode().ljust(MOST_PAYLOAD_BYTES)
    assert parsed(exact) == parsed(GOOD)
    assert parsed(b"{" * (1 << 20)) == "1048576 bytes, at most 262144 are allowed"


HEADER = b"t,v,p"


def csv_of(line, header=HEADER, fields=FIELDS):
    return parsed(line, fields, "csv", header=header)


def test_csv():
    assert csv_of(b"2024-08-29T13:35:00Z,1.5,A") == (GOOD_MICROS, 1.5, 0, ("A",))
    assert csv_of(b'2024-08-29T13:35:00Z,"1.5","A, ""B"""')[3] == ('A, "B"',)
    assert csv_of(b"2024-08-29T13:35:00Z,1.5,", b"\xef\xbb\xbf" + HEADER)[3] == ("",)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"2024-08-29T13:35:00Z,1.5", "2 cells, the header has 3"),
        (b"2024-08-29T13:35:00Z,1.5,A,", "4 cells, the header has 3"),
        (b"2024-08-29T13:35:00Z,,A", "v is not a number: ''"),
        (b'2024-08-29T13:35:00Z,1.5,"A', "not a CSV line in UTF-8: unexpected end of data"),
        (b"2024-08-29T13:35:00Z,1.5,\xff", "not a CSV line in UTF-8: 'utf-8' codec"),
        (b"a,b,c\rd", "not a CSV line in UTF-8: new-line character"),
        (b"a,b," + b"c" * 200_000, "not a CSV line in UTF-8: field larger"),
    ],
)
def test_other_csv_lines_are_refused(line, reason):
    assert csv_of(line).startswith(reason)


@pytest.mark.parametrize("header", [b"t,v,\xff", b"a\rb", b'"t'])
def test_a_damaged_header_refuses_each_line_and_stops_nothing(header):
    assert csv_of(b"1,2,3", header).startswith("the header is not a CSV line in UTF-8: ")


def test_a_column_that_the_header_lacks_is_named():
    assert csv_of(b"1,2", b"t,p") == "field 'v' is missing"


COUNTED = Fields("d", "v", time_format="counter")


def test_bare_numbers():
    assert parsed(b" -1.5e2 ", COUNTED, "number", first_position=3) == (3_000_000, -150.0, 0, ())
    assert parsed(b"one", COUNTED, "number") == "v is not a number: 'one'"
    assert parsed(b"\xff", COUNTED, "number").startswith("not a number in UTF-8: ")


def test_a_bare_number_goes_by_every_detectors_measure():
    both = (COUNTED, Fields("e", "other", time_format="counter"))
    blocks, dead = parse_batch(batch_of(b"5"), "number", both, NOW)
    assert not dead
    assert [(b.series.measure, b.values.tolist()) for b in blocks] == [("v", [5]), ("other", [5])]


def test_a_record_may_be_good_for_one_detector_and_not_for_another():
    detectors = (FIELDS, Fields("e", "w", (), "t"))
    payloads = [json.dumps(record).encode() for record in (GOOD, GOOD | {"w": 2}, {"w": 3})]
    blocks, dead = parse_batch(batch_of(*payloads, b"{"), "json", detectors, NOW)
    used = {b.series.detector: b.values.tolist() for b in blocks}
    assert used == {"d": [1.5, 1.5], "e": [2.0]}
    assert [(letter.position, letter.detector, letter.reason[:8]) for letter in dead] == [
        (0, "e", "field 'w"),
        (2, "d", "field 'v"),
        (2, "e", "event ti"),
        (3, None, "not JSON"),
    ]


def test_a_batch_becomes_one_block_a_series_in_the_order_read():
    records = [GOOD | {"p": p, "v": v} for v, p in enumerate("ABABA")]
    blocks, _ = parse_batch(
        batch_of(*(json.dumps(record).encode() for record in records), history=True),
        "json",
        (FIELDS,),
        NOW,
    )
    assert [block.values.tolist() for block in blocks] == [[0, 2, 4], [1, 3]]
    assert all(block.history for block in blocks)


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
RECORDS = st.dictionaries(
    st.sampled_from(["t", "v", "p", "w", "id"]), PLAIN | st.lists(PLAIN, max_size=2)
)
TEXTS_OF_RECORDS = RECORDS.map(lambda record: json.dumps(record).encode())
FORMATS = {
    time_format: (
        Fields("d", "v", ("p",), "t", time_format, "Europe/Berlin", record_id="id"),
        Fields("e", "w", (), "t", time_format),
    )
    for time_format in ("iso8601", "unix_s", "unix_ms", "unix_us", "counter")
}


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.binary(max_size=40) | TEXTS_OF_RECORDS, min_size=1, max_size=6),
    st.sampled_from(["json", "csv", "number"]),
    st.sampled_from(sorted(FORMATS)),
    st.sampled_from([b"t,v,p,w,id", b"t,v\nt", b"\xff", b""]) | st.binary(max_size=20),
)
@example([b"1e308,1,a,1,1"], "csv", "unix_us", b"t,v,p,w,id")
@example(
    [json.dumps({"t": 1e303, "v": 1, "w": 1, "p": "", "id": 1}).encode()], "json", "unix_s", b""
)
def test_any_payload_is_used_or_dead_once_for_each_detector(payloads, form, time_format, header):
    detectors = FORMATS[time_format]
    batch = batch_of(*payloads, header=header)
    fn = ParseFn(form, detectors, clock=lambda: NOW / 1e6)
    tagged = list(fn.process(tuple(batch), MIN_TIMESTAMP))
    letters = [json.loads(e.value) for e in tagged if getattr(e, "tag", "") == parse.DEAD]
    blocks = [decode_block(each.value[1]) for each in fn.finish_bundle()]
    tally = Counter()
    for element in tagged:
        if getattr(element, "tag", "") == parse.TALLY:
            tally[element.value[:2]] += element.value[2]
    for fields in detectors:
        name = fields.detector
        used = sum(len(block.times) for block in blocks if block.series.detector == name)
        dead = [each for each in letters if each["detectorName"] in (None, name)]
        positions = [each["position"] for each in dead]
        assert len(set(positions)) == len(positions)
        assert used + len(dead) == len(payloads)
        assert (tally[name, "read"], tally[name, "dead"]) == (len(payloads), len(dead))
    for each in letters:
        assert base64.b64decode(each["payload"]) == payloads[each["position"]]
        assert each["reason"]


def test_the_batches_of_a_bundle_become_one_block_a_series():
    detectors = (Fields("d", "v", ("p",), "t", "unix_s"),)

    def batch(first, *rows):
        payloads = [json.dumps({"t": t, "v": v, "p": p}).encode() for t, v, p in rows]
        return tuple(Batch("kafka://in/0", first, 0, False, 0, b"", payloads))

    fn = ParseFn("json", detectors, clock=lambda: NOW / 1e6)
    for _ in range(2):  # what a bundle that failed had gathered is in none of the next
        fn.start_bundle()
        beside = [
            *fn.process(batch(0, (60, 1.5, "a"), (61, 2.5, "b")), Timestamp(50)),
            *fn.process(batch(2, (59, 3.5, "a"), (62, 4.5, "a")), Timestamp(40)),
        ]
    assert all(isinstance(each, beam.pvalue.TaggedOutput) for each in beside)
    elements = list(fn.finish_bundle())
    blocks = {b.series.dimensions[0][1]: b for b in (decode_block(e.value[1]) for e in elements)}
    assert [e.timestamp for e in elements] == [Timestamp(40)] * 2
    assert blocks["a"].values.tolist() == [1.5, 3.5, 4.5]
    assert blocks["a"].times.tolist() == [60_000_000, 59_000_000, 62_000_000]
    assert blocks["b"].values.tolist() == [2.5]
    assert not list(fn.finish_bundle())


def test_a_long_bundle_gives_out_blocks_on_its_way(monkeypatch):
    monkeypatch.setattr(parse, "MOST_GATHERED_POINTS", 2)
    fn = ParseFn("number", (Fields("d", "value", time_format="counter"),))
    given = []
    for first in (0, 1, 2):
        batch = tuple(Batch("f", first, 0, False, 0, b"", [b"1"]))
        given += [e for e in fn.process(batch, MIN_TIMESTAMP) if isinstance(e, WindowedValue)]
    given += fn.finish_bundle()
    assert [len(decode_block(e.value[1]).times) for e in given] == [2, 1]
