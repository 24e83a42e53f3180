"""Ten million points through one forest of the defaults: `make soak`, about five minutes.

The values are independent, so their scores have one distribution for all time once the samples
have filled. Scores that stand nearer than a shingle share values, and all share the forest, whose
samples are others only some ten thousand rows later. So every `APART`-th score is compared
(Kolmogorov-Smirnov): none has a value in common with another, and so few that what the forest adds
to chance is small beside it (every 8th of 100,000 made 0.021 where 0.025 is allowed).
"""

from __future__ import annotations

import math
import resource
import tracemalloc

import numpy as np
import pytest

from detectors.model import ModelSpec, SeriesModel
from detectors.random_cut_forest import RandomCutForest, RandomCutForestParameters

POINTS = 10_000_000
COMPARED = 100_000
BLOCK = 50_000
SETTLED = BLOCK
"""Rows before those that are compared: by default a sample lives for 5,120 on average."""
APART = 64
CHANCE = 1e-3
MEBIBYTE = 1 << 20


def distance(one, other):
    """Greatest difference of two samples' distribution functions."""
    every = np.sort(np.r_[one, other])
    shares = [
        np.searchsorted(np.sort(sample), every, "right") / len(sample) for sample in (one, other)
    ]
    return float(np.abs(shares[0] - shares[1]).max())


def critical(n, m):
    """The distance that two samples of one distribution pass with `CHANCE` (asymptotic)."""
    return math.sqrt(-0.5 * math.log(CHANCE / 2.0) * (n + m) / (n * m))


def peak_memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.soak
def test_ten_million_points_leave_a_forest_as_it_was():
    parameters = RandomCutForestParameters()
    model = SeriesModel(ModelSpec("RandomCutForest", parameters), seed=1)
    random = np.random.default_rng(2)
    first, last, sizes, ages, taken = [], [], [], [], []
    tracemalloc.start()
    for block in range(POINTS // BLOCK):
        scores = model.score_and_learn(random.standard_normal(BLOCK))
        assert np.isfinite(scores.raw[~scores.learning]).all()
        assert np.isfinite(scores.score).all()
        rows = block * BLOCK
        if SETTLED <= rows < SETTLED + COMPARED:
            first.append(scores.raw[::APART].copy())
        if rows >= POINTS - COMPARED:
            last.append(scores.raw[::APART].copy())
        if rows >= SETTLED + COMPARED:
            sizes.append((model.state_bytes, len(model.to_bytes())))
            ages.append(int(model.detector.to_arrays()["clock"][0]) - rows)
            taken.append((tracemalloc.get_traced_memory()[0], peak_memory()))
    tracemalloc.stop()
    assert taken[-1][0] < taken[0][0] + MEBIBYTE
    assert taken[-1][1] < taken[0][1] + 64 * MEBIBYTE
    assert len({live for live, _ in sizes}) == 1
    saved = [size for _, size in sizes]
    assert max(saved) < 1.02 * min(saved)
    assert set(ages) == {BLOCK}  # the clock has counted every row
    compared = [np.concatenate(part) for part in (first, last)]
    found, most = distance(*compared), critical(*map(len, compared))
    print(f"Kolmogorov-Smirnov {found:.4f}, {most:.4f} allowed; {min(saved)}..{max(saved)} bytes")
    assert found < most
    assert distance(compared[0], 1.05 * compared[1]) > most  # it would have seen 5 % of a change


def test_a_clock_of_ten_to_the_fifteenth_gives_the_same_scores():
    parameters = RandomCutForestParameters(number_of_trees=5, sample_size=32)
    values = np.random.default_rng(3).standard_normal(5000)
    young = RandomCutForest(parameters, 1)
    for value in values[:1500].tolist():
        young.learn_one(value)
    arrays = young.to_arrays()
    rows = young._ring_length()  # noqa: SLF001
    whole_turns = math.lcm(rows, parameters.shingle_size, 64)
    later = 10**15 // whole_turns * whole_turns
    aged = {**arrays, **{name: arrays[name] + later for name in ("clock", "rebased_at")}}
    aged["next_accept"] = arrays["next_accept"] + later
    old = RandomCutForest.from_arrays(parameters, aged)
    for value in values[1500:].tolist():
        assert old.score_one(value) == young.score_one(value)
        old.learn_one(value)
        young.learn_one(value)
