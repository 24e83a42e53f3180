from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from benchmarks import forest
from benchmarks.forest import (
    days_with_a_shift,
    main,
    rank_correlation,
    sine_with_spikes,
    top_overlap,
)


def test_without_java_ours_is_measured_and_the_report_says_so(monkeypatch, capsys):
    monkeypatch.setattr(shutil, "which", lambda tool: None)
    monkeypatch.setattr(forest, "SETTINGS", ((8, 3),))
    monkeypatch.setattr(forest, "STATE_ROWS", 300)
    assert main(["--json", "--turns", "1", "--points", "240", "--seeds", "1"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["java"] == "not measured: not on the path: java, mvn"
    assert {(row["series"], row["kind"]) for row in report["speed"]} == {
        (series, kind) for series in ("long", "many") for kind in ("core", "full")
    }
    assert all(row["points_per_cpu_second"] > 0 and "ratio" not in row for row in report["speed"])
    assert report["size"][0]["snapshot_bytes"] > 0 and report["agreement"] == []


def test_the_tables_show_both_sides(capsys):
    pair = {"rank_correlation": {"least": 0.8, "mean": 0.9, "greatest": 1.0}}
    pair["top_overlap"] = pair["rank_correlation"]
    speed = {"shingle_size": 8, "trees": 50, "series": "long", "kind": "core"}
    speed |= {"points_per_cpu_second": 50_000, "java_points_per_cpu_second": 10_000}
    sizes = dict.fromkeys(("memory_bytes", "snapshot_bytes", "write_seconds", "read_seconds"), 1)
    forest._print(
        {
            "java": "measured",
            "speed": [{**speed, "ratio": 5.0, "ratios": [4.9, 5.1], "holds": True}],
            "size": [{**speed, **sizes, **{f"java_{name}": 1 for name in sizes}}],
            "agreement": [
                {"series": "a/b", "ours": pair, "reference": pair, "across": pair, "holds": False}
            ],
        }
    )
    text = capsys.readouterr().out
    assert "4.9..5.1" in text and "no" in text and "Java" in text


def test_rank_correlation_and_overlap():
    one = np.random.default_rng(0).standard_normal(1000)
    assert rank_correlation(one, np.exp(one)) == pytest.approx(1.0)
    assert rank_correlation(one, -one) == pytest.approx(-1.0)
    assert top_overlap(one, 3 * one) == 1.0 and top_overlap(one, -one) == 0.0
    other = one.copy()
    other[np.argsort(one)[-5:]] = -10.0
    assert top_overlap(one, other) == 0.5


@pytest.mark.parametrize("make", [sine_with_spikes, days_with_a_shift])
def test_synthetic_series_are_those_of_their_seed(make):
    assert np.array_equal(make(500, 1), make(500, 1)) and len(make(500, 1)) == 500
    assert not np.array_equal(make(500, 1), make(500, 2))


def test_a_wrong_number_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["--turns", "0"])
    assert "--turns must be >= 1, got 0" in capsys.readouterr().err
