"""The page's pictures.

The colours (Okabe and Ito, 2008) are told apart in every common colour blindness, and nothing is
told by colour alone: anomalies are diamonds, the threshold is dashed, the band is an area.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

BLUE, SKY, PURPLE, VERMILION, GREY = "#0072B2", "#56B4E9", "#A8548B", "#D55E00", "#6B7280"
TAGS = ("INITIALISING", "IS_NOT_ANOMALY", "IS_ANOMALY")
"""LeftDiscords' tags."""

_TIME = "%Y-%m-%d %H:%M:%S"
_BAND, _SCORE, _THRESHOLD = "expected band", "anomaly score", "decision threshold"
_ANOMALY = "◆ anomaly"
_TICKS = {
    "seconds": "%H:%M:%S",
    "minutes": "%H:%M",
    "hours": "%H:%M",
    "day": "%b %d",
    "date": "%b %d",
    "week": "%b %d",
    "month": "%b %Y",
    "year": "%Y",
}
_ALIGNED = alt.Axis(minExtent=105, labelLimit=105)
"""Makes room for the tags in all three plots, so that their times stand below each other."""
_DUE = ["too high", "too low"]
_ROWS = alt.Axis(labelOverlap=True, labelAngle=0)


def series_picture(rows: pd.DataFrame, measure: str, height: int = 330) -> alt.LayerChart:
    """Draw a series: measure and expected band on the left axis, score and threshold on the right.

    Parameters
    ----------
    rows : pandas.DataFrame
        Rows of the query ``score_chart``, at least one.
    measure : str
        Title of the left axis.
    height : int
        Pixels.
    """
    zoom = alt.selection_interval(bind="scales", encodings=["x"])
    left = [_band(rows, measure), _measure(rows, measure)]
    anomalies = rows[rows["decision"] == 1]
    if len(anomalies):
        left.append(_anomalies(anomalies, measure))
    right = [_scores(rows, measure)]
    thresholds = rows["threshold"].dropna()
    if len(thresholds):
        right.append(_threshold(float(thresholds.iloc[-1]), measure))
    sides = [alt.LayerChart(layer=right), alt.LayerChart(layer=left).add_params(zoom)]
    independent = alt.Resolve(scale=alt.ScaleResolveMap(y="independent"))
    return alt.LayerChart(layer=sides, resolve=independent, height=height)


def _colour(measure: str) -> alt.Color:
    entries = {
        measure: BLUE,
        _BAND: SKY,
        _SCORE: PURPLE,
        _THRESHOLD: GREY,
        _ANOMALY: VERMILION,
    }
    scale = alt.Scale(domain=list(entries), range=list(entries.values()))
    legend = alt.Legend(
        orient="top", title=None, columns=2, symbolType="square", symbolOpacity=1, labelLimit=200
    )
    return alt.Color("entry:N", scale=scale, legend=legend)


def _layer(rows: pd.DataFrame, entry: str, measure: str, **mark: Any) -> alt.Chart:
    chart = alt.Chart(rows, mark=alt.MarkDef(clip=True, **mark))
    return chart.transform_calculate(entry=json.dumps(entry)).encode(color=_colour(measure))


def _time() -> alt.X:
    return alt.X(
        "time:T",
        scale=alt.Scale(type="utc", padding=6),
        axis=alt.Axis(title=None, grid=False, labelOverlap=True, tickCount=6, format=_TICKS),
    )


def _left(field: str, measure: str) -> alt.Y:
    axis = alt.Axis(title=measure, titleColor=BLUE, orient="left")
    return alt.Y(f"{field}:Q", axis=axis, scale=alt.Scale(zero=False, padding=12))


def _right(field: str) -> alt.Y:
    axis = alt.Axis(
        title=_SCORE, titleColor=PURPLE, orient="right", grid=False, values=[0, 25, 50, 75, 100]
    )
    return alt.Y(f"{field}:Q", axis=axis, scale=alt.Scale(domain=[0, 100], padding=8, nice=False))


