"""Several measures, transforms, gaps, explanations, forecasts and small states of the forest."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from naive_forest import attribution, tree_score
from test_random_cut_forest import tree_of

from benchmarks.forest import sine_with_spikes
from detectors import _forest_snapshot as snapshot
from detectors.calibration import Calibration
from detectors.explanation import sentence_of_shingle
from detectors.model import ModelSpec, SeriesModel
from detectors.random_cut_forest import RandomCutForest, RandomCutForestParameters

# (shingle_size * measures, sample_size) of (8, 512) and (5, 32) are compiled for other tests too
PAIRS = {"shingle_size": 4, "measures": 2, "number_of_trees": 30}
SMALL = {"shingle_size": 5, "number_of_trees": 20, "sample_size": 32, "time_decay": 0.05}
WIDE = {**SMALL, "shingle_size": 1, "measures": 5}
SECOND = 1_000_000
TRANSFORMS = ("none", "difference", "subtract_mean", "normalize", "normalize_difference")


def waves(rows: int = 1500, seed: int = 0) -> np.ndarray:
    """Two measures that follow each other, the second in a hundredth of the first's unit."""
    noise = 0.05 * np.random.default_rng(seed).standard_normal((rows, 2))
    phase = np.arange(rows) * 2 * np.pi / 40
    return (np.c_[np.sin(phase), np.cos(phase)] + noise) * [1.0, 100.0]


def model(**parameters) -> SeriesModel:
    return SeriesModel(ModelSpec("RandomCutForest", RandomCutForestParameters(**parameters)), 1)


def taught(values, times=None, **parameters) -> RandomCutForest:
    forest = RandomCutForest(RandomCutForestParameters(**parameters), 1)
    forest.score_and_learn(values, Calibration(0.0, 8.0), times)
    return forest


# --- several measures ---------------------------------------------------------------------------


def test_a_break_between_measures_is_found_and_attributed():
    values = waves()
    values[1200, 1] *= -1.0  # a usual value of its own, which never goes with the other one
    values[1200, 1] -= 90.0 if values[1200, 1] > 0 else -90.0
    scores = model(**PAIRS).score_and_learn(values)
    assert np.argmax(scores.score) == 1200 and scores.score[1200] >= 70.0
    shares = scores.attribution[1200]
    assert shares.shape == (4, 2) and shares.sum() == pytest.approx(1.0)
    assert np.unravel_index(shares.argmax(), shares.shape) == (3, 1)
    for column in (scores.expected, scores.lower, scores.upper):
        assert column.shape == (1500, 2)
    assert scores.expected[1200] == pytest.approx(waves()[1200], abs=60.0)


@pytest.mark.parametrize("parameters, columns", [(PAIRS, 2), (WIDE, 5)])
def test_scores_of_measures_equal_the_naive_ones(parameters, columns):
    values = np.random.default_rng(3).standard_normal((400, columns))
    forest = taught(values, **parameters)
    trees = []
    for t in range(parameters["number_of_trees"]):
        start = forest._parameters.shingle_size
        # the naive tree takes cells, not rows
        object.__setattr__(forest._parameters, "shingle_size", start * columns)
        trees.append(tree_of(forest, t)[0])
        object.__setattr__(forest._parameters, "shingle_size", start)
    samples = [int(s) for s in forest._forest.trees["samples"]]
    measures = forest._forest.measures
    recent = forest._forest.ring[forest._ring_cells(parameters["shingle_size"] - 1)]
    for row in (np.zeros(columns), np.arange(columns) - 3.0):
        newest = ((row - measures["centre"]) / measures["scale"]).astype(np.float32)
        point = np.r_[recent, newest].astype(float)
        mean = np.mean([tree_score(t, point, n) for t, n in zip(trees, samples, strict=True)])
        assert forest.score_one(row) == pytest.approx(mean, rel=1e-4)
        parts = sum(
            attribution(t, point, n) * np.log2(n + 1) for t, n in zip(trees, samples, strict=True)
        )
        onset = parts[-columns:].sum() / len(trees)
        assert forest._forest.hand["onset"][0] == pytest.approx(onset, rel=1e-3)


def test_attribution_tells_high_from_low():
    for sign in (1.0, -1.0):
        values = waves()
        values[1200, 0] += 3.0 * sign
        scores = model(**PAIRS).score_and_learn(values)
        high = scores.high[1200].sum()
        assert (high > 0.8) if sign > 0 else (high < 0.2)
        assert (scores.high[1200] <= scores.attribution[1200] + 1e-12).all()


@pytest.mark.parametrize(
    ("change", "side"), [([2.0, 0.0], "high"), ([-2.0, 0.0], "low"), ([0.0, -250.0], "low")]
)
def test_a_candidate_says_what_lies_where(change, side):
    values = waves()
    values[1200] += change
    scores = model(**PAIRS).score_and_learn(values)
    assert set(scores.explanations) == set(scores.attribution)
    measure = 1 if change[0] else 2
    share = scores.attribution[1200][-1, measure - 1]
    assert scores.explanations[1200] == (
        "the last 4 rows lie as hardly any 4 before, above all the newest value of measure "
        f"{measure}, which is {side} ({100 * share:.0f} % of the score)"
    )


