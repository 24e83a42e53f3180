"""The left discord from its definition: every pair compared afresh, in extended precision."""

from __future__ import annotations

import math

import numpy as np

Long = np.longdouble


def naive_left_profile(
    values: np.ndarray,
    n: int,
    m: int,
    learning_points: int,
    normalize: bool = True,
    floor: float = 0.0,
    rows: list[int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Raw score of each row and how many points before it the nearest neighbour ended.

    ``m`` candidates at most, of those that ended before the query began; NaN and 0 for the first
    ``learning_points`` rows, and for all that are not among ``rows``.
    """
    x = np.asarray(values, Long)
    learnt = x[:learning_points]
    deviation = np.sqrt(np.mean((learnt - learnt.mean()) ** 2))
    e = Long(floor) * deviation
    raw = np.full(len(x), np.nan)
    neighbour = np.zeros(len(x), np.int64)
    for t in range(learning_points, len(x)) if rows is None else rows:
        i = t - n + 1
        starts = range(max(i - n - m + 1, 0), i - n + 1)
        query = _shape(x[i : i + n], e) if normalize else x[i : i + n]
        best = Long(math.inf)
        for j in starts:
            other = _shape(x[j : j + n], e) if normalize else x[j : j + n]
            distance = np.sqrt(np.mean((query - other) ** 2))
            if distance <= best:
                best, neighbour[t] = distance, i - j
        raw[t] = float(best) if normalize else float(np.log1p(best / deviation))
    return raw, neighbour


def _shape(window: np.ndarray, e: np.longdouble) -> np.ndarray:
    window = window - window[0]  # a constant window is constant to the last digit
    centred = window - window.mean()
    spread = np.sqrt(np.mean(centred**2) + e**2)
    return centred / spread if spread > 0 else centred


def naive_distances(values: np.ndarray, n: int, m: int, rows: np.ndarray) -> np.ndarray:
    """Distance of shapes, without a floor, of each of ``rows`` to its nearest; a part at a time."""
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(values, Long), n)
    found = np.empty(len(rows))
    for k, row in enumerate(rows):
        query = row - n + 1
        nearest = Long(math.inf)
        for start in range(max(query - n - m + 1, 0), query - n + 1, 10_000):
            others = _shapes(windows[start : min(start + 10_000, query - n + 1)])
            squares = ((others - _shapes(windows[query : query + 1])) ** 2).sum(axis=1)
            nearest = min(nearest, squares.min())
        found[k] = float(np.sqrt(nearest))
    return found


def _shapes(windows: np.ndarray) -> np.ndarray:
    windows = windows - windows[:, :1]  # a constant window is constant to the last digit
    centred = windows - windows.mean(axis=1, keepdims=True)
    deviation = np.sqrt(np.mean(centred**2, axis=1, keepdims=True))
    return np.divide(centred, deviation, out=centred, where=deviation > 0)
