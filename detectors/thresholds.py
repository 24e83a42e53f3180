"""Thresholds on a raw score that learn its distribution, and a fixed one.

The usual decision is taken on the 0-100 score and needs none of these. They stand beside it for
who wants a decision on the raw score itself, as LeftDiscords does. Each tests a score before it
learns it; `Spot` and `MeanStdDev` leave out what they flagged, so that an anomaly does not become
normal. The rank thresholds learn it too: to them it is one row of many however high it was, and
without their highest scores they would flag ever lower ones.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)


@dataclass(frozen=True)
class Spot:
    """Streaming peaks over threshold (Siffer et al., KDD 2017, doi:10.1145/3097983.3098144).

    Excesses over the ``level`` quantile of the warm-up are fitted with a generalised Pareto
    distribution; the threshold is the score that is passed with probability ``risk`` a row.

    The fit is by probability-weighted moments (Hosking & Wallis 1987, doi:10.2307/1269343), not
    by Grimshaw's likelihood search as in the paper: no iteration, and stable on few excesses.

    Parameters
    ----------
    level : float
        Quantile over which scores count as excesses, 0.5 <= level < 1.
    risk : float
        Probability that a normal row passes the threshold, 0 < risk < 1 - level.
    most_excesses : int
        The newest excesses that are kept, 10..100,000.
    warm_up : int
        Rows before the first test, 50..1,000,000.
    """

    level: float = 0.98
    risk: float = 1e-4
    most_excesses: int = 500
    warm_up: int = 1000

    def __post_init__(self) -> None:
        _check(0.5 <= self.level < 1, f"level must be in [0.5, 1), got {self.level}")
        _check(
            0 < self.risk < 1 - self.level,
            f"risk must be in (0, 1 - level = {1 - self.level:g}), got {self.risk}",
        )
        _check(
            10 <= self.most_excesses <= 100_000,
            f"most_excesses must be in 10..100000, got {self.most_excesses}",
        )
        _check(
            50 <= self.warm_up <= 1_000_000, f"warm_up must be in 50..1000000, got {self.warm_up}"
        )


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
class Quantile:
    """Flags a raw score that fewer than ``1 - level`` of the newest scores reach.

    Parameters
    ----------
    level : float
        Share of the scores that lie below, 0.5 <= level < 1.
    memory : int
        Scores that are kept, 100..100,000.
    warm_up : int
        Rows before the first test, 50..memory.
    """

    level: float = 0.9995
    memory: int = 5000
    warm_up: int = 1000

    def __post_init__(self) -> None:
        _check(0.5 <= self.level < 1, f"level must be in [0.5, 1), got {self.level}")
        _check_memory(self.memory, self.warm_up)


@dataclass(frozen=True)
class Conformal:
    """Flags a raw score of a small conformal p-value (Laxhammar & Falkman 2011, "Sequential").

    The p-value is ``(1 + scores kept that reach it) / (1 + scores kept)``. Were the scores
    exchangeable, a normal row would pass with ``p_value`` at most; those of a left discord overlap
    and are not. Nothing is flagged before ``1 / p_value - 1`` scores are kept.

    Parameters
    ----------
    p_value : float
        Greatest p-value that is flagged, at least ``1 / (memory + 1)``, below 0.5.
    memory : int
        The newest scores, which are kept, 100..100,000.
    warm_up : int
        Rows before the first test, 50..memory.
    """

    p_value: float = 5e-4
    memory: int = 5000
    warm_up: int = 1000

    def __post_init__(self) -> None:
        _check_memory(self.memory, self.warm_up)
        _check(
            1 / (self.memory + 1) <= self.p_value < 0.5,
            f"p_value must be in [1 / (memory + 1) = {1 / (self.memory + 1):.3g}, 0.5), "
            f"got {self.p_value}",
        )


def _check_memory(memory: int, warm_up: int) -> None:
    _check(100 <= memory <= 100_000, f"memory must be in 100..100000, got {memory}")
    _check(50 <= warm_up <= memory, f"warm_up must be in 50..memory = {memory}, got {warm_up}")


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


class Threshold(ABC):
    """A threshold of one series; ``state`` is all it knows (float64, fixed size)."""

    state: Floats

    @abstractmethod
    def flag(self, raw: Floats) -> NDArray[np.bool_]:
        """Whether each raw score (float64[n], NaN = none) passes; tests a row, then learns it."""


class _SpotThreshold(Threshold):
    # state: rows learnt, quantile, threshold, excesses kept, next slot; then excesses, warm-up
    def __init__(self, parameters: Spot) -> None:
        self._parameters = parameters
        self.state = np.zeros(5 + parameters.most_excesses + parameters.warm_up)

    def flag(self, raw: Floats) -> NDArray[np.bool_]:
        p = self._parameters
        flags = np.zeros(raw.shape[0], np.bool_)
        _spot(self.state, raw, flags, p.level, p.risk, p.most_excesses, p.warm_up)
        return flags


class _MeanStdDevThreshold(Threshold):
    # state: rows learnt, mean, sum of squared distances to the mean (Welford)
    def __init__(self, parameters: MeanStdDev) -> None:
        self._parameters = parameters
        self.state = np.zeros(3)

    def flag(self, raw: Floats) -> NDArray[np.bool_]:
        flags = np.zeros(raw.shape[0], np.bool_)
        _mean_std_dev(self.state, raw, flags, self._parameters.deviations, self._parameters.warm_up)
        return flags


class _RankThreshold(Threshold):
    # state: scores learnt; then the newest ones, a ring
    def __init__(self, parameters: Quantile | Conformal) -> None:
        if isinstance(parameters, Conformal):
            self._share, self._own = parameters.p_value, 1
        else:
            self._share, self._own = 1.0 - parameters.level, 0
        self._warm_up = parameters.warm_up
        self.state = np.zeros(1 + parameters.memory)

    def flag(self, raw: Floats) -> NDArray[np.bool_]:
        flags = np.zeros(raw.shape[0], np.bool_)
        _rank(self.state, raw, flags, self._share, self._own, self._warm_up)
        return flags


class _FixedThreshold(Threshold):
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
    Spot: _SpotThreshold,
    MeanStdDev: _MeanStdDevThreshold,
    Quantile: _RankThreshold,
    Conformal: _RankThreshold,
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


@njit(cache=True, nogil=True, error_model="numpy")
def _rank(
    state: Floats, raw: Floats, flags: NDArray[np.bool_], share: float, own: int, warm_up: int
) -> None:
    """Flag rows of which at most ``share`` of the past, ``own`` rows counted in, is as high."""
    memory = state.shape[0] - 1
    kept = state[1:]
    for i in range(raw.shape[0]):
        if math.isnan(raw[i]):
            continue
        rows = int(state[0])
        present = min(rows, memory)
        if rows >= warm_up:
            higher = 0  # counted afresh: quick, and no order has to be kept up
            for k in range(present):
                higher += kept[k] >= raw[i]
            flags[i] = higher + own <= share * (present + own)
        kept[rows % memory] = raw[i]
        state[0] += 1.0


@njit(cache=True, nogil=True, error_model="numpy")
def _pareto_threshold(excesses: Floats, quantile: float, risk: float, share: float) -> float:
    """The score passed with probability ``risk``, where ``share`` of the rows pass ``quantile``."""
    ordered = np.sort(excesses)
    n = ordered.shape[0]
    first = 0.0  # probability-weighted moments a0 and a1 of Hosking & Wallis, plotting i - 0.35
    second = 0.0
    for i in range(n):
        first += ordered[i]
        second += ordered[i] * (1.0 - (i + 0.65) / n)
    first /= n
    second /= n
    spread = first - 2.0 * second
    if first <= 0.0 or spread <= 0.0:
        return quantile + ordered[n - 1]
    shape = min(max(2.0 - first / spread, -0.5), 0.9)
    scale = 2.0 * first * second / spread
    odds = risk / share
    if abs(shape) < 1e-9:
        return quantile - scale * math.log(odds)
    return quantile + scale / shape * (odds**-shape - 1.0)


@njit(cache=True, nogil=True, error_model="numpy")
def _spot(
    state: Floats,
    raw: Floats,
    flags: NDArray[np.bool_],
    level: float,
    risk: float,
    most: int,
    warm_up: int,
) -> None:
    excesses = state[5 : 5 + most]
    warm = state[5 + most :]
    for i in range(raw.shape[0]):
        if math.isnan(raw[i]):
            continue
        rows = int(state[0])
        if rows < warm_up:
            warm[rows] = raw[i]
            state[0] += 1.0
            if rows + 1 == warm_up:
                ordered = np.sort(warm)
                state[1] = ordered[int(level * warm_up)]
                for k in range(warm_up):
                    if warm[k] > state[1]:
                        excesses[int(state[4])] = warm[k] - state[1]
                        state[3] = min(state[3] + 1.0, float(most))
                        state[4] = (state[4] + 1.0) % most
                state[2] = _spot_refit(state, excesses, level, risk)
            continue
        if raw[i] > state[2]:
            flags[i] = True
            continue
        state[0] += 1.0
        if raw[i] > state[1]:
            excesses[int(state[4])] = raw[i] - state[1]
            state[3] = min(state[3] + 1.0, float(most))
            state[4] = (state[4] + 1.0) % most
            state[2] = _spot_refit(state, excesses, level, risk)


@njit(cache=True, nogil=True, error_model="numpy")
def _spot_refit(state: Floats, excesses: Floats, level: float, risk: float) -> float:
    kept = int(state[3])
    if kept == 0:  # nothing ever passed the quantile: whatever does is news
        return state[1]
    return max(_pareto_threshold(excesses[:kept], state[1], risk, 1.0 - level), state[1])
