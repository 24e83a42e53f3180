"""A Grafana dashboard over the same lake in Athena, made from the same named queries.

``python -m dashboard.grafana --database shop --dimension product_name > dashboard.json``
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from sqlglot import exp

from lake.named_queries import Parameters, fill

PLUGIN = "grafana-athena-datasource"
_TABLE = 1
"""The data source's number for a plain table; time series are then made of its time column."""
_CHOSEN = {
    "from_time": "${__from:date:YYYY-MM-DD HH:mm:ss}",
    "to_time": "${__to:date:YYYY-MM-DD HH:mm:ss}",
    "first_date": "${__from:date:YYYY-MM-DD}",
    "last_date": "${__to:date:YYYY-MM-DD}",
}
"""What Grafana puts in for a query's marks: its own time range."""
_SERIES = "${series}"
_COLOURS = {
    "value": "#0072B2",
    "lower": "#56B4E9",
    "upper": "#56B4E9",
    "score": "#A8548B",
    "threshold": "#6B7280",
    "anomaly": "#D55E00",
}


def dashboard(database: str, dimensions: Sequence[str]) -> dict[str, Any]:
    """The dashboard's JSON model, to be imported into Grafana.

    Parameters
    ----------
    database : str
        Glue database, as given to ``python -m lake glue``.
    dimensions : sequence of str
        The job's dimensions.
    """
    queries = _Queries(dimensions)
    panels = [
        _stat("Number of Timeseries Tracked", queries.total("series_tracked", "series")),
        _stat("Number of Datapoints Processed", queries.total("points_processed", "points")),
        _stat("Anomaly Confidence Score", queries.total("confidence", "mean_confidence", "avg")),
        _chart(queries.chart()),
        _panel("table", "Series, most anomalies first", queries.plain("series_overview")),
        _panel("table", "Anomalies of the series", queries.plain("anomalies", _SERIES)),
        _panel("table", "Alerts a day and budget", queries.plain("daily_alert_budget")),
        _panel("table", "Late records and dead letters", queries.plain("late_and_dead")),
    ]
    places = [(0, 0, 8, 4), (8, 0, 8, 4), (16, 0, 8, 4), (0, 4, 24, 11)]
    places += [(0, 15, 12, 10), (12, 15, 12, 10), (0, 25, 12, 8), (12, 25, 12, 8)]
    for number, (panel, place) in enumerate(zip(panels, places, strict=True), 1):
        panel |= {"id": number, "gridPos": dict(zip("xywh", place, strict=True))}
        for target in panel["targets"]:
            target["connectionArgs"]["database"] = database
    return {
        "title": "Tidewatch",
        "uid": "tidewatch",
        "timezone": "utc",  # the lake's times are
        "time": {"from": "now-7d", "to": "now"},
        "refresh": "5m",
        "schemaVersion": 39,
        "templating": {"list": [_source(), _series(queries.names(), database)]},
        "panels": panels,
    }


class _Queries:
    """Named queries as Athena's SQL, with Grafana's variables where the marks are."""

    def __init__(self, dimensions: Sequence[str]) -> None:
        self._dimensions = dimensions

    def plain(self, name: str, series: str = "") -> str:
        return self._filled(name, series).sql("athena", pretty=True)

    def total(self, name: str, column: str, how: str = "sum") -> str:
        value = exp.func(how, exp.column(column)).as_(column)
        return self._around(name, [value])

    def chart(self) -> str:
        time = exp.cast(exp.column("time"), "timestamp").as_("time")
        anomaly = exp.case().when("decision = 1", "value").as_("anomaly")
        columns = ["value", "expected", "lower", "upper", "score", "threshold"]
        return self._around("score_chart", [time, *map(exp.column, columns), anomaly], _SERIES)

    def names(self) -> str:
        parts = [exp.column(name, quoted=True) for name in self._dimensions]
        words: list[exp.Expr] = [exp.func("coalesce", each, exp.convert("")) for each in parts]
        spaced = [word for each in words for word in (each, exp.convert(" "))]
        ends = [exp.convert("["), exp.column("series"), exp.convert("]")]
        label = exp.func("concat", exp.column("measure"), exp.convert(" "), *spaced, *ends)
        return self._around("series_overview", [label.as_("label")])

    def _around(self, name: str, columns: Sequence[exp.Expr], series: str = "") -> str:
        inner = exp.Subquery(this=self._filled(name, series), alias=exp.TableAlias(this="named"))
        return exp.select(*columns).from_(inner).sql("athena", pretty=True)

    def _filled(self, name: str, series: str) -> exp.Expr:
        values = Parameters(series=series).values() | _CHOSEN
        marks = {key: exp.convert(value) for key, value in values.items()}
        return fill(name, marks, self._dimensions)


