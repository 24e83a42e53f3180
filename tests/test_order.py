"""One total order, whatever the order of arrival."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from transforms.order import drop_duplicates, gather, order
from transforms.records import Block, Series

SERIES = Series("d", "m", ())
POINT = st.tuples(
    st.integers(0, 5), st.floats(-3, 3).map(lambda x: round(x, 1)), st.integers(0, 3), st.booleans()
)


def points_of(rows):
    blocks = [
        Block(SERIES, np.array([t]), np.array([v]), np.array([i]), history=h) for t, v, i, h in rows
    ]
    return gather(blocks)


def plain(points):
    columns = (points.times, points.values, points.ids, points.history)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@given(rows=st.lists(POINT, min_size=1, max_size=30), seed=st.integers(0, 1000))
def test_any_arrival_gives_the_same_order(rows, seed):
    shuffled = [rows[i] for i in np.random.default_rng(seed).permutation(len(rows))]
    assert repr(plain(order(points_of(rows)))) == repr(plain(order(points_of(shuffled))))


@given(rows=st.lists(POINT, min_size=1, max_size=30))
def test_event_time_comes_first_then_the_record_id(rows):
    ordered = plain(order(points_of(rows)))
    assert [(t, i) for t, _, i, _ in ordered] == sorted((t, i) for t, _, i, _ in rows)
    assert sorted(map(repr, ordered)) == sorted(map(repr, plain(points_of(rows))))


@given(rows=st.lists(POINT, min_size=1, max_size=30))
def test_by_position_the_position_comes_first(rows):
    ordered = plain(order(points_of(rows), by_position=True))
    assert [(i, t) for t, _, i, _ in ordered] == sorted((i, t) for t, _, i, _ in rows)


@given(rows=st.lists(POINT, min_size=1, max_size=30))
def test_each_time_and_id_is_kept_once(rows):
    kept, dropped = drop_duplicates(order(points_of(rows)))
    pairs = {(t, i) for t, _, i, _ in rows}
    assert [(t, i) for t, _, i, _ in plain(kept)] == sorted(pairs)
    assert dropped == len(rows) - len(pairs)


def test_values_that_differ_in_the_last_bit_or_the_sign_of_zero_are_ordered_too():
    rows = [(0, -0.0, 0, False), (0, 0.0, 0, False), (0, np.nextafter(1.0, 2.0), 0, False)]
    assert repr(plain(order(points_of(rows)))) == repr(plain(order(points_of(rows[::-1]))))
