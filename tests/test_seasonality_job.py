"""A week's rhythm through the whole job: normal Monday mornings, and a night-time level at noon."""

from __future__ import annotations

import datetime as dt
import json
from collections import defaultdict

import numpy as np
import pytest

from pipeline.launch import main

ZONE = "Europe/Berlin"
STEP = 900
DAYS = 63
FIRST_MONDAY = int(dt.datetime(2024, 1, 1, tzinfo=dt.UTC).timestamp()) - 3600  # midnight in Berlin
NOON = 57 * 96 + 48  # a Tuesday of the ninth week; Berlin's summer time begins on day 90
MONDAYS = tuple(day * 96 + 32 + i for day in (49, 56) for i in range(4))

MODELS = {
    "forest": {"type": "RandomCutForest"},
    "discord": {"type": "LeftDiscord", "config": {"sequence_length": 8, "score": "level"}},
}


def office():
    """High from 8 to 18 h in Berlin, but not on weekends, with noise; one noon at night's level."""
    row = np.arange(DAYS * 96)
    busy = (row % 96 >= 32) & (row % 96 < 72) & (row // 96 % 7 < 5)
    values = 10.0 * busy + np.random.default_rng(0).standard_normal(len(row))
    values[NOON : NOON + 4] -= 10.0
    return values


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Rows of each detector, in order."""
    folder = tmp_path_factory.mktemp("season")
    lines = [
        json.dumps({"time": FIRST_MONDAY + STEP * row, "visits": value})
        for row, value in enumerate(office().tolist())
    ]
    (folder / "visits.jsonl").write_text("\n".join(lines))
    season = {"seasonality": {"season": "hour_of_week", "time_zone": ZONE}}
    detectors = [
        {
            "name": name + suffix,
            "measure": "visits",
            "event_time": {"field": "time", "format": "unix_s"},
            "model": model,
            "threshold": 70,
            **more,
        }
        for name, model in MODELS.items()
        for suffix, more in (("", {}), ("_in_season", season))
    ]
    job = {
        "job": "season",
        "source": {"files": [str(folder / "visits.jsonl")], "format": "json"},
        "detectors": detectors,
        "sinks": {"results": {"path": str(folder / "results")}},
    }
    (folder / "job.yaml").write_text(json.dumps(job))
    assert main([f"--job={folder / 'job.yaml'}"]) == 0
    found = defaultdict(list)
    for file in sorted((folder / "results").rglob("*.jsonl")):
        for line in file.read_text().splitlines():
            row = json.loads(line)
            found[row["detectorName"]].append(row)
    for rows in found.values():
        rows.sort(key=lambda row: row["detectionPeriodStartTime"])
    return found


@pytest.mark.parametrize("name", MODELS)
def test_a_night_time_level_at_noon_is_an_anomaly(results, name):
    rows = results[f"{name}_in_season"]
    assert max(row["anomalyScore"] for row in rows[NOON : NOON + 8]) >= 70.0
    assert rows[NOON]["expectedValue"] > 5.0  # 0 is what was measured


@pytest.mark.parametrize("name", MODELS)
def test_a_normal_monday_morning_is_none(results, name):
    rows = results[f"{name}_in_season"]
    assert max(rows[row]["anomalyScore"] for row in MONDAYS) < 70.0
    assert not any(rows[row]["anomalyDecision"] for row in MONDAYS)


def test_the_week_is_what_makes_the_noon_stand_out_to_the_forest(results):
    plain, seasonal = (
        max(row["anomalyScore"] for row in results[f"forest{suffix}"][NOON : NOON + 8])
        for suffix in ("", "_in_season")
    )
    assert plain < 70.0 <= seasonal


@pytest.mark.parametrize("name", MODELS)
def test_the_season_is_awaited_for_a_week(results, name):
    stages = [row["modelStage"] for row in results[f"{name}_in_season"]]
    assert set(stages[: 7 * 96]) == {"LEARNING"}
    assert set(stages[9 * 96 :]) == {"INFERENCE"}
