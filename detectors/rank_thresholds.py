"""Thresholds from the rank of a raw score among the newest ones."""

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


class RankThreshold:
    """A rank threshold of one series; see `detectors.thresholds.Threshold`."""

    # state: scores learnt; then the newest ones, a ring
    def __init__(self, parameters: Quantile | Conformal) -> None:
        if isinstance(parameters, Conformal):
            self._share, self._own = parameters.p_value, 1
        else:
            self._share, self._own = 1.0 - parameters.level, 0
        self._warm_up = parameters.warm_up
        self.state = np.zeros(1 + parameters.memory)

    def flag(self, raw: Floats) -> NDArray[np.bool_]:
        """Whether each raw score passes; tests a row, then learns it."""
        flags = np.zeros(raw.shape[0], np.bool_)
        _rank(self.state, raw, flags, self._share, self._own, self._warm_up)
        return flags


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
