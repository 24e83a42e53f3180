"""What the first part of a series teaches the left discord: its period and its scale."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.period import find_period

Floats = NDArray[np.float64]

LARGEST_SCALED = 2.0**400
"""Scaled points are cut here: no product of n squares of them overflows."""

DRIFT_OF_PERIOD = math.log(1.2)
DRIFT_OF_SCALE = math.log(1.5)
"""Profiles are made anew where what is learnt again differs by more."""


@dataclass
class Learnt:
    """What the learning part taught: points are kept as ``value * 2**-exponent``.

    ``deviation`` and ``step`` are the standard deviations of the scaled points and of their
    differences; ``unit`` is the deviation, or the points' magnitude where there is none.
    """

    length: int
    exponent: int
    deviation: float
    step: float
    unit: float

    @classmethod
    def of(cls, values: Floats, length: int | None) -> Learnt:
        """What ``values`` (float64[rows], finite) teach; ``length`` where it is given."""
        exponent, deviation, unit = _scale(values)
        scaled = np.ldexp(values, -exponent)
        step = float(np.diff(scaled, prepend=scaled[0]).std())
        return cls(max(length or find_period(scaled), 4), exponent, deviation, step, unit)

    def down(self, values: Floats) -> Floats:
        """Values as they are kept."""
        with np.errstate(over="ignore", under="ignore"):
            scaled = np.ldexp(values, -self.exponent)
        return np.clip(scaled, -LARGEST_SCALED, LARGEST_SCALED)

    def up(self, scaled: Floats | float) -> Floats:
        """Kept points in the unit of the values."""
        with np.errstate(over="ignore", under="ignore"):
            values = np.ldexp(scaled, self.exponent)
        largest = float(np.finfo(np.float64).max)
        return np.clip(values, -largest, largest)

    def differs(self, other: Learnt) -> bool:
        """Whether profiles made for one would be wrong for the other."""
        if abs(math.log(self.length / other.length)) > DRIFT_OF_PERIOD:
            return True
        shift = (other.exponent - self.exponent) * math.log(2.0)
        pairs = ((self.deviation, other.deviation), (self.step, other.step))
        return any(
            (ours > 0.0) != (theirs > 0.0)
            or (ours > 0.0 and abs(math.log(theirs / ours) + shift) > DRIFT_OF_SCALE)
            for ours, theirs in pairs
        )


def _scale(values: Floats) -> tuple[int, float, float]:
    """Exponent, deviation and unit of `Learnt` for the learning part ``values``, float64[rows].

    Deviation and unit are the same, 0.5 to 1, but where all values are equal: 0 and 0.5 to 1.
    """
    magnitude, exponent = math.frexp(float(np.abs(values).max()))
    inner = np.ldexp(values, -exponent)  # at most 1, so squares neither overflow nor vanish
    inner -= inner[0]
    mean = math.fsum(inner) / len(inner)
    variance = math.fsum((inner - mean) ** 2) / len(inner)
    if variance == 0.0:
        return exponent, 0.0, magnitude or 1.0
    deviation, shift = math.frexp(math.sqrt(variance))
    return exponent + shift, deviation, deviation
