"""A series' whole model: scores, expectation, confidence, and all of it as bytes."""

from __future__ import annotations

import functools
from dataclasses import fields, replace
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
from detector_cases import CASES, ROWS, SERIES, WARM, every_series, holes, spiked, wave
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors import band
from detectors.calibration import (
    CANDIDATE_DECADES,
    DECADES_AT_70,
    WARM_ROWS,
    Calibration,
    score_of,
)
from detectors.model import (
    DETECTORS,
    MATURITY_POINTS,
    MOST_SURPRISING,
    QUALITY_MEMORY,
    ModelSpec,
    Scores,
    SeriesModel,
)
from detectors.state import StateError
from detectors.thresholds import Fixed, MeanStdDev, Spot, make_threshold

THRESHOLDS = (
    None,
    MeanStdDev(deviations=2.0, warm_up=50),
    Spot(level=0.9, risk=1e-2, most_excesses=30, warm_up=100),
    Fixed(raw=0.4),
)
# each detector with each of its parameters, and in turn with each threshold
SPECS = [
    ModelSpec(kind, parameters, THRESHOLDS[i % len(THRESHOLDS)])
    for i, (kind, parameters) in enumerate(CASES)
]
every_spec = pytest.mark.parametrize(
    "spec", SPECS, ids=[f"{spec.kind}{i}" for i, spec in enumerate(SPECS)]
)
COLUMNS = tuple(
    f.name for f in fields(Scores) if f.name != "flagged" and not str(f.type).startswith("dict")
)
BY_ROW = tuple(f.name for f in fields(Scores) if str(f.type).startswith("dict"))
SEED = 5
IMPUTED = np.random.default_rng(4).random(ROWS) < 0.2


class Run:
    """A model and what it made of the series so far."""

    def __init__(self, spec: ModelSpec, seed: int = SEED) -> None:
        self.model = SeriesModel(spec, seed)
        self.parts: list[Scores] = []

    def take(self, values: np.ndarray, imputed: np.ndarray | None = None) -> Run:
        self.parts.append(self.model.score_and_learn(values, imputed=imputed))
        return self

    def save_and_load(self) -> Run:
        self.model = SeriesModel(self.model.spec, seed=0, state=self.model.to_bytes())
        return self

    def column(self, name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in self.parts])

    def by_row(self, name: str) -> dict[int, Any]:
        starts = np.cumsum([0, *(len(part.raw) for part in self.parts)])
        return {
            int(start) + row: said.tolist() if isinstance(said, np.ndarray) else said
            for start, part in zip(starts, self.parts, strict=False)
            for row, said in getattr(part, name).items()
        }

    def attribution(self) -> dict[int, list[float]]:
        return self.by_row("attribution")


@functools.cache
def of(spec: ModelSpec, name: str = "spikes") -> Run:
    """A finished run over a whole series, to be read only."""
    return Run(spec).take(SERIES[name])


@functools.cache
def saved(spec: ModelSpec) -> bytes:
    return of(spec).model.to_bytes()


def flags(run: Run) -> np.ndarray | None:
    return None if run.parts[0].flagged is None else run.column("flagged")


def assert_same(one: Run, other: Run) -> None:
    for name in COLUMNS:
        np.testing.assert_array_equal(one.column(name), other.column(name), err_msg=name)
    np.testing.assert_array_equal(flags(one), flags(other))
    for name in BY_ROW:
        assert one.by_row(name) == other.by_row(name), name
    assert one.model.to_bytes() == other.model.to_bytes()


# Same input, same output


@every_spec
@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, ROWS), max_size=6), reload=st.booleans())
def test_no_cut_and_no_reload_shows(spec: ModelSpec, cuts: list[int], reload: bool) -> None:
    whole, cut = Run(spec).take(holes(), IMPUTED), Run(spec)
    cuts = sorted(cuts)
    for part, imputed in zip(np.split(holes(), cuts), np.split(IMPUTED, cuts), strict=True):
        cut.take(part, imputed)
        if reload:
            cut.save_and_load()
    assert_same(whole, cut)


@every_spec
@every_series
def test_a_round_trip_has_the_same_future(spec: ModelSpec, name: str) -> None:
    head, tail = SERIES[name][:555], SERIES[name][555:]
    assert_same(Run(spec).take(head).take(tail), Run(spec).take(head).save_and_load().take(tail))


