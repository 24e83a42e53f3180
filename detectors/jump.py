"""How large the newest step is, beside the usual step: a member of `detectors.ensemble`."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CELLS = 3  # values learnt, the newest, mean size of a step
MEMORY = 2000.0
"""Steps over which the mean size is taken."""
FARTHEST = 50.0
"""A step of so many usual ones counts as that far."""
WARM_ROWS = 20
LARGEST = math.log1p(FARTHEST)
"""The highest raw score."""


@njit(cache=True, nogil=True, error_model="numpy")
def jump(state: Floats, value: float) -> float:
    """Raw score of ``value``, which is then learnt: ``log1p`` of its step in usual steps.

    0 while fewer than `WARM_ROWS` values are known. Where nothing moved so far, the first step is
    the farthest.

    Parameters
    ----------
    state : float64[CELLS]
        Changed in place; zeros at first.
    value : float
        Not NaN.

    Returns
    -------
    float
        0 to `LARGEST`; of a scaled or shifted series the same.
    """
    count = state[0]
    before = state[1]
    usual = state[2]
    state[0] = count + 1.0
    state[1] = value
    if count == 0.0:
        return 0.0
    step = abs(value - before)
    state[2] = usual + (step - usual) / min(count, MEMORY)
    if count < WARM_ROWS or step == 0.0:
        return 0.0
    return math.log1p(min(step / usual, FARTHEST) if usual > 0.0 else FARTHEST)
