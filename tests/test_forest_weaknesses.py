"""What is known to go wrong with random cut forests, each as a stream that shows it.

Reported against the reference implementation in its issue tracker: a second anomaly inside a
shingle, constants, smooth series, level shifts, tenfold spikes, order of features, regular spikes.
"""

from __future__ import annotations

import numpy as np
import pytest

from detectors.model import ModelSpec, Scores, SeriesModel
from detectors.random_cut_forest import RandomCutForestParameters

ALERT = 70.0
SPIKE = 2500


def run(values, seed=1, **parameters) -> Scores:
    spec = ModelSpec("RandomCutForest", RandomCutForestParameters(**parameters))
    return SeriesModel(spec, seed).score_and_learn(np.asarray(values, float))


def alerts(values, seed=1, **parameters) -> list[int]:
    return np.flatnonzero(run(values, seed, **parameters).score >= ALERT).tolist()


def wave(rows: int = 3000, seed: int = 0, period: int = 25) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(rows)
    return np.sin(np.arange(rows) * 2 * np.pi / period) + 0.1 * noise


# --- behaves well -------------------------------------------------------------------------------


@pytest.mark.parametrize("apart", [2, 4, 7])
def test_a_second_anomaly_inside_a_shingle_is_found_and_echoes_are_not(apart):
    values = wave()
    values[[SPIKE, SPIKE + apart]] += 4.0
    scores = run(values)
    nearby = np.flatnonzero(scores.score[SPIKE - 10 : SPIKE + 20] >= ALERT) - 10
    assert nearby.tolist() == [0, apart]
    echoes = [row for row, reason in scores.reasons.items() if reason.startswith("echo")]
    assert set(echoes) & set(range(SPIKE + 1, SPIKE + apart + 8))


def test_a_blip_of_a_constant_is_one_alert():
    values = np.full(3000, 5.0)
    values[SPIKE] = 5.001
    assert alerts(values) == [SPIKE]


def test_the_smallest_change_of_a_constant_is_held_back_where_asked():
    values = np.full(3000, 5.0)
    values[SPIKE:] = np.nextafter(5.0, 6.0)
    assert SPIKE in alerts(values)
    scores = run(values, near_absolute=1e-6)
    assert (scores.score < ALERT).all()
    assert scores.reasons[SPIKE] == "near the expected value"


@pytest.mark.parametrize("transform", ["none", "normalize", "subtract_mean"])
def test_a_smooth_series_has_no_alerts(transform):
    assert alerts(np.sin(np.arange(12_000) * 2 * np.pi / 2000), transform=transform) == []


def test_a_higher_spike_scores_higher():
    raw = []
    for height in (1.0, 3.0, 10.0, 30.0, 100.0, 1e6):
        values = wave()
        values[SPIKE] = height
        raw.append(run(values).raw[SPIKE])
    assert (np.diff(raw) > 0.0).all()


@pytest.mark.parametrize("seed", range(5))
def test_no_seed_and_no_order_of_measures_hides_an_anomaly(seed):
    values = np.c_[wave(), wave(seed=5, period=40)]
    values[SPIKE, 1] += 4.0
    for ordered, column in ((values, 1), (values[:, ::-1], 0)):
        scores = run(ordered, seed, measures=2)
        assert scores.score[SPIKE] >= ALERT
        assert scores.attribution[SPIKE][-1, column] > 0.5


def test_regular_spikes_become_normal():
    values = wave(8000)
    values[500::100] += 4.0
    assert [row for row in alerts(values) if row >= 2000] == []


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_normalising_depends_on_no_scale(scale):
    # the reference divides by deviation + 1
    values = wave()
    values[SPIKE] += 4.0
    one, other = (run(v, transform="normalize").raw for v in (values, scale * values))
    assert np.allclose(one, other, rtol=1e-3, equal_nan=True)


# --- limits, documented in docs/detectors/random_cut_forest.md ----------------------------------


def test_limit_a_level_shift_goes_on_alerting_unless_drift_is_held_back():
    values = wave(5000)
    values[4000:] += 3.0
    plain, held = alerts(values), alerts(values, drift_rows=5)
    assert plain[0] == held[0] == 4000
    assert 10 < len(plain) < 64  # it takes dozens of rows until the new level is in the samples
    assert len(held) < len(plain) / 2


def test_limit_a_regular_spike_that_is_missing_is_no_anomaly():
    # the shingle of 8 rows does not reach back to the spike before
    values = wave(8000)
    values[500::100] += 4.0
    values[7000] -= 4.0
    assert 7000 not in alerts(values)
