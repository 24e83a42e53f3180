"""The Grafana dashboard: Athena's SQL, which gives what the named queries give."""

from __future__ import annotations

import json
import re

import pytest
import sqlglot
from lake_writer import DIMENSION, random_results, series_id, write

from dashboard.grafana import PLUGIN, dashboard, main
from lake.named_queries import Parameters
from lake.reader import Lake

MADE = dashboard("shop", [DIMENSION])
PANELS = {panel["title"]: panel for panel in MADE["panels"]}
CHOSEN = {
    "${__from:date:YYYY-MM-DD HH:mm:ss}": "2026-03-02 00:20:00",
    "${__to:date:YYYY-MM-DD HH:mm:ss}": "2026-03-03 00:30:00",
    "${__from:date:YYYY-MM-DD}": "2026-03-02",
    "${__to:date:YYYY-MM-DD}": "2026-03-03",
    "${series}": series_id("item-A"),
}


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lake")
    write(folder, "results", random_results(3, days=3))
    return Lake(str(folder))


def statement_of(panel):
    (target,) = panel["targets"]
    assert target["connectionArgs"]["database"] == "shop"
    return target["rawSQL"]


def rows_of(lake, statement):
    """What the statement gives once Grafana has put in what a reader chose."""
    for variable, value in CHOSEN.items():
        statement = statement.replace(variable, value)
    assert "${" not in statement
    (tree,) = sqlglot.parse(statement, read="trino")
    return lake.sql(tree.sql("duckdb")).to_pylist()


def asked(**more):
    return Parameters(from_time="2026-03-02 00:20:00", to_time="2026-03-03 00:30:00", **more)


@pytest.mark.parametrize("title", PANELS)
def test_panels_are_athenas(lake, title):
    panel = PANELS[title]
    assert panel["datasource"]["type"] == PLUGIN
    assert rows_of(lake, statement_of(panel)) or title.startswith("Late")


@pytest.mark.parametrize(
    ("title", "name", "column"),
    [
        ("Number of Timeseries Tracked", "series_tracked", "series"),
        ("Number of Datapoints Processed", "points_processed", "points"),
        ("Anomaly Confidence Score", "confidence", "mean_confidence"),
    ],
)
def test_indicators_are_the_named_queries(lake, title, name, column):
    (row,) = rows_of(lake, statement_of(PANELS[title]))
    assert row[column] == lake.query(name, asked()).to_pylist()[0][column]


def test_the_chart_has_the_rows_of_the_pages_chart(lake):
    rows = rows_of(lake, statement_of(PANELS["Measure, expected band, anomaly score"]))
    expected = lake.query("score_chart", asked(series=series_id("item-A"))).to_pylist()
    assert [row["value"] for row in rows] == [row["value"] for row in expected]
    assert [str(row["time"]) for row in rows] == [row["time"] for row in expected]
    marked = [row["anomaly"] for row in rows if row["anomaly"] is not None]
    assert marked == [row["value"] for row in expected if row["decision"] == 1] != []


def test_series_are_chosen_by_name(lake):
    (variable,) = [each for each in MADE["templating"]["list"] if each["name"] == "series"]
    pattern = re.compile(variable["regex"].strip("/").replace("?<", "?P<"))
    labels = [row["label"] for row in rows_of(lake, variable["query"]["rawSQL"])]
    found = {m["text"]: m["value"] for m in map(pattern.fullmatch, labels)}
    assert found["quantity item-A"] == series_id("item-A")


def test_panels_do_not_overlap():
    taken = set()
    for panel in MADE["panels"]:
        x, y, w, h = (panel["gridPos"][side] for side in "xywh")
        cells = {(x + i, y + j) for i in range(w) for j in range(h)}
        assert not cells & taken
        assert x + w <= 24
        taken |= cells


def test_it_is_printed(capsys):
    main(["--database", "shop", "--dimension", DIMENSION])
    assert json.loads(capsys.readouterr().out) == MADE
