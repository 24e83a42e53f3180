"""Thresholds on a raw score that learn its distribution, and a fixed one.

The usual decision is taken on the 0-100 score and needs none of these. They stand beside it for
who wants a decision on the raw score itself, as LeftDiscords does. Each tests a score before it
learns it; `Spot` and `MeanStdDev` leave out what they flagged, so that an anomaly does not become
normal. The rank thresholds learn it too: to them it is one row of many however high it was, and
without their highest scores they would flag ever lower ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numba import njit
from numpy.typing import NDArray

from detectors.rank_thresholds import Conformal, Quantile, RankThreshold
from detectors.spot import Spot, SpotThreshold

__all__ = [
    "THRESHOLDS",
    "Conformal",
    "Fixed",
    "MeanStdDev",
    "Quantile",
    "Spot",
    "Threshold",
    "make_threshold",
]

Floats = NDArray[np.float64]


class Threshold(Protocol):
    """A threshold of one series; ``state`` is all it knows (float64, fixed size)."""

    state: Floats

    def flag(self, raw: Floats) -> NDArray[np.bool_]:
        """Whether each raw score (float64[n], NaN = none) passes; tests a row, then learns it."""


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)


@dataclass(frozen=True)
class MeanStdDev:
    """Mean plus a number of standard deviations of all raw scores so far, as in LeftDiscords.

    There the tested score is counted in before the test; here it is tested first.

    Parameters
    ----------
    deviations : float
        Standard deviations above the mean, > 0.
    warm_up : int
        Rows before the first test, >= 2.
    """

    deviations: float = 2.0
    warm_up: int = 100

    def __post_init__(self) -> None:
        _check(
            0 < self.deviations < math.inf,
            f"deviations must be > 0 and finite, got {self.deviations}",
        )
        _check(self.warm_up >= 2, f"warm_up must be >= 2, got {self.warm_up}")


@dataclass(frozen=True)
class Fixed:
    """Flags a raw score above ``raw``; learns nothing.

    Parameters
    ----------
    raw : float
        The threshold, in the detector's own unit.
    """

    raw: float

    def __post_init__(self) -> None:
        _check(math.isfinite(self.raw), f"raw must be a finite number, got {self.raw}")


class _MeanStdDevThreshold:
    # state: rows learnt, mean, sum of squared distances to the mean (Welford)
    def __init__(self, parameters: MeanStdDev) -> None:
        self._parameters = parameters
        self.state = np.zeros(3)

    def flag(self, raw: Floats) -> NDArray[np.bool_]:
        flags = np.zeros(raw.shape[0], np.bool_)
        _mean_std_dev(self.state, raw, flags, self._parameters.deviations, self._parameters.warm_up)
        return flags


class _FixedThreshold:
    def __init__(self, parameters: Fixed) -> None:
        self._raw = parameters.raw
        self.state = np.zeros(0)

    def flag(self, raw: Floats) -> NDArray[np.bool_]:
        return raw > self._raw


THRESHOLDS: dict[str, type[Any]] = {
    "Spot": Spot,
    "MeanStdDev": MeanStdDev,
    "Quantile": Quantile,
    "Conformal": Conformal,
    "Fixed": Fixed,
}
"""Parameters by the name a job file gives them."""

_THRESHOLD_OF: dict[type[Any], type[Any]] = {
    Spot: SpotThreshold,
    MeanStdDev: _MeanStdDevThreshold,
    Quantile: RankThreshold,
    Conformal: RankThreshold,
    Fixed: _FixedThreshold,
}


def make_threshold(parameters: Spot | MeanStdDev | Quantile | Conformal | Fixed) -> Threshold:
    """A fresh threshold for one series."""
    threshold: Threshold = _THRESHOLD_OF[type(parameters)](parameters)
    return threshold


@njit(cache=True, nogil=True, error_model="numpy")
def _mean_std_dev(
    state: Floats, raw: Floats, flags: NDArray[np.bool_], deviations: float, warm_up: int
) -> None:
    for i in range(raw.shape[0]):
        if math.isnan(raw[i]):
            continue
        if state[0] >= warm_up:
            limit = state[1] + deviations * math.sqrt(state[2] / state[0])
            flags[i] = raw[i] > limit
        if not flags[i]:
            state[0] += 1.0
            distance = raw[i] - state[1]
            state[1] += distance / state[0]
            state[2] += distance * (raw[i] - state[1])
