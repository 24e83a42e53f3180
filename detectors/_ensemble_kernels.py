"""One pass over a block for all light members of the ensemble, and the fusion of all members."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from detectors import day_profile as day_profiles
from detectors import jump as jumps
from detectors import record as records
from detectors import volatility as volatilities
from detectors.calibration import Calibration, add_score, tail_decades
from detectors.day_profile import day_profile
from detectors.jump import jump
from detectors.record import record
from detectors.volatility import volatility

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

MEMBERS = (
    "forest",
    "volatility",
    "jump",
    "record",
    "record_of_mean",
    "day_profile",
    "record_of_residual",
    "level",
    "shape",
)
"""In the order of the columns of decades and contributions."""
SUMMED = 8
"""Members whose decades are summed; the last, the shape, stands against their sum."""
FOREST, VOLATILITY, JUMP, RECORD, RECORD_OF_MEAN, DAY, RECORD_OF_RESIDUAL, LEVEL, SHAPE = range(9)

WEIGHTS = np.array([1.0, 1.0, 0.5, 1.0, 1.0, 1.0, 1.0, 0.5])
"""A half for two that see much of what others see too: the forest's newest value, the record."""
CAP = 6.0
"""Most decades of a member in the sum: agreement counts, not one tail."""

MATURE_DECADES = 3.6
"""n values prove log10(n) decades: before these are so many, the sum counts by their share."""

SHAPE_FROM = 1.5
SHAPE_SLOPE = 6.0
"""The shape's decades above 1.5, times so much, against the sum of the others."""
CLOCKLESS_SHAPE_SLOPE = 14.0
"""The same without a clock, where nothing else knows the season."""
CLOCKLESS_SCALE = 1.2
"""Without a clock two members in eight are missing: the others' sum is stretched."""

MEAN_ROWS = 10
WARM_ROWS = 30
"""Values learnt before the first score."""
RECORD_WARM, MEAN_WARM, RESIDUAL_WARM = 20, 50, 150

FACTS = 11
"""Columns of what a sentence on a row is made of, see `light_members`."""


class Light(NamedTuple):
    """State of the light members; every array is changed in place."""

    head: Floats  # values learnt, smoothed scores known
    volatility: Floats
    jump: Floats
    record: Floats
    record_of_mean: Floats
    day: Floats
    record_of_residual: Floats
    recent: Floats  # the last MEAN_ROWS values, a ring
    calibrations: Floats  # float64[4, cells]: of forest, volatility, jump, day profile
    smoothed: Floats  # the last fused scores, a ring


