"""A threshold from the extremes of the past: streaming peaks over threshold."""

from __future__ import annotations

import math
from dataclasses import dataclass

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


class SpotThreshold:
    """A `Spot` threshold of one series; see `detectors.thresholds.Threshold`."""

    # state: rows learnt, quantile, threshold, excesses kept, next slot; then excesses, warm-up
    def __init__(self, parameters: Spot) -> None:
        self._parameters = parameters
        self.state = np.zeros(5 + parameters.most_excesses + parameters.warm_up)

    def flag(self, raw: Floats) -> NDArray[np.bool_]:
        """Whether each raw score passes; tests a row, then learns it."""
        p = self._parameters
        flags = np.zeros(raw.shape[0], np.bool_)
        _spot(self.state, raw, flags, p.level, p.risk, p.most_excesses, p.warm_up)
        return flags


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
