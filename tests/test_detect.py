"""The stateful step: equal results whatever the cut, the order, the wakes, the evictions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from series_harness import DISCORD, END, ENSEMBLE, FOREST, MINUTE, SERIES, Harness, bounded

from transforms.aggregate import Aggregation, Gaps
from transforms.decide import Rules
from transforms.detect import Settings
from transforms.detection import Detection, SeriesSettings
from transforms.live_models import LIVE_MODELS
from transforms.records import Block

PER_MINUTE = Aggregation("sum", MINUTE)
RULES = Rules(threshold=30.0, quiet_rows=5, recovery_after=3)
SLOW = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


def detection(model=FOREST, aggregation=PER_MINUTE, policy="ignore", **more):
    return Detection(SeriesSettings(model, RULES, Gaps(policy)), aggregation, **more)


def points(rng, rows=150, span=100, gap=None):
    """Times within ``span`` minutes, several a minute, values with a spike near the end."""
    times = np.sort(rng.integers(0, span * MINUTE, rows))
    if gap is not None:
        times[times > gap[0] * MINUTE] += gap[1] * MINUTE
    values = np.round(rng.normal(10, 1, rows), 3)
    values[-5] += 40
    return times, values


@pytest.mark.parametrize(
    "model", [FOREST, DISCORD, ENSEMBLE], ids=["forest", "discord", "ensemble"]
)
@pytest.mark.parametrize(
    ("aggregation", "policy"),
    [(PER_MINUTE, "ignore"), (PER_MINUTE, "zero"), (PER_MINUTE, "previous"), (None, "ignore")],
    ids=["sum", "sum-zero", "sum-previous", "points"],
)
@SLOW
@given(seed=st.integers(0, 10_000))
def test_results_do_not_depend_on_how_the_stream_is_cut(model, aggregation, policy, seed):
    rng = np.random.default_rng(seed)
    disorder, every = rng.integers(1, 8) * MINUTE, int(rng.integers(1, 9)) * MINUTE // 2
    times, values = points(rng, gap=(50, int(rng.integers(0, 40))))
    what = detection(model, aggregation, policy)
    whole = bounded(what, times, values)

    # arrival within the allowed disorder, in blocks, with evictions and out-of-order wakes
    arrival = np.argsort(times + rng.integers(0, disorder, len(times)), kind="stable")
    harness = Harness(what, Settings(every, snapshot_rows=int(rng.integers(1, 40))))
    newest = 0
    cuts = np.sort(rng.integers(0, len(times), 12))
    for part in np.split(arrival, cuts):
        if not len(part):
            continue
        harness.feed(times[part], values[part])
        newest = max(newest, int(times[part].max()))
        harness.watermark(newest - int(disorder), rng)
        if rng.random() < 0.4:
            LIVE_MODELS.clear()
    harness.watermark(END, rng)

    assert harness.lines == whole.lines
    assert harness.alerts == whole.alerts
    assert harness.late == whole.late == []
    assert sum(harness.tally[k] for k in ("used", "late", "duplicate")) == len(times)
    assert whole.tally["closed"] == whole.tally["scored"] + whole.tally["warm_up"]


def test_a_failed_bundle_never_scores_with_a_model_that_is_ahead():
    times = np.arange(60) * MINUTE
    values = np.random.default_rng(1).normal(10, 1, 60)
    whole = bounded(detection(), times, values)
    harness = Harness(detection(), Settings(MINUTE))
    for i in range(60):
        harness.feed(times[i : i + 1], values[i : i + 1])
        if i == 40:  # the bundle runs, its outputs and state are thrown away, it runs again
            pending = list(harness.pending.items)
            journal, results = list(harness.journal.items), list(harness.results)
            due = dict(harness.due.set_for)
            harness.watermark(int(times[i]) + MINUTE)
            harness.pending.items = pending
            harness.journal.items, harness.results = journal, results
            harness.due.set_for = due
        harness.watermark(int(times[i]) + MINUTE)
    assert harness.lines == whole.lines


def test_lost_state_is_an_error_and_no_wrong_score():
    harness = Harness(detection(), Settings(MINUTE, snapshot_rows=10_000))
    harness.feed(np.arange(30) * MINUTE, np.arange(30.0))
    harness.watermark(30 * MINUTE)
    LIVE_MODELS.clear()
    harness.journal.clear()
    harness.feed([31 * MINUTE], [1.0])
    with pytest.raises(RuntimeError, match=r"snapshot and journal hold 0 rows, head says 30"):
        harness.watermark(40 * MINUTE)


def test_process_reads_no_state():
    harness = Harness(detection(), Settings(MINUTE))
    harness.pending.read = harness.journal.read = None  # calling it would fail
    harness.feed([0, 5 * MINUTE], [1.0, 2.0])
    assert sorted(harness.due.set_for.values()) == [MINUTE, 6 * MINUTE]


def test_a_point_after_its_period_was_closed_goes_out_late_and_changes_nothing():
    times, values = np.arange(50) * MINUTE, np.random.default_rng(2).normal(10, 1, 50)
    whole = bounded(detection(), times, values)
    harness = Harness(detection(), Settings(MINUTE))
    harness.feed(times[:30], values[:30])
    harness.watermark(30 * MINUTE)
    harness.feed([3 * MINUTE + 7], [99.0], [12])
    harness.watermark(30 * MINUTE)
    harness.feed(times[30:], values[30:])
    harness.watermark(END)
    assert harness.lines == whole.lines
    (late,) = harness.late
    assert late["measureValue"] == 99.0
    assert late["eventTime"] == "1970-01-01 00:03:00.000007"
    assert late["recordId"] == 12
    assert late["closedUntil"] == "1970-01-01 00:30:00"
    assert harness.tally["late"] == 1
    assert harness.tally["used"] == 50


def test_duplicates_are_dropped_only_with_a_record_id():
    times = [0, 10, 10, 10]
    kept = bounded(detection(deduplicate=True), times, [1.0, 2.0, 2.0, 4.0], ids=[1, 2, 2, 3])
    assert [row["aggregatedMeasureValue"] for row in kept.results] == [7.0]
    assert kept.tally["duplicate"] == 1
    all_of_them = bounded(detection(), times, [1.0, 2.0, 2.0, 4.0], ids=[1, 2, 2, 3])
    assert [row["aggregatedMeasureValue"] for row in all_of_them.results] == [9.0]


class TestSilence:
    """A series that stops, under the gap policy zero."""

    def live(self, until, last_watermark, **more):
        harness = Harness(detection(policy="zero", **more), Settings(MINUTE))
        values = np.random.default_rng(3).normal(10, 0.5, until)
        harness.feed(np.arange(until) * MINUTE, values)
        harness.watermark(last_watermark)
        return harness

    def test_it_is_found_while_it_is_silent(self):
        harness = self.live(200, 230 * MINUTE)
        assert [row["imputed"] for row in harness.results].count(True) == 29
        (found,) = [alert for alert in harness.alerts if alert["time"] == "1970-01-01 03:20:00"]
        assert found["event"] == "alert"
        assert found["aggregatedMeasureValue"] == 0.0

    def test_nothing_is_filled_in_after_a_drain(self):
        harness = self.live(100, 120 * MINUTE)
        harness.watermark(END)
        # up to the last watermark that was one, and no further
        assert harness.results[-1]["detectionPeriodEndTime"] == "1970-01-01 02:00:00"
        assert len(harness.results) == 120
        assert not harness.due.set_for

    def test_nothing_is_filled_in_after_the_end_of_bounded_input(self):
        whole = bounded(detection(policy="zero"), np.arange(20) * MINUTE, np.ones(20))
        assert len(whole.results) == 20

    def test_bounded_input_is_filled_in_as_far_as_it_reaches_as_a_whole(self):
        harness = Harness(detection(policy="zero"), Settings())
        harness.feed(np.arange(20) * MINUTE, np.ones(20))
        harness.add(Block.mark(SERIES, 30 * MINUTE + 5))
        harness.watermark(END)
        assert [row["aggregatedMeasureValue"] for row in harness.results[-11:]] == [0.0] * 11
        assert harness.results[-1]["detectionPeriodStartTime"] == "1970-01-01 00:30:00"

    def test_filling_stops_at_the_time_to_live_and_the_series_is_forgotten(self):
        harness = self.live(20, 600 * MINUTE, ttl=60 * MINUTE)
        assert len(harness.results) == 20 + 60
        assert harness.pending.items == harness.journal.items == []
        assert harness.journal.items == []
        assert not harness.due.set_for

    def test_it_is_woken_twice_a_period_and_not_at_every_spacing(self, monkeypatch):
        """Else a long backlog is walked through second by second, and holds the watermark back."""
        second, wakes = MINUTE // 60, []
        harness = Harness(detection(policy="zero"), Settings(second))
        wake = harness.wake
        monkeypatch.setattr(harness, "wake", lambda micros: (wakes.append(micros), wake(micros)))
        harness.feed(np.arange(100) * MINUTE, np.ones(100))
        harness.watermark(100 * MINUTE + 5)
        assert len(harness.results) == 100
        backlog = len(wakes)
        assert backlog <= 100
        harness.watermark(130 * MINUTE + 2 * second)
        assert len(harness.results) == 130
        assert len(wakes) - backlog <= 2 * 30 + 1
        harness.watermark(END)
        assert len(harness.results) == 130


@pytest.mark.parametrize("policy", ["ignore", "zero"])
def test_after_its_time_to_live_a_series_starts_anew_whenever_it_was_cleaned_up(policy):
    ttl = 60 * MINUTE
    rng = np.random.default_rng(4)
    times = np.r_[np.arange(100), np.arange(300, 400)] * MINUTE
    values = rng.normal(10, 1, 200)
    what = detection(policy=policy, ttl=ttl)
    whole = bounded(what, times, values)
    harness = Harness(what, Settings(MINUTE))
    harness.feed(times[:100], values[:100])
    harness.watermark(290 * MINUTE)
    assert harness.pending.items == []  # cleaned up here, never in the bounded run
    harness.feed(times[100:], values[100:])
    harness.watermark(END)
    assert harness.lines == whole.lines
    points_seen = [row["processedDataPoints"] for row in whole.results]
    assert points_seen.count(1) == 2
    assert len(whole.results) == 200 + (60 if policy == "zero" else 0)


def test_changed_model_parameters_start_a_new_model():
    harness = Harness(detection(), Settings(MINUTE))
    harness.feed(np.arange(30) * MINUTE, np.ones(30))
    harness.watermark(30 * MINUTE)
    harness.fn = type(harness.fn)({"d": detection(DISCORD)}, Settings(MINUTE))
    harness.feed([30 * MINUTE, 31 * MINUTE], [1.0, 1.0])
    harness.watermark(40 * MINUTE)
    assert [row["processedDataPoints"] for row in harness.results] == [*range(1, 31), 1, 2]
    assert len({row["resultId"] for row in harness.results}) == 32


def test_changed_rules_change_decisions_alone():
    times, values = points(np.random.default_rng(5), rows=300, span=300)
    mild = bounded(detection(), times, values)
    strict = Detection(SeriesSettings(FOREST, Rules(threshold=100.0)), PER_MINUTE)
    other = bounded(strict, times, values)
    assert any(row["anomalyDecision"] for row in mild.results)
    assert not any(row["anomalyDecision"] for row in other.results)
    free = {"anomalyDecision", "anomalyDecisionThreshold", "decisionReason"}
    for ours, theirs in zip(mild.results, other.results, strict=True):
        assert {k: v for k, v in ours.items() if k not in free} == {
            k: v for k, v in theirs.items() if k not in free
        }


def test_history_is_learnt_in_one_event_time_order_and_raises_no_alert():
    times, values = points(np.random.default_rng(6), rows=300, span=300)
    values[100] += 60
    whole = bounded(detection(), times, values)
    harness = Harness(detection(), Settings())
    harness.feed(times[200:], values[200:])
    harness.feed(times[:200], values[:200], history=True)
    harness.watermark(END)
    scores = [row["anomalyScore"] for row in harness.results]
    assert scores == [row["anomalyScore"] for row in whole.results]
    spike = "1970-01-01 00:" if times[100] < 60 * MINUTE else "1970-01-01 0"
    assert any(alert["time"].startswith(spike) for alert in whole.alerts)
    first_live = int(times[200]) // MINUTE * MINUTE
    assert harness.alerts
    for alert in harness.alerts:
        hours, minutes, _ = alert["since"][11:].split(":")
        assert (int(hours) * 60 + int(minutes)) * MINUTE >= first_live


def test_rows_by_position_keep_the_order_of_the_source_when_the_clock_steps_back():
    times = np.r_[np.arange(60), np.arange(50, 110)] * MINUTE
    values = np.arange(120.0)
    what = Detection(SeriesSettings(FOREST, RULES), None, by_position=True)
    rng = np.random.default_rng(7)
    shuffled = rng.permutation(120)
    whole = bounded(what, times[shuffled], values[shuffled], ids=shuffled)
    assert [row["aggregatedMeasureValue"] for row in whole.results] == values.tolist()
    assert len({row["resultId"] for row in whole.results}) == 120


def test_overrides_match_by_dimension_and_the_first_match_wins():
    strict = SeriesSettings(FOREST, Rules(threshold=99.0))
    stricter = SeriesSettings(FOREST, Rules(threshold=99.9))
    what = Detection(
        SeriesSettings(FOREST, RULES),
        PER_MINUTE,
        overrides=(
            ((("item", ("B", "C")),), strict),
            ((("item", ("A",)),), strict),
            ((("item", ("A",)),), stricter),
        ),
    )
    assert what.of(SERIES) is strict
    assert bounded(what, [0], [1.0]).results[0]["anomalyDecisionThreshold"] == 99.0


@pytest.mark.parametrize(
    ("points", "apart", "wakes"),
    [(500, 400, 250_000), (500, 1000, 1_000_000), (99, 1, 1_000_000), (100, 0, 250_000)],
    ids=["dense", "not so dense", "few", "at once"],
)
def test_a_hot_series_is_woken_more_often(points, apart, wakes):
    harness = Harness(Detection(SeriesSettings(DISCORD), None), Settings(1_000_000))
    harness.feed(1 + np.arange(points) * apart, np.ones(points))
    assert list(harness.due.set_for.values()) == [wakes]


def test_a_block_of_a_history_needs_one_wake():
    harness = Harness(detection(), Settings(MINUTE))
    harness.feed(np.arange(200) * MINUTE, np.ones(200), history=True)
    assert list(harness.due.set_for.values()) == [200 * MINUTE]


def test_a_long_backlog_needs_few_wakes():
    harness = Harness(detection(), Settings(MINUTE))
    harness.feed(np.arange(5000) * MINUTE, np.ones(5000))
    assert len(harness.due.set_for) <= 16
    assert max(harness.due.set_for.values()) == 5000 * MINUTE
