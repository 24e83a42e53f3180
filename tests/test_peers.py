import numpy as np
import pytest

from benchmarks.peers import (
    PEERS,
    absolute_difference,
    beam_z_score,
    quiet,
    rolling_z_score,
)


def naive_z_score(values, window=1000):
    """From the definition, one row at a time."""
    scores = np.full(len(values), np.nan)
    for i, value in enumerate(values):
        past = values[max(0, i - window) : i]
        past = past[~np.isnan(past)]
        if len(past) < 2 or np.isnan(value):
            continue
        deviation = np.std(past, ddof=1)
        scores[i] = 0.0 if deviation < 1e-12 else abs(value - past.mean()) / deviation
    return scores


def naive_quiet(scores, rows):
    kept = np.full(len(scores), -np.inf)
    for i, score in enumerate(scores):
        past = scores[max(0, i - rows) : i]
        if not np.isnan(score) and all(score > other or np.isnan(other) for other in past):
            kept[i] = score
    return kept


def walk(seed, rows=2600):
    random = np.random.default_rng(seed)
    return random.normal(size=rows).cumsum() + 50 * random.random(rows)


def with_gaps(values, seed):
    values = values.copy()
    values[np.random.default_rng(seed).random(len(values)) < 0.1] = np.nan
    return values


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_is_causal_and_leaves_its_input_alone(name):
    values = walk(0, 1500)
    before = values.copy()
    scores = PEERS[name](values)
    assert np.array_equal(values, before)
    assert scores.shape == values.shape
    assert np.array_equal(PEERS[name](values[:1200]), scores[:1200], equal_nan=True)


@pytest.mark.parametrize("name", PEERS)
def test_a_jump_beats_all_before(name):
    values = walk(1, 1500)
    values[1300:] += 500.0
    scores = PEERS[name](values)
    assert scores[1300] > 1.5 * np.nanmax(scores[:1300])


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("rows", [0, 1, 2])
def test_short_input(name, rows):
    scores = PEERS[name](np.ones(rows))
    assert scores.shape == (rows,)
    assert np.isnan(scores[:1]).all()


def test_absolute_difference():
    scores = absolute_difference(np.array([3.0, 1.0, np.nan, 2.0, 2.0]))
    assert np.array_equal(scores, [np.nan, 2.0, np.nan, np.nan, 0.0], equal_nan=True)


@pytest.mark.parametrize("seed", range(3))
def test_z_score_equals_the_naive_one(seed):
    values = walk(seed)
    np.testing.assert_allclose(rolling_z_score(values), naive_z_score(values), rtol=1e-9)
    gappy = with_gaps(values, seed)
    np.testing.assert_allclose(rolling_z_score(gappy), naive_z_score(gappy), rtol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_z_score_is_the_one_that_beam_defines(seed):
    values = with_gaps(walk(seed), seed)
    np.testing.assert_allclose(rolling_z_score(values), beam_z_score(values), rtol=1e-6)


def test_z_score_of_values_that_did_not_vary_is_0():
    values = np.r_[np.full(1200, 0.1 + 1e9), 2e9, 0.1 + 1e9]
    scores = rolling_z_score(values)
    assert np.isnan(scores[:2]).all()
    assert (scores[2:1201] == 0.0).all()
    assert scores[1201] > 0.0
    assert np.array_equal(scores[:1201], beam_z_score(values)[:1201], equal_nan=True)


def test_z_score_forgets_after_1000_rows():
    values = walk(2)
    values[0] = 1e6
    changed = values.copy()
    changed[0] = -1e6
    differs = rolling_z_score(values) != rolling_z_score(changed)
    assert differs[1000]
    assert not differs[1001:].any()


@pytest.mark.parametrize("rows", [1, 2, 7, 100, 5000])
@pytest.mark.parametrize("levels", [3, 50, 10**9])
def test_quiet_equals_the_naive_one(rows, levels):
    random = np.random.default_rng(rows + levels)
    scores = random.integers(0, levels, 600).astype(float)
    assert np.array_equal(quiet(scores, rows), naive_quiet(scores, rows))
    scores[random.random(600) < 0.2] = np.nan
    scores[random.random(600) < 0.05] = -np.inf
    assert np.array_equal(quiet(scores, rows), naive_quiet(scores, rows))
    scores = np.sort(scores)
    assert np.array_equal(quiet(scores, rows), naive_quiet(scores, rows))
    assert np.array_equal(quiet(scores[::-1], rows), naive_quiet(scores[::-1], rows))


def test_quiet_keeps_a_row_that_beats_the_whole_period_only():
    scores = np.zeros(205)
    scores[[0, 100, 101, 202]] = 1.0, 1.0, 1.0, 1.0
    kept = np.flatnonzero(quiet(scores) > 0)
    assert kept.tolist() == [0, 202]  # 100 is within the period of 0, 101 within that of 100


def test_quiet_of_nothing():
    assert quiet(np.empty(0)).shape == (0,)
    assert (quiet(np.full(5, np.nan)) == -np.inf).all()
    assert quiet(np.array([1.0, np.nan, 0.5]), 0).tolist() == [1.0, -np.inf, 0.5]
    with pytest.raises(ValueError, match="rows must be >= 0, got -1"):
        quiet(np.zeros(3), -1)
