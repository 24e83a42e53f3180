"""The times of the newest points: looked up as from a plain list, saved in runs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.recent_times import UNKNOWN, RecentTimes

MINUTE = 60_000_000


def nothing() -> np.ndarray:
    return np.empty(0, np.int64)


@given(
    times=st.lists(st.integers(-(10**15), 10**15) | st.just(UNKNOWN), max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=5),
    most=st.integers(1, 20),
    restored=st.booleans(),
    data=st.data(),
)
def test_looks_up_what_a_list_would(times, cuts, most, restored, data) -> None:
    recent = RecentTimes(most)
    bounds = [0, *sorted(min(cut, len(times)) for cut in cuts), len(times)]
    for start, stop in zip(bounds[:-1], bounds[1:], strict=True):
        asked = data.draw(st.lists(st.integers(0, max(stop - start - 1, 0)), max_size=3))
        rows = np.array(asked if stop > start else [], np.int64)
        back = np.array([data.draw(st.integers(1, 25)) for _ in rows], np.int64)
        found = recent.take(np.array(times[start:stop], np.int64), rows, back)
        for row, points, time in zip(rows, back, found, strict=True):
            earlier = start + row - points
            remembered = earlier >= max(start - most, 0)
            assert time == (times[earlier] if remembered else UNKNOWN)
        if restored:
            saved = recent.to_array()
            recent = RecentTimes.from_array(most, saved)
            np.testing.assert_array_equal(recent.to_array(), saved)


def test_a_regular_series_is_saved_in_a_few_bytes() -> None:
    recent = RecentTimes(20_000)
    assert not recent.any_known
    times = np.arange(50_000) * MINUTE
    recent.take(times, nothing(), nothing())
    assert recent.any_known
    assert recent.to_array().nbytes == 8 * 4
    recent.take(times[-1:] + 7 * MINUTE, nothing(), nothing())
    assert recent.to_array().nbytes == 8 * 6
    assert recent.nbytes == 160_000


@pytest.mark.parametrize("points", [0, 1, 2])
def test_few_points(points: int) -> None:
    recent = RecentTimes(5)
    recent.take(np.arange(points) * MINUTE, nothing(), nothing())
    saved = recent.to_array()
    assert RecentTimes.from_array(5, saved).to_array().tolist() == saved.tolist()
