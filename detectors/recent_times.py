"""Event times of a series' newest points, for who must say when an earlier point was."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

UNKNOWN = np.iinfo(np.int64).min
"""The time of a point that came without one, or came too long ago."""


class RecentTimes:
    """Times of the newest ``most`` points.

    Parameters
    ----------
    most : int
        Points that are remembered, 8 bytes each.

    Notes
    -----
    Saved as runs of equal steps, so a series of one period takes a few bytes, whatever ``most``.
    """

    def __init__(self, most: int) -> None:
        self._ring = np.full(most, UNKNOWN)
        self._points = 0

    def take(self, times: Integers, rows: Integers, back: Integers) -> Integers:
        """Learn new points, and look up what lies ``back`` points before some of them.

        Parameters
        ----------
        times : int64[n]
            Event times of the new points, microseconds since 1970; `UNKNOWN` where there is none.
        rows : int64[k]
            Which of the new points to look back from.
        back : int64[k]
            How many points, >= 1.

        Returns
        -------
        int64[k]
            Microseconds since 1970; `UNKNOWN` beyond what is remembered.
        """
        most = len(self._ring)
        wanted = self._points + rows - back
        known = (wanted >= max(self._points - most, 0)) & (wanted < self._points)
        found = np.where(known, self._ring[wanted % most], UNKNOWN)
        new = wanted >= self._points
        found[new] = times[wanted[new] - self._points]
        self._points += len(times)
        newest = times[-most:]
        self._ring[np.arange(self._points - len(newest), self._points) % most] = newest
        return found

    def to_array(self) -> Integers:
        """Points learnt, the oldest time remembered, then the length and step of each run."""
        kept = min(self._points, len(self._ring))
        times = self._ring[np.arange(self._points - kept, self._points) % len(self._ring)]
        steps = np.diff(times)
        starts = np.flatnonzero(np.diff(steps, prepend=0) != 0)
        starts = np.union1d(starts, [0])[: len(steps)]
        lengths = np.diff(starts, append=len(steps))
        runs = np.column_stack([lengths, steps[starts]]).ravel()
        return np.concatenate([[self._points], times[:1], runs]).astype(np.int64)

    @classmethod
    def from_array(cls, most: int, array: Integers) -> RecentTimes:
        """The times that `to_array` described."""
        recent = cls(most)
        recent._points = int(array[0])
        times = np.cumsum(np.r_[array[1:2], np.repeat(array[3::2], array[2::2])])
        recent._ring[np.arange(recent._points - len(times), recent._points) % most] = times
        return recent

    @property
    def any_known(self) -> bool:
        """Whether any point came with a time."""
        return bool((self._ring != UNKNOWN).any())

    @property
    def nbytes(self) -> int:
        """Memory, in bytes."""
        return self._ring.nbytes
