"""Speed and state of the ensemble, and the cost of each of its heavy members.

    python -m benchmarks.ensemble

Points a CPU second of one core, of a whole model that is warm, in blocks of 256 as a stream brings
them; the best of a few rounds, as other work on the machine only slows.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import machine
from detectors.ensemble import EnsembleParameters
from detectors.model import ModelSpec, SeriesModel

Floats = NDArray[np.float64]

BLOCK = 256
MEASURED_ROWS = 40 * BLOCK
CONTEXTS = (1_000, 5_000, 10_000, 20_000)
MINUTE = 60_000_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ensemble")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    costs = [
        costs_of(name, ModelSpec("Ensemble", EnsembleParameters(context=context)), options.rounds)
        for context in CONTEXTS
        for name in [f"Ensemble, context {context}"]
    ]
    parts = EnsembleParameters(context=CONTEXTS[0])
    costs += [
        costs_of("its forest", ModelSpec("RandomCutForest", parts.forest), options.rounds),
        costs_of("its shape, context 1000", ModelSpec("LeftDiscord", parts.shape), options.rounds),
        costs_of("its level, context 1000", ModelSpec("LeftDiscord", parts.level), options.rounds),
    ]
    print(json.dumps({"machine": machine(), "results": costs}, indent=1))
    return 0


def series(rows: int) -> Floats:
    """Minutes of days with noise and a spike in a thousand rows."""
    random = np.random.default_rng(1)
    values = 10.0 * np.sin(np.arange(rows) * 2 * np.pi / 1440) + random.standard_normal(rows)
    values[random.random(rows) < 1e-3] += 20.0
    return values


def costs_of(name: str, spec: ModelSpec, rounds: int) -> dict[str, Any]:
    """Points a CPU second, bytes in memory and saved, of a model of ``spec`` that is warm."""
    warm_rows = 2 * getattr(spec.parameters, "context", 1_000) + 3_000
    values = series(warm_rows + MEASURED_ROWS)
    times = np.arange(len(values), dtype=np.int64) * MINUTE
    best = 0.0
    for _ in range(rounds):
        model = SeriesModel(spec, 1)
        model.score_and_learn(values[:warm_rows], times[:warm_rows])
        start = time.thread_time()
        for row in range(warm_rows, len(values), BLOCK):
            model.score_and_learn(values[row : row + BLOCK], times[row : row + BLOCK])
        best = max(best, MEASURED_ROWS / (time.thread_time() - start))
    return {
        "model": name,
        "points_per_cpu_second": round(best),
        "memory_bytes": model.state_bytes,
        "saved_bytes": len(model.to_bytes()),
    }


if __name__ == "__main__":
    sys.exit(main())
