"""Records: identities of series, blocks as bytes, record IDs, times as text."""

from __future__ import annotations

import datetime as dt
import hashlib
import json

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from transforms.records import (
    Block,
    Series,
    decode_block,
    decode_blocks,
    dimension_list,
    encode_block,
    record_id,
    text_times,
)

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SERIES = st.builds(
    Series, TEXT, TEXT, st.dictionaries(TEXT, TEXT, max_size=4).map(lambda d: tuple(d.items()))
)
ROWS = st.lists(st.tuples(INT64, st.floats(width=64), INT64), max_size=20)


@given(SERIES, ROWS, st.booleans(), st.none() | INT64)
@example(Series("d", "m", ()), [], False, 0)
def test_a_block_is_the_same_after_its_bytes(series, rows, history, until):
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    times, values, ids = (
        np.array(column, kind) for column, kind in zip(columns, ("<i8", "<f8", "<i8"), strict=True)
    )
    block = Block(series, times, values, ids, history, until)
    again = decode_block(encode_block(block))
    assert (again.series, again.history, again.until) == (series, history, until)
    for column in ("times", "values", "ids"):  # bit for bit: NaN and -0.0 too
        assert getattr(again, column).tobytes() == getattr(block, column).tobytes()


@given(st.lists(st.tuples(ROWS, st.booleans(), st.none() | INT64), max_size=8))
def test_blocks_that_are_decoded_together_have_the_same_points(parts):
    series = Series("d", "m", (("item", "a"),))
    blocks = []
    for rows, history, until in parts:
        columns = list(zip(*rows, strict=True)) or [(), (), ()]
        kinds = ("<i8", "<f8", "<i8")
        arrays = [np.array(each, kind) for each, kind in zip(columns, kinds, strict=True)]
        mark = Block.mark(series, until) if until is not None else None
        blocks.append(mark or Block(series, *arrays, history))
    together = decode_blocks([encode_block(block) for block in blocks])
    marks = [block.until for block in blocks if block.until is not None]
    assert [block.until for block in together if block.until is not None] == marks
    assert all(block.series == series for block in together)
    assert len(together) <= len(marks) + 2
    for history in (False, True):
        for column in ("times", "values", "ids"):
            apart, joined = (
                b"".join(
                    getattr(block, column).tobytes()
                    for block in each
                    if block.until is None and block.history == history
                )
                for each in (blocks, together)
            )
            assert joined == apart


def test_a_mark_at_1970_is_not_taken_for_no_mark():
    assert decode_block(encode_block(Block.mark(Series("d", "m", ()), 0))).until == 0


def test_other_bytes_are_refused_by_name():
    with pytest.raises(ValueError, match=r"not a block: starts with b'XX', expected b'B1'"):
        decode_block(b"XX" + bytes(100))


def test_decoded_columns_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        decode_block(
            encode_block(
                Block(
                    Series("d", "m", ()), np.zeros(1, np.int64), np.ones(1), np.zeros(1, np.int64)
                )
            )
        ).values[0] = 2.0


@given(SERIES)
def test_a_series_is_the_same_after_its_bytes(series):
    again = Series.from_bytes(series.to_bytes())
    assert again == series
    assert (again.id, again.key, again.seed) == (series.id, series.key, series.seed)


@given(st.dictionaries(TEXT, TEXT, min_size=2, max_size=4), st.randoms())
def test_the_order_of_dimensions_does_not_change_the_id(dimensions, random):
    pairs = list(dimensions.items())
    shuffled = random.sample(pairs, len(pairs))
    assert Series("d", "m", tuple(pairs)).id == Series("d", "m", tuple(shuffled)).id


def test_the_id_is_the_hash_of_the_canonical_json():
    series = Series("d", "quantity", (("product_name", "item-A"), ("campus", "Süd")))
    canonical = '["quantity",[["campus","Süd"],["product_name","item-A"]]]'
    assert series.id == hashlib.sha256(canonical.encode()).hexdigest()


def test_series_that_differ_have_other_ids():
    different = [
        Series("d", "m", ()),
        Series("d", "n", ()),
        Series("d", "m", (("a", "b"),)),
        Series("d", "m", (("b", "a"),)),
        Series("d", "m", (("a", ""), ("b", "c"))),
        Series("d", "m", (("a", "b"), ("", "c"))),
        Series("d", "m", (("ab", "c"),)),
        Series("d", "m", (("a", "bc"),)),
    ]
    assert len({series.id for series in different}) == len(different)


def test_the_id_is_the_detectors_own_only_with_its_name():
    one, other = Series("one", "m", ()), Series("other", "m", ())
    assert one.id == other.id
    assert one.key != other.key
    assert one.seed != other.seed
    assert 0 <= one.seed < 2**63


@given(st.integers(-(2**62) + 1, 2**62 - 1))
def test_a_small_integer_is_its_own_record_id(number):
    assert record_id(number) == number


@given(st.integers() | st.floats() | st.booleans() | TEXT)
def test_every_record_id_fits_64_bits_and_is_repeatable(value):
    assert record_id(value) == record_id(value)
    assert -(2**63) <= record_id(value) < 2**63


def test_texts_that_differ_have_other_record_ids():
    values = ["", "a", "b", "ab", "1", "01", 2**62, 2**63, True]
    assert len({record_id(value) for value in values}) == len(values)


YEARS_1970_TO_9999 = st.integers(0, 253_402_300_799 * 1_000_000 + 999_999)


@given(st.lists(YEARS_1970_TO_9999, max_size=5))
@example([0, 999_999, 1_000_000, 253_402_300_799_999_999])
def test_times_as_text_are_what_datetime_says(times):
    epoch = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - the text names no zone: it is UTC by contract
    expected = [str(epoch + dt.timedelta(microseconds=time)) for time in times]
    assert text_times(np.array(times, np.int64)) == expected


def test_dimensions_are_listed_as_the_stack_has_them():
    assert json.loads(json.dumps(dimension_list((("product_name", "item-A"),)))) == [
        {"name": "product_name", "value": "item-A"}
    ]
