"""Naive twin of `detectors.volatility`: its definition over the whole past of each row."""

from __future__ import annotations

import math

WINDOW, MEMORY, LEAST_SHARE, LEAST_VARIANCE, FARTHEST, WARM_ROWS = 10, 2000, 0.05, 1e-4, 50.0, 50


def volatilities(values):
    """Raw score of each of ``values``."""
    steps = [abs(b - a) for a, b in zip(values[:-1], values[1:], strict=True)]
    usual, mean, variance, watched, found = 0.0, 0.0, 0.0, 0, []
    for i in range(len(values)):
        if i:
            usual += (steps[i - 1] - usual) / min(i, MEMORY)
        if i <= WINDOW or usual == 0.0:
            found.append(0.0)
            continue
        level = math.log(sum(steps[i - WINDOW : i]) / WINDOW / usual + LEAST_SHARE)
        far = abs(level - mean) / math.sqrt(variance + LEAST_VARIANCE)
        found.append(math.log1p(min(far, FARTHEST)) if watched >= WARM_ROWS else 0.0)
        watched += 1
        share = 1 / min(watched, MEMORY)
        variance = (1 - share) * (variance + share * (level - mean) ** 2)
        mean += share * (level - mean)
    return found
