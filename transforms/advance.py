"""What one wake does with one series: a pure function from state and points to outputs and state.

The DoFn around it (`transforms.detect`) knows Beam and nothing else; this knows no Beam.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import orjson

from detectors.model import ModelSpec, Scores, SeriesModel
from transforms import results
from transforms.aggregate import (
    Gaps,
    Rows,
    aggregate,
    fill,
    fill_between,
    join,
    rows_of_points,
)
from transforms.decide import Decisions, Rules, decide
from transforms.detection import DAY, Detection, SeriesSettings
from transforms.head import LONG_AGO, Head
from transforms.live_models import Journal, ModelKey
from transforms.order import Points, drop_duplicates, gather, order
from transforms.records import Block, Integers, Series, dimension_list, text_times

_EPOCH = dt.date(1970, 1, 1)


class Store(Protocol):
    """Where `advance` gets the series' model from and leaves it."""

    def take(self, key: ModelKey) -> SeriesModel:
        """The model that has consumed what ``key`` says."""

    def put(self, key: ModelKey, model: SeriesModel, since_snapshot: int, consumed: Journal) -> int:
        """Keep the model that consumed ``consumed`` last; rows since its snapshot."""

    def forget(self) -> None:
        """Drop what belongs to the model so far."""


@dataclass
class Outcome:
    """What a wake brought.

    Attributes
    ----------
    series : Series
        Whose wake it was.
    head : Head or None
        The new head; None as long as nothing was consumed.
    waiting : list of Block
        Points that stay pending.
    results : list of (str, bytes)
        JSON lines by UTC date of their period's start, in order.
    left_discords : list of (str, bytes)
        The same in LeftDiscords' layout, where asked for.
    alerts, late : list of bytes
        JSON lines.
    tally : Counter
        Records used, duplicate, late, waiting; periods closed, scored, warm_up, imputed.
    watch : bool
        The gap policy fills: wake the series though it is silent.
    """

    series: Series
    head: Head | None
    waiting: list[Block]
    results: list[tuple[str, bytes]] = field(default_factory=list)
    left_discords: list[tuple[str, bytes]] = field(default_factory=list)
    alerts: list[bytes] = field(default_factory=list)
    late: list[bytes] = field(default_factory=list)
    tally: Counter[str] = field(default_factory=Counter)
    watch: bool = False


def advance(
    detection: Detection,
    before: Head | None,
    blocks: list[Block],
    due: int | None,
    fill_until: int,
    store: Store,
) -> Outcome:
    """Consume what is due.

    Parameters
    ----------
    detection : Detection
        The job's detector.
    before : Head or None
        What the series remembers.
    blocks : list of Block
        Pending points, in any order, and marks of the end of bounded input.
    due : int or None
        Close what ends by then; None: close everything, the input has ended.
    fill_until : int
        Fill gaps after the last measured row up to rows that end by then.
    store : Store
        The series' model.
    """
    series = before.series if before is not None else blocks[0].series
    settings = detection.of(series)
    points, duplicates = _in_order(detection, blocks)
    closed_until = LONG_AGO if before is None else before.closed_until
    is_late = (
        np.zeros(len(points), np.bool_) if detection.by_position else (points.times < closed_until)
    )
    is_due = np.ones(len(points), np.bool_) if due is None else detection.ends(points.times) <= due
    used = points.where(is_due & ~is_late)
    waiting = points.where(~is_due & ~is_late)
    outcome = Outcome(series, before, _blocks_of(series, waiting), watch=settings.gaps.fills)
    outcome.late = _late_lines(series, points.where(is_late), closed_until)
    outcome.tally.update(
        used=len(used), duplicate=duplicates, late=int(is_late.sum()), waiting=len(waiting)
    )
    if detection.aggregation is None:
        rows = rows_of_points(used, detection.by_position)
    else:
        rows = aggregate(used, detection.aggregation)
    marks = [block.until for block in blocks if block.until is not None]
    if marks:  # bounded input reached the period that the mark lies in
        fill_until = int(detection.ends(np.array([max(marks)]))[0])
    outcome.tally["closed"] += len(rows)
    if before is None and not len(rows):
        return outcome
    head = _start(before, series, settings.model, store)
    for start_anew, part in _lives(detection, settings.gaps, head, rows, fill_until):
        if start_anew:
            head = head.anew()
            store.forget()
        head = _consume(detection, settings, head, part, store, outcome)
    outcome.head = replace(head, closed_until=_close(detection, head, due))
    return outcome


def _in_order(detection: Detection, blocks: list[Block]) -> tuple[Points, int]:
    if not blocks:
        none = np.empty(0, np.int64)
        return Points(none, np.empty(0), none, np.empty(0, np.bool_)), 0
    points = order(gather(blocks), detection.by_position)
    return drop_duplicates(points) if detection.deduplicate else (points, 0)


def _blocks_of(series: Series, points: Points) -> list[Block]:
    if not len(points):
        return []
    return [
        Block(series, part.times, part.values, part.ids, history)
        for history in (True, False)
        if len(part := points.where(points.history == history))
    ]


def _start(before: Head | None, series: Series, model: ModelSpec, store: Store) -> Head:
    """The head to go on from; changed model parameters start a new model."""
    if before is None:
        return Head(series, model=model.hash)
    if before.model != model.hash:
        store.forget()
        return replace(before, consumed=0, chain=b"", since_snapshot=0, model=model.hash)
    return before


