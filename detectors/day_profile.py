"""What is usual at this time of the day, or of the week: a member of `detectors.ensemble`.

Two profiles are learnt side by side, of the quarter hours of a day and of a week, each as the mean
over its visits (a visit: the rows of one pass through the slot), recent ones more. The week's
speaks once it has proved the better one. Residuals count as at most `FARTHEST_LEARNT` usual ones
when they are learnt, so that one anomaly moves a profile little.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from detectors.seasonality import wall_seconds

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

SLOT_SECONDS = 900
DAY_SLOTS = 96
WEEK_SLOTS = 7 * DAY_SLOTS
DAY = 86_400
MONDAY = 3  # 1970-01-01 was a Thursday

# of a profile: residuals learnt, their mean size, slot of the newest row, rows and mean of the
# visit that goes on; then for each slot: visits finished, profile
HEAD = 5
DAY_CELLS = HEAD + 2 * DAY_SLOTS
WEEK_CELLS = HEAD + 2 * WEEK_SLOTS
# before the profiles: residuals told, their mean size; rows both profiles knew, mean size of the
# day's and of the week's residuals there
OWN_CELLS = 5
CELLS = OWN_CELLS + DAY_CELLS + WEEK_CELLS

VISIT_SHARE = 0.2
MEMORY = 2000.0
FARTHEST_LEARNT = 5.0
FARTHEST = 50.0
WARM_ROWS = 20
LARGEST = math.log1p(FARTHEST)
"""The highest raw score."""

COMPARED_ROWS = 500
BETTER = 0.8
"""The week's profile speaks if its residuals are smaller than this share of the day's."""

UNKNOWN = math.nan


def slots_of(times: Integers, time_zone: str) -> Integers:
    """Slot of the week of each event time (int64[n], microseconds since 1970); int64[n], from 0.

    The slot of the day is the rest of dividing it by `DAY_SLOTS`.
    """
    seconds = wall_seconds(times, time_zone)
    weekday = (seconds // DAY + MONDAY) % 7
    return weekday * DAY_SLOTS + seconds % DAY // SLOT_SECONDS


def new_state() -> Floats:
    """The state of profiles that have learnt nothing, float64[CELLS]."""
    state = np.zeros(CELLS)
    state[OWN_CELLS + 2] = -1.0
    state[OWN_CELLS + DAY_CELLS + 2] = -1.0
    return state


@njit(cache=True, nogil=True, error_model="numpy")
def day_profile(state: Floats, value: float, slot: int) -> tuple[float, float, float, float]:
    """Raw score of ``value`` at ``slot`` of the week; then both are learnt.

    Parameters
    ----------
    state : float64[CELLS]
        Changed in place; `new_state` at first.
    value : float
        Not NaN.
    slot : int
        See `slots_of`.

    Returns
    -------
    raw : float
        ``log1p`` of the residual's size in usual ones, 0 to `LARGEST`; of a scaled or shifted
        series the same. 0 while the slot was not visited yet.
    residual : float
        ``value`` less the profile; NaN while the slot was not visited yet.
    usual : float
        Mean size of the residuals before.
    weekly : float
        1 if the week's profile spoke, else 0.
    """
    by_day = _residual(state[OWN_CELLS : OWN_CELLS + DAY_CELLS], value, slot % DAY_SLOTS)
    by_week = _residual(state[OWN_CELLS + DAY_CELLS :], value, slot)
    usual = state[1]
    if math.isnan(by_day):
        return 0.0, UNKNOWN, usual, 0.0
    weekly = not math.isnan(by_week) and state[2] > COMPARED_ROWS and state[4] < BETTER * state[3]
    residual = by_week if weekly else by_day
    size = abs(residual)
    raw = 0.0
    if state[0] > WARM_ROWS and size > 0.0:
        raw = math.log1p(min(size / usual, FARTHEST) if usual > 0.0 else FARTHEST)
    most = FARTHEST_LEARNT * usual if state[0] > WARM_ROWS and usual > 0.0 else math.inf
    state[0] += 1.0
    state[1] += (min(size, most) - usual) / min(state[0], MEMORY)
    if not math.isnan(by_week):
        state[2] += 1.0
        share = 1.0 / min(state[2], MEMORY)
        state[3] += (min(abs(by_day), most) - state[3]) * share
        state[4] += (min(abs(by_week), most) - state[4]) * share
    return raw, residual, usual, 1.0 if weekly else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _residual(profile: Floats, value: float, slot: int) -> float:
    """``value`` less the profile at ``slot``, NaN before its first visit; then it is learnt."""
    newest = int(profile[2])
    if newest != slot and newest >= 0:
        cell = HEAD + 2 * newest
        share = max(1.0 / (profile[cell] + 1.0), VISIT_SHARE)
        profile[cell] += 1.0
        profile[cell + 1] += (profile[4] - profile[cell + 1]) * share
        profile[3] = 0.0
        profile[4] = 0.0
    profile[2] = slot
    cell = HEAD + 2 * slot
    residual = UNKNOWN
    if profile[cell] > 0.0:
        residual = value - profile[cell + 1]
        size = abs(residual)
        if profile[0] > WARM_ROWS and profile[1] > 0.0:
            size = min(size, FARTHEST_LEARNT * profile[1])
        profile[0] += 1.0
        profile[1] += (size - profile[1]) / min(profile[0], MEMORY)
        value = profile[cell + 1] + math.copysign(size, residual)
    profile[3] += 1.0
    profile[4] += (value - profile[4]) / profile[3]  # of equal values exactly these
    return residual
