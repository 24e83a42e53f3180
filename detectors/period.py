"""The period of a series, from the autocorrelation of a part of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SHORTEST_PERIOD = 10
LONGEST_PERIOD = 1000
USUAL_PERIOD = 100
"""Taken where the autocorrelation has no peak."""

STRONG = 0.9
MOST_POINTS = 20_000


def find_period(values: Floats) -> int:
    """The smallest strong peak of the autocorrelation: its lag, in points.

    Strong is a local maximum that reaches `STRONG` of the highest one. The highest itself is often
    a multiple of the period, whose copies agree as well as neighbouring periods do: subsequences of
    several periods find less (measured on the UCR archive: a third of the discords more are found).

    Parameters
    ----------
    values : float64[n]
        Finite; the newest `MOST_POINTS` are looked at. Lags from `SHORTEST_PERIOD` to
        `LONGEST_PERIOD`, but to n / 3 at most: a period must be seen three times.

    Returns
    -------
    int
        At most n / 4 where there is no peak, then usually `USUAL_PERIOD`.
    """
    values = values[-MOST_POINTS:]
    longest = min(LONGEST_PERIOD, len(values) // 3)
    curve = _autocorrelation(values, longest + 1)
    lags = np.arange(SHORTEST_PERIOD, longest)
    at, before, after = curve[lags], curve[lags - 1], curve[lags + 1]
    peaks = lags[(at >= before) & (at >= after) & (at > 0.0)]
    if not len(peaks):
        return min(USUAL_PERIOD, len(values) // 4)
    strong = curve[peaks] >= STRONG * curve[peaks].max()
    return int(peaks[np.flatnonzero(strong)[0]])


def _autocorrelation(values: Floats, lags: int) -> Floats:
    """At lags 0 to ``lags``, each over the pairs there are; zeros for constant values."""
    rows = len(values)
    centred = values - values[0]  # so that a constant is constant to the last digit
    centred -= centred.mean()
    magnitude = float(np.abs(centred).max(initial=0.0))
    if magnitude == 0.0:
        return np.zeros(lags + 1)
    size = 1 << (2 * rows - 1).bit_length()  # a power of two: quick, and no product wraps around
    spectrum = np.fft.rfft(centred / magnitude, size)
    sums = np.fft.irfft(spectrum * np.conj(spectrum), size)[: lags + 1]
    means = sums / np.arange(rows, rows - lags - 1, -1)
    return means / means[0] if means[0] > 0.0 else np.zeros(lags + 1)
