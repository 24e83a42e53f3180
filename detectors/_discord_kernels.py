"""Kernels of the left discord: one query subsequence against the m before it, O(m) a point.

Every subsequence ("window") is named by the position of its first point. For a query window i and
a candidate window j of length n, both less their means, the kernels carry from one query to the
next, one number for each of the m lags i - j,

- normalised: the covariance sum c(i, j), by the recurrence of Zimmerman et al. 2019 (SCAMP,
  doi:10.1145/3357223.3362721, section 3)::

      c(i, j) = c(i-1, j-1) + f_i g_j + g_i f_j
      f_i = (x[i+n-1] - x[i-1]) / 2,  g_i = (x[i+n-1] - mean_i) + (x[i-1] - mean_(i-1))

- plain: minus the squared distance,
  c(i, j) = c(i-1, j-1) + (x[i-1] - x[j-1])^2 - (x[i+n-1] - x[j+n-1])^2.

The *closeness* c(i, j) w_i w_j - a_j is greatest at the nearest neighbour. Normalised:
w = 1 / sqrt(E + n e^2) and a = E w^2 / 2, with E the window's centred sum of squares and e the
soft floor, so that 2 (a_i - closeness) is the mean square difference of the two windows, each
divided by sqrt(sd^2 + e^2). A constant window has E = 0 and, without a floor, w = 0: it is as far
from every other as stumpy's convention says (0 from a constant one, 1 from any other) by the same
formula. Plain: w = 1 and a = 0.

Means are kept relative to the window's first point and all products are of such differences, so a
large offset costs no digits. What a large value leaves behind does: a carried number has the
rounding error of the largest window it went through. So where the energy E + n e^2 falls below
`COLLAPSE` of its maximum, the window is a *restart*: numbers that involve it, as query or as
candidate, are summed directly. Window 0 and the first query are restarts too. Against slow drift,
every `REFRESH_ROWS` queries one of `REFRESH_PARTS` shares of the lags is summed directly. And where
the nearest neighbour is so near that only a rounding error may part them, the two are compared
point by point (`nearest_square`).

All of this depends on the absolute index of a window and on nothing else, every sum has one fixed
order and no fast-math is used: the bits do not depend on how the stream is cut into calls.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from detectors._lag_kernels import (
    LEAST_ROWS,
    MOST_ROWS,
    TILE_LAGS,
    interleaved_rows,
    normalised_rows,
    plain_rows,
    scratch,
)
from detectors._subsequence_kernels import (
    BLOCK_LAGS,
    EQUAL,
    MEAN,
    RESTART,
    A,
    W,
    direct_sums,
    nearest_square,
)
from detectors._vectors import WIDTH

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

REFRESH_ROWS = 256
REFRESH_PARTS = 16


@njit(cache=True, nogil=True, error_model="numpy")
def _carry_on(
    x: Floats,
    windows: Floats,
    carried: Floats,
    peaks: Floats,
    i: int,
    j: int,
    rows: int,
    n: int,
    normalize: bool,
    room: Floats,
) -> None:
    """A tile by the recurrence alone."""
    if not normalize:
        plain_rows(x, windows, carried, peaks, i, j, rows, n)
        return
    pairs = rows - rows % 2 if rows >= LEAST_ROWS else 0
    if pairs:
        interleaved_rows(windows, carried, peaks, i, j, pairs, room)
    rest = peaks[pairs * WIDTH :]
    normalised_rows(windows, carried, rest, i + pairs, j + pairs, rows - pairs)


@njit(cache=True, nogil=True, error_model="numpy")
def _tile(
    x: Floats,
    windows: Floats,
    carried: Floats,
    peaks: Floats,
    i: int,
    j: int,
    rows: int,
    n: int,
    base: int,
    normalize: bool,
    room: Floats,
) -> None:
    """One tile, with the restarts among its candidates summed directly."""
    lags = carried.shape[0]
    newest = windows[RESTART, j + lags + rows - 2]
    restarts = newest >= max(base + j, 0)
    step = 1 if restarts else rows
    for b in range(0, rows, step):
        own = peaks[b * WIDTH :]
        _carry_on(x, windows, carried, own, i + b, j + b, step, n, normalize, room)
        if not restarts:
            continue
        oldest = max(base + j + b, 0)
        restart = windows[RESTART, j + b + lags - 1]
        while restart >= oldest:
            k = int(restart) - base
            r = k - j - b
            direct_sums(x, windows[MEAN], i + b, k, n, normalize, carried[r : r + 1])
            closeness = carried[r] * windows[W, k] * windows[W, i + b] - windows[A, k]
            own[r // BLOCK_LAGS] = max(closeness, own[r // BLOCK_LAGS])
            restart = windows[RESTART, k - 1]


@njit(cache=True, nogil=True, error_model="numpy")
def _restart_row(
    x: Floats,
    windows: Floats,
    carried: Floats,
    best: Floats,
    blocks: Integers,
    i: int,
    n: int,
    base: int,
    normalize: bool,
) -> None:
    """Query i, a restart: every lag summed directly; writes ``best[0]`` and ``blocks[0]``."""
    m = carried.shape[0]
    oldest = i - n - m + 1
    absent = min(max(-base - oldest, 0), m)
    direct_sums(x, windows[MEAN], i, oldest + absent, n, normalize, carried[absent:])
    for r in range(absent, m):
        closeness = carried[r] * windows[W, oldest + r] * windows[W, i] - windows[A, oldest + r]
        if closeness >= best[0]:
            best[0] = closeness
            blocks[0] = r // BLOCK_LAGS


@njit(cache=True, nogil=True, error_model="numpy")
def _keep_greatest(
    peaks: Floats, rows: int, first: int, count: int, best: Floats, blocks: Integers
) -> None:
    """Each query's greatest closeness so far and its block; of equal ones the latest.

    ``first`` is the tile's first block, ``count`` how many it has.
    """
    for b in range(rows):
        for k in range(count):
            if peaks[b * WIDTH + k] >= best[b]:
                best[b] = peaks[b * WIDTH + k]
                blocks[b] = first + k


@njit(cache=True, nogil=True, error_model="numpy")
def _refresh(
    x: Floats, windows: Floats, carried: Floats, i: int, n: int, base: int, normalize: bool
) -> None:
    """Before query i: sum this turn's share of the lags directly, for the query before it."""
    m = carried.shape[0]
    part = ((base + i) // REFRESH_ROWS) % REFRESH_PARTS
    oldest = i - n - m
    low = max(m * part // REFRESH_PARTS, -base - oldest)
    high = m * (part + 1) // REFRESH_PARTS
    if low < high:
        direct_sums(x, windows[MEAN], i - 1, oldest + low, n, normalize, carried[low:high])


@njit(cache=True, nogil=True, error_model="numpy")
def score_queries(
    x: Floats,
    windows: Floats,
    carried: Floats,
    first: int,
    last: int,
    n: int,
    base: int,
    normalize: bool,
    unit: float,
    raw: Floats,
    blocks: Integers,
) -> None:
    """Raw scores of the queries ``first <= i < last``, whose windows are filled in.

    Parameters
    ----------
    x : float64[capacity]
        Scaled points.
    windows : float64[ROWS, capacity]
        Of all candidates and queries.
    carried : float64[m]
        c(i, j) of the last query done, oldest candidate first; moved on to query ``last - 1``.
        m is a multiple of `BLOCK_LAGS`.
    first, last : int
        Positions; ``first >= m + n + 1``.
    n : int
        Subsequence length.
    base : int
        Absolute index of position 0; candidates before absolute index 0 do not exist.
    normalize : bool
        Which of the two distances.
    unit : float
        The series' standard deviation, scaled: what the plain distance is divided by.
    raw : float64[last - first]
        Written: sqrt(mean square difference), at most 2; plain: log1p of it over ``unit``.
    blocks : int64[last - first]
        Written: the nearest candidate's place in ``carried``, divided by `BLOCK_LAGS`.
    """
    m = carried.shape[0]
    room = scratch() if last - first >= LEAST_ROWS else np.empty((5, 0))
    peaks = np.empty(MOST_ROWS * WIDTH)
    best = np.full(last - first, -np.inf)
    i = first
    while i < last:
        stop = i + 1
        ours, place = best[i - first :], blocks[i - first :]
        if windows[RESTART, i] == base + i:
            _restart_row(x, windows, carried, ours, place, i, n, base, normalize)
        else:
            if (base + i) % REFRESH_ROWS == 0:
                _refresh(x, windows, carried, i, n, base, normalize)
            end = min(last, i + MOST_ROWS, i + REFRESH_ROWS - (base + i) % REFRESH_ROWS)
            while stop < end and windows[RESTART, stop] != base + stop:
                stop += 1
            rows = stop - i
            oldest = i - n - m + 1
            for r in range(0, m, TILE_LAGS):
                lags = carried[r : r + TILE_LAGS]
                count = lags.shape[0] // BLOCK_LAGS
                if base + oldest + r + lags.shape[0] + rows - 2 >= 0:
                    j = oldest + r
                    _tile(x, windows, lags, peaks, i, j, rows, n, base, normalize, room)
                    _keep_greatest(peaks, rows, r // BLOCK_LAGS, count, ours, place)
        i = stop
    for k in range(last - first):
        i = first + k
        if normalize:
            square = max(2.0 * (windows[A, i] - best[k]), 0.0)
            if square < EQUAL and windows[A, i] > 0.0:
                square = nearest_square(x, windows, i, blocks[k], m, n, base)
            raw[k] = min(math.sqrt(square), 2.0)
        else:
            raw[k] = math.log1p(math.sqrt(max(-best[k], 0.0) / n) / unit)
