"""Statistics of the left discord's subsequences, and products of two of them, summed directly.

Every subsequence ("window") is named by the position of its first point; see
`detectors._discord_kernels` for the symbols and for what a restart is.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from detectors._lanes import fma

Floats = NDArray[np.float64]
BLOCK_LAGS = 64
"""Lags in a row of which one maximum is kept. Contexts are made of so many."""

STEPS = 4
"""Points that a window's sums take at once."""

EQUAL = 1e-13
"""Mean square differences below this are rounding errors, were they not summed directly."""

COLLAPSE = 1e-6
FLAT_ENERGY = 1e-280
"""Below this (in squares of the series' scale) a window counts as constant."""

MEAN, F, G, W, A, H, RESTART = range(7)
"""Rows of ``windows``, each with one entry a window:

mean less first point; f, g, w, a as above; a once more, but +inf where the recurrence must not
speak for the window (restarts, and what lies before the series); and the absolute index of the
last restart up to the window (-1: none).
"""
ROWS = 7


@njit(cache=True, nogil=True, error_model="numpy")
def drop_oldest(row: Floats, surplus: int, span: int) -> None:
    """Move ``row[surplus : surplus + span]`` to its start, in parts that do not overlap."""
    for start in range(0, span, surplus):
        part = row[start : min(start + surplus, span)]
        later = row[start + surplus : start + surplus + part.shape[0]]
        for k in range(part.shape[0]):
            part[k] = later[k]


@njit(cache=True, nogil=True, error_model="numpy")
def window_statistics(
    x: Floats, windows: Floats, first: int, last: int, n: int, floor_energy: float, normalize: bool
) -> Floats:
    """Fill `MEAN` to `H` for windows ``first <= i < last``; return their energies E + n e^2.

    Two passes over each window's points, not a rolling sum: nothing to restart, and as each step
    runs over all windows at once it is vectorised.

    Parameters
    ----------
    x : float64[capacity]
        Scaled points.
    windows : float64[ROWS, capacity]
        Written; ``MEAN`` of window ``first - 1`` is read.
    first, last : int
        Positions; ``first >= 1``.
    n : int
        Subsequence length.
    floor_energy : float
        n e^2.
    normalize : bool
        Which of the two distances.
    """
    rows = last - first
    anchor = x[first:last]
    mean = windows[MEAN, first:last]
    energy = np.zeros(rows)
    mean[:] = 0.0
    whole = n - n % STEPS
    for k in range(0, whole, STEPS):  # several at once: a sum is loaded and stored once for them
        point = x[first + k : last + k + STEPS - 1]
        for b in range(rows):
            origin = anchor[b]
            pair = (point[b] - origin) + (point[b + 1] - origin)
            mean[b] += pair + ((point[b + 2] - origin) + (point[b + 3] - origin))
    for k in range(whole, n):
        point = x[first + k : last + k]
        for b in range(rows):
            mean[b] += point[b] - anchor[b]
    for b in range(rows):
        mean[b] /= n
    for k in range(0, whole, STEPS):
        point = x[first + k : last + k + STEPS - 1]
        for b in range(rows):
            origin = anchor[b]
            one = (point[b] - origin) - mean[b]
            two = (point[b + 1] - origin) - mean[b]
            three = (point[b + 2] - origin) - mean[b]
            four = (point[b + 3] - origin) - mean[b]
            energy[b] += fma(one, one, two * two) + fma(three, three, four * four)
    for k in range(whole, n):
        point = x[first + k : last + k]
        for b in range(rows):
            deviation = (point[b] - anchor[b]) - mean[b]
            energy[b] = fma(deviation, deviation, energy[b])
    for b in range(rows):
        i = first + b
        windows[F, i] = 0.5 * (x[i + n - 1] - x[i - 1])
        windows[G, i] = (x[i + n - 1] - x[i]) - windows[MEAN, i] - windows[MEAN, i - 1]
        windows[W, i] = 1.0
        windows[A, i] = 0.0
        if normalize:
            floored = energy[b] + floor_energy
            w = 0.0 if floored < FLAT_ENERGY else 1.0 / math.sqrt(floored)
            windows[W, i] = w
            windows[A, i] = 0.5 * (energy[b] * w) * w
        windows[H, i] = windows[A, i]
        energy[b] += floor_energy
    return energy


