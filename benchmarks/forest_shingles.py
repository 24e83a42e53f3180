"""The forest's accuracy by shingle size, beside the trivial floor and the peers.

    python -m benchmarks.forest_shingles --data DIR --sets nab wsd ucr --picture curve.svg

The default forest but for its shingle size, by score and by raw score, over whole development sets;
of UCR, most of whose rows are in a few long series, ``--longest`` can leave these out. Everything
else is `benchmarks.accuracy`'s: the same seeds, the same quiet period for all.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.accuracy import SETS, Contestant, measure, up_to
from benchmarks.datasets import DatasetError, data_folder, load
from benchmarks.peers import JAVA_PEERS, PEERS
from benchmarks.scoring.nab import PROFILES
from detectors.model import ModelSpec
from detectors.random_cut_forest import RandomCutForestParameters

SIZES = (1, 2, 4, 8, 16, 32)
COLUMNS = ("score", "raw")
MEASURES = {"nab": ("NAB", "VUS-PR"), "wsd": ("VUS-PR",), "ucr": ("UCR accuracy",)}
"""What each set is measured by. UCR's series are so long that its VUS-PR would take hours."""
TABLE_WIDTH = 100


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure as the command line says; 0, or 2 with one message if it asks for the impossible."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        contestants = _contestants(options)
        sets = {name: load(data_folder(options.data), name) for name in options.sets}
        if "ucr" in sets and options.longest is not None:
            sets["ucr"] = up_to(sets["ucr"], options.longest)
    except (DatasetError, ValueError) as error:
        parser.error(str(error))
    rows: list[dict[str, Any]] = []
    for name, series in sets.items():
        report = measure(name, series, contestants, "VUS-PR" in MEASURES[name], options.workers)
        rows += _rows(name, report)
        if options.json:
            print(json.dumps(rows[-len(contestants) :], allow_nan=False), flush=True)
    if not options.json:
        Console(width=max(Console().width, TABLE_WIDTH)).print(_table(rows))
    if options.picture:
        picture(rows).save(options.picture)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.forest_shingles",
        description="The forest's accuracy by shingle size.",
    )
    parser.add_argument("--data", metavar="DIR", help="folder of the sets (or TIDEWATCH_DATA)")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES), metavar="N")
    parser.add_argument("--columns", nargs="+", default=list(COLUMNS), choices=COLUMNS)
    parser.add_argument(
        "--longest", type=int, metavar="ROWS", help="of UCR, only series of at most so many rows"
    )
    parser.add_argument("--java-peers", action="store_true", help="the AWS forest too")
    parser.add_argument("--workers", type=int, default=2, help="processes, default 2")
    parser.add_argument("--picture", metavar="SVG", help="draw the curve into this file")
    parser.add_argument("--json", action="store_true", help="a JSON list a set, not a table")
    return parser


def _contestants(options: argparse.Namespace) -> list[Contestant]:
    forests = [
        Contestant(_name(column, size), ModelSpec("RandomCutForest", parameters), column)
        for size in options.sizes
        for parameters in (RandomCutForestParameters(shingle_size=size),)
        for column in options.columns
    ]
    peers = (*PEERS, *(JAVA_PEERS if options.java_peers else ()))
    return [*forests, *(Contestant(name) for name in peers)]


def _name(column: str, size: int) -> str:
    return f"{column}, shingle {size}"


def _rows(set_name: str, report: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a contestant: NAB with the quiet period, all else without it."""
    rows: dict[str, dict[str, Any]] = {}
    for result in report["results"]:
        row = rows.setdefault(
            result["detector"],
            {"set": set_name, "series": report["series"], "detector": result["detector"]},
        )
        if result["parameters"]:
            row |= {"column": result["column"], "shingle": result["parameters"]["shingle_size"]}
        if result["quiet_rows"] and "nab" in result:
            row["NAB"] = [result["nab"][profile]["score"] for profile in PROFILES]
        if not result["quiet_rows"]:
            if "vus_pr" in result:
                row["VUS-PR"] = result["vus_pr"]
            if "ucr" in result:
                row["UCR accuracy"] = result["ucr"]["accuracy"]
                row["per recording"] = result["ucr"]["accuracy_per_recording"]
    return list(rows.values())


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return " / ".join(f"{one:.1f}" for one in value)
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _table(rows: list[dict[str, Any]]) -> Table:
    headings = ("set", "series", "detector", "NAB", "VUS-PR", "UCR accuracy", "per recording")
    table = Table(*headings, box=SIMPLE_HEAD)
    for row in rows:
        table.add_row(*(_cell(row.get(heading)) for heading in headings))
    return table


def picture(rows: list[dict[str, Any]]) -> Any:
    """An altair chart, a panel a set and measure: the forest by shingle size, peers as lines."""
    # imported here: who wants the figures alone needs no altair
    import altair as alt

    panels = [
        _panel([row for row in rows if row["set"] == name], name, measured)
        for name in dict.fromkeys(row["set"] for row in rows)
        for measured in MEASURES[name]
    ]
    return alt.hconcat(*panels)


def _panel(rows: list[dict[str, Any]], name: str, measured: str) -> Any:
    import altair as alt

    points = [
        {
            "of": row.get("column", row["detector"]),
            "shingle": row.get("shingle"),
            measured: row[measured][0] if measured == "NAB" else row[measured],
        }
        for row in rows
    ]
    level = alt.Y(f"{measured}:Q")
    color = alt.Color("of:N", title=None)
    forest = alt.Chart(alt.InlineData(values=[p for p in points if p["shingle"]]))
    peers = alt.Chart(alt.InlineData(values=[p for p in points if not p["shingle"]]))
    size = alt.X("shingle:Q", scale=alt.Scale(type="log", base=2), title="shingle size")
    return alt.layer(
        forest.mark_line(point=True).encode(x=size, y=level, color=color),
        peers.mark_rule(strokeDash=[4, 3]).encode(y=level, color=color),
    ).properties(width=170, height=170, title=f"{name.upper()}: {measured}")


if __name__ == "__main__":
    sys.exit(main())
