"""Whether the last steps are larger or smaller than usual: a member of `detectors.ensemble`."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WINDOW = 10
"""Steps whose mean size is watched."""
# values learnt, the newest, mean size of a step, rows watched, mean and variance of the log ratio;
# then the sizes of the last steps, a ring
HEAD = 6
CELLS = HEAD + WINDOW
MEMORY = 2000.0
LEAST_SHARE = 0.05
"""Added to the ratio: a standstill is strange, but not infinitely so."""
LEAST_VARIANCE = 1e-4
FARTHEST = 50.0
WARM_ROWS = 50
LARGEST = math.log1p(FARTHEST)
"""The highest raw score."""


@njit(cache=True, nogil=True, error_model="numpy")
def volatility(state: Floats, value: float) -> float:
    """Raw score once ``value`` is learnt: ``log1p`` of how unusual the last steps' size is.

    The ratio of the mean of the last `WINDOW` steps to the mean step of some `MEMORY` rows is
    taken, and its logarithm's distance to its own mean, in its own standard deviations.

    Parameters
    ----------
    state : float64[CELLS]
        Changed in place; zeros at first.
    value : float
        Not NaN.

    Returns
    -------
    float
        0 to `LARGEST`, 0 while warming; of a scaled or shifted series the same.
    """
    count = int(state[0])
    step = abs(value - state[1])
    state[0] = count + 1.0
    state[1] = value
    if count == 0:
        return 0.0
    state[2] += (step - state[2]) / min(count, MEMORY)
    state[HEAD + count % WINDOW] = step
    if count <= WINDOW or state[2] == 0.0:
        return 0.0
    recent = 0.0
    for k in range(HEAD, CELLS):
        recent += state[k]
    level = math.log(recent / (WINDOW * state[2]) + LEAST_SHARE)
    distance = level - state[4]
    score = 0.0
    if state[3] >= WARM_ROWS:
        score = math.log1p(min(abs(distance) / math.sqrt(state[5] + LEAST_VARIANCE), FARTHEST))
    state[3] += 1.0
    share = 1.0 / min(state[3], MEMORY)
    state[4] += share * distance
    state[5] = (1.0 - share) * (state[5] + share * distance * distance)
    return score