@every_spec
def test_same_seed_same_scores_and_bytes(spec: ModelSpec) -> None:
    assert_same(of(spec), Run(spec).take(spiked()))


@every_spec
@pytest.mark.parametrize("rows", [30, 450, 501, 801])
def test_no_row_knows_what_comes_after_it(spec: ModelSpec, rows: int) -> None:
    whole, prefix = of(spec), Run(spec).take(spiked()[:rows])
    for name in COLUMNS:
        np.testing.assert_array_equal(whole.column(name)[:rows], prefix.column(name), err_msg=name)
    if flags(prefix) is not None:
        np.testing.assert_array_equal(flags(whole)[:rows], flags(prefix))


@every_spec
def test_a_read_only_block_and_whole_numbers(spec: ModelSpec) -> None:
    block = np.round(10 * spiked()) + 0.0  # an integer has no negative zero
    block.setflags(write=False)
    assert_same(Run(spec).take(block), Run(spec).take(block.astype(np.int64)))


@every_spec
def test_nothing_is_an_empty_block(spec: ModelSpec) -> None:
    run = Run(spec).take(spiked())
    scores = run.model.score_and_learn(np.empty(0), np.empty(0, np.int64), np.empty(0, bool))
    assert all(getattr(scores, name).shape == (0,) for name in COLUMNS)
    assert run.model.to_bytes() == saved(spec)


# What a row carries


@every_spec
@every_series
def test_every_number_is_finite(spec: ModelSpec, name: str) -> None:
    run, values = of(spec, name), SERIES[name]
    for column in ("score", "decades", "surprise", "confidence"):
        assert np.isfinite(run.column(column)).all(), column
    first = int(np.argmax(~np.isnan(values)))
    for column in ("expected", "lower", "upper"):
        assert np.isnan(run.column(column)[: first + 1]).all(), column
        assert np.isfinite(run.column(column)[first + 1 :]).all(), column
    assert (run.column("lower") <= run.column("upper"))[first + 1 :].all()


@every_spec
@every_series
def test_the_score_follows_the_decades(spec: ModelSpec, name: str) -> None:
    run = of(spec, name)
    score, decades = run.column("score"), run.column("decades")
    np.testing.assert_array_equal(score, score_of(decades))
    assert (np.diff(score[np.argsort(decades)]) >= 0.0).all()
    np.testing.assert_array_equal(score >= 70.0, decades >= DECADES_AT_70)


@every_spec
@every_series
def test_it_learns_until_the_calibration_is_warm(spec: ModelSpec, name: str) -> None:
    run = of(spec, name)
    learning, missing = run.column("learning"), np.isnan(run.column("raw"))
    judged = np.flatnonzero(~missing)
    expected = missing.copy()
    expected[judged[:WARM_ROWS]] = True
    np.testing.assert_array_equal(learning, expected)
    assert not run.column("score")[learning].any() and not run.column("decades")[learning].any()
    assert not run.column("surprise")[learning].any()
    assert not learning[WARM:][~missing[WARM:]].any()


@every_spec
def test_the_learning_flag_goes_on_over_calls(spec: ModelSpec) -> None:
    run = Run(spec)
    for value in spiked()[:300]:
        run.take(np.array([value]))
    np.testing.assert_array_equal(run.column("learning"), of(spec).column("learning")[:300])


@every_spec
@pytest.mark.parametrize("name", ["spikes", "holes"])
def test_surprise_calibrates_the_decades_once_more(spec: ModelSpec, name: str) -> None:
    run = of(spec, name)
    decades = np.where(run.column("learning"), np.nan, run.column("decades"))
    expected = Calibration(0.0, MOST_SURPRISING, smallest_excess=0.1).decades(decades)
    np.testing.assert_array_equal(run.column("surprise"), expected)


