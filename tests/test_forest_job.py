"""A random cut forest that counts the time between rows, through the whole job."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pipeline.launch import main

ROWS, LATE = 1500, 1200
START = 1_700_000_000


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A value a minute, about as before, but at `LATE` one that comes after half an hour."""
    folder = tmp_path_factory.mktemp("gaps")
    random = np.random.default_rng(0)
    steps = 60 + random.integers(-2, 3, ROWS)
    steps[LATE] = 1800
    times = START + np.cumsum(steps)
    values = np.sin(np.arange(ROWS) / 6) + 0.1 * random.standard_normal(ROWS)
    lines = [
        json.dumps({"time": int(time), "load": value})
        for time, value in zip(times, values.tolist(), strict=True)
    ]
    (folder / "load.jsonl").write_text("\n".join(lines))
    model = {"type": "RandomCutForest", "config": {"shingle_size": 4, "time_gaps": True}}
    job = {
        "job": "gaps",
        "source": {"files": [str(folder / "load.jsonl")], "format": "json"},
        "detectors": [
            {
                "name": "load",
                "measure": "load",
                "event_time": {"field": "time", "format": "unix_s"},
                "model": model,
            }
        ],
        "sinks": {
            "results": {"path": str(folder / "results")},
            "lake": {"path": str(folder / "lake")},
        },
    }
    (folder / "job.yaml").write_text(json.dumps(job))
    assert main([f"--job={folder / 'job.yaml'}"]) == 0
    rows = [
        json.loads(line)
        for file in (folder / "results").rglob("*.jsonl")
        for line in file.read_text().splitlines()
    ]
    return sorted(rows, key=lambda row: row["detectionPeriodStartTime"])


def test_a_row_that_comes_late_is_an_anomaly(results):
    late = results[LATE]
    assert late["anomalyDecision"] == 1
    assert max(results, key=lambda row: row["anomalyScore"]) is late


def test_its_share_is_the_newest_rows(results):
    shares, high = results[LATE]["attribution"], results[LATE]["attributionHigh"]
    assert len(shares) == len(high) == 4
    assert sum(shares) == pytest.approx(1.0, abs=1e-5)
    assert shares[-1] > 0.5 and high[-1] > 0.9 * shares[-1]  # the gap is longer than usual
