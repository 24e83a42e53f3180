"""The exact left matrix profile of a stream of points, for subsequences of one length."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors._discord_kernels import score_queries
from detectors._subsequence_kernels import (
    BLOCK_LAGS,
    MEAN,
    RESTART,
    ROWS,
    H,
    W,
    drop_oldest,
    mark_restarts,
    nearest_candidate,
    window_statistics,
)
from detectors.base import Arrays, Floats, Integers

_LEAST_CHUNK = 512


class LeftProfile:
    """Distance of each new subsequence to its nearest neighbour among those before it.

    Every subsequence of n points is compared with the ``context`` latest ones that ended before it
    began (with those there are, while they are fewer): exactly, in O(context + n) a point.

    Parameters
    ----------
    n : int
        Points a subsequence.
    context : int
        Subsequences compared with, rounded up to a multiple of 64: m.
    past : float64[k]
        Points before the first that is scored, k >= n + 1; the newest m + 2n of them count. All
        points are of the size of 1 and at most 2**400.
    floor : float
        Soft floor e of a subsequence's standard deviation, in the unit of the points.
    unit : float
        What the plain distance is divided by, > 0.
    normalize : bool
        Compare shapes; else plain values, level and amplitude included.

    Notes
    -----
    Memory: 64 bytes for each of m + 2n + max(512, (m + 2n) / 8) points, and 8 for each of m.
    """

    def __init__(
        self, n: int, context: int, past: Floats, floor: float, unit: float, normalize: bool
    ) -> None:
        self.n = n
        self.m = tiles(context)
        self.span = span_of(n, context)
        self.chunk = max(_LEAST_CHUNK, self.span // 8)
        self.normalize = normalize
        self.unit = unit
        past = past[-self.span :]
        # what lies before the series is kept as points too, but never speaks: H is +inf there
        self._x = np.zeros(self.span + self.chunk)
        self._windows = np.zeros((ROWS, self.span + self.chunk))
        self._windows[H, : self.span] = np.inf
        self._windows[RESTART, : self.span] = -1.0
        self._x[self.span - len(past) : self.span] = past
        self._length = self.span
        self._points = len(past)
        self._first_query = len(past) - n + 1
        self._floor_energy = n * floor * floor
        self._carried = np.zeros(self.m)
        self._peak = np.zeros(1)
        if len(past) >= n:
            self._fill_windows(self.span - len(past), self.span - n + 1)

    @property
    def points(self) -> Floats:
        """The retained points, oldest first (a view)."""
        return self.newest(self.span)

    def newest(self, count: int) -> Floats:
        """The newest ``count`` points, or as many as there are, oldest first (a view).

        At most `span` and as many as `extend` was given last.
        """
        return self._x[self._length - min(self._points, count) : self._length]

    def extend(self, points: Floats) -> tuple[Floats, Integers]:
        """Append at most `chunk` points: the profile at each, and its nearest neighbour's block.

        The profile is the root of the mean square difference, 0 to 2; for plain values log1p of
        it over `unit`. The block is for `pair`.
        """
        rows = points.shape[0]
        if self._length + rows > self._x.shape[0]:
            self._drop_oldest()
        self._x[self._length : self._length + rows] = points
        first = self._length - self.n + 1
        self._length += rows
        self._points += rows
        self._fill_windows(first, first + rows)
        raw, blocks = np.empty(rows), np.empty(rows, np.int64)
        score_queries(
            self._x, self._windows, self._carried, first, first + rows, self.n, self._base,
            self.normalize, self.unit, raw, blocks,
        )  # fmt: skip
        return raw, blocks

    def peek(self, point: float) -> float:
        """The profile at ``point``, were it the next; changes nothing."""
        carried, peak = self._carried.copy(), self._peak.copy()
        raw, _ = self.extend(np.array([point]))
        # what else was written lies behind the last point, where nothing is read
        self._carried, self._peak = carried, peak
        self._length -= 1
        self._points -= 1
        return float(raw[0])

    def pair(self, back: int, block: int) -> Pair:
        """The subsequence that ended ``back`` points ago and its nearest neighbour."""
        query = self._length - self.n - back
        nearest = nearest_candidate(
            self._x, self._windows, query, block, self.m, self.n, self._base, self.normalize
        )
        ours = self._x[query : query + self.n]
        theirs = self._x[nearest : nearest + self.n]
        squares = (self._shape(query, ours) - self._shape(nearest, theirs)) ** 2
        floor_energy = self._floor_energy if self.normalize else math.nan
        return Pair(query - nearest, ours, theirs, squares, floor_energy)

    def to_arrays(self) -> Arrays:
        """The whole state, lossless, as named arrays (views)."""
        points = self.points
        oldest = self._length - len(points)
        absolute = np.arange(oldest, self._length - self.n + 1) + self._base
        marks = self._windows[RESTART, oldest : oldest + len(absolute)]
        return {
            "counts": np.array([self._points, self._first_query], np.int64),
            "scales": np.array([self._floor_energy, self.unit, self._peak[0]]),
            "points": points,
            "carried": self._carried,
            "restarts": absolute[marks == absolute],
        }

    @classmethod
    def from_arrays(
        cls, n: int, context: int, normalize: bool, arrays: Mapping[str, NDArray[Any]]
    ) -> LeftProfile:
        """The profile that `to_arrays` described; copies what it will write to."""
        points = arrays["points"]
        floor_energy, unit, peak = (float(value) for value in arrays["scales"])
        profile = cls(n, context, np.empty(0), 0.0, unit, normalize)
        profile._floor_energy = floor_energy
        profile._x[profile.span - len(points) : profile.span] = points
        profile._points, profile._first_query = (int(count) for count in arrays["counts"])
        profile._carried[:] = arrays["carried"]
        profile._peak[0] = peak
        profile._restore_windows(profile.span - len(points), arrays["restarts"])
        return profile

    @property
    def state_bytes(self) -> int:
        """Memory, in bytes."""
        return self._x.nbytes + self._windows.nbytes + self._carried.nbytes

    @property
    def _base(self) -> int:
        """Absolute index of the point at position 0 of the buffers."""
        return self._points - self._length

    def _drop_oldest(self) -> None:
        surplus = self._length - self.span
        drop_oldest(self._x, surplus, self.span)
        for row in self._windows:
            drop_oldest(row, surplus, self.span)
        self._length = self.span

    def _fill_windows(self, first: int, last: int) -> None:
        energy = self._energies(first, last)
        mark_restarts(self._windows, energy, first, self._base, self._first_query, self._peak)

    def _energies(self, first: int, last: int) -> Floats:
        return window_statistics(
            self._x, self._windows, first, last, self.n, self._floor_energy, self.normalize
        )

    def _restore_windows(self, first: int, restarts: Integers) -> None:
        """Make the windows of the retained points, from position ``first`` on, once more."""
        # of the very first one only the mean is ever read, and only its neighbour reads it
        first = max(first, 1)
        last = self._length - self.n + 1
        self._energies(first, last)
        marks = np.full(last, -1.0)
        marks[restarts - self._base] = restarts
        self._windows[RESTART, :last] = np.maximum.accumulate(marks)
        self._windows[H, restarts - self._base] = np.inf

    def _shape(self, window: int, points: Floats) -> Floats:
        if not self.normalize:
            return points
        shape: Floats = (points - points[0]) - self._windows[MEAN, window]
        return shape * self._windows[W, window]


class Pair:
    """A subsequence beside its nearest neighbour.

    Parameters
    ----------
    distance : int
        Points between their ends.
    ours, theirs : float64[n]
        Their points, the newest last.
    squares : float64[n]
        Squared difference of each two points as they are compared.
    floor_energy : float
        n e^2; NaN for plain values.
    """

    def __init__(
        self, distance: int, ours: Floats, theirs: Floats, squares: Floats, floor_energy: float
    ) -> None:
        self.distance = distance
        self.squares = squares
        self._ours = ours
        self._theirs = theirs
        self._floor_energy = floor_energy

    @property
    def expected(self) -> float:
        """Where ours would end, were it to go on from its other points as theirs did."""
        ours, theirs = self._ours, self._theirs
        if math.isnan(self._floor_energy):
            return float(theirs[-1])
        body, model = ours[:-1] - ours[0], theirs[:-1] - theirs[0]
        floor_energy = self._floor_energy * (len(ours) - 1) / len(ours)
        body_energy = float(((body - body.mean()) ** 2).sum()) + floor_energy
        model_energy = float(((model - model.mean()) ** 2).sum()) + floor_energy
        ratio = math.sqrt(body_energy / model_energy) if model_energy > 0.0 else 1.0
        last = float(theirs[-1] - theirs[0]) - float(model.mean())
        return float(ours[0]) + float(body.mean()) + last * ratio


def tiles(context: int) -> int:
    """``context`` rounded up to whole blocks of lags: m."""
    return -(-context // BLOCK_LAGS) * BLOCK_LAGS


def span_of(n: int, context: int) -> int:
    """Points that a profile retains."""
    return tiles(context) + 2 * n
