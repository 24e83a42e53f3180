"""The layers that a chart of one series is made of, and the palette of all charts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import altair as alt

DARK_BLUE, PALE_BLUE, BLUE = "#1f4e9c", "#a9c6ea", "#3b82f6"
PINK, VERMILION, INK, GREY = "#d6589f", "#d55e00", "#111827", "#9ca3af"

BAND, SCORE, THRESHOLD = "expected band", "anomaly score", "decision threshold"
DECIDED, INJECTED = "◆ anomaly decided", "△▽ injected anomaly"

TIME_FORMAT = "%Y-%m-%d %H:%M:%S"
TICK_FORMATS = {
    "seconds": "%H:%M:%S",
    "minutes": "%H:%M",
    "hours": "%H:%M",
    "day": "%b %d",
    "date": "%b %d",
    "week": "%b %d",
    "month": "%b %Y",
    "year": "%Y",
}
MARGIN = 12
"""Pixels above and below the values, so that no mark is cut at the edge."""


@dataclass(frozen=True)
class SeriesLayers:
    """Makes the layers; they share data, time axis and legend.

    Attributes
    ----------
    measure : str
        Title of the left axis.
    data : altair.InlineData
        Rows with ``time`` (milliseconds), ``value``, ``score``, ``decision`` and, where known,
        ``expected``, ``lower`` and ``upper``.
    fields : tuple of str
        Which of these the rows have.
    threshold : float or None
        Decision threshold, if the decision is taken on the score.
    shown : list of int or None
        First and last millisecond shown at first; None for all.
    decided, injected : bool
        Whether there is a decision, and an injected anomaly, to mark.
    """

    measure: str
    data: alt.InlineData
    fields: tuple[str, ...]
    threshold: float | None
    shown: list[int] | None
    decided: bool
    injected: bool

    def measure_line(self) -> alt.Chart:
        """Draw the measure."""
        line = alt.MarkDef(type="line", clip=True, strokeWidth=1.3)
        layer = self._layer(self.measure, line)
        return layer.encode(x=self._time(), y=self._value(), tooltip=self._tooltip())

    def expected_band(self) -> alt.Chart:
        """Draw what was expected, from ``lower`` to ``upper``."""
        layer = self._layer(BAND, alt.MarkDef(type="area", clip=True, opacity=0.6))
        return layer.encode(x=self._time(), y=self._value("lower"), y2=alt.Y2("upper"))

    def decision_marks(self) -> alt.Chart:
        """Draw a diamond on each value that was decided to be an anomaly."""
        diamond = alt.MarkDef(
            type="point", shape="diamond", filled=True, size=75, opacity=1, clip=True
        )
        layer = self._layer(DECIDED, diamond).transform_filter("datum.decision == 1")
        return layer.encode(x=self._time(), y=self._value(), tooltip=self._tooltip())

    def injected_marks(self, injected: list[dict[str, Any]]) -> alt.Chart:
        """Draw an open triangle around each injected value, pointing where it went.

        Rows of ``injected`` have ``start``, ``end`` (milliseconds), ``kind`` and ``value``.
        """
        triangle = alt.MarkDef(
            type="point", filled=False, size=240, strokeWidth=1.5, opacity=1, clip=True
        )
        shapes = alt.Scale(domain=["spike", "drop"], range=["triangle-up", "triangle-down"])
        return self._layer(INJECTED, triangle, alt.InlineData(values=injected)).encode(
            x=self._time("start"),
            y=self._value(),
            shape=alt.Shape("kind:N", scale=shapes, legend=None),
            tooltip=[
                alt.Tooltip("kind:N", title="injected"),
                alt.Tooltip("start:T", title="start (UTC)", format=TIME_FORMAT),
                alt.Tooltip("end:T", title="end (UTC)", format=TIME_FORMAT),
                alt.Tooltip("value:Q", title=self.measure),
            ],
        )

    def score_line(self) -> alt.Chart:
        """Draw the anomaly score."""
        line = alt.MarkDef(type="line", clip=True, strokeWidth=1, opacity=0.85)
        return self._layer(SCORE, line).encode(x=self._time(), y=self._score("score"))

    def threshold_rule(self) -> alt.Chart:
        """Draw the decision threshold."""
        rule = alt.MarkDef(type="rule", strokeDash=[6, 4], strokeWidth=1.4)
        data = alt.InlineData(values=[{"threshold": self.threshold}])
        return self._layer(THRESHOLD, rule, data).encode(y=self._score("threshold"))

    def _layer(
        self, entry: str, mark: alt.MarkDef, data: alt.InlineData | None = None
    ) -> alt.Chart:
        """Make a chart of the rows, or of ``data``, under one entry of the legend."""
        chart = alt.Chart(self.data if data is None else data, mark=mark)
        return chart.transform_calculate(entry=json.dumps(entry)).encode(color=self._colour())

    def _colour(self) -> alt.Color:
        shown = {
            self.measure: (DARK_BLUE, True),
            SCORE: (PINK, True),
            THRESHOLD: (BLUE, self.threshold is not None),
            BAND: (PALE_BLUE, "lower" in self.fields),
            DECIDED: (VERMILION, self.decided),
            INJECTED: (INK, self.injected),
        }
        colours = {entry: colour for entry, (colour, present) in shown.items() if present}
        scale = alt.Scale(domain=list(colours), range=list(colours.values()))
        legend = alt.Legend(orient="top", title=None, columns=2, symbolType="square")
        return alt.Color("entry:N", scale=scale, legend=legend)

    def _time(self, field: str = "time") -> alt.X:
        scale = alt.Scale(type="utc")
        if self.shown is not None:
            scale = alt.Scale(type="utc", domain=self.shown)
        axis = alt.Axis(title=None, grid=False, labelOverlap=True, tickCount=8, format=TICK_FORMATS)
        return alt.X(f"{field}:T", scale=scale, axis=axis)

    def _value(self, field: str = "value") -> alt.Y:
        axis = alt.Axis(title=self.measure, orient="left", titleColor=DARK_BLUE)
        return alt.Y(f"{field}:Q", axis=axis, scale=alt.Scale(padding=MARGIN, nice=False))

    def _score(self, field: str) -> alt.Y:
        axis = alt.Axis(title=SCORE, orient="right", titleColor=PINK, grid=False)
        scale = alt.Scale(domain=[0, 100], padding=MARGIN, nice=False)
        return alt.Y(f"{field}:Q", axis=axis, scale=scale)

    def _tooltip(self) -> list[alt.Tooltip]:
        expected = {"expected": "expected", "lower": "expected from", "upper": "expected to"}
        return [
            alt.Tooltip("time:T", title="period start (UTC)", format=TIME_FORMAT),
            alt.Tooltip("value:Q", title=self.measure, format=",.4~g"),
            alt.Tooltip("score:Q", title=SCORE, format=".1f"),
            *(
                alt.Tooltip(f"{field}:Q", title=title, format=",.4~g")
                for field, title in expected.items()
                if field in self.fields
            ),
        ]
