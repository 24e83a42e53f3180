"""One anomaly beside the stretch of its series' past that is most like it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lake.named_queries import Parameters

BACK = 5_000
"""Rows before an anomaly among which the most like stretch is looked for."""
LEAST_SHOWN = 24
AFTER = 6

Read = Callable[[str, Parameters], pd.DataFrame]


class Likeness:
    """An anomaly's stretch and the one most like it.

    Attributes
    ----------
    length : int
        Rows that the detector judged together.
    values : ndarray of float64, shape (length,)
        Values of the anomaly's stretch, oldest first.
    shown : pandas.DataFrame
        ``row`` (0 is the anomaly's), ``value`` and ``stretch`` (which of the two) for a picture.
    like_time : str or None
        When the most like stretch ended; None if nothing is known of it.
    from_detector : bool
        Whether the detector named it, or it was looked for here.
    """

    def __init__(self, anomaly: dict[str, Any], read: Read) -> None:
        self.length = max(len(anomaly["attribution"] or ()), 1)
        self.from_detector = anomaly["neighbour"] is not None
        # named even if the lake no longer has its rows
        self.like_time: str | None = anomaly["neighbour_time"]
        shown = max(self.length, LEAST_SHOWN)
        past = self._rows(anomaly, read, anomaly["point"] - BACK, anomaly["point"] + AFTER)
        at = _last_index(past["point"], anomaly["point"])
        values = past["value"].to_numpy(np.float64)
        self.values = values[max(at - self.length + 1, 0) : at + 1]
        pieces = [_piece(values, at, shown, "this anomaly")]
        if self.from_detector:
            number = anomaly["neighbour"]
            past = self._rows(anomaly, read, number - shown, number + AFTER)
            end = _last_index(past["point"], number)
        else:
            end = like_window(values[: at + 1], self.length)
        if end >= 0:
            self.like_time = f"{past['time'].iloc[end]:%Y-%m-%d %H:%M:%S}"
            like = past["value"].to_numpy(np.float64)
            pieces.append(_piece(like, end, shown, f"most like it: {self.like_time}"))
        self.shown = pd.concat(pieces, ignore_index=True)

    @staticmethod
    def _rows(anomaly: dict[str, Any], read: Read, first: int, last: int) -> pd.DataFrame:
        asked = Parameters(series=anomaly["series"], detector=anomaly["detector"])
        return read("points_between", replace(asked, first_point=first, last_point=last))


def like_window(values: NDArray[np.float64], length: int) -> int:
    """Index of the last value of the earlier window most like the last one; -1 if there is none.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
        A series, oldest first.
    length : int
        Values a window has. Windows are compared by Euclidean distance; of equal ones the newest
        is taken, and none overlaps the last.
    """
    if len(values) < 2 * length:
        return -1
    windows = np.lib.stride_tricks.sliding_window_view(values, length)
    distances = ((windows[:-length] - windows[-1]) ** 2).sum(axis=1)
    newest_first = distances[::-1]
    return int(len(distances) - 1 - np.argmin(newest_first)) + length - 1


def _last_index(numbers: pd.Series[int], number: int) -> int:
    """Position of the last row with this number; -1 if there is none."""
    found = np.flatnonzero(numbers.to_numpy() == number)
    return int(found[-1]) if found.size else -1


def _piece(values: NDArray[np.float64], at: int, shown: int, name: str) -> pd.DataFrame:
    first = max(at - shown + 1, 0)
    kept = values[first : at + AFTER + 1]
    return pd.DataFrame({"row": np.arange(len(kept)) + first - at, "value": kept, "stretch": name})