def _tooltip(measure: str) -> list[alt.Tooltip]:
    return [
        alt.Tooltip("time:T", title="time (UTC)", format=_TIME),
        alt.Tooltip("value:Q", title=measure, format=",.4~g"),
        alt.Tooltip("expected:Q", title="expected", format=",.4~g"),
        alt.Tooltip("lower:Q", title="expected from", format=",.4~g"),
        alt.Tooltip("upper:Q", title="expected to", format=",.4~g"),
        alt.Tooltip("score:Q", title=_SCORE, format=".1f"),
    ]


def _band(rows: pd.DataFrame, measure: str) -> alt.Chart:
    layer = _layer(rows, _BAND, measure, type="area", opacity=0.3)
    return layer.encode(x=_time(), y=_left("lower", measure), y2=alt.Y2("upper:Q"))


def _measure(rows: pd.DataFrame, measure: str) -> alt.Chart:
    layer = _layer(rows, measure, measure, type="line", strokeWidth=1.3)
    return layer.encode(x=_time(), y=_left("value", measure), tooltip=_tooltip(measure))


def _anomalies(rows: pd.DataFrame, measure: str) -> alt.Chart:
    mark = {"type": "point", "shape": "diamond", "filled": True, "size": 95, "opacity": 1}
    outlined = _layer(rows, _ANOMALY, measure, **mark, stroke="white", strokeWidth=0.8)
    return outlined.encode(x=_time(), y=_left("value", measure), tooltip=_tooltip(measure))


def _scores(rows: pd.DataFrame, measure: str) -> alt.Chart:
    layer = _layer(rows, _SCORE, measure, type="line", strokeWidth=1, opacity=0.75)
    return layer.encode(x=_time(), y=_right("score"))


def _threshold(threshold: float, measure: str) -> alt.Chart:
    data = pd.DataFrame({"threshold": [threshold]})
    layer = _layer(data, _THRESHOLD, measure, type="rule", strokeDash=[6, 4], strokeWidth=1.4)
    return layer.encode(y=_right("threshold"))


