"""The expectation is simple exponential smoothing, with a band of three standard deviations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.band import BAND_WIDTH, CELLS, ERROR_MEMORY, LEVEL_SHARE, expect

RANDOM = np.random.default_rng(31)
ROWS = 900
SPIKED = RANDOM.standard_normal(ROWS)
SPIKED[[10, 31, 200, 201, 600]] = 1e6
SERIES = {
    "normal": RANDOM.standard_normal(ROWS),
    "spikes": SPIKED,
    "constant": np.full(ROWS, 0.7),
    "zero, then a step": np.repeat([0.0, 5.0], ROWS // 2),
    "holes": np.where(RANDOM.random(ROWS) < 0.3, np.nan, RANDOM.standard_normal(ROWS)),
    "rising": np.linspace(0.0, 50.0, ROWS),
}
series = pytest.mark.parametrize("name", SERIES)


def band_of(values: np.ndarray, state: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    expected, half_width = np.empty(len(values)), np.empty(len(values))
    expect(np.zeros(CELLS) if state is None else state, values, expected, half_width)
    return expected, half_width


def level_of(past: list[float]) -> float:
    """Brown's weighted sum of all the past, no recursion."""
    keep = 1.0 - LEVEL_SHARE
    n = len(past)
    newer = sum(LEVEL_SHARE * keep**age * past[n - 1 - age] for age in range(n - 1))
    return newer + keep ** (n - 1) * past[0]


def mean_error_of(errors: list[float]) -> float:
    """The mean of the first `ERROR_MEMORY` errors; from there on each newer one takes its share."""
    mean = 0.0
    for i, error in enumerate(errors):
        # the 31st error is the first to be clipped
        clipped = min(error, 5.0 * mean) if i >= 30 and mean > 0.0 else error
        mean = (
            (i * mean + clipped) / (i + 1)
            if i < ERROR_MEMORY
            else (mean + (clipped - mean) / ERROR_MEMORY)
        )
    return mean


@series
def test_equals_the_definition(name: str) -> None:
    values = SERIES[name]
    expected, half_width = band_of(values)
    past: list[float] = []
    errors: list[float] = []
    for i, value in enumerate(values):
        if not past:
            assert math.isnan(expected[i]) and math.isnan(half_width[i])
        else:
            assert expected[i] == pytest.approx(level_of(past), rel=1e-9, abs=1e-9)
            if i % 7 == 0:
                width = 3.0 * math.sqrt(math.pi / 2.0) * mean_error_of(errors)
                assert half_width[i] == pytest.approx(width, rel=1e-9, abs=1e-9)
        if not math.isnan(value):
            if past:
                errors.append(abs(value - level_of(past)))
            past.append(float(value))


def test_by_hand() -> None:
    expected, half_width = band_of(np.array([np.nan, 10.0, 20.0, np.nan, 12.0]))
    assert expected[2:].tolist() == pytest.approx([10.0, 12.0, 12.0])
    assert half_width[2:].tolist() == pytest.approx([0.0, 10.0 * BAND_WIDTH, 10.0 * BAND_WIDTH])
    assert np.isnan(expected[:2]).all() and np.isnan(half_width[:2]).all()


def test_the_band_holds_three_standard_deviations() -> None:
    values = np.random.default_rng(6).standard_normal(40_000)
    expected, half_width = band_of(values)
    errors = (values - expected)[1000:]
    assert np.mean(half_width[1000:]) == pytest.approx(3.0 * errors.std(), rel=0.02)
    outside = np.mean(np.abs(errors) > half_width[1000:])
    assert 0.001 < outside < 0.005  # 0.0027 of a normal distribution


def test_one_anomaly_widens_the_band_by_little() -> None:
    values = SERIES["normal"].copy()
    values[600] = 1e9
    _, with_anomaly = band_of(values)
    _, without = band_of(SERIES["normal"])
    assert with_anomaly[601] < 1.05 * without[601]
    # the level needs some rows to come back, each of them a clipped error
    assert with_anomaly[-1] < 2.0 * without[-1]


@series
@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, ROWS), max_size=5))
def test_no_cut_shows(name: str, cuts: list[int]) -> None:
    state, cut = np.zeros(CELLS), np.zeros(CELLS)
    whole = band_of(SERIES[name], state)
    parts = [band_of(part, cut) for part in np.split(SERIES[name], sorted(cuts))]
    for i in (0, 1):
        np.testing.assert_array_equal(whole[i], np.concatenate([part[i] for part in parts]))
    np.testing.assert_array_equal(state, cut)


@series
@pytest.mark.parametrize("row", [1, 50, 899])
def test_a_row_is_expected_from_those_before_it(name: str, row: int) -> None:
    other = SERIES[name].copy()
    other[row:] = -7.0
    for one, same in zip(band_of(SERIES[name]), band_of(other), strict=True):
        np.testing.assert_array_equal(one[: row + 1], same[: row + 1])


@pytest.mark.parametrize("scale", [1e-150, 1e-12, 1e12, 1e150])
def test_tiny_and_huge_values(scale: float) -> None:
    for one, usual in zip(band_of(scale * SPIKED), band_of(SPIKED), strict=True):
        np.testing.assert_allclose(one / scale, usual, rtol=1e-9)
