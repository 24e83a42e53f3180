"""Kernels of the left discord's level score: the nearest past value, and a score's own past."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LANES = 64
OWN_PAST_CELLS = 3
"""Rows learnt, mean, sum of squared distances to it."""

LEAST_PAST = 30


@njit(cache=True, nogil=True, error_model="numpy")
def nearest_values(points: Floats, rows: int, m: int) -> Floats:
    """Distances of the last ``rows`` points to the nearest of the m before each; float64[rows].

    A scan, not a sorted window: O(m), but of the simplest kind, and nothing to be kept.
    """
    found = np.empty(rows)
    best = np.empty(LANES)
    first = points.shape[0] - rows
    for k in range(rows):
        i = first + k
        start = max(i - m, 0)
        value = points[i]
        best[:] = math.inf
        j = start
        while j + LANES <= i:
            others = points[j : j + LANES]
            for r in range(LANES):
                best[r] = min(abs(value - others[r]), best[r])
            j += LANES
        nearest = math.inf
        for r in range(LANES):
            nearest = min(nearest, best[r])
        while j < i:
            nearest = min(nearest, abs(value - points[j]))
            j += 1
        found[k] = nearest
    return found


@njit(cache=True, nogil=True, error_model="numpy")
def own_past(past: Floats, raw: Floats, least: float) -> Floats:
    """Deviations of each row above the mean of all rows before it, not below 0; float64[n].

    ``past`` (float64[OWN_PAST_CELLS]) is moved on; ``least`` is added to the standard deviation.
    0 for the first `LEAST_PAST` rows.
    """
    above = np.zeros(raw.shape[0])
    for i in range(raw.shape[0]):
        if past[0] >= LEAST_PAST:
            deviation = math.sqrt(past[2] / past[0])
            above[i] = max((raw[i] - past[1]) / (deviation + least), 0.0)
        past[0] += 1.0
        distance = raw[i] - past[1]
        past[1] += distance / past[0]
        past[2] += distance * (raw[i] - past[1])
    return above
