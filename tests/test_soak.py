"""Long runs: state stays bounded, scores stay scores. `make soak`."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from detectors.model import DETECTORS, ModelSpec, SeriesModel

POINTS = 2_000_000
BLOCK = 20_000

pytestmark = pytest.mark.soak


@pytest.mark.parametrize("kind", list(DETECTORS))
def test_two_million_points_leave_memory_and_scores_as_they_were(kind):
    model = SeriesModel(ModelSpec(kind, DETECTORS[kind].Parameters()), seed=1)
    rng = np.random.default_rng(2)
    sizes, means = [], []
    tracemalloc.start()
    for block in range(POINTS // BLOCK):
        values = rng.normal(size=BLOCK)
        values[rng.integers(0, BLOCK, 3)] *= 1e6
        scores = model.score_and_learn(values)
        assert np.isfinite(scores.score).all()
        assert np.isfinite(scores.raw[~scores.learning]).all()
        if block >= 5:
            sizes.append((model.state_bytes, len(model.to_bytes())))
            means.append(float(np.median(scores.raw)))
        if block == 10:
            traced = tracemalloc.get_traced_memory()[0]
    assert max(sizes) == sizes[0] or max(sizes)[1] < 1.1 * sizes[0][1]
    assert tracemalloc.get_traced_memory()[0] < traced + (1 << 20)
    tracemalloc.stop()
    first, last = np.mean(means[:20]), np.mean(means[-20:])
    assert abs(first - last) < 0.02 * first