def new_light(smoothing: int) -> Light:
    """State that has learnt nothing; the newest ``smoothing`` scores are averaged."""
    ranges = (8.0, volatilities.LARGEST, jumps.LARGEST, day_profiles.LARGEST)
    return Light(
        head=np.zeros(2),
        volatility=np.zeros(volatilities.CELLS),
        jump=np.zeros(jumps.CELLS),
        record=np.zeros(records.CELLS),
        record_of_mean=np.zeros(records.CELLS),
        day=day_profiles.new_state(),
        record_of_residual=np.zeros(records.CELLS),
        recent=np.zeros(MEAN_ROWS),
        calibrations=np.array([Calibration(0.0, high).state for high in ranges]),
        smoothed=np.zeros(smoothing),
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _calibrated(calibration: Floats, raw: float) -> float:
    decades = tail_decades(calibration, raw)
    add_score(calibration, raw)
    return decades


@njit(cache=True, nogil=True, error_model="numpy")
def light_members(
    light: Light, values: Floats, slots: Integers, forest: Floats, decades: Floats, facts: Floats
) -> None:
    """Decades of all members but level and shape, each row by all before it; then it is learnt.

    Parameters
    ----------
    light : Light
        Changed in place.
    values : float64[n]
        None of them NaN.
    slots : int64[n], or int64[0] without a clock
        See `detectors.day_profile.slots_of`.
    forest : float64[n]
        The forest's raw scores; NaN while it warms.
    decades : float64[n, 9]
        Columns of `MEMBERS`; filled in place but for the last two.
    facts : float64[n, 11]
        Filled in place: on which side a record of value, mean and residual lies; values the
        record's range holds; the step in usual steps; mean of the last values before; residual of
        the profile that spoke and its usual size, whether it was the week's; values learnt before;
        mean of the last steps in usual ones.
    """
    for i in range(values.shape[0]):
        value = values[i]
        learnt = int(light.head[0])
        usual_step = light.jump[2]
        step = abs(value - light.jump[1])
        facts[i, 4] = step / usual_step if usual_step > 0.0 else 0.0
        facts[i, 5] = _mean(light.recent, learnt)
        facts[i, 9] = learnt
        light.recent[learnt % MEAN_ROWS] = value
        light.head[0] += 1.0
        decades[i, FOREST] = _calibrated(light.calibrations[0], forest[i])
        raw = volatility(light.volatility, value)
        decades[i, VOLATILITY] = _calibrated(light.calibrations[1], raw)
        facts[i, 10] = _louder(light.volatility)
        decades[i, JUMP] = _calibrated(light.calibrations[2], jump(light.jump, value))
        found = record(light.record, value, RECORD_WARM)
        decades[i, RECORD] = found[0]
        facts[i, 0] = found[1]
        facts[i, 1] = found[2]
        found = record(light.record_of_mean, _mean(light.recent, learnt + 1), MEAN_WARM)
        decades[i, RECORD_OF_MEAN] = found[0]
        facts[i, 2] = found[1]
        decades[i, DAY] = 0.0
        decades[i, RECORD_OF_RESIDUAL] = 0.0
        facts[i, 3] = 0.0
        facts[i, 6] = math.nan
        if slots.shape[0] == 0:
            continue
        raw, residual, usual, weekly = day_profile(light.day, value, slots[i])
        facts[i, 7] = usual
        facts[i, 8] = weekly
        if not math.isnan(residual):
            decades[i, DAY] = _calibrated(light.calibrations[3], raw)
            found = record(light.record_of_residual, residual, RESIDUAL_WARM)
            decades[i, RECORD_OF_RESIDUAL] = found[0]
            facts[i, 3] = found[1]
            facts[i, 6] = residual


@njit(cache=True, nogil=True, error_model="numpy")
def _mean(recent: Floats, learnt: int) -> float:
    """Mean of the ring's values; exactly theirs where they are equal."""
    known = min(learnt, MEAN_ROWS)
    if known == 0:
        return 0.0
    newest = recent[(learnt - 1) % MEAN_ROWS]
    total = 0.0
    for k in range(known):
        total += recent[k] - newest
    return newest + total / known


@njit(cache=True, nogil=True, error_model="numpy")
def _louder(state: Floats) -> float:
    """Mean of the last steps in usual ones."""
    if state[2] == 0.0:
        return 0.0
    total = 0.0
    for k in range(volatilities.HEAD, volatilities.CELLS):
        total += state[k]
    return total / (volatilities.WINDOW * state[2])


@njit(cache=True, nogil=True, error_model="numpy")
def fuse(light: Light, decades: Floats, has_clock: bool, given: Floats, raw: Floats) -> None:
    """The members' decades joined into one score.

    Parameters
    ----------
    light : Light
        Of the rows whose decades these are, after `light_members`; its smoothed scores are changed.
    decades : float64[n, 9]
        Columns of `MEMBERS`.
    has_clock : bool
        Whether the day profile can speak.
    given : float64[n, 9]
        Filled in place: what each member gave to the row's own score, in its unit.
    raw : float64[n]
        Filled in place: the score, the mean of the last ones where that is asked for; NaN for the
        first `WARM_ROWS` values.
    """
    scale = 1.0 if has_clock else CLOCKLESS_SCALE
    slope = SHAPE_SLOPE if has_clock else CLOCKLESS_SHAPE_SLOPE
    memory = light.smoothed.shape[0]
    first = int(light.head[0]) - decades.shape[0]
    for i in range(decades.shape[0]):
        total = 0.0
        mature = scale * min(math.log10(first + i + 1.0) / MATURE_DECADES, 1.0)
        for k in range(SUMMED):
            given[i, k] = mature * WEIGHTS[k] * min(decades[i, k], CAP)
            total += given[i, k]
        shape = slope * max(decades[i, SHAPE] - SHAPE_FROM, 0.0)
        given[i, SHAPE] = 0.0
        if shape > total:
            given[i, :] = 0.0
            given[i, SHAPE] = shape
            total = shape
        raw[i] = math.nan
        if first + i < WARM_ROWS:
            continue
        known = int(light.head[1])
        light.smoothed[known % memory] = total
        light.head[1] += 1.0
        raw[i] = total
        if memory > 1:
            present = min(known + 1, memory)
            raw[i] = light.smoothed[:present].sum() / present
