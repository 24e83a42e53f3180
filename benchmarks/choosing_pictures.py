"""The pictures of docs/detectors/choosing.md, from rows of the development sets.

python -m benchmarks.choosing_pictures --data DIR docs/images
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import altair as alt
import numpy as np

from benchmarks.accuracy import series_seed
from benchmarks.datasets import Series, data_folder, load
from detectors.ensemble import EnsembleParameters
from detectors.left_discord import LeftDiscordParameters
from detectors.model import ModelSpec, SeriesModel
from detectors.random_cut_forest import RandomCutForestParameters
from examples.series_layers import DARK_BLUE, GREY, VERMILION

SPECS = {
    "Ensemble": ModelSpec("Ensemble", EnsembleParameters()),
    "RandomCutForest": ModelSpec("RandomCutForest", RandomCutForestParameters()),
    "LeftDiscord": ModelSpec("LeftDiscord", LeftDiscordParameters()),
}
WIDTH, VALUES_HEIGHT, SCORE_HEIGHT = 600, 90, 45

CASES = {
    "taxi": ("nab", "realKnownCause/nyc_taxi", 5700, 6500),
    "kpi": ("wsd", "wsd_058", None, 500),
    "heart": ("ucr", "InternalBleeding16", None, 900),
}
"""Set, series, first and last row; without a first row so many rows about its first window."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write every picture into the folder."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.choosing_pictures")
    parser.add_argument("--data", metavar="DIR", help="folder of the sets (or TIDEWATCH_DATA)")
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    for name, (set_name, series_id, first, last) in CASES.items():
        every = load(data_folder(options.data), set_name)
        (series,) = [one for one in every if one.series_id == series_id]
        if first is None:
            middle = series.windows[0][0]
            first, last = max(middle - last // 2, 0), middle + last // 2
        picture(series, first, last).save(str(options.folder / f"choosing_{name}.png"))
    return 0


def picture(series: Series, first: int, last: int) -> alt.TopLevelMixin:
    """The values with their labelled windows, and the score of each detector below."""
    rows = np.arange(first, min(last, len(series.values)))
    x = alt.X("row:Q", title=None, scale=alt.Scale(domain=[first, int(rows[-1])], nice=False))
    windows = [{"row": a, "to": b + 1} for a, b in series.windows if a <= rows[-1] and b >= first]
    shade = alt.Chart(alt.InlineData(values=windows)).mark_rect(color=VERMILION, opacity=0.2)
    data = [{"row": int(i), "value": float(series.values[i])} for i in rows]
    line = alt.Chart(alt.InlineData(values=data)).mark_line(strokeWidth=1, color=DARK_BLUE)
    values = shade.encode(x=x, x2="to:Q") + line.encode(
        x=x, y=alt.Y("value:Q", title=None, scale=alt.Scale(zero=False))
    )
    panels = [values.properties(width=WIDTH, height=VALUES_HEIGHT, title=series.series_id)]
    for name, spec in SPECS.items():
        model = SeriesModel(spec, series_seed(series.series_id))
        score = model.score_and_learn(
            series.values[: rows[-1] + 1],
            series.times[: rows[-1] + 1] if series.has_clock else None,
        ).score
        data = [{"row": int(i), "score": float(score[i])} for i in rows]
        bars = alt.Chart(alt.InlineData(values=data)).mark_area(color=GREY)
        limit = alt.Chart(alt.InlineData(values=[{"at": 70}])).mark_rule(strokeDash=[4, 3])
        drawn = bars.encode(
            x=x, y=alt.Y("score:Q", title=None, scale=alt.Scale(domain=[0, 100]))
        ) + limit.encode(y="at:Q")
        panels.append(drawn.properties(width=WIDTH, height=SCORE_HEIGHT, title=name))
    stacked = alt.vconcat(*panels, spacing=4)
    return stacked.configure_title(fontSize=11, anchor="start", offset=2).configure_axis(grid=False)


if __name__ == "__main__":
    sys.exit(main())
