"""From a row's values to what the trees see, and back.

Every value is first put in units of its measure's scale, by centre and scale of the opening, fixed
from then on: what follows needs no care for tiny or huge numbers. Then the transform, with ``u``
the scaled value, ``mean`` and ``deviation`` time-decayed over the rows before::

    NONE              u
    DIFFERENCE        u - previous u
    SUBTRACT_MEAN     u - mean
    NORMALIZE         (u - mean) / deviation
    NORMALIZE_DIFFERENCE   ((u - previous u) - mean) / deviation     of the differences

A deviation is at least a thousandth of what it was over the opening: a share, not a constant, so
that no transform depends on the scale of the values.
"""

from __future__ import annotations

import math

import numpy as np

from detectors._forest_layout import OPENING, Floats, Forest, Record, kernel

TRANSFORMS = ("none", "difference", "subtract_mean", "normalize", "normalize_difference")
NONE, DIFFERENCE, SUBTRACT_MEAN, NORMALIZE, NORMALIZE_DIFFERENCE = range(5)

SCALED_LIMIT = 1e35  # 2 * 128 of these still add up to a finite float32
LARGEST = float(np.finfo(np.float64).max)
LEAST_DEVIATION = 1e-3
FARTHEST_NORMALIZED = 100.0
"""Normalised values are cut here, in deviations."""


@kernel
def in_units(measure: Record, value: float) -> float:
    """``value`` in units of the scale; the first move away from a constant is +-1."""
    if measure.scale == 0.0:
        return float(int(value > measure.centre) - int(value < measure.centre))
    scaled = (value - measure.centre) / measure.scale
    return min(max(scaled, -SCALED_LIMIT), SCALED_LIMIT)


@kernel
def transformed(head: Record, measure: Record, value: float) -> np.float32:
    """What the trees see of ``value`` as the next one."""
    kind = head.transform
    unit = in_units(measure, value)
    if kind == DIFFERENCE or kind == NORMALIZE_DIFFERENCE:
        unit -= measure.previous
    if kind >= SUBTRACT_MEAN:
        unit -= measure.mean
    if kind >= NORMALIZE:
        deviation = max(math.sqrt(measure.variance), measure.least_deviation)
        unit = unit / deviation if deviation > 0.0 else float(int(unit > 0.0) - int(unit < 0.0))
        unit = min(max(unit, -FARTHEST_NORMALIZED), FARTHEST_NORMALIZED)
    # adding 0 makes -0 the same bits as 0, so that boxes rebuilt from points are equal bit for bit
    return np.float32(min(max(unit, -SCALED_LIMIT), SCALED_LIMIT) + 0.0)


@kernel
def inverse(head: Record, measure: Record, seen: float, previous: float) -> float:
    """The value, in units of the scale, that `transformed` made ``seen`` of.

    ``previous`` is the scaled value before it, which the newest one is unless a forecast goes on.
    """
    kind = head.transform
    unit = seen
    if kind >= NORMALIZE:
        unit *= max(math.sqrt(measure.variance), measure.least_deviation)
    if kind >= SUBTRACT_MEAN:
        unit += measure.mean
    if kind == DIFFERENCE or kind == NORMALIZE_DIFFERENCE:
        unit += previous
    return unit


@kernel
def in_values(measure: Record, unit: float) -> float:
    """A scaled value in the unit of the values."""
    return min(max(measure.centre + unit * measure.scale, -LARGEST), LARGEST)


@kernel
def follow(head: Record, measure: Record, value: float) -> None:
    """Learn ``value``: move the transform's statistics on by one row."""
    unit = in_units(measure, value)
    kind = head.transform
    centred = unit - measure.previous if kind == NORMALIZE_DIFFERENCE else unit
    measure.previous = unit
    if kind >= SUBTRACT_MEAN:
        share = max(head.transform_decay, 1.0 / (head.clock + OPENING))
        off = centred - measure.mean
        measure.mean += share * off
        measure.variance += share * ((1.0 - share) * off * off - measure.variance)


@kernel
def awaken(measure: Record, value: float) -> None:
    """Give a measure that was constant so far the size of its first move as its scale."""
    if measure.scale == 0.0 and value != measure.centre:
        measure.scale = min(abs(value - measure.centre), LARGEST)
        measure.previous = 0.0
        measure.mean = 0.0
        measure.variance = 0.0
        measure.least_deviation = LEAST_DEVIATION


@kernel
def open_measures(forest: Forest) -> None:
    """Fix every measure's centre and scale by the opening, and start its statistics there."""
    for j in range(forest.measures.shape[0]):
        _open(forest.head[0], forest.measures[j], forest.opening[:, j].copy())


@kernel
def _middle(values: Floats) -> float:
    """The upper median: the least value that more than half of the values do not exceed."""
    found = np.inf
    for candidate in values:
        reached = 0
        for value in values:
            reached += int(value <= candidate)
        if 2 * reached > values.shape[0]:
            found = min(found, candidate)
    return found


@kernel
def _open(head: Record, measure: Record, opening: Floats) -> None:
    """Centre: a median of the opening; scale: the mean distance from it (0 for a constant)."""
    measure.centre = _middle(opening)
    # no squares, and shares of halves summed: 1e-300 must not vanish nor 1e308 overflow
    half_scale = 0.0
    for value in opening:
        half_scale += abs(0.5 * value - 0.5 * measure.centre) / OPENING
    measure.scale = min(half_scale, 0.5 * LARGEST) * 2.0
    measure.previous = in_units(measure, opening[0])
    before = measure.previous
    total = 0.0
    squares = 0.0
    for value in opening:
        unit = in_units(measure, value)
        centred = unit - before if head.transform == NORMALIZE_DIFFERENCE else unit
        total += centred
        squares += centred * centred
        before = unit
    measure.mean = total / OPENING
    measure.variance = max(squares / OPENING - measure.mean * measure.mean, 0.0)
    measure.least_deviation = LEAST_DEVIATION * math.sqrt(measure.variance)