def _close(detection: Detection, head: Head, due: int | None) -> int:
    """Event time before which everything is closed now."""
    last_end = head.filled_to + max(detection.period, 1) if head.filled_to > LONG_AGO else LONG_AGO
    if due is None:
        return max(head.closed_until, last_end)
    period = max(detection.period, 1)
    return max(head.closed_until, last_end, due // period * period)


def _lives(
    detection: Detection, gaps: Gaps, head: Head, rows: Rows, fill_until: int
) -> list[tuple[bool, Rows]]:
    """Rows cut where the series was silent for its time to live, gaps filled within each life.

    Returns (whether a new model starts, rows) in order; where gaps are filled, a life's end is
    too, up to its time to live or ``fill_until``, as far as input is known to have come.
    """
    measured = rows.starts
    if head.last_start > LONG_AGO:
        measured = np.concatenate(([head.last_start], measured))
    silent = (measured[1:] - measured[:-1] > detection.ttl).nonzero()[0] + 1
    bounds = [0, *silent.tolist(), len(measured)]
    known = len(measured) - len(rows)
    lives: list[tuple[bool, Rows]] = []
    for i, (first, end) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
        part = rows.part(max(first - known, 0), end - known)
        is_first = i == 0 and known == 1
        if gaps.fills and detection.aggregation is not None:
            last = _last_row(head, detection.period) if is_first else None
            part = fill_between(part, detection.period, gaps, last)
            until = measured[end - 1] + detection.ttl + detection.period
            until = until if end < len(measured) else min(until, fill_until)
            part = _fill_end(part, detection.period, gaps, last, until)
        lives.append((i > 0, part))
    return lives


def _last_row(head: Head, period: int) -> Rows:
    start = np.array([head.filled_to])
    nothing = np.zeros(1, np.int64)
    value, history = np.array([head.last_value]), np.array([head.last_history])
    return Rows(start, start + period, value, nothing, np.zeros(1, np.bool_), history)


def _fill_end(rows: Rows, period: int, gaps: Gaps, last: Rows | None, until: int) -> Rows:
    """``rows`` and after them imputed ones that end by ``until``."""
    known = [part for part in (last, rows) if part is not None and len(part)]
    if not known:
        return rows
    newest = known[-1]
    starts = np.arange(newest.starts[-1] + period, until - period + 1, period)
    if not len(starts):
        return rows
    return join([rows, fill(starts, period, gaps, float(newest.values[-1]))])


def _consume(
    detection: Detection,
    settings: SeriesSettings,
    head: Head,
    rows: Rows,
    store: Store,
    outcome: Outcome,
) -> Head:
    if not len(rows):
        return head
    series = head.series
    key = ModelKey(series, settings.model, head.consumed, head.chain)
    model = store.take(key)
    scores = model.score_and_learn(rows.values, rows.starts, rows.imputed)
    ids = results.result_ids(series, settings.model.hash, rows)
    decisions = decide(rows, scores, ids, settings.rules, head.alerts)
    _report(detection, series, rows, scores, decisions, settings.rules, ids, model, outcome)
    consumed = Journal(rows.starts, rows.values, rows.imputed)
    key = key.after(consumed)
    since_snapshot = store.put(key, model, head.since_snapshot, consumed)
    measured = rows.starts[~rows.imputed]
    return replace(
        head,
        consumed=key.consumed,
        chain=key.chain,
        since_snapshot=since_snapshot,
        last_start=int(measured[-1]) if len(measured) else head.last_start,
        filled_to=int(rows.starts[-1]),
        last_value=float(rows.values[-1]),
        last_history=bool(rows.history[-1]),
        alerts=decisions.state,
        model=settings.model.hash,
    )


def _report(
    detection: Detection,
    series: Series,
    rows: Rows,
    scores: Scores,
    decisions: Decisions,
    rules: Rules,
    ids: list[str],
    model: SeriesModel,
    outcome: Outcome,
) -> None:
    if detection.left_discords:
        distance = model.detector.distance(scores.raw)
        lines = results.left_discords_lines(rows, scores, decisions.decided, distance)
        outcome.left_discords += _by_date(rows.starts, lines)
    lines = results.result_lines(
        series, rows, scores, decisions.decided, decisions.reasons, rules.threshold, ids
    )
    outcome.results += _by_date(rows.starts, lines)
    outcome.alerts += [
        results.alert_line(series, rows, scores, event, ids) for event in decisions.events
    ]
    measured = ~rows.imputed
    outcome.tally.update(
        scored=int((measured & ~scores.learning).sum()),
        warm_up=int((measured & scores.learning).sum()),
        imputed=int(rows.imputed.sum()),
        decided=int(decisions.decided.sum()),
    )


def _by_date(starts: Integers, lines: list[bytes]) -> list[tuple[str, bytes]]:
    days = starts // DAY
    if len(lines) and (days == days[0]).all():  # as on a live stream
        return [(date_text(int(days[0])), b"\n".join(lines))]
    changes = np.flatnonzero(np.r_[True, days[1:] != days[:-1]]).tolist()
    return [
        (date_text(int(days[a])), b"\n".join(lines[a:b]))
        for a, b in zip(changes, [*changes[1:], len(lines)], strict=True)
    ]


def date_text(days: int) -> str:
    """Days since 1970 as YYYY-MM-DD."""
    return (_EPOCH + dt.timedelta(days=days)).isoformat()


def _late_lines(series: Series, points: Points, closed_until: int) -> list[bytes]:
    if not len(points):
        return []
    common: Mapping[str, Any] = {
        "detectorName": series.detector,
        "measure": series.measure,
        "timeseriesId": series.id,
        "dimensionList": dimension_list(series.dimensions),
    }
    closed = text_times(np.array([closed_until]))[0]
    return [
        orjson.dumps(
            {
                **common,
                "eventTime": time,
                "measureValue": value,
                "recordId": record,
                "closedUntil": closed,
            }
        )
        for time, value, record in zip(
            text_times(points.times), points.values.tolist(), points.ids.tolist(), strict=True
        )
    ]
