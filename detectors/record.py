"""How far a value lies outside all that came before: a member of `detectors.ensemble`.

Of n exchangeable values the next is a new highest or lowest with probability 2 / (n + 1), so a
record needs no calibration to be told in decades. Where records come more often than that, as in a
series that drifts, each says less. What is only just a record says little, however rare, and is
damped.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# of the epoch that goes on and of the one before it: values, lowest, highest; then the records,
# each counted the less the more values came since
CELLS = 7
EPOCH = 20_000
"""Values an epoch: a range holds for one or two, so that it shrinks once its ends are long past."""

USUAL_RECORDS = 4.0
"""Twice the count that exchangeable values come to, however many they are."""

HALF_SHARE = 0.03
"""Share of the range by which a record must exceed it for half of its decades."""
FAR_DECADES = 10.0
FAR_SHARE = 0.3
"""Decades a range beyond the end, and where that ends."""


@njit(cache=True, nogil=True, error_model="numpy")
def record(state: Floats, value: float, warm_rows: int) -> tuple[float, float, float]:
    """Decades of ``value`` as a record, which is then learnt.

    A record moves the range's end by one range at most: one huge value does not hide the next.

    Parameters
    ----------
    state : float64[CELLS]
        Changed in place; zeros at first.
    value : float
        Not NaN.
    warm_rows : int
        Values to be learnt before the first record.

    Returns
    -------
    decades : float
        0 within the range; of a scaled or shifted series the same.
    side : float
        1 above, -1 below, 0 within.
    values : float
        How many the range holds.
    """
    known = state[0] + state[3]
    if known == 0.0:
        state[0] = 1.0
        state[1] = value
        state[2] = value
        return 0.0, 0.0, 0.0
    lowest = state[1]
    highest = state[2]
    if state[0] == 0.0 or state[3] > 0.0:
        lowest = state[4] if state[0] == 0.0 else min(lowest, state[4])
        highest = state[5] if state[0] == 0.0 else max(highest, state[5])
    width = highest - lowest
    excess = max(value - highest, lowest - value, 0.0)
    decades = 0.0
    side = 0.0
    often = max(state[6] / USUAL_RECORDS, 1.0)
    state[6] *= 1.0 - 1.0 / (known + 1.0)
    if excess > 0.0:
        state[6] += 1.0
        side = 1.0 if value > highest else -1.0
        share = excess / width if width > 0.0 else 1.0
        if known >= warm_rows:
            rarity = math.log10((known / 2.0 + 1.0) / often) + FAR_DECADES * min(share, FAR_SHARE)
            decades = share / (share + HALF_SHARE) * max(rarity, 0.0)
        if width > 0.0 and share > 1.0:
            value = highest + width if side > 0.0 else lowest - width
    if state[0] == 0.0:
        state[1] = value
        state[2] = value
    else:
        state[1] = min(state[1], value)
        state[2] = max(state[2], value)
    state[0] += 1.0
    if state[0] >= EPOCH:
        state[3:6] = state[:3]
        state[0] = 0.0
    return decades, side, known
