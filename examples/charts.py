"""Charts of results: a series with its anomaly scores, and a left discord's matrix profile.

They take plain result rows: a pyarrow table, a pandas data frame or a list of mappings, with the
names of the result fields. Long series are reduced (`examples.decimation`) without losing a
decision or an extreme, so that a page of charts stays small.

The colours are told apart in every common colour blindness, and nothing is told by colour alone:
decisions and injected anomalies have shapes of their own, the threshold is dashed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import altair as alt
import numpy as np

from examples.decimation import BUCKETS, decimate
from examples.result_rows import (
    Columns,
    Rows,
    ascending,
    chart_data,
    instants,
    milliseconds,
    numbers,
    plain,
    table_of,
)
from examples.series_layers import DARK_BLUE, GREY, INK, PINK, VERMILION, SeriesLayers

DEFAULT_THRESHOLD = 70.0
TAGS = ("INITIALISING", "IS_NOT_ANOMALY", "IS_ANOMALY")

THEME = {
    "font": "system-ui, -apple-system, 'Segoe UI', Roboto, Arial, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "domainColor": GREY,
        "gridColor": "#eceff3",
        "labelColor": "#4b5563",
        "labelFontSize": 11,
        "tickColor": GREY,
        "titleColor": "#4b5563",
        "titleFontSize": 12,
        "titleFontWeight": 600,
    },
    "legend": {"labelFontSize": 12, "symbolOpacity": 1, "symbolSize": 90},
}
"""Vega-Lite configuration that the charts look best with; the page that shows them applies it."""


def series_chart(
    rows: Rows,
    *,
    ground_truth: Iterable[Mapping[str, Any]] = (),
    window: tuple[datetime | str, datetime | str] | None = None,
    buckets: int = BUCKETS,
    width: int | str = "container",
    height: int = 300,
) -> alt.LayerChart:
    """Draw one series: measure and expected band on the left axis, score on the right.

    Parameters
    ----------
    rows : pyarrow.Table, pandas.DataFrame or sequence of mapping
        Results of one series, in any order, with ``detectionPeriodStartTime``,
        ``aggregatedMeasureValue``, ``anomalyScore`` and ``anomalyDecision``; where present also
        ``anomalyDecisionThreshold``, ``expectedValue``, ``expectedLower``, ``expectedUpper`` and
        ``measure``.
    ground_truth : iterable of mapping
        The series' injected anomalies: ``kind`` (``spike`` or ``drop``), ``start``, ``end``.
    window : (start, end), optional
        What is shown at first, with every row of it; the whole series by default. The reader can
        zoom and pan to the rest.
    buckets : int
        Resolution outside ``window``, see `examples.decimation.decimate`.
    width, height : int or "container", int
        Size in pixels.

    Raises
    ------
    ValueError
        If there are no rows, a field is missing, or the rows are of several series.
    """
    series = _series(rows)
    columns = series.columns
    shown = None if window is None else [milliseconds(instant) for instant in window]
    decided = columns["decision"] == 1
    kept = decimate(columns["time"], [columns["value"], columns["score"]], decided, buckets)
    if shown is not None:
        inside = (columns["time"] >= shown[0]) & (columns["time"] <= shown[1])
        kept = np.union1d(kept, np.flatnonzero(inside))
    injected = [_injected(injection, columns) for injection in ground_truth]
    layers = SeriesLayers(
        measure=series.measure,
        data=alt.InlineData(values=chart_data(columns, kept)),
        fields=tuple(columns),
        threshold=series.threshold,
        shown=shown,
        decided=bool(decided.any()),
        injected=bool(injected),
    )
    chart = alt.LayerChart(
        layer=[_right(layers), _left(layers, injected)],
        resolve=alt.Resolve(scale=alt.ScaleResolveMap(y="independent")),
    )
    return chart.properties(width=width, height=height)


def discord_charts(
    rows: Rows,
    *,
    ground_truth: Iterable[Mapping[str, Any]] = (),
    buckets: int = BUCKETS,
    width: int = 800,
    height: int = 150,
) -> alt.VConcatChart:
    """Draw a left discord's input, matrix profile and tags, one above the other.

    Parameters
    ----------
    rows : pyarrow.Table, pandas.DataFrame or sequence of mapping
        Results with ``index``, ``input``, ``mp`` and ``anomalyTag``, in any order.
    ground_truth : iterable of mapping
        Odd shapes: ``kind``, and ``first`` and ``last`` counted like ``index``.
    buckets : int
        See `examples.decimation.decimate`.
    width, height : int
        Size of a plot in pixels; that of the tags is half as high. The topmost one is zoomed by
        the reader, the others follow.

    Raises
    ------
    ValueError
        If there are no rows or a field is missing.
    """
    table = table_of(rows, ("index", "input", "mp", "anomalyTag"))
    columns: Columns = {name: numbers(table, name) for name in ("index", "input", "mp")}
    columns["anomalyTag"] = np.array(table["anomalyTag"].to_pylist(), object)
    columns = ascending(columns, by="index")
    tagged = columns["anomalyTag"] == TAGS[-1]
    kept = decimate(columns["index"], [columns["input"], columns["mp"]], tagged, buckets)
    data = alt.InlineData(values=chart_data(columns, kept))
    unnumbered = alt.X("index:Q", title=None, axis=alt.Axis(labels=False, ticks=False))
    lines = [
        _line(data, DARK_BLUE).encode(
            x=unnumbered, y=alt.Y("input:Q", title="input", scale=alt.Scale(zero=False))
        ),
        _line(data, PINK).encode(x=unnumbered, y=alt.Y("mp:Q", title="matrix profile")),
    ]
    zoom = alt.selection_interval(name="zoom", bind="scales", encodings=["x"])
    shapes = [dict(shape) for shape in ground_truth]
    above = alt.LayerChart(layer=[*([_spans(shapes)] if shapes else []), lines[0].add_params(zoom)])
    return alt.vconcat(
        above.properties(width=width, height=height),
        lines[1].properties(width=width, height=height),
        _tags(data).properties(width=width, height=height // 2),
        spacing=8,
        resolve=alt.Resolve(scale=alt.ScaleResolveMap(x="shared")),
    )


@dataclass(frozen=True)
class _Series:
    """Rows of one series as columns, by short names, ascending in time.

    ``threshold`` is the newest row's; None where the decision was not taken on the score.
    """

    measure: str
    threshold: float | None
    columns: Columns


def _series(rows: Rows) -> _Series:
    needed = ("detectionPeriodStartTime", "aggregatedMeasureValue", "anomalyScore")
    table = table_of(rows, (*needed, "anomalyDecision"))
    present = set(table.column_names)
    if "timeseriesId" in present:
        several = len(set(table["timeseriesId"].to_pylist()))
        if several > 1:
            raise ValueError(f"rows must be of 1 series, got {several}")
    columns: Columns = {
        "time": instants(table, "detectionPeriodStartTime"),
        "value": numbers(table, "aggregatedMeasureValue"),
        "score": numbers(table, "anomalyScore"),
        "decision": numbers(table, "anomalyDecision").astype(np.int64),
    }
    if "expectedValue" in present:
        columns["expected"] = numbers(table, "expectedValue")
    if {"expectedLower", "expectedUpper"} <= present:
        columns["lower"] = numbers(table, "expectedLower")
        columns["upper"] = numbers(table, "expectedUpper")
    measure = str(table["measure"][0].as_py()) if "measure" in present else "value"
    threshold: float | None = DEFAULT_THRESHOLD
    if "anomalyDecisionThreshold" in present:
        newest = int(np.argmax(columns["time"]))
        threshold = plain(float(numbers(table, "anomalyDecisionThreshold")[newest]))
    return _Series(measure, threshold, ascending(columns, by="time"))


def _injected(injection: Mapping[str, Any], columns: Columns) -> dict[str, Any]:
    """Add to an injected anomaly the value of its first period, where its mark is drawn."""
    start = milliseconds(injection["start"])
    index = min(int(np.searchsorted(columns["time"], start)), columns["time"].size - 1)
    return {
        "start": start,
        "end": milliseconds(injection["end"]),
        "kind": injection["kind"],
        "value": plain(float(columns["value"][index])),
    }


def _left(layers: SeriesLayers, injected: list[dict[str, Any]]) -> alt.LayerChart:
    marks = [layers.expected_band()] if "lower" in layers.fields else []
    marks.append(layers.measure_line())
    if injected:
        marks.append(layers.injected_marks(injected))
    if layers.decided:
        marks.append(layers.decision_marks())
    zoom = alt.selection_interval(name="zoom", bind="scales", encodings=["x"])
    return alt.LayerChart(layer=marks).add_params(zoom)


def _right(layers: SeriesLayers) -> alt.LayerChart:
    marks = [layers.score_line()]
    if layers.threshold is not None:
        marks.append(layers.threshold_rule())
    return alt.LayerChart(layer=marks)


def _line(data: alt.InlineData, colour: str) -> alt.Chart:
    mark = alt.MarkDef(type="line", clip=True, color=colour, strokeWidth=1.2)
    return alt.Chart(data, mark=mark).encode(tooltip=_discord_tooltip())


def _spans(shapes: list[dict[str, Any]]) -> alt.Chart:
    mark = alt.MarkDef(type="rect", clip=True, color=INK, opacity=0.14)
    return alt.Chart(alt.InlineData(values=shapes), mark=mark).encode(
        x=alt.X("first:Q"), x2=alt.X2("last:Q"), tooltip=["kind:N", "first:Q", "last:Q"]
    )


def _tags(data: alt.InlineData) -> alt.Chart:
    tag = "anomalyTag:N"
    size = alt.condition(f"datum.anomalyTag == '{TAGS[-1]}'", alt.value(70), alt.value(8))
    mark = alt.MarkDef(type="point", clip=True, filled=True, opacity=1)
    return alt.Chart(data, mark=mark).encode(
        x=alt.X("index:Q", title="index", axis=alt.Axis(format="d", labelOverlap=True)),
        y=alt.Y(tag, title=None, scale=alt.Scale(domain=list(reversed(TAGS)))),
        color=alt.Color(tag, legend=None, scale=_by_tag([GREY, DARK_BLUE, VERMILION])),
        shape=alt.Shape(tag, legend=None, scale=_by_tag(["square", "square", "diamond"])),
        size=size,
        tooltip=_discord_tooltip(),
    )


def _by_tag(values: list[str]) -> alt.Scale:
    return alt.Scale(domain=list(TAGS), range=values)


def _discord_tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("index:Q", format="d"),
        alt.Tooltip("input:Q", format=".4~g"),
        alt.Tooltip("mp:Q", title="matrix profile", format=".4~g"),
        alt.Tooltip("anomalyTag:N", title="tag"),
    ]
