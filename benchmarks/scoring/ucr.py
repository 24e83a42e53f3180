"""UCR accuracy: is the strangest row of a series the labelled one.

Source: Wu & Keogh 2021, "Current time series anomaly detection benchmarks are flawed and are
creating the illusion of progress", doi:10.1109/TKDE.2021.3112126; the tolerance is the one of the
KDD Cup 2021.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LEAST_SLACK_ROWS = 100


def ucr_correct(
    scores: NDArray[np.float64],
    first: int,
    last: int,
    train_end: int,
    least_slack: int = LEAST_SLACK_ROWS,
) -> tuple[bool, int]:
    """Whether the strangest row lies at the anomaly, and which row it is.

    Right is a row in ``[first - slack, last + slack]`` with ``slack = max(least_slack, length)``.

    Parameters
    ----------
    scores : float64[n]
        Higher = stranger; NaN and the infinities rank lowest; of equals the first row counts.
    first, last : int
        The anomaly's rows, inclusive, from 0.
    train_end : int
        Rows before it are for learning and not scored.
    least_slack : int, optional
        Smallest tolerance, in rows.
    """
    ranked = np.where(np.isfinite(scores), scores, -np.inf)
    ranked[:train_end] = -np.inf
    location = int(np.argmax(ranked))
    slack = max(least_slack, last - first + 1)
    return bool(first - slack <= location <= last + slack), location


def accuracy(correct: Sequence[bool]) -> float:
    """Share of the series that are right; NaN for none."""
    return float(np.mean(correct)) if correct else float("nan")


def accuracy_per_recording(correct: Sequence[bool], recordings: Sequence[str]) -> float:
    """Mean over the recordings of the share of their series that are right; NaN for none.

    The archive holds several copies (distorted, noisy) and leads of one recording; counted by
    series they would outweigh the others.
    """
    by_recording: dict[str, list[bool]] = {}
    for right, recording in zip(correct, recordings, strict=True):
        by_recording.setdefault(recording, []).append(right)
    shares = [accuracy(by_recording[name]) for name in sorted(by_recording)]
    return float(np.mean(shares)) if shares else float("nan")
