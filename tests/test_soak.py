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


def hostile_series(rows, seed=3):
    """A wave with gaps, spikes of 1e12, constants and level shifts."""
    rng = np.random.default_rng(seed)
    values = np.sin(np.arange(rows) / 9.0) + 0.1 * rng.normal(size=rows)
    for start in rng.integers(0, rows, rows // 5000):
        values[start : start + 300] = values[start]
    for start in rng.integers(0, rows, rows // 20_000):
        values[start:] += rng.normal() * 100.0
    values[rng.integers(0, rows, rows // 10_000)] = 1e12
    values[rng.integers(0, rows, rows // 100)] = np.nan
    return values


@pytest.mark.parametrize("score", ["shape", "level"])
def test_a_million_hostile_points_leave_the_left_discord_sound(score):
    parameters = DETECTORS["LeftDiscord"].Parameters(score=score)
    model = SeriesModel(ModelSpec("LeftDiscord", parameters), seed=1)
    values = hostile_series(1_000_000)
    sizes = []
    for start in range(0, len(values), BLOCK):
        part = values[start : start + BLOCK]
        scores = model.score_and_learn(part)
        judged = ~np.isnan(part) & (np.arange(start, start + len(part)) > 1100)
        assert np.isfinite(scores.raw[judged]).all()
        assert np.isfinite(scores.score).all() and np.isfinite(scores.expected[judged]).all()
        sizes.append((model.state_bytes, len(model.to_bytes())))
    assert max(size for size, _ in sizes[5:]) < 1.2 * sizes[5][0]
    assert max(size for _, size in sizes[5:]) < 1.5 * sizes[5][1]


def test_stumpys_left_profile_finds_an_odd_period():
    pytest.importorskip("stumpy")
    from benchmarks.peers import stumpy_left_profile

    values = np.sin(np.arange(3000) * 2 * np.pi / 50) + 0.05 * np.random.default_rng(1).normal(
        size=3000
    )
    values[2000:2050] = np.sign(values[2000:2050])
    assert 2000 <= int(np.nanargmax(stumpy_left_profile(values))) < 2100
