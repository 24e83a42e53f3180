"""What `detectors.base` promises, checked on every detector that a job can name."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from typing import Any

import numpy as np
import pytest
from detector_cases import ROWS, SERIES, WARM, every_detector, every_series, spiked, wave
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.base import Detector, RawScores
from detectors.calibration import CANDIDATE_DECADES, DECADES_AT_70, Calibration
from detectors.ensemble import ALERT
from detectors.model import DETECTORS
from detectors.state import pack, parameters_hash, unpack

COLUMNS = ("raw", "decades", "expected", "neighbour")
SEED = 5


class Run:
    """A detector with its calibration, and what they made of the series so far."""

    def __init__(self, kind: str, parameters: Any, seed: int = SEED) -> None:
        self.detector: Detector = DETECTORS[kind](parameters, seed)
        self.calibration = Calibration(*self.detector.raw_range)
        self.parameters = parameters
        self.parts: list[RawScores] = []

    def take(self, values: np.ndarray) -> Run:
        self.parts.append(self.detector.score_and_learn(values, self.calibration))
        return self

    def save_and_load(self) -> Run:
        self.detector = reloaded(self.detector, self.parameters)
        return self

    def column(self, name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in self.parts])

    def attribution(self) -> dict[int, list[float]]:
        starts = np.cumsum([0, *(len(part.raw) for part in self.parts)])
        return {
            int(start) + row: shares.tolist()
            for start, part in zip(starts, self.parts, strict=False)
            for row, shares in part.attribution.items()
        }


def reloaded(detector: Detector, parameters: Any) -> Detector:
    owner = parameters_hash(type(detector).__name__, detector.STATE_VERSION, parameters)
    return detector.from_arrays(parameters, unpack(owner, pack(owner, detector.to_arrays())))


def frozen(detector: Detector) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """The state, to be compared bit by bit."""
    return {
        name: (array.dtype.str, array.shape, array.tobytes())
        for name, array in detector.to_arrays().items()
    }


def raw_of(kind: str, parameters: Any, values: np.ndarray) -> np.ndarray:
    return Run(kind, parameters).take(values).column("raw")


def assert_same(one: Run, other: Run) -> None:
    for name in COLUMNS:
        np.testing.assert_array_equal(one.column(name), other.column(name), err_msg=name)
    assert one.attribution() == other.attribution()
    assert frozen(one.detector) == frozen(other.detector)


# Scoring and learning


@every_detector
@pytest.mark.parametrize("learnt", [0, 30, 101, ROWS])
def test_scoring_changes_nothing(kind: str, parameters: Any, learnt: int) -> None:
    detector = Run(kind, parameters).take(spiked()[:learnt]).detector
    before = frozen(detector)
    scores = [detector.score_one(value) for value in (0.5, 40.0, np.nan, -3.0, 0.5)]
    assert scores[0] == scores[4] or np.isnan([scores[0], scores[4]]).all()
    assert np.isnan(scores[2])
    assert frozen(detector) == before


@every_detector
@pytest.mark.parametrize("name", ["spikes", "holes", "few values", "constant, then a wave"])
def test_a_block_is_score_one_then_learn_one(kind: str, parameters: Any, name: str) -> None:
    block, one_by_one = Run(kind, parameters).take(SERIES[name]), Run(kind, parameters)
    raw = []
    for value in SERIES[name].tolist():
        raw.append(one_by_one.detector.score_one(value))
        one_by_one.detector.learn_one(value)
    np.testing.assert_array_equal(block.column("raw"), raw)
    assert frozen(block.detector) == frozen(one_by_one.detector)


@every_detector
def test_a_missing_value_is_passed_over(kind: str, parameters: Any) -> None:
    run = Run(kind, parameters).take(wave(WARM))
    before = frozen(run.detector)
    run.detector.learn_one(np.nan)
    assert frozen(run.detector) == before
    run.take(np.full(5, np.nan))
    assert np.isnan(run.column("raw")[-5:]).all() and not run.column("decades")[-5:].any()
    assert np.isnan(run.column("expected")[-5:]).all()
    assert frozen(run.detector) == before


@every_detector
def test_nothing_is_an_empty_block(kind: str, parameters: Any) -> None:
    run = Run(kind, parameters).take(wave())
    before = frozen(run.detector)
    assert len(run.take(np.empty(0)).parts[-1].raw) == 0
    assert frozen(run.detector) == before


@every_detector
def test_the_given_values_are_left_alone(kind: str, parameters: Any) -> None:
    values = spiked()
    values.setflags(write=False)
    one, other = Run(kind, parameters).take(values), Run(kind, parameters).take(spiked())
    assert_same(one, other)


@every_detector
@every_series
def test_decades_are_never_more_than_those_of_the_calibration(
    kind: str, parameters: Any, name: str
) -> None:
    run = Run(kind, parameters).take(SERIES[name])
    calibration = Calibration(*run.detector.raw_range)
    most, decades = calibration.decades(run.column("raw")), run.column("decades")
    if kind == "RandomCutForest":  # weights them by the newest value's share
        assert (decades <= most).all() and not decades[most == 0.0].any()
    elif kind == "Ensemble":  # its members are calibrated, not their sum
        expected = np.nan_to_num(run.column("raw")) * (DECADES_AT_70 / ALERT)
        np.testing.assert_array_equal(decades, expected)
    else:
        np.testing.assert_array_equal(decades, most)
    np.testing.assert_array_equal(run.calibration.state, calibration.state)


# Same input, same output


@every_detector
def test_same_seed_same_scores(kind: str, parameters: Any) -> None:
    assert_same(*(Run(kind, parameters, seed=9).take(spiked()) for _ in range(2)))


@every_detector
@pytest.mark.parametrize("seed", [0, 2**63 - 1])
def test_any_seed_will_do(kind: str, parameters: Any, seed: int) -> None:
    raw = Run(kind, parameters, seed).take(spiked()).column("raw")
    assert np.isfinite(raw[WARM:]).all()


@every_detector
@pytest.mark.parametrize("name", ["spikes", "holes"])
@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, ROWS), max_size=6), reload=st.booleans())
def test_no_cut_and_no_reload_shows(
    kind: str, parameters: Any, name: str, cuts: list[int], reload: bool
) -> None:
    whole, cut = Run(kind, parameters).take(SERIES[name]), Run(kind, parameters)
    for part in np.split(SERIES[name], sorted(cuts)):
        cut.take(part)
        if reload:
            cut.save_and_load()
    assert_same(whole, cut)


@every_detector
@every_series
@pytest.mark.parametrize("learnt", [60, 555])
def test_a_round_trip_has_the_same_future(
    kind: str, parameters: Any, name: str, learnt: int
) -> None:
    head, tail = SERIES[name][:learnt], SERIES[name][learnt:]
    assert_same(
        Run(kind, parameters).take(head).take(tail),
        Run(kind, parameters).take(head).save_and_load().take(tail),
    )


@every_detector
def test_a_loaded_state_does_not_follow_the_detector(kind: str, parameters: Any) -> None:
    run = Run(kind, parameters).take(wave(WARM))
    saved = {name: array.copy() for name, array in run.detector.to_arrays().items()}
    loaded = run.detector.from_arrays(parameters, saved)
    before = frozen(loaded)
    run.take(wave(seed=1))
    assert frozen(loaded) == before
    for value in wave(300, seed=2):
        loaded.learn_one(value)
    assert {name: array.tobytes() for name, array in saved.items()} == {
        name: bits for name, (_, _, bits) in before.items()
    }


@every_detector
@pytest.mark.parametrize("rows", [50, 450, 501, 801])
def test_no_row_knows_what_comes_after_it(kind: str, parameters: Any, rows: int) -> None:
    whole, prefix = (Run(kind, parameters).take(spiked()[:n]) for n in (ROWS, rows))
    for name in COLUMNS:
        np.testing.assert_array_equal(whole.column(name)[:rows], prefix.column(name), err_msg=name)
    shares = whole.attribution()
    assert prefix.attribution() == {row: shares[row] for row in shares if row < rows}


# What the scores are


@every_detector
@every_series
def test_not_a_number_until_warm_and_never_after(kind: str, parameters: Any, name: str) -> None:
    values, raw = SERIES[name], raw_of(kind, parameters, SERIES[name])
    first = int(np.argmax(~np.isnan(raw)))
    assert 0 < first < WARM and np.isnan(raw[:first]).all()
    assert np.array_equal(np.isnan(raw[first:]), np.isnan(values[first:]))


@every_detector
@every_series
def test_every_number_is_finite(kind: str, parameters: Any, name: str) -> None:
    run = Run(kind, parameters).take(SERIES[name])
    for column in ("raw", "decades"):
        found = run.column(column)
        assert not np.isinf(found).any() and (found[~np.isnan(found)] >= 0.0).all()
    candidates = np.flatnonzero(run.column("decades") >= CANDIDATE_DECADES)
    assert np.isfinite(run.column("expected")[candidates]).all()
    largest = np.nanmax(np.abs(SERIES[name]))
    assert (np.abs(run.column("expected")[candidates]) <= 1e3 * largest).all()


@every_detector
@every_series
def test_candidates_alone_are_explained(kind: str, parameters: Any, name: str) -> None:
    run = Run(kind, parameters).take(SERIES[name])
    candidates = np.flatnonzero(run.column("decades") >= CANDIDATE_DECADES).tolist()
    explained = sorted(run.attribution())  # candidates that were held back among them
    assert set(candidates) <= set(explained)
    assert np.flatnonzero(~np.isnan(run.column("expected"))).tolist() == explained
    assert set(np.flatnonzero(run.column("neighbour")).tolist()) <= set(candidates)
    assert kind == "RandomCutForest" or explained == candidates
    for row, shares in run.attribution().items():
        assert min(shares) >= 0.0 and sum(shares) == pytest.approx(1.0), row


@every_detector
def test_some_rows_are_candidates(kind: str, parameters: Any) -> None:
    # else the tests of explanations would test nothing
    assert 2 <= len(Run(kind, parameters).take(spiked()).attribution()) < ROWS / 10


@every_detector
@pytest.mark.parametrize("spike", [6.0, -6.0, 1e6])
def test_a_spike_ranks_first(kind: str, parameters: Any, spike: float) -> None:
    values = wave()
    values[-1] += spike
    run = Run(kind, parameters).take(values)
    assert np.argmax(run.column("raw")[WARM:]) == ROWS - 1 - WARM
    assert run.column("decades")[-1] >= CANDIDATE_DECADES
    assert abs(run.column("expected")[-1]) < 2.0  # as the wave is


@every_detector
@pytest.mark.parametrize(
    ("a", "b"), [(3.7, -12.3), (-2.0, 1e3), (1e-12, 0.0), (1e12, 1e12), (1e140, 0.0)]
)
def test_scale_and_shift_do_not_matter(kind: str, parameters: Any, a: float, b: float) -> None:
    usual = raw_of(kind, parameters, spiked() if a > 0 else -spiked())
    scaled = raw_of(kind, parameters, a * spiked() + b)
    np.testing.assert_allclose(scaled, usual, rtol=1e-4, atol=1e-6)


# State and parameters


@every_detector
def test_the_state_is_bounded(kind: str, parameters: Any) -> None:
    run = Run(kind, parameters).take(spiked()).take(wave(200, seed=99))
    memory, saved = run.detector.state_bytes, len(pack(bytes(16), run.detector.to_arrays()))
    for seed in range(10):
        run.take(wave(1000, seed))
        # a length that is learnt again moves it a little
        assert run.detector.state_bytes <= 1.2 * memory
        # how much a sample of the past fills differs a little from time to time
        assert len(pack(bytes(16), run.detector.to_arrays())) <= 1.5 * saved
    live = run.detector.state_bytes
    assert run.save_and_load().detector.state_bytes == live


@every_detector
def test_parameters_are_frozen_and_equal_by_value(kind: str, parameters: Any) -> None:
    values = {field.name: getattr(parameters, field.name) for field in fields(parameters)}
    assert type(parameters)(**values) == parameters
    with pytest.raises(FrozenInstanceError):
        setattr(parameters, next(iter(values)), 7)


@every_detector
def test_a_state_brings_its_own_seed(kind: str, parameters: Any) -> None:
    runs = [Run(kind, parameters, seed).take(wave(WARM)) for seed in (1, 1)]
    runs[1].save_and_load()
    assert_same(*(run.take(spiked()) for run in runs))


@pytest.mark.parametrize("kind", DETECTORS)
def test_a_detector_says_what_it_is(kind: str) -> None:
    detector = DETECTORS[kind]
    assert detector.__name__ == kind and detector.__doc__ and detector.STATE_VERSION >= 1
    fresh = detector(detector.Parameters(), 1)
    low, high = fresh.raw_range
    assert low < high and np.isnan(fresh.score_one(1.0)) and fresh.state_bytes > 0
