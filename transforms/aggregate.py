"""Points into the rows a model sees: one a period, with gaps filled as the job says."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from transforms.order import Points
from transforms.records import Floats, Integers


@dataclass(frozen=True)
class Aggregation:
    """How points become periods.

    Parameters
    ----------
    function : str
        A name in `FUNCTIONS`.
    period : int
        Length of a period in microseconds; periods start at multiples of it since 1970.
    """

    function: str
    period: int


@dataclass(frozen=True)
class Gaps:
    """What stands in a period without a record.

    Parameters
    ----------
    policy : str
        ``ignore`` (no row), ``zero``, ``previous`` or ``fixed``.
    value : float
        The value of ``fixed``.
    """

    policy: str = "ignore"
    value: float = 0.0

    @property
    def fills(self) -> bool:
        """Whether gaps become rows."""
        return self.policy != "ignore"


@dataclass(frozen=True)
class Rows:
    """What a model is given, as columns of equal length.

    Attributes
    ----------
    starts, ends : int64[n]
        The period, microseconds since 1970; equal for points as they come.
    values : float64[n]
        Aggregated or measured values.
    identities : int64[n]
        Tells rows of the same start apart: position, or how many rows of that start came before.
    imputed : bool[n]
        Filled in by the gap policy.
    history : bool[n]
        Made of history records alone.
    """

    starts: Integers
    ends: Integers
    values: Floats
    identities: Integers
    imputed: NDArray[np.bool_]
    history: NDArray[np.bool_]

    def __len__(self) -> int:
        return int(self.starts.shape[0])

    def part(self, start: int, end: int) -> Rows:
        """Rows ``start`` to ``end`` (exclusive)."""
        columns = {field.name: getattr(self, field.name)[start:end] for field in fields(self)}
        return Rows(**columns)


def _last(values: Floats) -> float:
    return float(values[-1])


def _mean(values: Floats) -> float:
    return math.fsum(values) / len(values)


FUNCTIONS: dict[str, Callable[[Floats], float]] = {
    "sum": math.fsum,
    "mean": _mean,
    "min": lambda values: float(values.min()),
    "max": lambda values: float(values.max()),
    "count": lambda values: float(len(values)),
    "last": _last,
    "median": lambda values: float(np.median(values)),
}
"""Aggregates of a period's values in their total order; sums are exact, whatever their order."""


def rows_of_points(points: Points, by_position: bool = False) -> Rows:
    """Points as they come: one row each."""
    none = np.zeros(len(points), np.bool_)
    same = np.zeros(len(points), np.int64)
    if by_position:
        same = points.ids
    elif len(points):
        fresh = np.flatnonzero(np.r_[True, points.times[1:] != points.times[:-1]])
        same = np.arange(len(points)) - np.repeat(fresh, np.diff(np.r_[fresh, len(points)]))
    return Rows(points.times, points.times, points.values, same, none, points.history)


def aggregate(points: Points, how: Aggregation) -> Rows:
    """One row for each period that has points; ``points`` are in their total order."""
    starts = points.times // how.period * how.period
    if len(points) and (starts == starts[0]).all():  # as on a live stream
        start, none = starts[:1], np.zeros(1, np.bool_)
        value = np.array([FUNCTIONS[how.function](points.values)], np.float64)
        history = np.array([points.history.all()])
        return Rows(start, start + how.period, value, np.zeros(1, np.int64), none, history)
    first = np.flatnonzero(np.r_[True, starts[1:] != starts[:-1]]) if len(points) else starts
    bounds = np.r_[first, len(points)].astype(np.int64)
    function = FUNCTIONS[how.function]
    values = np.array(
        [function(points.values[a:b]) for a, b in zip(bounds[:-1], bounds[1:], strict=True)],
        np.float64,
    )
    history = np.logical_and.reduceat(points.history, first) if len(points) else points.history
    starts = starts[first]
    nothing = np.zeros(len(starts), np.int64)
    return Rows(
        starts, starts + how.period, values, nothing, np.zeros(len(starts), np.bool_), history
    )


def fill(starts: Integers, period: int, gaps: Gaps, previous: float, history: bool = False) -> Rows:
    """Imputed rows for the periods that begin at ``starts``."""
    value = {"zero": 0.0, "previous": previous, "fixed": gaps.value}[gaps.policy]
    rows = len(starts)
    return Rows(
        starts,
        starts + period,
        np.full(rows, value),
        np.zeros(rows, np.int64),
        np.ones(rows, np.bool_),
        np.full(rows, history),
    )


def join(parts: list[Rows]) -> Rows:
    """Rows one after another."""
    return Rows(
        **{
            field.name: np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(Rows)
        }
    )


def fill_between(rows: Rows, period: int, gaps: Gaps, last: Rows | None) -> Rows:
    """``rows`` with the periods between them, and between ``last`` and them, filled in."""
    if not len(rows):
        return rows
    known = rows if last is None else join([last, rows])
    missing = np.diff(known.starts) // period - 1
    parts: list[Rows] = []
    done = 0
    for i in np.flatnonzero(missing > 0).tolist():
        parts.append(known.part(done, i + 1))
        starts = known.starts[i] + period * np.arange(1, missing[i] + 1)
        within_history = bool(known.history[i] and known.history[i + 1])
        parts.append(fill(starts, period, gaps, float(known.values[i]), within_history))
        done = i + 1
    filled = join([*parts, known.part(done, len(known))])
    return filled if last is None else filled.part(1, len(filled))
