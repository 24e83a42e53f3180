"""One total order of a series' points, and each point once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transforms.records import Block, Floats, Integers


@dataclass(frozen=True)
class Points:
    """Points of one series as columns of equal length.

    Attributes
    ----------
    times : int64[n]
        Event times, microseconds since 1970.
    values : float64[n]
        Measured values.
    ids : int64[n]
        Record IDs or positions.
    history : bool[n]
        Whether the point came from history files.
    """

    times: Integers
    values: Floats
    ids: Integers
    history: NDArray[np.bool_]

    def __len__(self) -> int:
        return int(self.times.shape[0])

    def where(self, rows: NDArray[np.bool_]) -> Points:
        """The points of the rows that are true."""
        chosen = rows.nonzero()[0]
        return self if len(chosen) == len(self) else self.take(chosen)

    def take(self, rows: Integers) -> Points:
        """The points of the given rows, in that order."""
        return Points(self.times[rows], self.values[rows], self.ids[rows], self.history[rows])


def gather(blocks: list[Block]) -> Points:
    """All points of ``blocks``, in whatever order they lie."""
    if len(blocks) == 1:
        (block,) = blocks
        history = np.full(len(block.times), block.history)
        # copies, as a decoded block is read-only: for that, numba would compile each kernel anew
        return Points(block.times.copy(), block.values.copy(), block.ids.copy(), history)
    return Points(
        np.concatenate([block.times for block in blocks]),
        np.concatenate([block.values for block in blocks]),
        np.concatenate([block.ids for block in blocks]),
        np.repeat([block.history for block in blocks], [len(block.times) for block in blocks]),
    )


def order(points: Points, by_position: bool = False) -> Points:
    """Points by event time, then record ID, then the bits of the value: the same for any arrival.

    With ``by_position`` the IDs are positions and come first.
    """
    if not by_position and (points.times[1:] > points.times[:-1]).all():
        return points  # as nearly always
    bits = points.values.view(np.int64)
    first = (points.ids, points.times) if by_position else (points.times, points.ids)
    ranks = np.lexsort((points.history, bits, first[1], first[0]))
    return points.take(ranks)


def drop_duplicates(points: Points) -> tuple[Points, int]:
    """Ordered points, each (event time, record ID) once, and how many were dropped."""
    again = np.zeros(len(points), np.bool_)
    again[1:] = (points.times[1:] == points.times[:-1]) & (points.ids[1:] == points.ids[:-1])
    return points.where(~again), int(again.sum())