@pytest.mark.parametrize(
    ("shares", "high", "sentence"),
    [
        (
            [[0.6], [0.4]],
            [[0.3], [0.4]],
            "the last 2 rows lie as hardly any 2 before, above all the value 1 row earlier "
            "(60 % of the score)",
        ),
        (
            [[1.0]],
            [[0.1]],
            "the row lies as hardly any before, above all the newest value, which is low "
            "(100 % of the score)",
        ),
    ],
)
def test_the_sentence_names_the_cell_that_bears_most(shares, high, sentence):
    assert sentence_of_shingle(np.array(shares), np.array(high), ("value",)) == sentence


@pytest.mark.parametrize(
    ("parameters", "names"),
    [
        ({}, ("value",)),
        (
            {"transform": "difference", "measures": 2},
            ("change of measure 1", "change of measure 2"),
        ),
        ({"time_gaps": True}, ("value", "time since the row before")),
    ],
)
def test_columns_have_names(parameters, names):
    assert RandomCutForestParameters(**parameters).column_names == names


@pytest.mark.parametrize(
    "parameters",
    [
        PAIRS,
        WIDE,
        *({**SMALL, "transform": transform} for transform in TRANSFORMS),
        {**SMALL, "missing": "previous"},
        {**SMALL, "missing": "forest", "transform": "difference"},
        {**WIDE, "missing": "forest"},
        {**WIDE, "measures": 4, "time_gaps": True},
        {**SMALL, "drift_rows": 2, "near_relative": 0.3},
    ],
)
@pytest.mark.parametrize("reload", [False, True])
def test_no_cut_and_no_reload_shows(parameters, reload):
    random = np.random.default_rng(5)
    columns = parameters.get("measures", 1)
    values = np.sin(np.arange(600) / 4.0)[:, None] + 0.1 * random.standard_normal((600, columns))
    values[[250, 400, 401]] += 4.0
    values[random.random((600, columns)) < 0.03] = np.nan
    values[300:305] = np.nan
    values = values[:, 0] if columns == 1 else values
    times = np.cumsum(random.integers(1, 5, 600)) * SECOND
    whole = model(**parameters)
    one = whole.score_and_learn(values, times)
    parts, found = model(**parameters), []
    for part in np.split(np.arange(600), [1, 49, 50, 51, 252, 302, 402, 403]):
        found.append(parts.score_and_learn(values[part], times[part]))
        if reload:
            parts = SeriesModel(parts.spec, 0, parts.to_bytes())
    for name in ("raw", "decades", "expected"):
        other = np.concatenate([getattr(f, name) for f in found])
        np.testing.assert_array_equal(getattr(one, name), other, err_msg=name)
    assert whole.to_bytes() == parts.to_bytes()
    assert np.isfinite(one.raw[np.isfinite(one.raw)]).all() and np.isfinite(one.raw[200:]).any()


def test_values_must_have_the_columns_of_the_measures():
    with pytest.raises(ValueError, match="^values must have 2 columns, as measures says, got 1$"):
        taught(np.zeros(3), **PAIRS)


# --- transforms and gaps ------------------------------------------------------------------------


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_every_transform_finds_a_spike_and_expects_its_wave(transform):
    values = np.sin(np.arange(1500) * 2 * np.pi / 40)
    values += 0.05 * np.random.default_rng(0).standard_normal(1500)
    truth = values[1200]
    values[1200] += 5.0
    scores = model(transform=transform).score_and_learn(values)
    assert np.nanargmax(scores.score) in (1200, 1201)
    assert scores.expected[1200] == pytest.approx(truth, abs=0.6)


def test_differences_do_not_mind_a_trend():
    random = np.random.default_rng(1)
    values = 0.5 * np.arange(3000.0) + random.standard_normal(3000)
    plain = model().score_and_learn(values).raw
    changes = model(transform="difference").score_and_learn(values).raw
    assert np.nanmean(changes[500:]) < 0.7 * np.nanmean(plain[500:])


@pytest.mark.parametrize("missing", ["skip", "previous", "forest"])
def test_missing_values_get_no_score_and_do_no_harm(missing):
    values = np.sin(np.arange(3000) * 2 * np.pi / 25)
    values += 0.1 * np.random.default_rng(0).standard_normal(3000)
    values[2900] += 4.0
    values[np.random.default_rng(1).random(3000) < 0.05] = np.nan
    values[2898:2901] = values[2898:2901] * 0 + [0.0, 0.2, 4.0]
    scores = model(missing=missing).score_and_learn(values)
    assert np.isnan(scores.raw[np.isnan(values)]).all()
    assert scores.score[2900] >= 70.0


