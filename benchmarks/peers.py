"""What others do, and trivial floors: peers that every figure of ours is shown beside.

A peer is a function from values (float64[n]) to causal scores (float64[n]): a row is scored with
the rows before it only, higher = stranger, NaN where there is no score, which every scorer ranks
lowest. Values that are NaN are missing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from detectors.period import find_period

Floats = NDArray[np.float64]
Peer = Callable[[Floats], Floats]

WINDOW_ROWS = 1000
"""Beam's default window."""

LEAST_DEVIATION = 1e-12
"""Beam's bound: a smaller standard deviation counts as none, and scores 0."""

QUIET_ROWS = 100


def absolute_difference(values: Floats) -> Floats:
    """Distance of each value to the one before; the floor that any detector has to beat."""
    return np.abs(np.diff(values, prepend=np.nan))


def rolling_z_score(values: Floats) -> Floats:
    """Distance to the mean of the previous 1,000 rows, in their standard deviations (n - 1).

    NaN with fewer than two values before the row; 0 where they do not vary. Computed afresh for
    each row, so it has no drift; cost O(1000 n).
    """
    scores = np.full(len(values), np.nan)
    _rolling_z_score(values, WINDOW_ROWS, scores)
    return scores


@njit(cache=True, nogil=True, error_model="numpy")
def _rolling_z_score(values: Floats, window: int, scores: Floats) -> None:
    for i in range(values.shape[0]):
        start = max(i - window, 0)
        count = 0
        origin = 0.0  # sums run about the first value, so that equal values deviate by exactly 0
        total = 0.0
        for j in range(start, i):
            if not math.isnan(values[j]):
                if count == 0:
                    origin = values[j]
                count += 1
                total += values[j] - origin
        if count < 2 or math.isnan(values[i]):
            continue
        mean = total / count
        squares = 0.0
        for j in range(start, i):
            if not math.isnan(values[j]):
                squares += (values[j] - origin - mean) ** 2
        deviation = math.sqrt(squares / (count - 1))
        scores[i] = (
            0.0 if deviation < LEAST_DEVIATION else abs(values[i] - origin - mean) / deviation
        )


def beam_z_score(values: Floats) -> Floats:
    """Apache Beam's ``ml.anomaly`` ZScore as it comes, called directly and not through a runner."""
    # imported here: Beam takes seconds to load, and the other peers need none of it
    from apache_beam.ml.anomaly.detectors.zscore import ZScore

    return _beam_scores(ZScore(), values)


def beam_robust_z_score(values: Floats) -> Floats:
    """Apache Beam's ``ml.anomaly`` RobustZScore (median, MAD), as `beam_z_score`."""
    from apache_beam.ml.anomaly.detectors.robust_zscore import RobustZScore

    return _beam_scores(RobustZScore(), values)


def _beam_scores(detector: Any, values: Floats) -> Floats:
    import apache_beam as beam

    scores = np.full(len(values), np.nan)
    for i, value in enumerate(values.tolist()):
        row = beam.Row(value=value)
        score = detector.score_one(row)
        if score is not None:
            scores[i] = score
        detector.learn_one(row)
    return scores


def aws_forest(model: str, shingle_size: int, values: Floats) -> Floats:
    """AWS random cut forest 4.3 (Java), 50 trees of 256 points; needs Java and Maven.

    ``core`` is the anomaly score of its RandomCutForest, ``grade`` the anomaly grade of its
    ThresholdedRandomCutForest with the settings of `benchmarks.forest`.
    """
    from benchmarks.java_forest import shared_forest

    return shared_forest().score(model, shingle_size, AWS_TREES, 1, values, len(values))[0]


AWS_TREES = 50
AWS_SHINGLES = (1, 8)


LEARNING_ROWS = 1000
"""Rows that stumpy's subsequence length is taken from, as the left discord's is at first."""


def stumpy_left_profile(values: Floats) -> Floats:
    """Left matrix profile of stumpy, z-normalised, over the whole past: each row's newest window.

    The length of the windows is the period of the first 1,000 rows, found as the left discord
    finds it; stumpy's own exclusion zone of a quarter of it. O(n^2) in time.
    """
    # imported here: stumpy takes seconds to load and to compile
    import stumpy

    scores = np.full(len(values), np.nan)
    if len(values) <= LEARNING_ROWS or np.isnan(values).any():
        return scores
    length = find_period(values[:LEARNING_ROWS])
    nearest = stumpy.stump(values, length)[:, 2].astype(np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(values, length)
    for start in range(0, len(windows), 10_000):
        rows = slice(start, min(start + 10_000, len(windows)))
        ours, theirs = _shapes(windows[rows]), _shapes(windows[np.maximum(nearest[rows], 0)])
        distance = np.sqrt(((ours - theirs) ** 2).sum(axis=1))
        scores[start + length - 1 : rows.stop + length - 1] = np.where(
            nearest[rows] >= 0, distance, np.nan
        )
    return scores


def _shapes(windows: Floats) -> Floats:
    centred = windows - windows.mean(axis=1, keepdims=True)
    deviation = centred.std(axis=1, keepdims=True)
    return np.divide(centred, deviation, out=np.zeros_like(centred), where=deviation > 0.0)


PEERS: dict[str, Peer] = {
    "|difference|": absolute_difference,
    "rolling z-score": rolling_z_score,
    "Beam ZScore": beam_z_score,
    "Beam RobustZScore": beam_robust_z_score,
}

JAVA_PEERS: dict[str, Peer] = {
    f"AWS {name}, shingle {size}": partial(aws_forest, model, size)
    for name, model in (("RCF", "core"), ("TRCF grade", "grade"))
    for size in AWS_SHINGLES
}
"""Asked for by themselves: they need Java and Maven."""

SLOW_PEERS: dict[str, Peer] = {"stumpy left profile": stumpy_left_profile}
"""Asked for by themselves: a minute to compile, and quadratic in time."""


def quiet(scores: Floats, rows: int = QUIET_ROWS) -> Floats:
    """The scores with a quiet period: a row keeps its own only if it beats all ``rows`` before it.

    Parameters
    ----------
    scores : float64[n]
        Higher = stranger; NaN beats nothing.
    rows : int, optional
        Length of the quiet period; 0 keeps every score.

    Returns
    -------
    float64[n]
        -inf where the score was not kept. Causal; O(n) in time.

    Raises
    ------
    ValueError
        ``rows`` is negative.
    """
    if rows < 0:
        raise ValueError(f"rows must be >= 0, got {rows}")
    comparable = np.where(np.isnan(scores), -np.inf, scores)
    if rows == 0:
        return comparable
    kept = np.full(len(scores), -np.inf)
    _quiet(comparable, rows, kept)
    return kept


@njit(cache=True, nogil=True, error_model="numpy")
def _quiet(scores: Floats, rows: int, kept: Floats) -> None:
    # rivals[oldest:end]: rows whose scores fall from left to right, so that the first is the
    # highest of the period; a row drops those that it reaches, and leaves when the period ends
    rivals = np.empty(scores.shape[0], np.int64)
    oldest = 0
    end = 0
    for i in range(scores.shape[0]):
        if oldest < end and rivals[oldest] < i - rows:
            oldest += 1
        if oldest == end or scores[i] > scores[rivals[oldest]]:
            kept[i] = scores[i]
        while oldest < end and scores[rivals[end - 1]] <= scores[i]:
            end -= 1
        rivals[end] = i
        end += 1
