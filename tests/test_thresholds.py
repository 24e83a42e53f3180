"""Thresholds on a raw score: what their definitions say, tested before learnt."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.spot import _pareto_threshold
from detectors.thresholds import (
    THRESHOLDS,
    Conformal,
    Fixed,
    MeanStdDev,
    Quantile,
    Spot,
)
from detectors.thresholds import make_threshold as make

RANDOM = np.random.default_rng(21)
ROWS = 700
SERIES = {
    "exponential": RANDOM.exponential(1.0, ROWS),
    "normal": RANDOM.standard_normal(ROWS),
    "bounded": RANDOM.random(ROWS),
    "heavy tail": RANDOM.pareto(1.5, ROWS),
    "constant": np.full(ROWS, 0.7),
    "constant, then more": np.r_[np.full(400, 0.7), 0.7 + RANDOM.random(ROWS - 400)],
    "few values": RANDOM.integers(0, 4, ROWS).astype(float),
    "rising": np.linspace(0.0, 3.0, ROWS) + 0.1 * RANDOM.standard_normal(ROWS),
    "tiny": 1e-12 * RANDOM.exponential(1.0, ROWS),
    "huge": 1e100 * RANDOM.exponential(1.0, ROWS),
    "holes": np.where(RANDOM.random(ROWS) < 0.2, np.nan, RANDOM.exponential(1.0, ROWS)),
}
series = pytest.mark.parametrize("name", SERIES)
# the last keeps fewer excesses than its warm-up has
SPOTS = (
    Spot(level=0.9, risk=1e-2, most_excesses=500, warm_up=100),
    Spot(level=0.95, risk=1e-3, most_excesses=30, warm_up=60),
    Spot(level=0.8, risk=1e-2, most_excesses=10, warm_up=100),
)
SMALL = (
    *SPOTS,
    MeanStdDev(deviations=2.0, warm_up=20),
    Quantile(level=0.98, memory=100, warm_up=50),
    Conformal(p_value=0.02, memory=100, warm_up=50),
    Fixed(raw=1.5),
)
small = pytest.mark.parametrize("parameters", SMALL, ids=repr)


# Naive twins


class NaiveSpot:
    """Excesses in a plain list, fitted by the moments of Hosking & Wallis 1987, section 2."""

    def __init__(self, p: Spot) -> None:
        self.p, self.warm, self.excesses = p, [], []

    def flag(self, score: float) -> bool:
        if math.isnan(score):
            return False
        if len(self.warm) < self.p.warm_up:
            self.warm.append(score)
            if len(self.warm) == self.p.warm_up:
                self.quantile = sorted(self.warm)[int(self.p.level * self.p.warm_up)]
                self.excesses = [s - self.quantile for s in self.warm if s > self.quantile]
            return False
        if score > self.threshold():
            return True
        if score > self.quantile:
            self.excesses.append(score - self.quantile)
        return False

    def threshold(self) -> float:
        kept = self.excesses[-self.p.most_excesses :]
        if not kept:
            return self.quantile
        odds = self.p.risk / (1 - self.p.level)
        return max(self.quantile, self.quantile + self.passed_with(odds, sorted(kept)))

    @staticmethod
    def passed_with(odds: float, x: list[float]) -> float:
        n = len(x)
        plotting = [(j - 0.35) / n for j in range(1, n + 1)]
        a0 = sum(x) / n
        a1 = sum(v * (1 - f) for v, f in zip(x, plotting, strict=True)) / n
        if a0 <= 2 * a1:
            return x[-1]
        k = min(max(a0 / (a0 - 2 * a1) - 2, -0.9), 0.5)  # minus the shape
        alpha = 2 * a0 * a1 / (a0 - 2 * a1)
        return alpha / k * (1 - odds**k)


class NaiveMeanStdDev:
    def __init__(self, p: MeanStdDev) -> None:
        self.p, self.past = p, []

    def flag(self, score: float) -> bool:
        if math.isnan(score):
            return False
        if len(self.past) >= self.p.warm_up:
            deviation = statistics.pstdev(self.past)
            if score > statistics.fmean(self.past) + self.p.deviations * deviation:
                return True
        self.past.append(score)
        return False


def flags_of(naive: NaiveSpot | NaiveMeanStdDev, scores: np.ndarray) -> list[bool]:
    return [naive.flag(float(score)) for score in scores]


@series
@pytest.mark.parametrize("parameters", SPOTS, ids=repr)
def test_spot_equals_its_twin(name: str, parameters: Spot) -> None:
    spot, naive = make(parameters), NaiveSpot(parameters)
    assert spot.flag(SERIES[name]).tolist() == flags_of(naive, SERIES[name])
    assert spot.state[2] == pytest.approx(naive.threshold(), rel=1e-9)


@pytest.mark.parametrize("name", sorted(set(SERIES) - {"constant", "constant, then more"}))
def test_mean_and_deviations_equal_their_twin(name: str) -> None:
    parameters = MeanStdDev(deviations=2.0, warm_up=20)
    naive = NaiveMeanStdDev(parameters)
    assert make(parameters).flag(SERIES[name]).tolist() == flags_of(naive, SERIES[name])


def test_mean_and_deviations_of_a_constant() -> None:
    # 0.7 is no binary number, and still nothing but the step stands out
    scores = np.r_[np.full(300, 0.7), 0.7 + 1e-9, 0.7]
    assert np.flatnonzero(make(MeanStdDev(warm_up=20)).flag(scores)).tolist() == [300]


def test_a_fixed_threshold_is_passed_by_more_alone() -> None:
    scores = np.array([1.0, 1.5, np.nextafter(1.5, 2.0), np.nan, 9.0])
    assert make(Fixed(raw=1.5)).flag(scores).tolist() == [False, False, True, False, True]


# Against known distributions


def pareto_quantile(odds: float | np.ndarray, shape: float, scale: float) -> float | np.ndarray:
    """What is passed with probability ``odds``, of a generalised Pareto distribution."""
    if shape == 0.0:
        return -scale * np.log(odds)
    return scale / shape * (odds**-shape - 1.0)


SHAPES = pytest.mark.parametrize("shape", [-0.4, -0.2, 0.0, 0.2, 0.4])


@SHAPES
@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_exact_quantiles_give_the_distribution_back(shape: float, scale: float) -> None:
    n = 5000
    excesses = pareto_quantile(1.0 - (np.arange(1, n + 1) - 0.35) / n, shape, scale)
    found = _pareto_threshold(np.asarray(excesses), 3.0 * scale, 1e-4, 0.02)
    expected = 3.0 * scale + pareto_quantile(1e-4 / 0.02, shape, scale)
    assert found == pytest.approx(expected, rel=0.01)


@SHAPES
def test_spot_finds_the_threshold_of_a_known_distribution(shape: float) -> None:
    uniform = np.random.default_rng(5).random(40_000)
    scores = pareto_quantile(uniform, shape, 1.0)
    parameters = Spot(level=0.95, risk=1e-3, most_excesses=2000, warm_up=2000)
    spot = make(parameters)
    flags = spot.flag(np.asarray(scores))
    # the quantile of 2,000 rows, and 2,000 excesses, make it uncertain by about a tenth
    assert spot.state[2] == pytest.approx(pareto_quantile(1e-3, shape, 1.0), rel=0.2)
    assert 0.4e-3 < flags[2000:].mean() < 2.5e-3


@pytest.mark.parametrize("excesses", [[1.0], [1.0, 1.0], [2.0] * 30, [0.001] * 20 + [1e6]])
def test_few_or_equal_excesses_give_a_usable_threshold(excesses: list[float]) -> None:
    found = _pareto_threshold(np.array(excesses), 5.0, 1e-4, 0.02)
    assert 5.0 + excesses[0] <= found < 5.0 + 1e4 * max(excesses)


# What holds for each


@small
@series
def test_a_row_is_tested_before_it_is_learnt(parameters: Spot | MeanStdDev, name: str) -> None:
    scores = SERIES[name]
    ahead = np.r_[scores[:-1], 1e120 if name == "huge" else 1e6]
    flags, same = make(parameters).flag(scores), make(parameters).flag(ahead)
    assert flags[:-1].tolist() == same[:-1].tolist() and same[-1]


@small
@series
@settings(max_examples=10, deadline=None)
@given(cuts=st.lists(st.integers(0, ROWS), max_size=5))
def test_no_cut_shows(parameters: Spot | MeanStdDev, name: str, cuts: list[int]) -> None:
    whole, cut = make(parameters), make(parameters)
    flags = whole.flag(SERIES[name])
    parts = [cut.flag(part) for part in np.split(SERIES[name], sorted(cuts))]
    assert flags.tolist() == np.concatenate(parts).tolist()
    np.testing.assert_array_equal(whole.state, cut.state)


@pytest.mark.parametrize(
    "parameters", [p for p in SMALL if not isinstance(p, Quantile | Conformal)], ids=repr
)
def test_what_was_flagged_is_left_out(parameters: Spot | MeanStdDev) -> None:
    threshold = make(parameters)
    threshold.flag(SERIES["exponential"])
    before = threshold.state.copy()
    assert threshold.flag(np.full(50, 40.0)).all()
    np.testing.assert_array_equal(threshold.state, before)


@small
def test_not_a_number_is_passed_over(parameters: Spot | MeanStdDev) -> None:
    holes = SERIES["holes"]
    known = ~np.isnan(holes)
    with_holes, without = make(parameters), make(parameters)
    flags = with_holes.flag(holes)
    assert not flags[~known].any()
    assert flags[known].tolist() == without.flag(holes[known]).tolist()
    np.testing.assert_array_equal(with_holes.state, without.state)


@pytest.mark.parametrize("parameters", SMALL[:-1], ids=repr)
def test_nothing_is_flagged_in_the_warm_up(parameters: Spot | MeanStdDev) -> None:
    rising = np.exp(np.arange(parameters.warm_up + 1.0))
    assert np.flatnonzero(make(parameters).flag(rising)).tolist() in ([], [parameters.warm_up])
    spike = np.r_[SERIES["normal"][: parameters.warm_up], 1e6]
    assert np.flatnonzero(make(parameters).flag(spike)).tolist() == [parameters.warm_up]


@small
def test_the_state_has_a_fixed_size(parameters: Spot | MeanStdDev) -> None:
    threshold = make(parameters)
    before, size = threshold.state, threshold.state.nbytes
    threshold.flag(np.random.default_rng(7).exponential(1.0, 20_000))
    assert threshold.state is before and threshold.state.nbytes == size


@pytest.mark.parametrize(
    "make_wrong, message",
    [
        (lambda: Spot(level=0.4), r"level must be in \[0.5, 1\), got 0.4"),
        (lambda: Spot(level=1.0), r"level must be in \[0.5, 1\), got 1.0"),
        (lambda: Spot(level=math.nan), r"level must be in \[0.5, 1\), got nan"),
        (lambda: Spot(risk=0.0), r"risk must be in \(0, 1 - level = 0.02\), got 0.0"),
        (lambda: Spot(risk=0.5), r"risk must be in \(0, 1 - level = 0.02\), got 0.5"),
        (lambda: Spot(most_excesses=9), "most_excesses must be in 10..100000, got 9"),
        (lambda: Spot(most_excesses=100_001), "most_excesses must be in 10..100000, got 100001"),
        (lambda: Spot(warm_up=49), "warm_up must be in 50..1000000, got 49"),
        (lambda: Spot(warm_up=1_000_001), "warm_up must be in 50..1000000, got 1000001"),
        (lambda: MeanStdDev(deviations=0.0), "deviations must be > 0 and finite, got 0.0"),
        (lambda: MeanStdDev(deviations=math.nan), "deviations must be > 0 and finite, got nan"),
        (lambda: MeanStdDev(deviations=math.inf), "deviations must be > 0 and finite, got inf"),
        (lambda: MeanStdDev(warm_up=1), "warm_up must be >= 2, got 1"),
        (lambda: Fixed(raw=math.nan), "raw must be a finite number, got nan"),
        (lambda: Fixed(raw=math.inf), "raw must be a finite number, got inf"),
    ],
)
def test_wrong_parameters_say_what_is_allowed(make_wrong: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        make_wrong()  # type: ignore[operator]


def test_each_name_makes_its_threshold() -> None:
    assert {name: kind.__name__ for name, kind in THRESHOLDS.items()} == {
        name: name for name in THRESHOLDS
    }
    for parameters in (Spot(), MeanStdDev(), Fixed(raw=1.0)):
        assert type(parameters) in THRESHOLDS.values()
        assert make(parameters).flag(np.zeros(3)).tolist() == [False] * 3


@pytest.mark.parametrize(
    ("parameters", "least"),
    [
        (Quantile(level=0.98, memory=100, warm_up=50), lambda past, raw: (past >= raw).mean()),
        (
            Conformal(p_value=0.02, memory=100, warm_up=50),
            lambda past, raw: (1 + (past >= raw).sum()) / (1 + len(past)),
        ),
    ],
)
def test_ranks_against_the_newest_unflagged(parameters, least) -> None:
    scores = np.random.default_rng(4).exponential(size=700)
    scores[300:310] = 50.0
    flags = make(parameters).flag(scores)
    past: list[float] = []
    for raw, flag in zip(scores, flags, strict=True):
        rank = least(np.array(past[-100:]), raw) if len(past) >= 50 else 1.0
        assert flag == (rank <= 0.02)
        past.append(raw)
    assert flags[300] and 5 < flags.sum() < 40


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Quantile(level=0.4), r"level must be in \[0.5, 1\), got 0.4"),
        (lambda: Quantile(memory=99), "memory must be in 100..100000, got 99"),
        (lambda: Quantile(memory=100, warm_up=101), "warm_up must be in 50..memory = 100, got 101"),
        (
            lambda: Conformal(p_value=1e-4),
            r"p_value must be in \[1 / \(memory \+ 1\) = 0.0002, 0.5",
        ),
    ],
)
def test_wrong_ranks(wrong, message) -> None:
    with pytest.raises(ValueError, match=message):
        wrong()
