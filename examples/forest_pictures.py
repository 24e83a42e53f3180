"""The pictures of docs/detectors/random_cut_forest.md.

``python -m examples.forest_pictures docs/detectors`` draws them anew.
"""

from __future__ import annotations

import sys
from pathlib import Path

import altair as alt
import numpy as np
from numpy.typing import NDArray

from detectors.model import ModelSpec, SeriesModel
from detectors.random_cut_forest import RandomCutForestParameters
from examples.series_layers import DARK_BLUE, GREY, INK, VERMILION

Floats = NDArray[np.float64]
WIDTH = 640
Record = dict[str, float | str | bool]


def main(folder: str) -> None:
    """Write every picture into ``folder``."""
    pictures = {"cuts": cuts(), "echo": echo(), "shift": shift()}
    for name, picture in pictures.items():
        picture.save(str(Path(folder) / f"random_cut_forest_{name}.svg"))


def cuts() -> alt.TopLevelMixin:
    """How few random cuts part a lone point from a cloud, and how many one inside it."""
    random = np.random.default_rng(4)
    cloud = random.normal(0.0, 1.0, (60, 2))
    lone, inner = np.array([5.0, 4.0]), cloud[np.abs(cloud).sum(axis=1).argmin()]
    points = np.vstack([cloud, lone])
    panels = []
    for title, target in (("a lone point", lone), ("a point of the cloud", inner)):
        boxes = _boxes_around(points, target, np.random.default_rng(1))
        base = alt.Chart(alt.InlineData(values=boxes)).mark_rect(filled=False, stroke=DARK_BLUE)
        drawn = base.encode(
            x=alt.X("left:Q", title="previous value"),
            x2="right:Q",
            y=alt.Y("bottom:Q", title="newest value"),
            y2="top:Q",
        )
        dots = alt.Chart(alt.InlineData(values=_dots(points, target))).mark_point(
            filled=True, size=36
        )
        coloured = dots.encode(
            x="x:Q",
            y="y:Q",
            color=alt.condition("datum.asked", alt.value(VERMILION), alt.value(GREY)),
        )
        heading = f"{title}: cuts until it is alone: {len(boxes) - 1}"
        panels.append((drawn + coloured).properties(width=280, height=240, title=heading))
    return alt.hconcat(*panels)


def _boxes_around(points: Floats, target: Floats, random: np.random.Generator) -> list[Record]:
    """The boxes, from all points down to the target alone, that random cuts leave around it."""
    boxes: list[Record] = []
    while True:
        low, high = points.min(axis=0), points.max(axis=0)
        boxes.append(
            {
                "left": float(low[0]),
                "right": float(high[0]),
                "bottom": float(low[1]),
                "top": float(high[1]),
            }
        )
        if len(points) == 1:
            return boxes
        side = int(random.choice(2, p=(high - low) / (high - low).sum()))
        cut = random.uniform(low[side], high[side])
        points = points[(points[:, side] <= cut) == (target[side] <= cut)]


def _dots(points: Floats, target: Floats) -> list[Record]:
    return [
        {"x": float(x), "y": float(y), "asked": bool(x == target[0] and y == target[1])}
        for x, y in points
    ]


def wave(rows: int) -> Floats:
    """A sine of period 25 with noise."""
    noise = np.random.default_rng(0).standard_normal(rows)
    values: Floats = np.sin(np.arange(rows) * 2 * np.pi / 25) + 0.1 * noise
    return values


def echo() -> alt.TopLevelMixin:
    """Two spikes in one shingle: the raw score stays high, the score does not."""
    values = wave(3000)
    values[[2500, 2504]] += 4.0
    return _rows(values, slice(2460, 2541), RandomCutForestParameters())


def shift() -> alt.TopLevelMixin:
    """A new level, with drift held back."""
    values = wave(3000)
    values[2500:] += 3.0
    return _rows(values, slice(2460, 2601), RandomCutForestParameters(drift_rows=5))


def _rows(values: Floats, rows: slice, parameters: RandomCutForestParameters) -> alt.TopLevelMixin:
    spec = ModelSpec("RandomCutForest", parameters)
    scores = SeriesModel(spec, 1).score_and_learn(values)
    held = np.array([row in scores.reasons for row in range(len(values))])
    panels = []
    for title, column in (("value", values), ("raw score", scores.raw), ("score", scores.score)):
        records = [
            {"row": row, title: float(column[row]), "held back": bool(held[row])}
            for row in range(rows.start, rows.stop)
        ]
        base = alt.Chart(alt.InlineData(values=records)).encode(
            x=alt.X("row:Q", scale=alt.Scale(zero=False)), y=alt.Y(f"{title}:Q")
        )
        layers = [base.mark_line(color=INK, strokeWidth=1)]
        if title == "score":
            limit = alt.Chart(alt.InlineData(values=[{"limit": 70.0}])).mark_rule(
                color=VERMILION, strokeDash=[4, 3]
            )
            marks = base.transform_filter("datum['held back']").mark_point(color=DARK_BLUE)
            layers += [limit.encode(y=alt.Y("limit:Q", title="score")), marks]
        panels.append(alt.layer(*layers).properties(width=WIDTH, height=110))
    return alt.vconcat(*panels)


if __name__ == "__main__":
    main(sys.argv[1])
