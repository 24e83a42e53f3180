"""Naive twin of the ensemble's fusion, from its definition."""

from __future__ import annotations

import math

WEIGHTS = {
    "forest": 1.0,
    "volatility": 1.0,
    "jump": 0.5,
    "record": 1.0,
    "record_of_mean": 1.0,
    "day_profile": 1.0,
    "record_of_residual": 1.0,
    "level": 0.5,
}


def fused(decades, learnt, has_clock):
    """Raw score and what each member gave to it.

    ``decades`` are those of the members by name, ``learnt`` the values learnt before the row.
    """
    scale, slope = (1.0, 6.0) if has_clock else (1.2, 14.0)
    scale *= min(math.log10(learnt + 1) / 3.6, 1.0)
    given = {name: scale * w * min(decades[name], 6.0) for name, w in WEIGHTS.items()}
    shape = slope * max(decades["shape"] - 1.5, 0.0)
    if shape > sum(given.values()):
        given = dict.fromkeys(WEIGHTS, 0.0) | {"shape": shape}
    else:
        given["shape"] = 0.0
    return sum(given.values()) if learnt >= 30 else math.nan, given