def _panel(kind: str, title: str, statement: str) -> dict[str, Any]:
    return {
        "type": kind,
        "title": title,
        "datasource": {"type": PLUGIN, "uid": "${source}"},
        "fieldConfig": {"defaults": {}, "overrides": []},
        "options": {},
        "targets": [
            {
                "refId": "A",
                "datasource": {"type": PLUGIN, "uid": "${source}"},
                "format": _TABLE,
                "rawSQL": statement,
                "connectionArgs": {"region": "__default", "catalog": "__default"},
            }
        ],
    }


def _stat(title: str, statement: str) -> dict[str, Any]:
    panel = _panel("stat", title, statement)
    panel["options"] = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "none"}
    panel["fieldConfig"]["defaults"] = {"decimals": 1 if "Score" in title else 0}
    return panel


def _chart(statement: str) -> dict[str, Any]:
    panel = _panel("timeseries", "Measure, expected band, anomaly score", statement)
    panel["fieldConfig"]["overrides"] = [
        {
            "matcher": {"id": "byName", "options": name},
            "properties": [
                {"id": "color", "value": {"mode": "fixed", "fixedColor": colour}},
                *_style(name),
            ],
        }
        for name, colour in _COLOURS.items()
    ]
    return panel


def _style(name: str) -> list[dict[str, Any]]:
    if name in ("score", "threshold"):
        right: list[dict[str, Any]] = [
            {"id": "custom.axisPlacement", "value": "right"},
            {"id": "min", "value": 0},
            {"id": "max", "value": 100},
        ]
        dashed: dict[str, Any] = {
            "id": "custom.lineStyle",
            "value": {"fill": "dash", "dash": [6, 4]},
        }
        return [*right, dashed] if name == "threshold" else right
    if name == "anomaly":
        return [
            {"id": "custom.drawStyle", "value": "points"},
            {"id": "custom.pointSize", "value": 9},
        ]
    if name == "upper":
        return [
            {"id": "custom.fillBelowTo", "value": "lower"},
            {"id": "custom.lineWidth", "value": 0},
        ]
    return [{"id": "custom.lineWidth", "value": 0 if name == "lower" else 1}]


def _source() -> dict[str, Any]:
    return {"name": "source", "label": "Athena", "type": "datasource", "query": PLUGIN}


def _series(statement: str, database: str) -> dict[str, Any]:
    return {
        "name": "series",
        "label": "Series",
        "type": "query",
        "datasource": {"type": PLUGIN, "uid": "${source}"},
        "query": {
            "rawSQL": statement,
            "format": _TABLE,
            "connectionArgs": {
                "region": "__default",
                "catalog": "__default",
                "database": database,
            },
        },
        "regex": r"/(?<text>.*) \[(?<value>[0-9a-f]{64})\]/",
        "refresh": 2,
    }


def main(arguments: Sequence[str]) -> None:
    """Print the dashboard as JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m dashboard.grafana", description="Print a Grafana dashboard over Athena."
    )
    parser.add_argument("--database", required=True, help="the Glue database")
    parser.add_argument(
        "--dimension", action="append", default=[], metavar="NAME", help="once for each of the job"
    )
    asked = parser.parse_args(arguments)
    print(json.dumps(dashboard(asked.database, asked.dimension), indent=2))


if __name__ == "__main__":
    main(sys.argv[1:])
