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

from detectors._lanes import fma, larger
from detectors._subsequence_kernels import (
    EQUAL,
    LANES,
    MEAN,
    RESTART,
    A,
    F,
    G,
    H,
    W,
    direct_sums,
    nearest_square,
)

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

SEGMENT_ROWS = 32
TILE_LAGS = 512
"""Queries and lags of a tile: what it reads and writes stays in the first-level cache."""

PASS_ROWS = 4
PASS_LAGS = 2 * LANES

FOLD = LANES // 4
"""Lanes that a row of maxima is folded to, in vector steps, before the scalar maximum."""

REFRESH_ROWS = 256
REFRESH_PARTS = 16


@njit(cache=True, nogil=True, error_model="numpy")
def _normalised_passes(
    windows: Floats, carried: Floats, maxima: Floats, i: int, j: int, rows: int
) -> None:
    """`_normalised_rows` for whole passes: `PASS_ROWS` queries and `PASS_LAGS` lags at once.

    So a carried number is loaded and stored once for all the queries, a running maximum once for
    two lags (measured: 3.2 against 2.0 thousand million lags a second).
    """
    for b in range(0, rows, PASS_ROWS):
        f0, f1, f2, f3 = windows[F, i + b : i + b + PASS_ROWS]
        g0, g1, g2, g3 = windows[G, i + b : i + b + PASS_ROWS]
        w0, w1, w2, w3 = windows[W, i + b : i + b + PASS_ROWS]
        best = maxima[b * LANES : (b + PASS_ROWS) * LANES]
        for s in range(0, carried.shape[0], PASS_LAGS):
            first = j + b + s
            last = first + PASS_LAGS + PASS_ROWS - 1
            f = windows[F, first:last]
            g = windows[G, first:last]
            w = windows[W, first:last]
            h = windows[H, first:last]
            lags = carried[s : s + PASS_LAGS]
            for r in range(LANES):
                c = lags[r]
                d = lags[LANES + r]
                c = fma(g0, f[r], fma(f0, g[r], c))
                d = fma(g0, f[LANES + r], fma(f0, g[LANES + r], d))
                near = fma(c * w[r], w0, -h[r])
                far = fma(d * w[LANES + r], w0, -h[LANES + r])
                best[r] = larger(larger(near, far), best[r])
                c = fma(g1, f[r + 1], fma(f1, g[r + 1], c))
                d = fma(g1, f[LANES + r + 1], fma(f1, g[LANES + r + 1], d))
                near = fma(c * w[r + 1], w1, -h[r + 1])
                far = fma(d * w[LANES + r + 1], w1, -h[LANES + r + 1])
                best[LANES + r] = larger(larger(near, far), best[LANES + r])
                c = fma(g2, f[r + 2], fma(f2, g[r + 2], c))
                d = fma(g2, f[LANES + r + 2], fma(f2, g[LANES + r + 2], d))
                near = fma(c * w[r + 2], w2, -h[r + 2])
                far = fma(d * w[LANES + r + 2], w2, -h[LANES + r + 2])
                best[2 * LANES + r] = larger(larger(near, far), best[2 * LANES + r])
                c = fma(g3, f[r + 3], fma(f3, g[r + 3], c))
                d = fma(g3, f[LANES + r + 3], fma(f3, g[LANES + r + 3], d))
                near = fma(c * w[r + 3], w3, -h[r + 3])
                far = fma(d * w[LANES + r + 3], w3, -h[LANES + r + 3])
                best[3 * LANES + r] = larger(larger(near, far), best[3 * LANES + r])
                lags[r] = c
                lags[LANES + r] = d


@njit(cache=True, nogil=True, error_model="numpy")
def _normalised_rows(
    windows: Floats, carried: Floats, maxima: Floats, i: int, j: int, rows: int
) -> None:
    """Queries i, i+1, ... one by one, against as many candidates each as numbers are carried.

    The first candidates are j, j+1, ... Slices, so that the compiler sees that the inner loop is
    safe to vectorise.
    """
    for b in range(rows):
        f_i = windows[F, i + b]
        g_i = windows[G, i + b]
        w_i = windows[W, i + b]
        best = maxima[b * LANES : (b + 1) * LANES]
        for s in range(0, carried.shape[0], LANES):
            first = j + b + s
            f = windows[F, first : first + LANES]
            g = windows[G, first : first + LANES]
            w = windows[W, first : first + LANES]
            h = windows[H, first : first + LANES]
            lags = carried[s : s + LANES]
            for r in range(LANES):
                c = fma(g_i, f[r], fma(f_i, g[r], lags[r]))
                lags[r] = c
                best[r] = larger(fma(c * w[r], w_i, -h[r]), best[r])