@njit(cache=True, nogil=True, error_model="numpy")
def mark_restarts(
    windows: Floats, energy: Floats, first: int, base: int, first_query: int, peak: Floats
) -> None:
    """Find the restarts among the windows from ``first`` on, whose energies are given.

    ``base`` is the absolute index of position 0, ``first_query`` that of the first query ever;
    ``peak`` (float64[1]) is the largest energy since the last restart, updated.
    """
    for b in range(energy.shape[0]):
        i = first + b
        absolute = base + i
        windows[RESTART, i] = windows[RESTART, i - 1]
        collapsed = energy[b] < COLLAPSE * peak[0]
        if collapsed or absolute == 0 or absolute == first_query:
            windows[RESTART, i] = absolute
            windows[H, i] = np.inf
            peak[0] = energy[b]
        elif energy[b] > peak[0]:
            peak[0] = energy[b]


@njit(cache=True, nogil=True, error_model="numpy")
def direct_sums(
    x: Floats, mean: Floats, i: int, j: int, n: int, normalize: bool, carried: Floats
) -> None:
    """``carried[r]`` = c(i, j + r) for all r, each summed directly.

    Covariances in the order of the energies in `window_statistics`: of two windows with the same
    shape it is their energy to the last bit, so their distance is 0 and no root of an error.
    """
    lags = carried.shape[0]
    carried[:] = 0.0
    anchor = x[j : j + lags]
    mean_j = mean[j : j + lags]
    if not normalize:
        for k in range(n):
            query = x[i + k]
            point = x[j + k : j + k + lags]
            for r in range(lags):
                difference = query - point[r]
                carried[r] -= difference * difference
        return
    whole = n - n % STEPS
    for k in range(0, whole, STEPS):
        point = x[j + k : j + k + lags + STEPS - 1]
        ours0 = (x[i + k] - x[i]) - mean[i]
        ours1 = (x[i + k + 1] - x[i]) - mean[i]
        ours2 = (x[i + k + 2] - x[i]) - mean[i]
        ours3 = (x[i + k + 3] - x[i]) - mean[i]
        for r in range(lags):
            origin = anchor[r]
            one = (point[r] - origin) - mean_j[r]
            two = (point[r + 1] - origin) - mean_j[r]
            three = (point[r + 2] - origin) - mean_j[r]
            four = (point[r + 3] - origin) - mean_j[r]
            carried[r] += fma(ours0, one, ours1 * two) + fma(ours2, three, ours3 * four)
    for k in range(whole, n):
        point = x[j + k : j + k + lags]
        ours0 = (x[i + k] - x[i]) - mean[i]
        for r in range(lags):
            carried[r] = fma(ours0, (point[r] - anchor[r]) - mean_j[r], carried[r])


@njit(cache=True, nogil=True, error_model="numpy")
def nearest_candidate(
    x: Floats, windows: Floats, i: int, block: int, m: int, n: int, base: int, normalize: bool
) -> int:
    """Position of query i's nearest candidate, given its block of lags; of equals the latest."""
    oldest = i - n - m + 1 + block * BLOCK_LAGS
    c = np.empty(BLOCK_LAGS)
    absent = min(max(-base - oldest, 0), BLOCK_LAGS)
    direct_sums(x, windows[MEAN], i, oldest + absent, n, normalize, c[absent:])
    best = -np.inf
    nearest = i - n
    for r in range(absent, BLOCK_LAGS):
        j = oldest + r
        closeness = c[r] * windows[W, j] * windows[W, i] - windows[A, j]
        if closeness >= best:
            best = closeness
            nearest = j
    return nearest


@njit(cache=True, nogil=True, error_model="numpy")
def nearest_square(
    x: Floats, windows: Floats, i: int, block: int, m: int, n: int, base: int
) -> float:
    """Mean square difference of query i, normalised, to the nearest in a block; at most `EQUAL`.

    Of the points themselves: a difference of two sums, as the closeness is, has their rounding
    error, whose root is 1e-8 where the distance is 0. A candidate is left where it gets too far.
    """
    nearest = EQUAL
    mean_i, w_i = windows[MEAN, i], windows[W, i]
    oldest = i - n - m + 1 + block * BLOCK_LAGS
    for j in range(max(oldest, -base), oldest + BLOCK_LAGS):
        mean_j, w_j = windows[MEAN, j], windows[W, j]
        square = 0.0
        for k in range(n):
            ours = ((x[i + k] - x[i]) - mean_i) * w_i
            difference = ours - ((x[j + k] - x[j]) - mean_j) * w_j
            square = fma(difference, difference, square)
            if square >= nearest:
                break
        nearest = min(nearest, square)
    return nearest