@every_spec
@pytest.mark.parametrize("name", ["spikes", "holes"])
def test_expectation_is_the_detectors_where_it_has_one(spec: ModelSpec, name: str) -> None:
    run, detector = of(spec, name), DETECTORS[spec.kind](spec.parameters, SEED)
    own = detector.score_and_learn(SERIES[name], Calibration(*detector.raw_range)).expected
    level, half_width = np.empty(ROWS), np.empty(ROWS)
    band.expect(np.zeros(band.CELLS), SERIES[name], level, half_width)
    assert 0 < np.sum(~np.isnan(own)) < ROWS
    expected = np.where(np.isnan(own), level, own)
    np.testing.assert_array_equal(run.column("expected"), expected)
    np.testing.assert_array_equal(run.column("upper"), expected + half_width)
    np.testing.assert_array_equal(run.column("lower"), expected - half_width)


@every_spec
@pytest.mark.parametrize("name", ["spikes", "holes"])
def test_the_threshold_is_asked_about_the_raw_score(spec: ModelSpec, name: str) -> None:
    run = of(spec, name)
    if spec.threshold is None:
        assert all(part.flagged is None for part in run.parts)
        return
    expected = make_threshold(spec.threshold).flag(run.column("raw"))
    assert expected.any() and flags(run).tolist() == expected.tolist()


@every_spec
def test_points_count_the_values_learnt(spec: ModelSpec) -> None:
    run = of(spec, "holes")
    assert run.column("points").dtype == np.int64
    np.testing.assert_array_equal(run.column("points"), np.cumsum(~np.isnan(holes())))
    assert run.model.rows == ROWS
    more = run.save_and_load().model.score_and_learn(np.array([1.0, np.nan]))
    known = int(run.column("points")[-1])
    assert more.points.tolist() == [known + 1, known + 1] and run.model.rows == ROWS + 2


@every_spec
@pytest.mark.parametrize("imputed", [None, np.zeros(ROWS, bool), IMPUTED])
def test_confidence_is_quality_times_maturity(spec: ModelSpec, imputed: np.ndarray | None) -> None:
    run = Run(spec).take(holes(), imputed)
    quality, expected = 1.0, []
    for i, points in enumerate(run.column("points")):
        measured = 1.0 if imputed is None or not imputed[i] else 0.0
        quality = quality * (1 - 1 / QUALITY_MEMORY) + measured / QUALITY_MEMORY
        expected.append(100 * quality * (1 - np.exp(-points / MATURITY_POINTS)))
    np.testing.assert_allclose(run.column("confidence"), expected, rtol=1e-9)
    assert 0.0 <= min(expected) and max(expected) < 100.0


@every_spec
def test_imputed_rows_lower_the_confidence_and_nothing_else(spec: ModelSpec) -> None:
    measured, imputed = of(spec), Run(spec).take(spiked(), IMPUTED)
    after = int(np.argmax(IMPUTED))
    difference = measured.column("confidence") - imputed.column("confidence")
    assert not difference[:after].any() and (difference[after:] > 0.0).all()
    assert difference[-1] > 5.0
    for name in set(COLUMNS) - {"confidence"}:
        np.testing.assert_array_equal(measured.column(name), imputed.column(name), err_msg=name)


@every_spec
@pytest.mark.parametrize("spike", [6.0, 1e6])
def test_a_spike_scores_highest(spec: ModelSpec, spike: float) -> None:
    values = wave()
    values[-1] += spike
    run = Run(spec).take(values)
    assert np.argmax(run.column("score")[WARM:]) == ROWS - 1 - WARM
    assert run.column("decades")[-1] >= CANDIDATE_DECADES


# State


@every_spec
def test_the_state_is_bounded(spec: ModelSpec) -> None:
    run = Run(spec).take(spiked()).take(wave(4000, seed=99))  # every part has learnt by then
    memory, size = run.model.state_bytes, len(run.model.to_bytes())
    for seed in range(10):
        run.take(wave(1000, seed))
        assert run.model.state_bytes == memory
        assert len(run.model.to_bytes()) <= 1.2 * size


@every_spec
def test_the_seed_of_a_saved_model_does_not_matter(spec: ModelSpec) -> None:
    loaded = [SeriesModel(spec, seed, saved(spec)) for seed in (0, 77)]
    ahead = [model.score_and_learn(wave(200, seed=3)).raw for model in loaded]
    np.testing.assert_array_equal(*ahead)


@every_spec
def test_a_loaded_model_leaves_its_bytes_alone(spec: ModelSpec) -> None:
    state = bytes(bytearray(saved(spec)))
    model = SeriesModel(spec, 0, state)
    assert model.to_bytes() == state
    model.score_and_learn(wave(300))
    assert state == saved(spec)


