"""The curve over shingle sizes: its rows, its picture, and its mistakes."""

import json

import pytest

from benchmarks import forest_shingles
from benchmarks.forest_shingles import main, picture
from benchmarks.scoring.nab import PROFILES


def canned(name, series, contestants, curves, workers):
    """A report as `benchmarks.accuracy.measure` makes it; a figure tells whose it is."""
    results = []
    for number, one in enumerate(contestants):
        for quiet in (0, 100):
            figure = number + (0.5 if quiet else 0.25)
            size = one.spec.parameters.shingle_size if one.spec else None
            result = {"detector": one.name, "column": one.column, "quiet_rows": quiet}
            result["parameters"] = {"shingle_size": size} if size else None
            if curves:
                result["vus_pr"] = figure
            if name == "nab":
                result["nab"] = {profile: {"score": figure} for profile in PROFILES}
                result["nab"]["half_splits"] = figure
            if name == "ucr":
                result["ucr"] = {"accuracy": figure, "accuracy_per_recording": figure}
            results.append(result)
    return {"results": results, "series": len(series)}


@pytest.fixture
def rows(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(forest_shingles, "measure", canned)
    monkeypatch.setattr(forest_shingles, "load", lambda folder, name: [])
    arguments = ["--data", str(tmp_path), "--sizes", "1", "8", "--json", "--java-peers"]
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    return [row for line in lines for row in json.loads(line)]


def test_nab_is_measured_with_the_quiet_period_and_all_else_without(rows):
    first = {row["set"]: row for row in rows if row["detector"] == "score, shingle 1"}
    assert first["nab"]["NAB"] == [0.5, 0.5, 0.5] and first["nab"]["VUS-PR"] == 0.25
    assert first["wsd"]["VUS-PR"] == 0.25 and "NAB" not in first["wsd"]
    assert first["ucr"]["UCR accuracy"] == 0.25 and "VUS-PR" not in first["ucr"]


def test_the_forest_stands_beside_the_floor_and_the_peers(rows):
    names = [row["detector"] for row in rows if row["set"] == "wsd"]
    assert names[:4] == [f"{c}, shingle {n}" for n in (1, 8) for c in ("score", "raw")]
    assert {"|difference|", "Beam RobustZScore", "AWS RCF, shingle 8"} <= set(names)


def test_the_picture_has_a_panel_a_set_and_measure(rows):
    chart = picture(rows).to_dict()
    titles = [panel["title"] for panel in chart["hconcat"]]
    assert titles == ["NAB: NAB", "NAB: VUS-PR", "UCR: UCR accuracy", "WSD: VUS-PR"]


def test_the_table_has_every_row(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(forest_shingles, "measure", canned)
    monkeypatch.setattr(forest_shingles, "load", lambda folder, name: [])
    assert main(["--data", str(tmp_path), "--sets", "wsd", "--sizes", "4", "--columns", "raw"]) == 0
    assert "raw, shingle 4" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--data", "/nowhere"], "data folder '/nowhere' does not exist"),
        (["--data", ".", "--sizes", "0"], "shingle_size must be >= 1, got 0"),
    ],
)
def test_a_wrong_command_line_says_what_is_allowed(arguments, sentence, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert sentence in capsys.readouterr().err
