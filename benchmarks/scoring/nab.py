"""NAB score: anomaly scores and labelled windows to the score of the three standard profiles.

Source: Lavin & Ahmad 2015, "Evaluating real-time anomaly detection algorithms - the Numenta
Anomaly Benchmark", doi:10.1109/ICMLA.2015.141, with the conventions of NAB v1.0/1.1:

* the first 15 % of a series (at most 750 rows) are probationary and not scored;
* a window earns its best detection, ``sigmoid(position) / sigmoid(-1)``: 1 at its first row,
  falling to 0 just after its last; a window without a detection costs the profile's weight of a
  false negative;
* a detection outside every window costs up to the weight of a false positive, less shortly after
  a window;
* one threshold serves the whole corpus, the one that maximises the profile's total;
* the total is normalised to 0 for a detector that says nothing and 100 for a perfect one.

Rows that have no score (NaN, and the infinities) rank below every other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Window = tuple[int, int]

SPLITS = 6
PROBATION_SHARE = 0.15
PROBATION_MOST_ROWS = 5000
"""Rows of a series that count for its probation: longer ones are on probation no longer."""


@dataclass(frozen=True)
class Profile:
    """The weights of an application: A_TP, A_FP and A_FN of the paper."""

    true_positive: float
    false_positive: float
    false_negative: float


PROFILES = {
    "standard": Profile(1.0, 0.11, 1.0),
    "reward_low_FP_rate": Profile(1.0, 0.22, 1.0),
    "reward_low_FN_rate": Profile(1.0, 0.11, 2.0),
}


@dataclass(frozen=True, eq=False)
class ScoredSeries:
    """A series as the scorer sees it.

    Attributes
    ----------
    scores : float64[n]
        One score a row, higher = stranger; no scale is assumed.
    windows : sequence of (first row, last row)
        The labelled windows, inclusive, from 0, disjoint.
    """

    scores: Floats
    windows: Sequence[Window]


@dataclass(frozen=True)
class NabScore:
    """The result of one profile.

    Attributes
    ----------
    score : float
        100 = perfect, 0 = silent; NaN where there is no window.
    threshold : float
        A row is a detection when its score is at least this; +inf: nothing is.
    raw : float
        The total before it is normalised.
    windows_found, windows : int
        Windows with a detection; all windows.
    false_positive_rows : int
        Detections outside every window.
    """

    score: float
    threshold: float
    raw: float
    windows_found: int
    windows: int
    false_positive_rows: int


@dataclass(frozen=True, eq=False)
class _Pool:
    """All rows that count, of all series, end to end.

    ``window_of`` numbers the windows over the corpus, -1 outside; ``windows_seen`` are those with
    a row after probation.
    """

    scores: Floats
    weights: Floats
    window_of: Integers
    windows_seen: int
    windows: int


def nab_scores(
    series: Sequence[ScoredSeries], thresholds: Mapping[str, float] | None = None
) -> dict[str, NabScore]:
    """NAB scores of a corpus, by the profile's name.

    Parameters
    ----------
    series : sequence of ScoredSeries
        The whole corpus, at least one series: one threshold is used for all of it.
    thresholds : mapping of profile name to float, optional
        Thresholds found elsewhere, on other series say; a profile without one is optimised here,
        which flatters every detector alike.
    """
    pool = _pool(series)
    return {
        name: _profile_score(pool, profile, (thresholds or {}).get(name))
        for name, profile in PROFILES.items()
    }


def carried_over(series: Sequence[ScoredSeries], splits: int = SPLITS) -> float:
    """Standard score of one half of the corpus at the threshold that is best for the other half.

    The mean over ``splits`` random splits, each both ways; NaN without two halves with windows.
    """
    scores = []
    for seed in range(splits):
        order = np.random.default_rng(seed).permutation(len(series))
        halves = [[series[i] for i in half] for half in np.array_split(order, 2)]
        if all(any(one.windows for one in half) for half in halves):
            for ours, other in (halves, halves[::-1]):
                threshold = nab_scores(other)["standard"].threshold
                scores.append(nab_scores(ours, {"standard": threshold})["standard"].score)
    return float(np.mean(scores)) if scores else float("nan")


def _profile_score(pool: _Pool, profile: Profile, threshold: float | None) -> NabScore:
    candidates, raw = _sweep(pool, profile)
    if threshold is None:
        chosen = int(np.argmax(raw))  # of equal totals the one with the highest threshold
    else:
        chosen = int(np.flatnonzero(candidates >= threshold).max())
    detected = pool.scores >= candidates[chosen]
    inside = pool.window_of >= 0
    return NabScore(
        score=_normalise(float(raw[chosen]), pool.windows, profile),
        threshold=float(candidates[chosen]),
        raw=float(raw[chosen]),
        windows_found=len(np.unique(pool.window_of[detected & inside])),
        windows=pool.windows,
        false_positive_rows=int((detected & ~inside).sum()),
    )


def _normalise(raw: float, windows: int, profile: Profile) -> float:
    if windows == 0:
        return float("nan")
    silent = -profile.false_negative * windows
    return 100.0 * (raw - silent) / (profile.true_positive * windows - silent)


def _sweep(pool: _Pool, profile: Profile) -> tuple[Floats, Floats]:
    """Every threshold that makes a difference, from +inf down, and its total: float64[k] each."""
    order = np.argsort(-pool.scores, kind="stable")
    scores = pool.scores[order]
    gains = _gains(pool.weights[order], pool.window_of[order], profile)
    silent = -profile.false_negative * pool.windows_seen
    totals = silent + np.cumsum(gains)
    last_of_equals = np.flatnonzero(np.r_[scores[1:] != scores[:-1], True])
    return np.r_[np.inf, scores[last_of_equals]], np.r_[silent, totals[last_of_equals]]


def _gains(weights: Floats, window_of: Integers, profile: Profile) -> Floats:
    """What each row, in the order of falling scores, adds to the total by being detected."""
    gains = np.where(window_of < 0, weights * profile.false_positive, 0.0)
    rewards = weights * profile.true_positive / float(scaled_sigmoid(np.array(-1.0)))
    inside = np.flatnonzero(window_of >= 0)
    inside = inside[np.argsort(window_of[inside], kind="stable")]
    boundaries = np.flatnonzero(np.diff(window_of[inside])) + 1
    for rows in np.split(inside, boundaries):
        best = np.maximum.accumulate(np.r_[-profile.false_negative, rewards[rows]])
        gains[rows] = np.diff(best)
    return gains


def _pool(series: Sequence[ScoredSeries]) -> _Pool:
    scores: list[Floats] = []
    weights: list[Floats] = []
    window_of: list[Integers] = []
    windows = seen = 0
    for one in series:
        start = probation_rows(len(one.scores))
        weight, window = row_weights(len(one.scores), one.windows)
        weight, window = weight[start:], window[start:]
        score = one.scores[start:]
        scores.append(np.where(np.isfinite(score), score, -np.inf))
        weights.append(weight)
        window_of.append(np.where(window >= 0, window + windows, -1))
        seen += len(np.unique(window[window >= 0]))
        windows += len(one.windows)
    return _Pool(
        np.concatenate(scores), np.concatenate(weights), np.concatenate(window_of), seen, windows
    )


def row_weights(rows: int, windows: Sequence[Window]) -> tuple[Floats, Integers]:
    """The worth of a detection at each row before the profile's weights, and each row's window.

    Returns
    -------
    weights : float64[rows]
        In [-1, 1): positive inside a window, -1 before the first window and long after one.
    window_of : int64[rows]
        Index of the row's window in order of time, -1 outside.
    """
    weights = np.full(rows, -1.0)
    window_of = np.full(rows, -1, np.int64)
    ordered = sorted(windows)
    for index, (first, last) in enumerate(ordered):
        next_first = ordered[index + 1][0] if index + 1 < len(ordered) else rows
        inside = np.arange(first, last + 1)
        weights[inside] = scaled_sigmoid(-(last - inside + 1) / (last - first + 1))
        window_of[inside] = index
        after = np.arange(last + 1, next_first)
        weights[after] = scaled_sigmoid((after - last) / max(last - first, 1))
    return weights, window_of


def scaled_sigmoid(position: Floats) -> Floats:
    """Worth of a detection at a position in window widths, 0 = the window's end.

    ``2 / (1 + exp(5 position)) - 1``, and -1 beyond 3 widths, as NAB's code has it.
    """
    # the exponent stops just past 3, where the value is not used, so that it cannot overflow
    sigmoid = 2.0 / (1.0 + np.exp(5.0 * np.minimum(position, 3.1))) - 1.0
    return np.where(position > 3.0, -1.0, sigmoid)


def probation_rows(rows: int) -> int:
    """Leading rows of a series that are not scored."""
    share = min(np.floor(PROBATION_SHARE * rows), PROBATION_SHARE * PROBATION_MOST_ROWS)
    return int(np.ceil(share))
