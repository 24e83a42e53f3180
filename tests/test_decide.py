"""Decisions, rules, alerts: each rule by hand, and all of them under every cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.model import Scores
from transforms.aggregate import Rows
from transforms.decide import WEEK, AlertState, Rules, decide

MINUTE = 60_000_000
ONCE = Rules(threshold=70.0, quiet_rows=0, recovery_after=2)


def rows_of(values, history=None):
    n = len(values)
    starts = np.arange(n, dtype=np.int64) * MINUTE
    flags = np.zeros(n, bool)
    past = flags if history is None else np.asarray(history)
    values = np.asarray(values, float)
    return Rows(starts, starts + MINUTE, values, np.zeros(n, np.int64), flags, past)


def scores_of(score, expected=None, learning=None, surprise=None, flagged=None):
    score = np.asarray(score, float)
    n = len(score)
    expected = np.zeros(n) if expected is None else np.asarray(expected, float)
    return Scores(
        raw=score,
        learning=np.zeros(n, bool) if learning is None else np.asarray(learning),
        score=score,
        decades=score / 10,
        surprise=score / 10 if surprise is None else np.asarray(surprise, float),
        expected=expected,
        lower=expected,
        upper=expected,
        confidence=score,
        points=np.arange(1, n + 1),
        flagged=None if flagged is None else np.asarray(flagged),
        attribution={},
        neighbour=np.zeros(n, np.int64),
    )


def ids(n):
    return [f"id{i}" for i in range(n)]


def run(score, rules=ONCE, values=None, **more):
    values = np.ones(len(score)) if values is None else values
    history = more.pop("history", None)
    return decide(
        rows_of(values, history), scores_of(score, **more), ids(len(score)), rules, AlertState()
    )


def events(found):
    return [(event.kind, event.row) for event in found.events]


def test_a_score_above_the_threshold_decides_and_one_equal_to_it_does_not():
    assert run([69, 70, 71]).decided.tolist() == [False, False, True]


def test_nothing_is_decided_while_learning():
    assert not run([99, 99], learning=[True, True]).decided.any()


def test_one_alert_an_anomaly_and_a_recovery():
    found = run([0, 80, 90, 0, 80, 0, 0, 0])
    assert events(found) == [("alert", 1), ("recovery", 6)]
    assert found.events[0].alert_id == found.events[1].alert_id == "id1"
    assert found.events[1].peak == 90
    assert found.events[1].since == MINUTE


def test_an_alert_that_is_still_open_has_no_recovery():
    assert events(run([0, 80, 0])) == [("alert", 1)]


def test_in_the_quiet_period_only_a_stronger_anomaly_alerts():
    quiet = replace(ONCE, quiet_rows=6)
    score = [80, 0, 0, 75, 0, 0, 85, 0, 0, 0, 0, 0, 0, 0, 71]
    found = run(score, quiet)
    assert [row for kind, row in events(found) if kind == "alert"] == [0, 6, 14]
    assert found.reasons == {3: "quiet period: no stronger than the alert before"}
    assert found.decided[3]  # the decision stays, and so does the score


def test_a_quiet_period_may_be_a_time():
    quiet = replace(ONCE, quiet_time=5 * MINUTE)
    found = run([80, 0, 0, 75, 0, 0, 0, 0, 75], quiet)
    assert [row for kind, row in events(found) if kind == "alert"] == [0, 8]


@pytest.mark.parametrize(
    ("rules", "values", "decided", "reason"),
    [
        (replace(ONCE, direction="up"), [15, 5], [True, False], "not above the expected value"),
        (replace(ONCE, direction="down"), [15, 5], [False, True], "not below the expected value"),
        (replace(ONCE, min_absolute_deviation=4), [13, 14], [False, True], "below the minimum 4"),
        (replace(ONCE, min_relative_deviation=0.5), [14, 15], [False, True], "below 0.5 of the"),
    ],
)
def test_a_rule_holds_a_row_back_and_says_why(rules, values, decided, reason):
    found = run([80, 80], rules, values=values, expected=[10, 10])
    assert found.decided.tolist() == decided
    (said,) = found.reasons.values()
    assert reason in said


def test_n_of_m():
    found = run([80, 0, 80, 80, 0, 0, 0, 80], replace(ONCE, n=2, m=3))
    assert found.decided.tolist() == [False, False, True, True, False, False, False, False]
    assert found.reasons[0] == "1 of the last 3 rows passed, 2 are asked for"


def test_the_detectors_own_reasons_are_kept():
    scores = replace(scores_of([80, 10]), reasons={1: "near the expected value"})
    found = decide(rows_of([1, 1]), scores, ids(2), ONCE, AlertState())
    assert found.reasons == {1: "near the expected value"}


def test_history_decides_but_raises_no_alert():
    found = run([80, 0, 0, 80], history=[True, True, True, False])
    assert found.decided.tolist() == [True, False, False, True]
    assert events(found) == [("alert", 3)]


def test_the_models_own_threshold_decides_where_no_other_is_given():
    own = replace(ONCE, threshold=None)
    assert run([0, 99], own, flagged=[True, False]).decided.tolist() == [True, False]
    with pytest.raises(ValueError, match=r"no threshold, no alerts_per_week"):
        run([0, 99], own)


def test_alerts_per_week_sets_the_surprise_that_so_many_rows_pass():
    rng = np.random.default_rng(0)
    rows = 4 * WEEK // MINUTE
    surprise = -np.log10(rng.uniform(size=rows))  # what calibrated surprise is on quiet data
    budget = Rules(threshold=None, alerts_per_week=10)
    found = run(np.zeros(rows), budget, surprise=surprise)
    assert 25 <= int(found.decided[rows // 4 :].sum()) <= 35  # three weeks at ten a week
    assert not found.decided[:30].any()  # no rate is known yet


def alerts_in(weeks, surprise, budget, **more):
    """Alerts of minutes whose surprise is given, by week."""
    found = run(np.zeros(len(surprise)), budget, surprise=surprise, **more)
    rows = [event.row for event in found.events if event.kind == "alert"]
    return np.bincount(np.array(rows) // (WEEK // MINUTE), minlength=weeks)


@pytest.mark.parametrize(("lasting", "scale"), [(1, 1.0), (15, 1.0), (1, 0.8), (1, 1.2)])
def test_the_bar_moves_until_the_budget_is_kept(lasting, scale):
    weeks = 12
    rows = weeks * WEEK // MINUTE
    surprise = scale * -np.log10(np.random.default_rng(1).uniform(size=rows // lasting + 1))
    by_week = alerts_in(
        weeks,
        np.repeat(surprise, lasting)[:rows],
        Rules(threshold=None, alerts_per_week=5, quiet_rows=60),
    )
    assert 0.5 <= by_week[4:].mean() / 5 <= 2.0, by_week


def test_a_bad_week_does_not_hide_what_comes_after():
    rows = 6 * WEEK // MINUTE
    surprise = np.zeros(rows)
    surprise[WEEK // MINUTE : 2 * WEEK // MINUTE : 100] = 9.0  # a hundred alerts in a week
    surprise[[-20_000, -10_000]] = 5.0  # four decades make one row a week
    budget = Rules(threshold=None, alerts_per_week=1, quiet_rows=0)
    assert alerts_in(6, surprise, budget).tolist() == [0, 101, 0, 0, 1, 1]


def test_history_spends_no_budget_and_saves_none():
    rows = 8 * WEEK // MINUTE
    surprise = -np.log10(np.random.default_rng(2).uniform(size=rows))
    budget = Rules(threshold=None, alerts_per_week=5)
    past = np.arange(rows) < rows // 2
    by_week = alerts_in(8, surprise, budget, history=past)
    assert by_week[:4].tolist() == [0, 0, 0, 0]
    assert 10 <= by_week[4:].sum() <= 30  # what four weeks did not spend is not made up for


@settings(max_examples=60, deadline=None)
@given(
    score=st.lists(st.sampled_from([0.0, 50.0, 75.0, 80.0, 95.0]), min_size=1, max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=6),
    past=st.integers(0, 45),
    rules=st.builds(
        Rules,
        threshold=st.sampled_from([60.0, None]),
        alerts_per_week=st.just(2000.0),
        direction=st.sampled_from(["both", "up"]),
        n=st.just(2),
        m=st.integers(2, 4),
        quiet_rows=st.integers(0, 8),
        quiet_time=st.sampled_from([0, 4 * MINUTE]),
        recovery_after=st.integers(1, 5),
    ),
)
def test_decisions_do_not_depend_on_how_rows_are_cut(score, cuts, past, rules):
    rng = np.random.default_rng(len(score))
    n = len(score)
    rows, scores = rows_of(rng.normal(size=n), np.arange(n) < past), scores_of(score)
    whole = decide(rows, scores, ids(n), rules, AlertState())
    decided, found, reasons, state = [], [], {}, AlertState()
    bounds = [0, *sorted(min(c, n) for c in cuts), n]
    for a, b in zip(bounds[:-1], bounds[1:], strict=True):
        part = decide(
            rows.part(a, b),
            replace(
                scores_of(score[a:b]),
            ),
            ids(n)[a:b],
            rules,
            state,
        )
        decided += part.decided.tolist()
        found += [event._replace(row=event.row + a) for event in part.events]
        reasons |= {row + a: reason for row, reason in part.reasons.items()}
        state = AlertState.from_plain(part.state.to_plain())
    assert decided == whole.decided.tolist()
    assert found == whole.events
    assert reasons == whole.reasons
    assert state == whole.state


def test_a_state_of_before_there_was_a_bar_is_read():
    old = [7, 5, [True], 3, 4, 71.0, ["id3", 4]]
    assert AlertState.from_plain(old) == AlertState(7, 5, (True,), 3, 4, 71.0, ("id3", 4))
