"""Points into periods, gaps into rows."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.aggregate import (
    FUNCTIONS,
    Aggregation,
    Gaps,
    Rows,
    aggregate,
    fill_between,
    rows_of_points,
)
from transforms.order import Points, order

NAIVE = {
    "sum": math.fsum,
    "mean": lambda values: math.fsum(values) / len(values),
    "min": min,
    "max": max,
    "count": len,
    "last": lambda values: values[-1],
    "median": lambda values: float(np.median(values)),
}


def points_of(times, values, history=None):
    none = np.zeros(len(times), np.int64)
    flags = np.zeros(len(times), bool) if history is None else np.asarray(history)
    return order(Points(np.asarray(times, np.int64), np.asarray(values, float), none, flags))


@pytest.mark.parametrize("function", list(FUNCTIONS))
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 99), st.floats(-1e9, 1e9, width=32)), min_size=1, max_size=40
    )
)
def test_each_function_equals_its_definition(function, rows):
    points = points_of(*zip(*rows, strict=True))
    found = aggregate(points, Aggregation(function, 10))
    expected = {
        start: NAIVE[function]([v for _, v in group])
        for start, group in itertools.groupby(
            zip(points.times.tolist(), points.values.tolist(), strict=True),
            key=lambda pair: pair[0] // 10 * 10,
        )
    }
    assert found.starts.tolist() == list(expected)
    assert (found.ends - found.starts == 10).all()
    assert found.values.tolist() == list(expected.values())
    assert not found.imputed.any()


@given(st.permutations([1e16, 1.0, -1e16, 1e-3, 3.0]))
def test_a_sum_is_exact_in_any_order(values):
    found = aggregate(points_of([0] * 5, values), Aggregation("sum", 10))
    assert found.values.tolist() == [4.001]


def test_a_period_is_history_only_if_all_its_points_are():
    points = points_of([0, 1, 10, 11], [1, 1, 1, 1], [True, True, True, False])
    assert aggregate(points, Aggregation("sum", 10)).history.tolist() == [True, False]


def test_no_points_no_rows():
    assert len(aggregate(points_of([], []), Aggregation("sum", 10))) == 0
    assert len(rows_of_points(points_of([], []))) == 0


def test_points_of_the_same_time_are_told_apart():
    rows = rows_of_points(points_of([5, 5, 5, 7, 8, 8], range(6)))
    assert rows.identities.tolist() == [0, 1, 2, 0, 0, 1]
    assert rows.starts is rows.ends


@pytest.mark.parametrize(
    ("gaps", "expected"),
    [
        (Gaps("zero"), [4, 0, 0, 7, 0, 9]),
        (Gaps("previous"), [4, 4, 4, 7, 7, 9]),
        (Gaps("fixed", 2.5), [4, 2.5, 2.5, 7, 2.5, 9]),
    ],
)
def test_gaps_are_filled_by_policy(gaps, expected):
    rows = aggregate(points_of([0, 30, 50], [4, 7, 9]), Aggregation("sum", 10))
    filled = fill_between(rows, 10, gaps, None)
    assert filled.starts.tolist() == [0, 10, 20, 30, 40, 50]
    assert filled.values.tolist() == expected
    assert filled.imputed.tolist() == [False, True, True, False, True, False]


def test_the_gap_to_the_row_before_is_filled_without_that_row():
    flag, nothing = np.zeros(1, bool), np.zeros(1, np.int64)
    last = Rows(np.array([0]), np.array([10]), np.array([4.0]), nothing, flag, flag)
    rows = aggregate(points_of([30], [7]), Aggregation("sum", 10))
    filled = fill_between(rows, 10, Gaps("previous"), last)
    assert filled.starts.tolist() == [10, 20, 30]
    assert filled.values.tolist() == [4, 4, 7]


def test_a_filled_gap_is_history_only_between_history():
    rows = aggregate(points_of([0, 20, 40], [1, 1, 1], [True, True, False]), Aggregation("sum", 10))
    filled = fill_between(rows, 10, Gaps("zero"), None)
    assert filled.history.tolist() == [True, True, True, False, False]