def discord_pictures(rows: pd.DataFrame, measure: str, height: int = 150) -> list[alt.Chart]:
    """Draw LeftDiscords' three plots: input, matrix profile, tags.

    Parameters
    ----------
    rows : pandas.DataFrame
        Rows of the query ``score_chart``, at least one.
    measure : str
        Title of the input's axis.
    height : int
        Pixels of the upper two; the tags take fewer.
    """
    tag = rows["decision"].map({0: TAGS[1], 1: TAGS[2]}).where(rows["stage"] != "LEARNING", TAGS[0])
    data = rows.assign(tag=tag)
    tooltip = [
        alt.Tooltip("time:T", title="time (UTC)", format=_TIME),
        alt.Tooltip("point:Q", title="row", format="d"),
        alt.Tooltip("value:Q", title=measure, format=",.4~g"),
        alt.Tooltip("raw_score:Q", title="matrix profile", format=",.4~g"),
        alt.Tooltip("tag:N", title="tag"),
    ]
    plots = [
        alt.Chart(data, height=height)
        .mark_line(color=colour, strokeWidth=1.2)
        .encode(
            x=_time(),
            y=alt.Y(f"{field}:Q", title=title, scale=alt.Scale(zero=False), axis=_ALIGNED),
            tooltip=tooltip,
        )
        for field, title, colour in (
            ("value", f"input: {measure}", BLUE),
            ("raw_score", "matrix profile", PURPLE),
        )
    ]
    by_tag = {
        "color": alt.Scale(domain=list(TAGS), range=[GREY, BLUE, VERMILION]),
        "shape": alt.Scale(domain=list(TAGS), range=["square", "square", "diamond"]),
    }
    tags = alt.Chart(data, height=height * 2 // 3).mark_point(filled=True, opacity=1)
    plots.append(
        tags.encode(
            x=_time(),
            y=alt.Y(
                "tag:N", title=None, scale=alt.Scale(domain=list(reversed(TAGS))), axis=_ALIGNED
            ),
            color=alt.Color("tag:N", legend=None, scale=by_tag["color"]),
            shape=alt.Shape("tag:N", legend=None, scale=by_tag["shape"]),
            size=alt.condition(f"datum.tag == '{TAGS[2]}'", alt.value(95), alt.value(12)),
            tooltip=tooltip,
        )
    )
    return plots


def attribution_picture(
    shares: Sequence[float], high: Sequence[float] | None, values: Sequence[float]
) -> alt.Chart:
    """Draw which of the last values bear the score; the newest is row 0.

    Parameters
    ----------
    shares : sequence of float
        Share of the score that each value bears, newest last.
    high : sequence of float, optional
        The part of each share that is due to values that were too high.
    values : sequence of float
        The values; NaN where the lake does not have them.
    """
    rows = range(1 - len(shares), 1)
    data = pd.DataFrame({"row": rows, "share": shares, "value": list(values), "due": "all"})
    if high is not None:
        above = data.assign(share=list(high), due=_DUE[0])
        below = data.assign(share=data["share"] - list(high), due=_DUE[1])
        data = pd.concat([above, below], ignore_index=True)
    legend = None if high is None else alt.Legend(orient="top", title=None)
    colours = alt.Scale(domain=["all"] if high is None else _DUE, range=[BLUE, SKY])
    chart: alt.Chart = (
        alt.Chart(data, height=220)
        .mark_bar()
        .encode(
            x=alt.X("row:O", title="rows before the anomaly", axis=_ROWS),
            y=alt.Y("share:Q", title="share of the score", axis=alt.Axis(format="%")),
            color=alt.Color("due:N", scale=colours, legend=legend),
            tooltip=[
                alt.Tooltip("row:O", title="row"),
                alt.Tooltip("value:Q", format=",.4~g"),
                alt.Tooltip("share:Q", format=".1%"),
                alt.Tooltip("due:N", title="due to"),
            ],
        )
    )
    return chart


def likeness_picture(shown: pd.DataFrame, measure: str) -> alt.LayerChart:
    """Draw an anomaly's stretch over the one most like it, both ending at row 0."""
    names = list(dict.fromkeys(shown["stretch"]))
    colours = alt.Scale(domain=names, range=[VERMILION, BLUE][: len(names)])
    dashes = alt.Scale(domain=names, range=[[1, 0], [5, 3]][: len(names)])
    legend = alt.Legend(orient="top", title=None, columns=1, labelLimit=300)
    lines = (
        alt.Chart(shown, height=260)
        .mark_line(strokeWidth=1.8, point=alt.OverlayMarkDef(size=18))
        .encode(
            x=alt.X("row:Q", title="rows from the anomaly", axis=alt.Axis(tickMinStep=1)),
            y=alt.Y("value:Q", title=measure, scale=alt.Scale(zero=False)),
            color=alt.Color("stretch:N", scale=colours, legend=legend),
            strokeDash=alt.StrokeDash("stretch:N", scale=dashes),
            tooltip=["stretch:N", "row:Q", alt.Tooltip("value:Q", format=",.4~g")],
        )
    )
    here = alt.Chart(pd.DataFrame({"row": [0]})).mark_rule(color=GREY, strokeDash=[2, 3])
    return alt.LayerChart(layer=[here.encode(x="row:Q"), lines])


def alerts_picture(days: pd.DataFrame) -> alt.LayerChart:
    """Draw alerts a day beside the budget; ``days`` has ``day``, ``alerts`` and ``budget``."""
    x = alt.X("day:T", title=None, scale=alt.Scale(type="utc"), axis=alt.Axis(format="%b %d"))
    bars = alt.Chart(days, height=160).mark_bar(color=BLUE)
    budget = alt.Chart(days).mark_line(color=GREY, strokeDash=[6, 4], interpolate="step")
    tooltip = [
        alt.Tooltip("day:T", format="%Y-%m-%d"),
        "alerts:Q",
        alt.Tooltip("budget:Q", format=".2f"),
    ]
    layers = [
        bars.encode(x=x, y=alt.Y("alerts:Q", title="alerts (dashed: budget)"), tooltip=tooltip),
        budget.encode(x=x, y="budget:Q"),
    ]
    return alt.LayerChart(layer=layers)
