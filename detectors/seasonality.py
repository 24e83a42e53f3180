"""What is usual at a time of day or week: a transform before a detector.

A series' usual level at each *slot* of its season (an hour of the day, a day of the week, ...) is
learnt and taken off, and the detector sees the rest::

    residual = value - profile[slot]

so that a normal Monday morning is no anomaly, and a night-time level at noon is one. The profile
of a slot is the mean over its visits (a visit: the rows of one pass through the slot), recent ones
more: ``profile += (visit's mean - profile) * max(1 / visits, VISIT_SHARE)``. A row that lies
further off than `FARTHEST_ROW` usual residuals counts as that far, so one anomaly moves the profile
little. Until a slot was visited once nothing is usual there, and the detector is given NaN: a model
warms for a whole season, for rows that no profile was taken off would teach it another series.
"""

from __future__ import annotations

import datetime as dt
import math
import zoneinfo
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

SLOTS = {"hour_parity": 2, "hour_of_day": 24, "day_of_week": 7, "hour_of_week": 168}
MICROSECONDS = 1_000_000
HOUR = 3600
DAY = 86_400
MONDAY = 3  # 1970-01-01 was a Thursday
OFFSETS_HOLD = 900  # seconds: every zone's clock jumps at a multiple of a quarter of an hour

VISIT_SHARE = 0.1
FARTHEST_ROW = 5.0
RESIDUAL_MEMORY = 500.0

# residuals taken, their mean size, slot of the newest row; then for each slot: visits finished,
# profile, sum and rows of the visit that is going on
HEAD = 3
SLOT_CELLS = 4


@dataclass(frozen=True)
class Seasonality:
    """A season that a series is expected to follow.

    Parameters
    ----------
    season : str
        ``hour_parity`` (even and odd hours), ``hour_of_day``, ``day_of_week`` (from Monday) or
        ``hour_of_week``.
    time_zone : str, optional
        IANA name of the clock on the wall.
    """

    season: Literal["hour_parity", "hour_of_day", "day_of_week", "hour_of_week"]
    time_zone: str = "UTC"

    def __post_init__(self) -> None:
        if self.season not in SLOTS:
            raise ValueError(f"season must be one of {', '.join(SLOTS)}, got {self.season!r}")
        try:
            zoneinfo.ZoneInfo(self.time_zone)
        except (KeyError, ValueError, OSError):
            raise ValueError(
                f"time_zone must be an IANA name such as UTC or Europe/Berlin, "
                f"got {self.time_zone!r}"
            ) from None

    @property
    def slots(self) -> int:
        """How many slots the season has."""
        return SLOTS[self.season]

    def slot_of(self, times: Integers) -> Integers:
        """The slot (int64[n], from 0) of event times (int64[n], microseconds since 1970)."""
        local = wall_seconds(times, self.time_zone)
        hour = local // HOUR % 24
        weekday = (local // DAY + MONDAY) % 7
        return {
            "hour_parity": hour % 2,
            "hour_of_day": hour,
            "day_of_week": weekday,
            "hour_of_week": weekday * 24 + hour,
        }[self.season]

    def new_state(self) -> Floats:
        """The state of a profile that has learnt nothing, float64[HEAD + 4 * slots]."""
        state = np.zeros(HEAD + SLOT_CELLS * self.slots)
        state[2] = -1.0
        return state

    def levels(self, state: Floats, values: Floats, times: Integers) -> Floats:
        """What is usual at each row (float64[n]), by all rows before it; then learns the row.

        NaN (missing) is not learnt; the level is NaN until the slot was visited once.
        """
        levels = np.empty(values.shape[0])
        _levels(state, values, self.slot_of(times), levels)
        return levels


def wall_seconds(times: Integers, time_zone: str) -> Integers:
    """What the clock on the wall shows, in seconds since its own 1970, int64[n].

    Parameters
    ----------
    times : int64[n]
        Microseconds since 1970.
    time_zone : str
        IANA name.
    """
    seconds = times // MICROSECONDS
    quarters, which = np.unique(seconds // OFFSETS_HOLD, return_inverse=True)
    offsets = [_offset(time_zone, int(quarter) * OFFSETS_HOLD) for quarter in quarters]
    return seconds + np.array(offsets, np.int64)[which]


@lru_cache(maxsize=65_536)
def _offset(time_zone: str, second: int) -> int:
    """Seconds that the wall's clock is ahead of UTC."""
    moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=second)
    offset = moment.astimezone(zoneinfo.ZoneInfo(time_zone)).utcoffset()
    return 0 if offset is None else int(offset.total_seconds())


@njit(cache=True, nogil=True, error_model="numpy")
def _levels(state: Floats, values: Floats, slots: Integers, levels: Floats) -> None:
    for i in range(values.shape[0]):
        cell = HEAD + SLOT_CELLS * slots[i]
        level = state[cell + 1] if state[cell] > 0.0 else math.nan
        levels[i] = level
        value = values[i]
        if math.isnan(value):
            continue
        if state[2] >= 0.0 and state[2] != slots[i]:
            _finish_visit(state, HEAD + SLOT_CELLS * int(state[2]))
        state[2] = slots[i]
        if state[cell] > 0.0:
            usual = state[1]
            residual = value - level
            if usual > 0.0:
                residual = min(max(residual, -FARTHEST_ROW * usual), FARTHEST_ROW * usual)
            state[0] += 1.0
            state[1] += (abs(residual) - usual) / min(state[0], RESIDUAL_MEMORY)
            value = level + residual
        state[cell + 2] += value
        state[cell + 3] += 1.0


@njit(cache=True, nogil=True, error_model="numpy")
def _finish_visit(state: Floats, cell: int) -> None:
    if state[cell + 3] == 0.0:
        return
    state[cell] += 1.0
    mean = state[cell + 2] / state[cell + 3]
    state[cell + 1] += (mean - state[cell + 1]) * max(1.0 / state[cell], VISIT_SHARE)
    state[cell + 2] = 0.0
    state[cell + 3] = 0.0
