"""Naive twin of `detectors.jump`: its definition over the whole past of each row."""

from __future__ import annotations

import math

MEMORY, FARTHEST, WARM_ROWS = 2000, 50.0, 20


def jumps(values):
    """Raw score of each of ``values``."""
    usual, found = 0.0, []
    for i, value in enumerate(values):
        step = abs(value - values[i - 1]) if i else 0.0
        if i < WARM_ROWS or step == 0.0:
            found.append(0.0)
        else:
            found.append(math.log1p(min(step / usual, FARTHEST) if usual else FARTHEST))
        if i:
            usual += (step - usual) / min(i, MEMORY)
    return found
