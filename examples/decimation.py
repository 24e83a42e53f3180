"""Reducing a long series to what a screen can show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

BUCKETS = 800
"""Parts of the horizontal axis: about one a pixel."""
CONTEXT_ROWS = 20
"""Rows kept whole on either side of a kept one, for whoever zooms in."""
MOST_ROWS_WITH_CONTEXT = 100


def decimate(
    position: NDArray[Any],
    measures: Sequence[NDArray[np.float64]],
    keep: NDArray[np.bool_],
    buckets: int = BUCKETS,
) -> NDArray[np.int64]:
    """Choose the rows that a chart of ``buckets`` pixels needs; their indices, ascending.

    A bucket keeps the first of its lowest and of its highest values of every measure, so a line
    through them covers the same pixels as the line through all. The first row, the last one and
    those of ``keep`` stay as well; the latter with `CONTEXT_ROWS` neighbours on either side, as
    long as they are at most `MOST_ROWS_WITH_CONTEXT`.

    Parameters
    ----------
    position : int64[n] or float64[n]
        Place on the horizontal axis, ascending.
    measures : sequence of float64[n]
        What is drawn; NaN is no extreme.
    keep : bool[n]
        Rows to keep in any case.
    buckets : int
        Equal parts of the axis, >= 1.

    Returns
    -------
    int64[kept]
        All rows if there are at most ``2 * len(measures) * buckets``; else at most that many, the
        first and the last row, and what is to be kept.

    Raises
    ------
    ValueError
        If ``buckets`` is below 1.
    """
    if buckets < 1:
        raise ValueError(f"buckets must be >= 1, got {buckets}")
    if len(position) <= 2 * len(measures) * buckets:
        return np.arange(len(position))
    chosen = _with_context(keep)
    chosen[[0, -1]] = True
    bucket = _buckets(position, buckets)
    for measure in measures:
        finite = np.flatnonzero(np.isfinite(measure))
        for signed in (measure[finite], -measure[finite]):
            # by bucket, then by value: the first row of a bucket is its extreme
            order = finite[np.lexsort((signed, bucket[finite]))]
            chosen[order[np.unique(bucket[order], return_index=True)[1]]] = True
    return np.flatnonzero(chosen)


def _with_context(keep: NDArray[np.bool_]) -> NDArray[np.bool_]:
    chosen = keep.copy()
    kept = np.flatnonzero(keep)
    if kept.size <= MOST_ROWS_WITH_CONTEXT:
        for index in kept:
            chosen[max(index - CONTEXT_ROWS, 0) : index + CONTEXT_ROWS + 1] = True
    return chosen


def _buckets(position: NDArray[Any], buckets: int) -> NDArray[np.int64]:
    offsets = (position - position[0]).astype(np.float64)
    span = offsets[-1] or 1.0
    numbers: NDArray[np.int64] = (offsets * (buckets / span)).astype(np.int64)
    return np.minimum(numbers, buckets - 1)
