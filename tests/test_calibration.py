"""Raw scores become decades of surprise, and these 0-100, as the definitions say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_calibration import NaiveCalibration

from detectors import calibration
from detectors.calibration import (
    BINS,
    DECADES_AT_70,
    HEAD,
    MOST_DECADES,
    MOST_LEARNT_DECADES,
    MOST_ROWS,
    TAIL_DECADES,
    WARM_ROWS,
    Calibration,
    add_score,
    score_of,
    tail_decades,
)

ROWS = 250
RANDOM = np.random.default_rng(11)
PASTS = {
    "normal": 1.0 + 0.2 * RANDOM.standard_normal(ROWS),
    "exponential": RANDOM.exponential(0.5, ROWS),
    "heavy tail": RANDOM.pareto(1.5, ROWS),
    "constant": np.full(ROWS, 0.731),
    "two values": np.where(RANDOM.random(ROWS) < 0.1, 2.171, 0.731),
    "rising": np.linspace(0.0, 7.9, ROWS) + 0.01 * RANDOM.random(ROWS),
    "falling": np.linspace(7.9, 0.0, ROWS) + 0.01 * RANDOM.random(ROWS),
    "outside the range": RANDOM.choice([-3.1, 0.4, 9.7], ROWS),
    "beyond all numbers": RANDOM.choice([-1e300, 0.4, 1e300], ROWS),
    "holes": np.where(RANDOM.random(ROWS) < 0.2, np.nan, RANDOM.random(ROWS)),
}
pasts = pytest.mark.parametrize("name", PASTS)


def after(past, low=0.0, high=8.0, smallest_excess=0.02) -> Calibration:
    known = Calibration(low, high, smallest_excess)
    known.decades(np.asarray(past, float))
    return known


def counts(known: Calibration) -> np.ndarray:
    return known.state[HEAD:]


@pasts
@pytest.mark.parametrize("scale", [(0.0, 8.0, 0.02), (-1.0, 3.0, 0.02), (0.0, 16.0, 0.5)])
def test_equals_the_definition(name: str, scale: tuple[float, float, float]) -> None:
    naive = NaiveCalibration(*scale)
    expected = naive.decades(PASTS[name])
    known = Calibration(*scale)
    np.testing.assert_allclose(known.decades(PASTS[name]), expected, rtol=1e-9, atol=1e-12)
    assert counts(known).tolist() == [np.sum(naive.rows == b) for b in range(BINS)]
    probes = np.r_[np.linspace(-2.0, 10.0, 57), 1e3, 1e300]
    np.testing.assert_allclose(
        [tail_decades(known.state, probe) for probe in probes],
        [naive.tail_decades(probe) for probe in probes],
        rtol=1e-9,
        atol=1e-12,
    )


def test_equals_the_definition_where_the_counts_halve() -> None:
    random = np.random.default_rng(2)
    known = after(random.exponential(0.5, int(MOST_ROWS) - 5))
    rows = np.repeat(np.arange(BINS), counts(known).astype(int))
    naive = NaiveCalibration(0.0, 8.0, rows=rows)
    ahead = random.exponential(0.5, 9)
    np.testing.assert_allclose(known.decades(ahead), naive.decades(ahead), rtol=1e-9)
    assert counts(known).sum() == known.state[2] == MOST_ROWS / 2 + 4


def test_the_past_stays_bounded_and_forgets() -> None:
    random = np.random.default_rng(3)
    known = after(random.exponential(0.1, 50_000))
    before = tail_decades(known.state, 2.0)
    known.decades(1.0 + random.exponential(0.1, 150_000))
    assert counts(known).sum() == known.state[2] < MOST_ROWS
    assert before > 5.0 and tail_decades(known.state, 1.05) < 0.5


def test_nothing_surprises_before_enough_rows() -> None:
    known = Calibration(0.0, 8.0)
    scores = np.r_[np.full(WARM_ROWS - 1, 0.5), 7.0, 7.0]
    decades = known.decades(scores)
    assert decades[:WARM_ROWS].tolist() == [0.0] * WARM_ROWS and decades[WARM_ROWS] > 0.0


@pasts
def test_not_a_number_is_passed_over(name: str) -> None:
    known = after(PASTS[name])
    before = known.state.copy()
    assert known.decades(np.full(3, np.nan)).tolist() == [0.0, 0.0, 0.0]
    np.testing.assert_array_equal(known.state, before)


@pasts
@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(0, ROWS), max_size=5))
def test_no_cut_shows(name: str, cuts: list[int]) -> None:
    known, cut = Calibration(0.0, 8.0), Calibration(0.0, 8.0)
    whole = known.decades(PASTS[name])
    parts = [cut.decades(part) for part in np.split(PASTS[name], sorted(cuts))]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
    np.testing.assert_array_equal(known.state, cut.state)


def test_a_row_is_judged_before_it_is_counted() -> None:
    known = after(PASTS["normal"])
    judged = tail_decades(known.state, 3.0)
    assert known.decades(np.array([3.0, 3.0])).tolist()[0] == judged
    assert tail_decades(known.state, 3.0) < judged


@given(
    past=st.lists(st.floats(-1.0, 9.0), min_size=WARM_ROWS, max_size=120),
    probes=st.lists(st.floats(-2.0, 20.0), min_size=2, max_size=40),
)
@settings(max_examples=150, deadline=None)
def test_a_higher_score_never_surprises_less(past: list[float], probes: list[float]) -> None:
    known = after(past)
    decades = [tail_decades(known.state, probe) for probe in sorted(probes)]
    assert all(np.diff(decades) >= 0.0) and min(decades) >= 0.0
    assert max(decades) <= MOST_DECADES


def test_decades_are_how_often_a_score_is_passed() -> None:
    # the clipping at 3 decades takes 6 % off the mean excess of an exponential tail
    scores = np.random.default_rng(4).exponential(0.5, 60_000)
    decades = Calibration(0.0, 8.0).decades(scores)[2_000:]
    for least, tolerance in ((0.5, 0.03), (1.0, 0.05), (1.6, 0.1), (2.5, 0.35), (3.0, 0.6)):
        share = np.mean(decades >= least)
        assert share == pytest.approx(10**-least, rel=tolerance), least


def test_anomalies_do_not_become_normal() -> None:
    known = after(PASTS["normal"])
    before = tail_decades(known.state, 7.5)
    limit = known.state[4] + (MOST_LEARNT_DECADES - TAIL_DECADES) * np.log(10) * known.state[5]
    add_score(known.state, 7.5)
    counted = int(np.flatnonzero(counts(known))[-1])
    assert counted == int(limit / known.state[1]) < int(7.5 / known.state[1])
    assert before > MOST_LEARNT_DECADES


@pytest.mark.parametrize("smallest_excess", [0.02, 0.5])
def test_the_first_small_move_of_a_constant_is_no_wonder(smallest_excess: float) -> None:
    known = after(np.full(500, 0.001), smallest_excess=smallest_excess)
    step = 0.1
    expected = TAIL_DECADES + step / (np.log(10) * smallest_excess)
    decades = tail_decades(known.state, known.state[1] + step)
    assert decades == pytest.approx(expected, rel=0.01)


def test_decades_are_cut() -> None:
    known = after(PASTS["normal"])
    assert [tail_decades(known.state, s) for s in (1e9, 1e300, np.inf)] == [MOST_DECADES] * 3


@pytest.mark.parametrize("warm", [0, 100])
def test_scores_beyond_the_range_count_in_the_end_bins(warm: int) -> None:
    known = after(np.full(warm, 7.99))
    known.decades(np.array([-1e300, -9.0, 8.0, 1e19, 1e300]))
    assert counts(known)[[0, -1]].tolist() == [2.0, warm + 3.0]


# From decades to 0-100


def test_the_score_is_70_at_its_decades() -> None:
    assert score_of(np.array([0.0, DECADES_AT_70])) == pytest.approx([0.0, 70.0], abs=1e-12)


@given(st.floats(0.0, 20.0))
def test_the_score_gives_the_decades_back(decades: float) -> None:
    score = float(score_of(np.array([decades]))[0])
    back = DECADES_AT_70 * np.log1p(-score / 100.0) / np.log(0.3)
    assert back == pytest.approx(decades, rel=1e-9, abs=1e-12)


@given(st.floats(0.0, MOST_DECADES), st.floats(0.0, MOST_DECADES))
def test_more_decades_never_score_less(one: float, other: float) -> None:
    low, high = sorted((one, other))
    scores = score_of(np.array([low, high]))
    assert 0.0 <= scores[0] <= scores[1] < 100.0


def test_twenty_decades_are_told_apart() -> None:
    assert (np.diff(score_of(np.linspace(0.0, 20.0, 20_001))) > 0.0).all()


def test_the_twin_has_the_same_constants() -> None:
    import naive_calibration as naive

    for name in ("BINS", "WARM_ROWS", "MOST_ROWS", "TAIL_SHARE", "MOST_LEARNT_DECADES"):
        assert getattr(naive, name) == getattr(calibration, name), name
