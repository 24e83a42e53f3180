"""What the shared checks run on: every detector with some parameters, and series to give them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from detectors.model import DETECTORS

# small, and of few forest shapes: each (shingle_size, sample_size) is compiled apart
PARAMETERS: dict[str, list[dict[str, Any]]] = {
    "RandomCutForest": [
        {"shingle_size": 5, "number_of_trees": 20, "sample_size": 32, "time_decay": 0.05},
        {"shingle_size": 1, "number_of_trees": 20, "sample_size": 2, "output_after": 60},
    ],
    "LeftDiscord": [
        {"sequence_length": 20, "context": 128},
        {
            "sequence_length": 25,
            "context": 64,
            "floor": 0.0,
            "learning_points": 100,
            "differences": False,
        },
        {"sequence_length": 20, "context": 128, "normalize": False},
        {"context": 128, "learning_points": 100},
        {"context": 128, "score": "level"},
    ],
    "Ensemble": [
        {"context": 128, "number_of_trees": 20, "sample_size": 32},
        {"context": 64, "number_of_trees": 20, "sample_size": 32, "smoothing": 3},
    ],
}
"""By kind; a detector that is not named here is tried with its default parameters."""

CASES = [
    (kind, detector.Parameters(**parameters))
    for kind, detector in DETECTORS.items()
    for parameters in PARAMETERS.get(kind, [{}])
]
every_detector = pytest.mark.parametrize(
    ("kind", "parameters"), CASES, ids=[f"{kind}{i}" for i, (kind, _) in enumerate(CASES)]
)

ROWS = 900
WARM = 400
"""Rows by which each case has long been warm."""


def wave(rows: int = ROWS, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(rows)
    return np.sin(np.arange(rows) * 2 * np.pi / 25) + 0.1 * noise


def spiked(rows: int = ROWS) -> np.ndarray:
    """A wave with candidates for an explanation."""
    values = wave(rows)
    values[[500, 650, 651, 800]] += 6.0
    return values


def holes(rows: int = ROWS) -> np.ndarray:
    """A wave whose missing values come alone, in runs and in the warm-up."""
    values = spiked(rows)
    values[np.random.default_rng(1).random(rows) < 0.1] = np.nan
    values[[0, 5, 420, 421, 422, 423]] = np.nan
    return values


_random = np.random.default_rng(2)
SERIES: dict[str, np.ndarray] = {
    "wave": wave(),
    "spikes": spiked(),
    "holes": holes(),
    "few values": _random.integers(0, 3, ROWS).astype(float),
    "constant": np.full(ROWS, 0.7),
    "zero": np.zeros(ROWS),
    "constant, then a wave": np.r_[np.full(450, 0.7), wave(ROWS - 450)],
    "zero, with spikes": np.where(_random.random(ROWS) < 0.01, 1.0, 0.0),
    "two values": np.where(_random.random(ROWS) < 0.5, -1.0, 1.0),
    "random walk": np.cumsum(_random.standard_normal(ROWS)),
    "trend": wave() + np.arange(ROWS),
    "tiny": 1e-12 * spiked(),
    "next to nothing": 1e-150 * spiked(),
    "huge": 1e12 * spiked(),
    "the largest allowed": 1e150 * np.clip(spiked(), -1.0, 1.0),
    "tiny, then huge": np.r_[1e-150 * wave(450), 1e150 * np.clip(wave(450), -1.0, 1.0)],
    "huge, then tiny": np.r_[1e150 * np.clip(wave(450), -1.0, 1.0), 1e-150 * wave(450)],
}
every_series = pytest.mark.parametrize("name", SERIES)
