"""The command that measures ingredients and thresholds, on two small series."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import discord_accuracy
from benchmarks.datasets import Series
from benchmarks.discord_accuracy import DEFAULTS, DIFFERENCES, VALUES, count_events, measure


def one(name: str, odd: int) -> Series:
    rows = np.arange(4000)
    values = np.sin(rows / 8.0) + 0.05 * np.random.default_rng(odd).normal(size=4000)
    values[odd : odd + 50] = 0.5 * np.cos(rows[:50] / 2.0)
    return Series(name, rows * 1_000_000, values, ((odd, odd + 49),), 2000, "recording")


def test_events_are_runs_with_their_gaps_closed() -> None:
    flags = np.zeros(100, np.bool_)
    assert count_events(flags, 5) == 0
    flags[[3, 4, 9, 15, 80]] = True
    assert count_events(flags, 5) == 3
    assert count_events(flags, 6) == 2


def test_measures_ingredients_and_thresholds(capsys: pytest.CaptureFixture[str]) -> None:
    series = [one("a", 3000), one("b", 3300)]
    report = measure(series, [DEFAULTS, VALUES, "context 1000"], 1)
    assert json.loads(json.dumps(report), parse_constant=pytest.fail)["series"] == 2
    found = {line["variant"]: line["accuracy"] for line in report["ingredients"]}
    assert found[DEFAULTS] == found[VALUES] == found[DIFFERENCES] == 1.0
    assert found["|difference|"] <= 1.0
    speed = {line["variant"]: line["rows_per_cpu_second"] for line in report["ingredients"]}
    assert speed[DEFAULTS] > 0 and speed["context 1000"] > 0 and speed["|difference|"] is None
    thresholds = {line["threshold"]: line for line in report["thresholds"]}
    assert thresholds["Spot, risk 0.0001"]["recall"] == 1.0
    for line in thresholds.values():
        assert line["false_per_10000_training_rows"] < 30.0
    loose, strict = thresholds["Spot, risk 0.001"], thresholds["Spot, risk 1e-05"]
    assert loose["recall"] >= strict["recall"]
    discord_accuracy._print(report)  # noqa: SLF001
    assert "Spot" in capsys.readouterr().out
