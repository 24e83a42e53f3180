"""From scores to decisions, and from decisions to alerts: rules, one alert an anomaly, recovery.

Scores are never changed here. A row's decision is 1 when its score passes the threshold and the
rules let it; an alert is an event: it opens at the first such row, and closes when
``recovery_after`` rows in succession had none. For a quiet period after that, only a row that
scores higher than the whole of the last alert opens another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.model import Scores
from transforms.aggregate import Rows
from transforms.records import MICROSECONDS, Floats

WEEK = 7 * 86_400 * MICROSECONDS
LEAST_ROWS_FOR_A_RATE = 30

# alerts_per_week: the bar that rows have to pass moves with how many alerts there were so far
BUDGET_MEMORY = 20.0
"""Alerts of the budget after which what was spent counts 1 / e."""
BUDGET_PRIOR = 2.0
"""Alerts added to those that were, and to those that might have been: a start means little."""
BUDGET_POWER = 4.0
"""Of the ratio of the two. 2 left series that drift with 0.4 to 0.5 of their budget, 4 with 0.6."""
BUDGET_LOWEST, BUDGET_HIGHEST = -2.0, 0.6
"""Decades by which the bar moves at most. Little upwards: a bad week must not hide the next."""
BUDGET_ROWS = 512
"""Rows decided at once; bounds what an alert, after which the bar is another, costs again."""


@dataclass(frozen=True)
class Rules:
    """What makes a decision and an alert; may change at any time, it is no part of the model.

    Parameters
    ----------
    threshold : float, optional
        Decide on score > threshold, 0-100. None with no ``alerts_per_week`` either: the model's
        own threshold on the raw score decides.
    alerts_per_week : float, optional
        Decide on surprise instead, by a bar that so many rows of a week of this series are
        expected to pass, and that moves until there are so many alerts.
    direction : str
        ``both``, ``up`` or ``down``: which side of the expected value counts.
    min_absolute_deviation : float
        Least distance from the expected value, in the measure's unit.
    min_relative_deviation : float
        Least distance from the expected value, as a share of its absolute value.
    n, m : int
        Decide only when n of the last m rows pass all of the above.
    quiet_rows, quiet_time : int
        Length of the quiet period, in rows and in microseconds; it ends when both have passed.
    recovery_after : int
        Rows without a decision after which an alert is over.
    """

    threshold: float | None = 70.0
    alerts_per_week: float | None = None
    direction: str = "both"
    min_absolute_deviation: float = 0.0
    min_relative_deviation: float = 0.0
    n: int = 1
    m: int = 1
    quiet_rows: int = 50
    quiet_time: int = 0
    recovery_after: int = 10


@dataclass(frozen=True)
class AlertState:
    """What decisions so far leave behind for the next row of a series.

    Parameters
    ----------
    rows : int
        Rows decided so far.
    first_time : int
        Start of the first row.
    recent : tuple of bool
        Whether the last m - 1 rows passed.
    last : int
        Number of the last row with a decision, -1 before the first.
    last_time : int
        Its start.
    peak : float
        Highest score since the last alert opened.
    open : tuple of (str, int) or None
        ID and start of the alert that is open.
    spent : float
        Alerts so far as of the last of them, older ones counting less; kept for a budget alone.
    spent_at : int
        Start of that last one.
    live_since : int or None
        Start of the first row that is no history: before it a budget is not spent.
    """

    rows: int = 0
    first_time: int = 0
    recent: tuple[bool, ...] = ()
    last: int = -1
    last_time: int = 0
    peak: float = 0.0
    open: tuple[str, int] | None = None
    spent: float = 0.0
    spent_at: int = 0
    live_since: int | None = None

    def to_plain(self) -> list[Any]:
        """Plain values in the order of the fields, for JSON."""
        return [
            self.rows,
            self.first_time,
            self.recent,
            self.last,
            self.last_time,
            self.peak,
            self.open,
            self.spent,
            self.spent_at,
            self.live_since,
        ]

    @classmethod
    def from_plain(cls, plain: list[Any]) -> AlertState:
        """The state that `to_plain` described; older ones know nothing of a budget."""
        rows, first_time, recent, last, last_time, peak, opened, *budget = plain
        opened = opened and (opened[0], opened[1])
        return cls(rows, first_time, tuple(recent), last, last_time, peak, opened, *budget)


class Event(NamedTuple):
    """An alert that opened (``alert``) or closed (``recovery``).

    Attributes
    ----------
    kind : str
        ``alert`` or ``recovery``.
    row : int
        Row of the block that it came with.
    alert_id : str
        The result ID of the row that opened the alert.
    since : int
        Start of the period that opened it, microseconds since 1970.
    peak : float
        Highest score of the alert so far.
    """

    kind: str
    row: int
    alert_id: str
    since: int
    peak: float


class Decisions(NamedTuple):
    """A block's decisions.

    Attributes
    ----------
    decided : bool[n]
        anomalyDecision.
    reasons : dict of row -> str
        Why the detector, a rule or the quiet period held a row back.
    events : list of Event
        In the order of the rows.
    state : AlertState
        For the next block.
    """

    decided: NDArray[np.bool_]
    reasons: dict[int, str]
    events: list[Event]
    state: AlertState


def decide(
    rows: Rows, scores: Scores, result_ids: list[str], rules: Rules, state: AlertState
) -> Decisions:
    """Decide a block of rows of one series; equal however the rows are cut into blocks."""
    if rules.threshold is not None or rules.alerts_per_week is None:
        return _decide(rows, scores, result_ids, rules, state)
    decided = np.zeros(len(rows), np.bool_)
    reasons: dict[int, str] = {}
    events: list[Event] = []
    first = 0
    state = _live(rows, state)
    while first < len(rows):
        end = min(first + BUDGET_ROWS, len(rows))
        found = _decide_part(rows, scores, result_ids, rules, state, first, end)
        alerts = [event.row for event in found.events if event.kind == "alert"]
        if alerts and first + alerts[0] + 1 < end:  # after it the bar is another
            end = first + alerts[0] + 1
            found = _decide_part(rows, scores, result_ids, rules, state, first, end)
        decided[first:end] = found.decided
        reasons |= {first + row: reason for row, reason in found.reasons.items()}
        events += [event._replace(row=first + event.row) for event in found.events]
        state, first = found.state, end
    return Decisions(decided, reasons, events, state)


def _live(rows: Rows, state: AlertState) -> AlertState:
    if state.live_since is not None or rows.history.all():
        return state
    return replace(state, live_since=int(rows.starts[int(np.argmin(rows.history))]))


def _decide_part(
    rows: Rows,
    scores: Scores,
    result_ids: list[str],
    rules: Rules,
    state: AlertState,
    first: int,
    end: int,
) -> Decisions:
    part = replace(
        scores,
        learning=scores.learning[first:end],
        score=scores.score[first:end],
        surprise=scores.surprise[first:end],
        expected=scores.expected[first:end],
        reasons={row - first: text for row, text in scores.reasons.items() if first <= row < end},
    )
    return _decide(rows.part(first, end), part, result_ids[first:end], rules, state)


def _decide(
    rows: Rows, scores: Scores, result_ids: list[str], rules: Rules, state: AlertState
) -> Decisions:
    if state.rows == 0 and len(rows):
        state = replace(state, first_time=int(rows.starts[0]))
    reasons = dict(scores.reasons)
    passes = _pass_rules(rows, scores, rules, _above(rows, scores, rules, state), reasons)
    decided, recent = _n_of_m(passes, rules, state.recent, reasons)
    events: list[Event] = []
    for i in (decided & ~rows.history).nonzero()[0].tolist():
        state = _recover(rows, rules, state, state.rows + i, events)
        number, start, score = state.rows + i, int(rows.starts[i]), float(scores.score[i])
        if state.open is not None:
            state = replace(state, peak=max(state.peak, score))
        elif _is_quiet(rules, state, number, start) and score <= state.peak:
            reasons[i] = "quiet period: no stronger than the alert before"
        else:
            state = _spend(rules, state, start)
            state = replace(state, open=(result_ids[i], start), peak=score)
            events.append(Event("alert", i, result_ids[i], start, score))
        state = replace(state, last=number, last_time=start)
    state = _recover(rows, rules, state, state.rows + len(rows), events)
    state = replace(state, recent=recent, rows=state.rows + len(rows))
    return Decisions(decided, reasons, events, state)


def _above(rows: Rows, scores: Scores, rules: Rules, state: AlertState) -> NDArray[np.bool_]:
    if rules.threshold is not None:
        return (scores.score > rules.threshold) & ~scores.learning
    if rules.alerts_per_week is not None:
        limit = _surprise_limit(rows, rules.alerts_per_week, state)
        return (scores.surprise > limit) & ~scores.learning
    if scores.flagged is None:
        raise ValueError(
            "no threshold, no alerts_per_week, and the model has no threshold of its own"
        )
    return scores.flagged & ~scores.learning


def _surprise_limit(rows: Rows, alerts_per_week: float, state: AlertState) -> Floats:
    """The bar: decades that so many rows a week pass, at the rate at which rows have come."""
    number = state.rows + np.arange(len(rows))
    elapsed = np.maximum(rows.starts - state.first_time, 1)
    per_week = number * (WEEK / elapsed)
    limit = np.log10(np.maximum(per_week / alerts_per_week, 1.0))
    limit = np.maximum(limit + _overspent(rows, alerts_per_week, state), 0.0)
    return np.where(number < LEAST_ROWS_FOR_A_RATE, math.inf, limit)


def _overspent(rows: Rows, alerts_per_week: float, state: AlertState) -> Floats:
    """Decades by which the bar is higher for the alerts that were too many, lower for too few."""
    memory = BUDGET_MEMORY * WEEK / alerts_per_week
    since = rows.starts[:0] if state.live_since is None else rows.starts - state.live_since
    if not len(since):
        return np.zeros(len(rows))
    live = np.where(rows.history, 0.0, np.maximum(since, 0))
    might = BUDGET_MEMORY * -np.expm1(-live / memory)
    spent = state.spent * np.exp(-np.maximum(rows.starts - state.spent_at, 0) / memory)
    ratio = (spent + BUDGET_PRIOR) / (might + BUDGET_PRIOR)
    return np.clip(BUDGET_POWER * np.log10(ratio), BUDGET_LOWEST, BUDGET_HIGHEST)


def _spend(rules: Rules, state: AlertState, start: int) -> AlertState:
    """One alert more, at ``start``."""
    if rules.alerts_per_week is None:
        return state
    passed = max(start - state.spent_at, 0)
    left = math.exp(-passed * rules.alerts_per_week / (BUDGET_MEMORY * WEEK))
    return replace(state, spent=state.spent * left + 1.0, spent_at=start)


def _pass_rules(
    rows: Rows,
    scores: Scores,
    rules: Rules,
    above: NDArray[np.bool_],
    reasons: dict[int, str],
) -> NDArray[np.bool_]:
    passes = above.copy()
    for i in above.nonzero()[0].tolist():
        reason = _held_back(float(rows.values[i] - scores.expected[i]), scores.expected[i], rules)
        if reason:
            passes[i] = False
            reasons[i] = reason
    return passes


def _held_back(deviation: float, expected: float, rules: Rules) -> str | None:
    if rules.direction == "up" and deviation <= 0:
        return "direction: not above the expected value"
    if rules.direction == "down" and deviation >= 0:
        return "direction: not below the expected value"
    if abs(deviation) < rules.min_absolute_deviation:
        return f"deviation {abs(deviation):g} is below the minimum {rules.min_absolute_deviation:g}"
    least = rules.min_relative_deviation * abs(expected)
    if abs(deviation) < least:
        return (
            f"deviation {abs(deviation):g} is below {rules.min_relative_deviation:g} "
            f"of the expected {expected:g}"
        )
    return None


def _n_of_m(
    passes: NDArray[np.bool_], rules: Rules, recent: tuple[bool, ...], reasons: dict[int, str]
) -> tuple[NDArray[np.bool_], tuple[bool, ...]]:
    if rules.m == 1:
        return passes, ()
    before = rules.m - 1
    known = np.zeros(before + len(passes), np.int64)
    carried = recent[-before:]
    known[before - len(carried) : before] = carried
    known[before:] = passes
    sums = np.cumsum(np.r_[0, known])
    counts = sums[rules.m :] - sums[: -rules.m]
    decided = passes & (counts >= rules.n)
    for i in np.flatnonzero(passes & ~decided).tolist():
        reasons[i] = f"{counts[i]} of the last {rules.m} rows passed, {rules.n} are asked for"
    return decided, tuple(bool(x) for x in known[-before:])


def _is_quiet(rules: Rules, state: AlertState, number: int, start: int) -> bool:
    if state.last < 0:
        return False
    return (
        number - state.last <= rules.quiet_rows or start - state.last_time <= rules.quiet_time - 1
    )


def _recover(
    rows: Rows, rules: Rules, state: AlertState, until: int, events: list[Event]
) -> AlertState:
    """Close the open alert if its recovery row comes before row number ``until``."""
    recovered = state.last + rules.recovery_after
    if state.open is None or recovered >= until:
        return state
    alert_id, since = state.open
    # a rule may have been shortened since the last block: then the alert closes with this block
    row = max(recovered - state.rows, 0)
    events.append(Event("recovery", row, alert_id, since, state.peak))
    return replace(state, open=None)