@njit(cache=True, nogil=True, error_model="numpy")
def _plain_rows(
    x: Floats, windows: Floats, carried: Floats, maxima: Floats, i: int, j: int, rows: int, n: int
) -> None:
    """`_normalised_rows` for the plain distance."""
    for b in range(rows):
        left_i = x[i + b - 1]
        came_i = x[i + b + n - 1]
        best = maxima[b * LANES : (b + 1) * LANES]
        for s in range(0, carried.shape[0], LANES):
            first = j + b + s
            left = x[first - 1 : first - 1 + LANES]
            came = x[first + n - 1 : first + n - 1 + LANES]
            h = windows[H, first : first + LANES]
            lags = carried[s : s + LANES]
            for r in range(LANES):
                old = left_i - left[r]
                new = came_i - came[r]
                c = fma(old - new, old + new, lags[r])
                lags[r] = c
                best[r] = larger(c - h[r], best[r])


@njit(cache=True, nogil=True, error_model="numpy")
def _carry_on(
    x: Floats,
    windows: Floats,
    carried: Floats,
    maxima: Floats,
    i: int,
    j: int,
    rows: int,
    n: int,
    normalize: bool,
) -> None:
    """A tile by the recurrence alone: in passes as far as they are whole, the rest row by row."""
    if not normalize:
        _plain_rows(x, windows, carried, maxima, i, j, rows, n)
        return
    lags = carried.shape[0] - carried.shape[0] % PASS_LAGS
    whole = rows - rows % PASS_ROWS
    _normalised_passes(windows, carried[:lags], maxima, i, j, whole)
    _normalised_rows(windows, carried[lags:], maxima, i, j + lags, whole)
    rest = maxima[whole * LANES :]
    _normalised_rows(windows, carried, rest, i + whole, j + whole, rows - whole)


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
    lags = carried.shape[0]
    newest = windows[RESTART, j + lags + rows - 2]
    restarts = newest >= max(base + j, 0)
    step = 1 if restarts else rows
    for b in range(0, rows, step):
        _carry_on(x, windows, carried, maxima[b * LANES :], i + b, j + b, step, n, normalize)
        if not restarts:
            continue
        oldest = max(base + j + b, 0)
        restart = windows[RESTART, j + b + lags - 1]
        while restart >= oldest:
            k = int(restart) - base
            r = k - j - b
            direct_sums(x, windows[MEAN], i + b, k, n, normalize, carried[r : r + 1])
            closeness = carried[r] * windows[W, k] * windows[W, i + b] - windows[A, k]
            place = b * LANES + r % LANES
            maxima[place] = max(closeness, maxima[place])
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
        maxima[r % LANES] = max(closeness, maxima[r % LANES])


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
def _greatest(maxima: Floats, b: int, folded: Floats) -> int:
    """The lane of the maximum of row b, the first of equal ones.

    ``folded`` (float64[FOLD]) is overwritten: in vector steps, as a chain of 64 maxima would wait
    for each in turn.
    """
    row = maxima[b * LANES : (b + 1) * LANES]
    for k in range(FOLD):
        folded[k] = larger(
            larger(row[k], row[FOLD + k]), larger(row[2 * FOLD + k], row[3 * FOLD + k])
        )
    half = FOLD // 2
    while half > 1:
        for k in range(half):
            folded[k] = larger(folded[k], folded[half + k])
        half //= 2
    greatest = larger(folded[0], folded[1])
    for r in range(LANES):
        if row[r] == greatest:
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
    maxima = np.empty(SEGMENT_ROWS * LANES)
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
            for r in range(0, m, TILE_LAGS):
                lags = carried[r : r + TILE_LAGS]
                if base + oldest + r + lags.shape[0] + stop - i - 2 >= 0:
                    rows = stop - i
                    _tile(x, windows, lags, maxima, i, oldest + r, rows, n, base, normalize)
        for b in range(stop - i):
            lane = _greatest(maxima, b, folded)
            lanes[i + b - first] = lane
            best = maxima[b * LANES + lane]
            if normalize:
                square = max(2.0 * (windows[A, i + b] - best), 0.0)
                if square < EQUAL and windows[A, i + b] > 0.0:
                    square = nearest_square(x, windows, i + b, lane, m, n, base)
                raw[i + b - first] = min(math.sqrt(square), 2.0)
            else:
                raw[i + b - first] = math.log1p(math.sqrt(max(-best, 0.0) / n) / unit)
        i = stop