def test_the_forest_fills_in_better_than_the_value_before():
    wave = np.sin(np.arange(3000) * 2 * np.pi / 25)
    wave += 0.02 * np.random.default_rng(0).standard_normal(3000)
    holes = np.arange(1000, 3000, 40)
    given_values = wave.copy()
    given_values[holes] = np.nan
    errors = {}
    for missing in ("previous", "forest"):
        forest = taught(given_values, missing=missing)
        assert forest._forest.head["clock"][0] == 3000  # no row is passed over
        measure = forest._forest.measures[0]
        filled = forest._forest.ring[holes] * measure["scale"] + measure["centre"]
        errors[missing] = np.abs(filled - wave[holes]).mean()
    assert errors["forest"] < 0.5 * errors["previous"], errors


def test_a_time_gap_is_a_dimension():
    times = np.arange(2000) * 60 * SECOND
    times[1500:] += 3600 * SECOND
    values = np.random.default_rng(0).standard_normal(2000)
    parameters = {"shingle_size": 4, "time_gaps": True, "number_of_trees": 30}
    scores = model(**parameters).score_and_learn(values, times)
    assert np.nanargmax(scores.raw) == 1500
    assert scores.attribution[1500].shape == (4, 2) and scores.attribution[1500][-1, 1] > 0.5
    with pytest.raises(ValueError, match="^times must be given with time_gaps, got None$"):
        model(**parameters).score_and_learn(values)


# --- the past and the future --------------------------------------------------------------------


def test_a_forecast_follows_the_wave():
    values = np.sin(np.arange(3000) * 2 * np.pi / 24)
    values += 0.02 * np.random.default_rng(0).standard_normal(3000)
    forest = taught(values)
    expected, lower, upper = forest.forecast(12)
    ahead = np.sin(np.arange(3000, 3012) * 2 * np.pi / 24)
    assert np.abs(expected - ahead).max() < 0.4
    assert (lower <= expected).all() and (expected <= upper).all()
    before = {name: a.copy() for name, a in forest.to_arrays().items()}
    forest.forecast(3)
    assert all(np.array_equal(a, before[n], equal_nan=True) for n, a in forest.to_arrays().items())
    assert forest.forecast(3)[0] == pytest.approx(expected[:3])
    assert np.isnan(taught(values[:60]).forecast(2)[0]).all()
    assert taught(waves(), **PAIRS).forecast(5)[0].shape == (5, 2)


def test_neighbours_are_of_the_same_phase():
    values = np.sin(np.arange(3000) * 2 * np.pi / 24)
    values += 0.02 * np.random.default_rng(0).standard_normal(3000)
    forest = taught(values)
    found = forest.neighbours(float(np.sin(3000 * 2 * np.pi / 24)))
    assert 0 < len(found) <= 10 and found == sorted(found, key=lambda one: one.distance)
    assert all(min(one.rows_before % 24, -one.rows_before % 24) <= 1 for one in found)
    assert forest.neighbours(np.nan) == [] == taught(values[:60]).neighbours(0.0)


# --- saved state --------------------------------------------------------------------------------


def test_a_saved_model_of_50_trees_of_256_points_is_at_most_150_kb():
    saved = model(number_of_trees=50, sample_size=256)
    saved.score_and_learn(sine_with_spikes(30_000, seed=1))
    assert len(saved.to_bytes()) <= 150_000


@given(
    arrays(np.uint16, st.integers(0, 40), elements=st.integers(0, 2**16 - 1)), st.integers(1, 16)
)
def test_packed_integers_come_back(numbers, bits):
    numbers = numbers & np.uint16(2**bits - 1)
    packed = snapshot.packed_integers(numbers, bits)
    assert np.array_equal(snapshot.unpacked_integers(packed, len(numbers), bits), numbers)


@given(arrays(np.float32, st.integers(0, 40), elements=st.floats(width=32, allow_nan=False)))
def test_packed_cuts_come_back(cuts):
    again = snapshot.unpacked_cuts(snapshot.packed_cuts(cuts))
    assert again.tobytes() == cuts.tobytes()


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"transform": "log"}, "transform must be one of none, .*, got 'log'"),
        ({"missing": "zero"}, "missing must be one of skip, previous, forest, got 'zero'"),
        ({"measures": 0}, "measures must be >= 1, got 0"),
        ({"near_absolute": -1.0}, "near_absolute must be >= 0 and finite, got -1.0"),
        ({"drift_rows": -1}, "drift_rows must be >= 0, got -1"),
        ({"shingle_size": 100, "measures": 3}, r"shingle_size times .* 100 \* 3 = 300"),
    ],
)
def test_wrong_parameters_say_what_is_allowed(wrong, message):
    with pytest.raises(ValueError, match=message):
        RandomCutForestParameters(**wrong)
