"""Series without anomalies that real jobs meet, and events to put into them.

All have a row every five minutes, `WEEK` rows a week.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

MINUTES = 5
WEEK = 7 * 24 * 60 // MINUTES
DAY = WEEK // 7
START = 1_700_000_000 // 86_400 * 86_400
"""A midnight in UTC, in seconds since 1970."""


def times_of(rows: int) -> np.ndarray:
    return (START + 60 * MINUTES * np.arange(rows, dtype=np.int64)) * 1_000_000


def constant(rows: int, seed: int) -> np.ndarray:
    return np.full(rows, 0.1 + seed)


def two_values(rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).choice([3.0, 7.0], rows)


def sparse(rows: int, seed: int) -> np.ndarray:
    """Mostly nothing; one row in twenty a few."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(rows) < 0.05, rng.poisson(3.0, rows) + 1.0, 0.0)


def counting(rows: int, seed: int) -> np.ndarray:
    """Few events a row."""
    return np.random.default_rng(seed).poisson(4.0, rows).astype(float)


def drifting(rows: int, seed: int) -> np.ndarray:
    """Noise about a slope that is ten times its deviation in a week."""
    return 10.0 * np.arange(rows) / WEEK + np.random.default_rng(seed).standard_normal(rows)


def seasonal(rows: int, seed: int) -> np.ndarray:
    """Days with noise, and weekends at half the height."""
    row = np.arange(rows)
    weekday = (START // 86_400 + 3 + row // DAY) % 7
    height = np.where(weekday >= 5, 50.0, 100.0)
    course = height * (1.0 - np.cos(2 * np.pi * row / DAY))
    return course + 5.0 * np.random.default_rng(seed).standard_normal(rows)


def noise(rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(rows)


GENERATORS: dict[str, Callable[[int, int], np.ndarray]] = {
    "constant": constant,
    "two values": two_values,
    "sparse": sparse,
    "counting": counting,
    "drifting": drifting,
    "seasonal": seasonal,
    "noise": noise,
}

EVENTS: dict[str, Callable[[np.ndarray, int], None]] = {}


def event(name: str) -> Callable[[Callable[[np.ndarray, int], None]], None]:
    def keep(change: Callable[[np.ndarray, int], None]) -> None:
        EVENTS[name] = change

    return keep


@event("spike")
def _spike(values: np.ndarray, row: int) -> None:
    values[row] += 3.0 * (np.ptp(values) or 1.0)


@event("shift")
def _shift(values: np.ndarray, row: int) -> None:
    values[row : row + DAY // 4] += 1.5 * (np.ptp(values) or 1.0)


@event("burst")
def _burst(values: np.ndarray, row: int) -> None:
    width = np.ptp(values) or 1.0
    values[row : row + 12] += width * np.where(np.arange(12) % 2 == 0, 1.0, -1.0)
