"""From a detector's raw score to decades of surprise, and from these to 0-100.

A raw score means nothing to a person and differs from series to series. Here it is held against
the series' own long past: *decades of surprise* are -log10 of the share of past raw scores that
were at least as high. 2 decades: one row in 100 scored so high. Beyond the 98 % quantile ``u`` the
past has too few rows to count, so the tail is taken as exponential with the mean excess ``me`` of
the rows above it::

    decades(s) = -log10(share of past >= s)             s <= u
    decades(s) = 1.70 + (s - u) / (ln(10) * me)         s >  u

(peaks over threshold with shape 0; Pickands 1975, doi:10.1214/aos/1176343003). The past is a
histogram of 256 equal bins, whose counts halve when they reach 32,768 rows, so it forgets slowly,
costs 2 kB, and never lets one anomaly become normal. Scores beyond `MOST_LEARNT_DECADES` count as
of so many decades.

The 0-100 score is ``100 * (1 - 0.3 ** (decades / DECADES_AT_70))``: strictly monotone, bounded, 0
at no surprise and 70 (the usual decision threshold) at `DECADES_AT_70`.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BINS = 256
# low, bin width, rows counted, smallest mean excess; the quantile and mean excess found last, the
# highest bin that was ever counted into; then the counts
HEAD = 7
CELLS = HEAD + BINS
MOST_ROWS = 32_768.0
WARM_ROWS = 30
TAIL_SHARE = 0.02
TAIL_DECADES = -math.log10(TAIL_SHARE)
LN10 = math.log(10.0)

CANDIDATE_DECADES = 2.5
"""From here on a row is worth an explanation (imputation, attribution, neighbour): 1 row in 316."""

DECADES_AT_70 = 3.25
"""Decades of surprise that make a score of 70."""

MOST_LEARNT_DECADES = 3.0
"""A higher score counts into the past as one of so many decades. Else a handful of anomalies would
own the tail's mean excess and hide their like (measured on NAB, WSD and a synthetic sales stream:
better than no limit on each, and flat between 2.5 and 3.5)."""

MOST_DECADES = 300.0
"""Decades are cut here, so that a score stays finite on any scale."""


@njit(cache=True, nogil=True, error_model="numpy")
def tail_decades(state: Floats, raw: float) -> float:
    """Decades of surprise of ``raw`` against the past in ``state`` (float64[CELLS]); NaN -> 0.

    Leaves quantile and mean excess in ``state`` for the `add_score` that follows.
    """
    total = state[2]
    if math.isnan(raw) or total < WARM_ROWS:
        return 0.0
    low = state[0]
    width = state[1]
    needed = TAIL_SHARE * total
    above = 0.0
    excess = 0.0  # sum over the rows above bin b of their distance, in bins, to bin b's upper edge
    top = int(state[6])
    b = top
    while b > 0 and above + state[HEAD + b] <= needed:
        above += state[HEAD + b]
        excess += above - 0.5 * state[HEAD + b]
        b -= 1
    # the quantile lies inside bin b: `part` of its rows are above it, spread evenly
    part = (needed - above) / state[HEAD + b] if state[HEAD + b] > 0.0 else 0.0
    quantile = low + (b + 1 - part) * width
    inside = excess + above * part + state[HEAD + b] * part * 0.5 * part
    mean_excess = max(inside * width / needed, 0.05 * abs(quantile), state[3])
    state[4] = quantile
    state[5] = mean_excess
    if raw > quantile:
        return min(TAIL_DECADES + (raw - quantile) / (LN10 * mean_excess), MOST_DECADES)
    position = (raw - low) / width
    k = int(min(max(position, 0.0), BINS - 1.0))  # clipped first: a huge float is no integer
    higher = 0.0
    for j in range(k + 1, top + 1):
        higher += state[HEAD + j]
    higher += state[HEAD + k] * min(max(1.0 - (position - k), 0.0), 1.0)
    return min(-math.log10((higher + 0.5) / (total + 1.0)), TAIL_DECADES)


@njit(cache=True, nogil=True, error_model="numpy")
def add_score(state: Floats, raw: float) -> None:
    """Count ``raw``, just given to `tail_decades`, into the past; NaN is passed over."""
    if math.isnan(raw):
        return
    if state[2] >= WARM_ROWS:
        raw = min(raw, state[4] + (MOST_LEARNT_DECADES - TAIL_DECADES) * LN10 * state[5])
    k = int(min(max((raw - state[0]) / state[1], 0.0), BINS - 1.0))
    state[HEAD + k] += 1.0
    state[6] = max(state[6], float(k))
    state[2] += 1.0
    if state[2] >= MOST_ROWS:
        total = 0.0
        for j in range(HEAD, CELLS):
            state[j] *= 0.5
            total += state[j]
        state[2] = total


@njit(cache=True, nogil=True, error_model="numpy")
def _decades_of_block(state: Floats, raw: Floats, decades: Floats) -> None:
    for i in range(raw.shape[0]):
        decades[i] = tail_decades(state, raw[i])
        add_score(state, raw[i])


class Calibration:
    """The past of one score of one series.

    Parameters
    ----------
    low, high : float
        Range of the histogram; scores outside count in the end bins.
    smallest_excess : float, optional
        Least mean excess of the tail, in units of the score: keeps a score that hardly ever
        moved from making its first small move infinitely surprising.

    Attributes
    ----------
    state : float64[CELLS]
        For `tail_decades` and `add_score`, which detectors call from their own kernels.
    """

    def __init__(self, low: float, high: float, smallest_excess: float = 0.02) -> None:
        self.state = np.zeros(CELLS)
        self.state[0] = low
        self.state[1] = (high - low) / BINS
        self.state[3] = smallest_excess

    def decades(self, raw: Floats) -> Floats:
        """Decades of each row against all before it (rows and `state`), then learnt; float64[n]."""
        out = np.zeros(raw.shape[0])
        _decades_of_block(self.state, raw, out)
        return out


def score_of(decades: Floats) -> Floats:
    """The 0-100 score of ``decades`` (float64[n]): 0 at 0, 70 at `DECADES_AT_70`, below 100."""
    return np.minimum(100.0 * -np.expm1(math.log(0.3) * decades / DECADES_AT_70), MOST_SCORE)


MOST_SCORE = float(np.nextafter(100.0, 0.0))
