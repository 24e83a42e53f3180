"""AUC-PR, VUS-PR, and the period that sets the buffer of VUS-PR.

Source: Paparrizos et al. 2022, "Volume under the surface: a new accuracy evaluation measure for
time-series anomaly detection", doi:10.14778/3551793.3551830, in the variant that the TSB-AD
benchmark reports (Liu & Paparrizos 2024): labels get soft buffers of every width from 0 to
the series' period, and VUS-PR is the mean over the widths of the area under the
precision-recall curve. Both measures are in [0, 1], higher = better.

In both a NaN score ranks with the lowest finite one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

THRESHOLDS = 250

PERIOD_ROWS = 20_000
SHORTEST_LAG = 3
LONGEST_LAG = 400
LONGEST_PERIOD = 303
DEFAULT_PERIOD = 125


def auc_pr(labels: ArrayLike, scores: Floats) -> float:
    """Average precision: the area under the precision-recall curve, by steps.

    Parameters
    ----------
    labels : bool or 0/1 [n]
        True at anomalous rows; without one the result is 0.
    scores : float64[n]
        Higher = stranger; equal scores are detected together.
    """
    label = np.asarray(labels).astype(bool)
    ranked = _finite(scores)
    order = np.argsort(-ranked, kind="stable")
    label, ranked = label[order], ranked[order]
    last_of_equals = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True])
    true_positives = np.cumsum(label)[last_of_equals]
    precision = true_positives / (last_of_equals + 1)
    recall = true_positives / max(label.sum(), 1)
    return float(np.sum(np.diff(np.r_[0.0, recall]) * precision))


def vus_pr(labels: ArrayLike, scores: Floats, buffer: int, thresholds: int = THRESHOLDS) -> float:
    """Volume under the precision-recall surface; NaN without an anomalous row.

    Parameters
    ----------
    labels : bool or 0/1 [n]
        True at anomalous rows.
    scores : float64[n]
        Higher = stranger.
    buffer : int
        Widest buffer around an anomaly, in rows, half of it on each side (see `find_period`).
    thresholds : int, optional
        Thresholds of a curve, taken at equal steps of rank.

    Notes
    -----
    Cost: O(buffer * (n + segments)) in time.
    """
    label = np.asarray(labels).astype(bool)
    if not label.any():
        return float("nan")
    segments = _Segments.of(label)
    detections = _Detections.of(_finite(scores), thresholds)
    areas = [_area(label, segments, detections, width) for width in range(buffer + 1)]
    return float(np.mean(areas))


@dataclass(frozen=True, eq=False)
class _Segments:
    """Runs of anomalous rows: their first and last rows, int64[k] each, inclusive."""

    first: Integers
    last: Integers

    @classmethod
    def of(cls, label: Flags) -> _Segments:
        steps = np.diff(np.r_[0, label.astype(int), 0])
        return cls(np.flatnonzero(steps == 1), np.flatnonzero(steps == -1) - 1)

    def widened(self, half: int, rows: int) -> list[tuple[int, int]]:
        """The segments with ``half`` rows more on each side; those that then meet are one."""
        merged = []
        start = max(int(self.first[0]) - half, 0)
        for last, next_first in zip(self.last[:-1], self.first[1:], strict=True):
            if last + half < next_first - half:
                merged.append((start, int(last) + half))
                start = int(next_first) - half
        merged.append((start, min(int(self.last[-1]) + half, rows - 1)))
        return merged


@dataclass(frozen=True, eq=False)
class _Detections:
    """When each row becomes a detection as the threshold falls.

    ``rank`` (int64[n]) is the first threshold that detects the row, ``len(predicted)`` if none
    does; ``predicted`` (float64[k]) counts the rows that each threshold detects.
    """

    rank: Integers
    predicted: Floats

    @classmethod
    def of(cls, scores: Floats, thresholds: int) -> _Detections:
        rows = len(scores)
        falling = -np.sort(-scores)
        levels = falling[np.linspace(0, rows - 1, thresholds).astype(int)]
        predicted = rows - np.searchsorted(falling[::-1], levels, side="left")
        rank = np.searchsorted(-levels, -scores, side="left")
        return cls(rank, predicted.astype(np.float64))

    def detected(self, rows: Flags, weights: Floats) -> Floats:
        """Weight of those among ``rows`` that each threshold detects, float64[k]."""
        thresholds = len(self.predicted)
        counts = np.bincount(self.rank[rows], weights[rows], minlength=thresholds)
        return np.cumsum(counts[:thresholds])


def _area(label: Flags, segments: _Segments, detections: _Detections, width: int) -> float:
    """Area under the precision-recall curve with buffers of ``width`` rows."""
    soft = _soft_labels(label, segments, width)
    merged = segments.widened(width // 2, len(label))
    true_positives = detections.detected(label, soft)
    in_buffer = detections.detected(_inside(merged, len(label)) & ~label & (soft > 0), soft)
    positives = float(label.sum())
    # the recall's denominator is the mean of the labels with and without their detected buffer
    hits = true_positives + in_buffer
    recall = np.minimum(hits / ((positives + (positives + in_buffer)) / 2), 1.0)
    recall = np.r_[0.0, recall * _existence(merged, detections)]
    return float(np.dot(np.diff(recall), hits / detections.predicted))


def _soft_labels(label: Flags, segments: _Segments, width: int) -> Floats:
    """1 at anomalous rows, falling with the square root of the distance around them; float64[n]."""
    soft = label.astype(np.float64)
    half = width // 2
    if half == 0:
        return soft
    for first, last in zip(segments.first, segments.last, strict=True):
        after = np.arange(last + 1, min(last + half + 1, len(label)))
        soft[after] += np.sqrt(1 - (after - last) / width)
        before = np.arange(max(first - half, 0), first)
        soft[before] += np.sqrt(1 - (first - before) / width)
    return np.minimum(soft, 1.0)


def _inside(spans: list[tuple[int, int]], rows: int) -> Flags:
    inside = np.zeros(rows, bool)
    for first, last in spans:
        inside[first : last + 1] = True
    return inside


def _existence(spans: list[tuple[int, int]], detections: _Detections) -> Floats:
    """Share of ``spans`` with at least one detection, at each threshold; float64[k]."""
    found_at = np.sort([detections.rank[first : last + 1].min() for first, last in spans])
    found = np.searchsorted(found_at, np.arange(len(detections.predicted)), side="right")
    return found / len(spans)


def find_period(values: Floats, default: int = DEFAULT_PERIOD) -> int:
    """The series' period in rows: the lag of the highest local maximum of its autocorrelation.

    Looks at the first 20,000 rows and at lags of 3 to 400; ``default`` where there is no such
    maximum, where its lag is below 6 or above 303, and for constant values or ones with a NaN.
    """
    values = np.asarray(values, np.float64)[:PERIOD_ROWS]
    if len(values) == 0:
        return default
    autocovariance = _autocovariance(values - values.mean())
    if not autocovariance[0] > 0:
        return default
    curve = (autocovariance / autocovariance[0])[SHORTEST_LAG:]
    higher_than_both = (curve[1:-1] > curve[:-2]) & (curve[1:-1] > curve[2:])
    peaks = np.flatnonzero(higher_than_both) + 1
    if len(peaks) == 0:
        return default
    # sorted and reversed, not argmax: of equal peaks TSB-AD takes the one that sorting puts last
    period = int(peaks[np.argsort(curve[peaks])[::-1][0]]) + SHORTEST_LAG
    return period if 2 * SHORTEST_LAG <= period <= LONGEST_PERIOD else default


def _autocovariance(centred: Floats) -> Floats:
    """Sums of lagged products at lags 0 to `LONGEST_LAG`, by FFT."""
    rows = len(centred)
    size = 1 << int(np.ceil(np.log2(2 * rows + 1)))
    spectrum = np.fft.rfft(centred, size)
    return np.fft.irfft(spectrum * np.conj(spectrum), size)[: min(LONGEST_LAG + 1, rows)]


def _finite(scores: Floats) -> Floats:
    """NaN and -inf as the lowest finite score, +inf as the highest."""
    finite = np.isfinite(scores)
    if not finite.any():
        return np.zeros(len(scores))
    lowest, highest = scores[finite].min(), scores[finite].max()
    return np.where(finite, scores, np.where(scores == np.inf, highest, lowest))
