"""The period of a series."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.period import find_period


def noise(rows: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=rows)


@pytest.mark.parametrize("period", [10, 25, 128, 600])
def test_a_wave(period: int) -> None:
    t = np.arange(4000)
    assert abs(find_period(np.sin(2 * np.pi * t / period) + 0.1 * noise(4000)) - period) <= 1


def test_the_smallest_strong_peak_not_the_highest() -> None:
    beat = np.tile(np.r_[np.hanning(50), 1.02 * np.hanning(50)], 30)
    curve = np.correlate(beat - beat.mean(), beat - beat.mean(), "full")[len(beat) - 1 :]
    curve = curve / np.arange(len(beat), 0, -1)
    assert curve[100] > curve[50]
    assert find_period(beat) == 50


def test_a_weak_early_peak_is_passed_over() -> None:
    t = np.arange(4000)
    values = np.sin(2 * np.pi * t / 200) + 0.2 * np.sin(2 * np.pi * t / 40)
    assert abs(find_period(values) - 200) <= 1


@pytest.mark.parametrize("shape", [np.zeros(1000), np.full(1000, 1e300), np.arange(1000.0)])
def test_without_a_peak(shape: np.ndarray) -> None:
    assert find_period(shape) == 100
    assert find_period(shape[:80]) == 20


def test_level_and_scale_change_nothing() -> None:
    values = np.sin(np.arange(2000) / 9) + 0.2 * noise(2000)
    assert find_period(1e-300 * values) == find_period(1e200 * (values + 7)) == find_period(values)


def test_the_newest_points_count() -> None:
    t = np.arange(50_000)
    values = np.where(t < 25_000, np.sin(2 * np.pi * t / 30), np.sin(2 * np.pi * t / 80))
    assert find_period(values) == 80
