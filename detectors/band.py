"""The cheap expectation that every row carries: a level, and how far values usually stray from it.

One step ahead, by simple exponential smoothing (Brown 1956) of the value, and of its absolute error
clipped at five times the usual, so that one anomaly does not widen the band for long.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CELLS = 3  # points learnt, level, mean absolute error
LEVEL_SHARE = 0.2
"""Weight of the newest value in the level: about the last ten values count."""
ERROR_MEMORY = 500
"""Points over which the mean absolute error is taken."""
BAND_WIDTH = 3.0 * math.sqrt(math.pi / 2.0)
"""Half width in mean absolute errors: three standard deviations where errors are normal."""


@njit(cache=True, nogil=True, error_model="numpy")
def expect(state: Floats, values: Floats, expected: Floats, half_width: Floats) -> None:
    """Fill the expectation of each row from all rows before it.

    Parameters
    ----------
    state : float64[CELLS]
        Changed in place; zeros at first.
    values : float64[n]
        NaN (missing) is not learnt.
    expected, half_width : float64[n]
        Filled in place, in the unit of the values; NaN before the first value.
    """
    for i in range(values.shape[0]):
        count = state[0]
        expected[i] = state[1] if count > 0.0 else math.nan
        half_width[i] = BAND_WIDTH * state[2] if count > 0.0 else math.nan
        value = values[i]
        if math.isnan(value):
            continue
        if count == 0.0:
            state[1] = value
        else:
            error = abs(value - state[1])
            # errors of mere rounding say nothing of what is usual once the series moves
            if count > 30.0 and state[2] > 1e-9 * abs(state[1]):
                error = min(error, 5.0 * state[2])
            state[2] += (error - state[2]) / min(count, float(ERROR_MEMORY))
            state[1] += LEVEL_SHARE * (value - state[1])
        state[0] = count + 1.0