@pytest.mark.parametrize("other", range(1, len(SPECS)))
def test_the_state_of_another_model_is_refused(other: int) -> None:
    with pytest.raises(StateError, match="belongs to model"):
        SeriesModel(SPECS[other], 0, saved(SPECS[other - 1]))
    with pytest.raises(StateError, match="belongs to model"):
        SeriesModel(SPECS[other - 1], 0, saved(SPECS[other]))


@every_spec
@given(data=st.data())
def test_damaged_bytes_are_refused(spec: ModelSpec, data: st.DataObject) -> None:
    state = saved(spec)
    place = data.draw(st.integers(0, len(state) - 1))
    bit = data.draw(st.integers(0, 7))
    turned = state[:place] + bytes([state[place] ^ 1 << bit]) + state[place + 1 :]
    for damaged in (state[:place], turned, state + state[: place + 1]):
        with pytest.raises(StateError):
            SeriesModel(spec, 0, damaged)


# The spec


def changed(parameters: Any, name: str) -> Any:
    """``parameters`` with another value of ``name`` that its class allows."""
    value = getattr(parameters, name)
    others: list[Any] = [not value] if isinstance(value, bool) else [0.5, 0.3, 999, 30, False]
    if name == "sequence_length":
        others = [30]
    elif name == "time_zone":
        others = ["Asia/Tokyo"]
    elif isinstance(value, str):
        others = list(get_args(get_type_hints(type(parameters))[name]))
    elif value is not None and not isinstance(value, bool):
        others += [value + 1, value / 2]
    for other in others:
        try:
            found = replace(parameters, **{name: other})
        except (TypeError, ValueError):
            continue
        if found != parameters:
            return found
    raise AssertionError(f"no other {name} than {value} found")


@every_spec
def test_any_parameter_makes_another_model(spec: ModelSpec) -> None:
    others = [
        replace(spec, parameters=changed(spec.parameters, f.name)) for f in fields(spec.parameters)
    ]
    others += [replace(spec, threshold=t) for t in THRESHOLDS if t != spec.threshold]
    if spec.threshold is not None:
        others += [
            replace(spec, threshold=changed(spec.threshold, f.name)) for f in fields(spec.threshold)
        ]
    hashes = {spec.hash, *(other.hash for other in others)}
    assert len(hashes) == 1 + len(others) and {len(each) for each in hashes} == {16}


@every_spec
def test_equal_specs_are_equal(spec: ModelSpec) -> None:
    again = ModelSpec(spec.kind, replace(spec.parameters), spec.threshold)
    assert again == spec and again.hash == spec.hash and hash(again) == hash(spec)


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(ValueError, match="kind must be one of RandomCutForest, .*got 'Oracle'"):
        ModelSpec("Oracle", None)


def test_a_neighbour_has_a_time() -> None:
    parameters = DETECTORS["LeftDiscord"].Parameters(sequence_length=20, context=128)
    values = wave(1500)
    values[[900, 901, 1200]] += 6.0
    values[[300, 301, 1190]] = np.nan
    gaps = np.random.default_rng(2).integers(1, 3, 1500)
    times = np.cumsum(gaps) * 60_000_000
    present = np.flatnonzero(~np.isnan(values))
    for cuts in ([1500], [100, 905, 1201, 1500], list(range(1, 1501, 7)) + [1500]):
        model, start, told = SeriesModel(ModelSpec("LeftDiscord", parameters), 1), 0, {}
        for stop in cuts:
            scores = model.score_and_learn(values[start:stop], times[start:stop])
            for row in np.flatnonzero(scores.neighbour).tolist():
                point = scores.points[row] - 1 - scores.neighbour[row]
                assert scores.neighbour_times[row] == times[present[point]]
                told[start + row] = scores.neighbour_times[row]
            model = SeriesModel(model.spec, 0, model.to_bytes())
            start = stop
        assert {900, 1200} <= set(told)
    without = SeriesModel(ModelSpec("LeftDiscord", parameters), 1)
    scores = without.score_and_learn(values)
    assert scores.neighbour.any() and not scores.neighbour_times
