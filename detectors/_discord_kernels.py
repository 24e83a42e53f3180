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
every `REFRESH_ROWS` queries one of `REFRESH_PARTS` shares of the lags is summed directly.

All of this depends on the absolute index of a window and on nothing else, every sum has one fixed
order and no fast-math is used: the bits do not depend on how the stream is cut into calls.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from detectors._subsequence_kernels import (
    LANES,
    MEAN,
    RESTART,
    A,
    F,
    G,
    H,
    W,
    direct_sum,
    direct_sums,
)

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

SEGMENT_ROWS = 64
"""Queries that go through a tile before the next tile is taken up."""

FOLD = LANES // 4
"""Lanes that a row of maxima is folded to, in vector steps, before the scalar maximum."""

REFRESH_ROWS = 256
REFRESH_PARTS = 16


@njit(cache=True, nogil=True, error_model="numpy")
def _normalised_tile(
    windows: Floats, carried: Floats, maxima: Floats, i: int, j: int, rows: int
) -> None:
    """Queries i, i+1, ... against `LANES` candidates each, the first of which are j, j+1, ...

    Slices and `max` rather than offsets and a comparison: only so does the compiler see that the
    inner loop is safe to vectorise (measured: 1.8 against 0.4 thousand million lags a second).
    """
    for b in range(rows):
        f_i = windows[F, i + b]
        g_i = windows[G, i + b]
        w_i = windows[W, i + b]
        f = windows[F, j + b : j + b + LANES]
        g = windows[G, j + b : j + b + LANES]
        w = windows[W, j + b : j + b + LANES]
        h = windows[H, j + b : j + b + LANES]
        best = maxima[b]
        for r in range(LANES):
            c = carried[r] + (f_i * g[r] + g_i * f[r])
            carried[r] = c
            best[r] = max(c * w[r] * w_i - h[r], best[r])


@njit(cache=True, nogil=True, error_model="numpy")
def _plain_tile(
    x: Floats, windows: Floats, carried: Floats, maxima: Floats, i: int, j: int, rows: int, n: int
) -> None:
    """`_normalised_tile` for the plain distance."""
    for b in range(rows):
        left_i = x[i + b - 1]
        came_i = x[i + b + n - 1]
        left = x[j + b - 1 : j + b - 1 + LANES]
        came = x[j + b + n - 1 : j + b + n - 1 + LANES]
        h = windows[H, j + b : j + b + LANES]
        best = maxima[b]
        for r in range(LANES):
            old = left_i - left[r]
            new = came_i - came[r]
            c = carried[r] + (old * old - new * new)
            carried[r] = c
            best[r] = max(c - h[r], best[r])


@njit(cache=True, nogil=True, error_model="numpy")
def _tile(
    x: Floats,
    windows: Floats,
    carried: Floats,
    maxima: Floats,
    i: int,
    j: int,
    rows: int,
    n: int,
    base: int,
    normalize: bool,
) -> None:
    """One tile, with the restarts among its candidates summed directly."""
    newest = windows[RESTART, j + LANES + rows - 2]
    restarts = newest >= max(base + j, 0)
    step = 1 if restarts else rows
    for b in range(0, rows, step):
        if normalize:
            _normalised_tile(windows, carried, maxima[b:], i + b, j + b, step)
        else:
            _plain_tile(x, windows, carried, maxima[b:], i + b, j + b, step, n)
        if not restarts:
            continue
        oldest = max(base + j + b, 0)
        restart = windows[RESTART, j + b + LANES - 1]
        while restart >= oldest:
            k = int(restart) - base
            r = k - j - b
            carried[r] = direct_sum(x, windows[MEAN], i + b, k, n, normalize)
            closeness = carried[r] * windows[W, k] * windows[W, i + b] - windows[A, k]
            maxima[b, r] = max(closeness, maxima[b, r])
            restart = windows[RESTART, k - 1]


@njit(cache=True, nogil=True, error_model="numpy")
def _restart_row(
    x: Floats,
    windows: Floats,
    carried: Floats,
    maxima: Floats,
    i: int,
    n: int,
    base: int,
    normalize: bool,
) -> None:
    """Query i, a restart: every lag summed directly."""
    m = carried.shape[0]
    oldest = i - n - m + 1
    absent = min(max(-base - oldest, 0), m)
    direct_sums(x, windows[MEAN], i, oldest + absent, n, normalize, carried[absent:])
    for r in range(absent, m):
        closeness = carried[r] * windows[W, oldest + r] * windows[W, i] - windows[A, oldest + r]
        maxima[0, r % LANES] = max(closeness, maxima[0, r % LANES])


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
def _greatest(maxima: Floats, b: int, folded: Floats) -> float:
    """The maximum of row b; ``folded`` (float64[FOLD]) is overwritten.

    Folded in vector steps, as a chain of 64 maxima would wait for each in turn; with indices and
    no slices, whose reference counts cost as much as the maxima (measured: 27 against 45 ns).
    """
    for k in range(FOLD):
        folded[k] = max(
            max(maxima[b, k], maxima[b, FOLD + k]),
            max(maxima[b, 2 * FOLD + k], maxima[b, 3 * FOLD + k]),
        )
    half = FOLD // 2
    while half > 1:
        for k in range(half):
            folded[k] = max(folded[k], folded[half + k])
        half //= 2
    return max(folded[0], folded[1])


@njit(cache=True, nogil=True, error_model="numpy")
def _lane_of(maxima: Floats, b: int, value: float) -> int:
    """The first lane of row b that holds ``value``."""
    for r in range(LANES):
        if maxima[b, r] == value:
            return r
    return 0


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
    lanes: Integers,
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
        m is a multiple of `LANES`.
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
    lanes : int64[last - first]
        Written: the nearest candidate's place in ``carried``, modulo `LANES`.
    """
    m = carried.shape[0]
    maxima = np.empty((SEGMENT_ROWS, LANES))
    folded = np.empty(FOLD)
    i = first
    while i < last:
        stop = i + 1
        maxima[:] = -np.inf
        if windows[RESTART, i] == base + i:
            _restart_row(x, windows, carried, maxima, i, n, base, normalize)
        else:
            if (base + i) % REFRESH_ROWS == 0:
                _refresh(x, windows, carried, i, n, base, normalize)
            end = min(last, i + SEGMENT_ROWS, i + REFRESH_ROWS - (base + i) % REFRESH_ROWS)
            while stop < end and windows[RESTART, stop] != base + stop:
                stop += 1
            oldest = i - n - m + 1
            for r in range(0, m, LANES):
                if base + oldest + r + LANES + stop - i - 2 >= 0:
                    _tile(
                        x,
                        windows,
                        carried[r : r + LANES],
                        maxima,
                        i,
                        oldest + r,
                        stop - i,
                        n,
                        base,
                        normalize,
                    )
        for b in range(stop - i):
            best = _greatest(maxima, b, folded)
            lanes[i + b - first] = _lane_of(maxima, b, best)
            if normalize:
                square = max(2.0 * (windows[A, i + b] - best), 0.0)
                raw[i + b - first] = min(math.sqrt(square), 2.0)
            else:
                raw[i + b - first] = math.log1p(math.sqrt(max(-best, 0.0) / n) / unit)
        i = stop
