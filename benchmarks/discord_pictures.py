"""The pictures of docs/detectors/left_discord.md, from what the benchmarks reported.

python -m benchmarks.discord_accuracy --json > accuracy.json
python -m benchmarks.accuracy --set ucr --model RandomCutForest --column raw --json > forest.json
python -m benchmarks.discord_roads --json > roads.json
python -m benchmarks.discord_pictures accuracy.json forest.json roads.json docs/images
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt

from benchmarks.discord_accuracy import DEFAULTS, DIFFERENCES, VALUES
from examples.series_layers import DARK_BLUE, GREY

Report = Mapping[str, Any]

INGREDIENTS = {
    "values alone, no floor: the plain left matrix profile": "plain left profile",
    VALUES: "+ soft floor",
    DIFFERENCES: "differences alone",
    DEFAULTS: "both: the default",
    "|difference|": "|difference|",
}
CONTEXTS = {
    "context 1000": "1,000",
    "context 5000": "5,000",
    "context 10000": "10,000",
    DEFAULTS: "20,000",
}
WIDTH, CURVE_HEIGHT, SCALE = 420, 240, 1.25


def main(arguments: Sequence[str] | None = None) -> int:
    """Write every picture into the folder."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.discord_pictures")
    for name in ("accuracy", "forest", "roads"):
        parser.add_argument(name, type=Path, help=f"JSON report: see the module, {name}.json")
    parser.add_argument("folder", type=Path, help="where the pictures go")
    options = parser.parse_args(arguments)
    accuracy, forest, roads_report = (
        json.loads(path.read_text()) for path in (options.accuracy, options.forest, options.roads)
    )
    for name, picture in {
        "ingredients": ingredients(accuracy, forest),
        "thresholds": thresholds(accuracy),
        "contexts": contexts(accuracy),
        "roads": roads(roads_report),
    }.items():
        picture.save(str(options.folder / f"left_discord_{name}.png"), scale_factor=SCALE)
    return 0


def ingredients(accuracy: Report, forest: Report) -> alt.TopLevelMixin:
    """Accuracy of each ingredient, and of the peers."""
    found = {line["variant"]: line["accuracy"] for line in accuracy["ingredients"]}
    rows = [
        {"what": label, "accuracy": found[name], "ours": name == DEFAULTS}
        for name, label in INGREDIENTS.items()
    ]
    (trees,) = [
        line["ucr"]["accuracy"]
        for line in forest["results"]
        if line["detector"] == "RandomCutForest" and not line["quiet_rows"]
    ]
    rows.append({"what": "RandomCutForest", "accuracy": trees, "ours": False})
    y = alt.Y("what:N", sort=[row["what"] for row in rows], title=None)
    title = f"UCR accuracy, {accuracy['series']} series"
    x = alt.X("accuracy:Q", scale=alt.Scale(domain=[0, 1]), title=title)
    return _bars(rows, x, y, alt.Text("accuracy:Q", format=".3f"))


def thresholds(accuracy: Report) -> alt.TopLevelMixin:
    """Recall against false events, a line a kind of threshold."""
    rows = [
        {
            "threshold": line["threshold"].split(",")[0],
            "recall": line["recall"],
            "false": line["false_per_10000_training_rows"],
        }
        for line in accuracy["thresholds"]
    ]
    chart = alt.Chart(alt.InlineData(values=rows)).mark_line(point=True)
    title = "false events per 10,000 rows of the training parts"
    return chart.encode(
        x=alt.X("false:Q", title=title),
        y=alt.Y("recall:Q", scale=alt.Scale(domain=[0.3, 1.0])),
        color=alt.Color("threshold:N", sort=None),
        order="false:Q",
    ).properties(width=WIDTH, height=CURVE_HEIGHT)


def contexts(accuracy: Report) -> alt.TopLevelMixin:
    """Accuracy against speed, a point a context."""
    rows = [
        {
            "context": CONTEXTS[line["variant"]],
            "accuracy": line["accuracy"],
            "speed": line["rows_per_cpu_second"],
        }
        for line in accuracy["ingredients"]
        if line["variant"] in CONTEXTS
    ]
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=alt.X(
            "speed:Q",
            scale=alt.Scale(type="log"),
            axis=alt.Axis(values=[1e4, 3e4, 1e5, 3e5, 1e6], format="~s"),
            title="rows a CPU second, of the whole model",
        ),
        y=alt.Y("accuracy:Q", scale=alt.Scale(domain=[0.5, 0.95]), title="UCR accuracy"),
    )
    line = base.mark_line(point=True, color=DARK_BLUE)
    labels = base.mark_text(align="left", dx=8, dy=-8).encode(text="context:N")
    return (line + labels).properties(width=WIDTH, height=CURVE_HEIGHT, title="by context")


def roads(report: Report) -> alt.TopLevelMixin:
    """Points a CPU second of every way, a panel a context."""
    panels = []
    for context in sorted({line["context"] for line in report["roads"]}):
        rows = [
            {
                "way": line["way"],
                "rate": line["points_per_second"],
                "ours": line["way"].startswith("this kernel"),
            }
            for line in report["roads"]
            if line["context"] == context and "thread" not in line["way"]
        ]
        y = alt.Y("way:N", sort=[row["way"] for row in rows], title=None)
        # from 1,000 up: a bar on a logarithmic scale has no natural start
        scale = alt.Scale(type="log", domain=[1e3, 1e7], clamp=True)
        axis = alt.Axis(values=[10**k for k in range(3, 8)], format="~s")
        title = f"points a CPU second at a context of {context:,}"
        x = alt.X("rate:Q", scale=scale, axis=axis, title=title)
        panels.append(_bars(rows, x, y, alt.Text("rate:Q", format=",.0f")))
    return alt.vconcat(*panels)


def _bars(rows: Sequence[Mapping[str, Any]], x: alt.X, y: alt.Y, text: alt.Text) -> alt.LayerChart:
    """Bars with their figures beside them; those that are ours in the strong colour."""
    base = alt.Chart(alt.InlineData(values=list(rows))).encode(x=x, y=y)
    colour = alt.condition("datum.ours", alt.value(DARK_BLUE), alt.value(GREY))
    labels = base.mark_text(align="left", dx=4).encode(text=text)
    return (base.mark_bar().encode(color=colour) + labels).properties(width=WIDTH)


if __name__ == "__main__":
    sys.exit(main())
