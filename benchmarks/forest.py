"""Our random cut forest beside the AWS Java library: speed, size, and agreement of the scores.

    python -m benchmarks.forest --data DIR --json

*Speed*: both sides take turns in one run, on the same values, and are timed by the CPU clock of the
one thread that scores; the figure is the median over the turns of the ratio within a turn. ``core``
is score and update; ``full`` is all that a point costs: the Java ThresholdedRandomCutForest
(normalising, auto-adjusting) beside our `SeriesModel` (calibration, expectation, explanation of
candidates). ``long`` is one series, ``many`` are short ones, each with a new model inside the time.

*Agreement*: raw scores of the same series by several seeds of each side, compared pair by pair by
rank correlation (Spearman) and by the overlap of the highest 1 %. Two seeds of the reference do not
agree entirely either; their interval is the yardstick.

Where there is no Java or no Maven, ours is measured alone, and the report says so.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.datasets import DatasetError, data_folder, load
from benchmarks.java_forest import JavaError, JavaForest
from benchmarks.machine import machine
from detectors._forest_layout import Forest
from detectors._forest_sample import learn
from detectors._forest_score import score
from detectors.model import ModelSpec, SeriesModel
from detectors.random_cut_forest import RandomCutForest, RandomCutForestParameters

Floats = NDArray[np.float64]

SETTINGS = ((8, 50), (4, 100), (8, 30))
"""Shingle size and number of trees."""
SAMPLE_SIZE = 256
SHAPES = {"long": 1, "many": 24}
"""How many series the points are."""
KINDS = ("core", "full")
LEAST_RATIO = {"core": 3.5, "full": 3.0}
"""What ours is held to, in points a CPU second over the reference's."""

REAL_SERIES = (
    "realKnownCause/nyc_taxi",
    "realKnownCause/machine_temperature_system_failure",
    "realKnownCause/ambient_temperature_system_failure",
    "realAWSCloudwatch/ec2_cpu_utilization_5f5533",
)
SYNTHETIC_ROWS = 20_000
SETTLED_ROWS = 500
"""Rows left out of the agreement: the first scores of any side hang on little."""
STATE_ROWS = 20_000
STATE_REPEATS = 50
TABLE_WIDTH = 100


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure as the command line says; 0, or 2 with one message if it asks for the impossible."""
    parser = _parser()
    options = parser.parse_args(arguments)
    for name in ("turns", "points", "seeds"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be >= 1, got {getattr(options, name)}")
    try:
        series = _agreement_series(options.data) if options.seeds > 1 else {}
    except DatasetError as error:
        parser.error(str(error))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tidewatch-forest-")))
        java, reason = _opponent(stack, folder)
        report = {
            "machine": machine(),
            "java": reason or "measured",
            "speed": _speed(java, options.turns, options.points),
            "size": [_size(java, *setting) for setting in SETTINGS],
            "agreement": [_agreement(java, *one, options.seeds) for one in series.items()],
        }
    if options.json:
        print(json.dumps(report, allow_nan=False))
    else:
        _print(report)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.forest",
        description="Our random cut forest beside the AWS Java library.",
    )
    parser.add_argument("--data", metavar="DIR", help="folder of the NAB set (or TIDEWATCH_DATA)")
    parser.add_argument("--turns", type=int, default=5, help="of each setting, default %(default)s")
    parser.add_argument("--points", type=int, default=12_000, help="a turn, default %(default)s")
    parser.add_argument(
        "--seeds",
        type=int,
        default=5,
        help="a side for the agreement, default %(default)s; 1: none",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    return parser


def _opponent(stack: contextlib.ExitStack, folder: Path) -> tuple[JavaForest | None, str | None]:
    """The JVM, or why there is none."""
    try:
        return stack.enter_context(JavaForest(folder)), None
    except JavaError as error:
        return None, f"not measured: {error}"


# --- speed --------------------------------------------------------------------------------------


def _speed(java: JavaForest | None, turns: int, points: int) -> list[dict[str, Any]]:
    values = sine_with_spikes(points, seed=1)
    cases = list(itertools.product(SETTINGS, SHAPES.items(), KINDS))
    return [_speed_of(java, turns, values, *case) for case in cases]


def _speed_of(
    java: JavaForest | None,
    turns: int,
    values: Floats,
    setting: tuple[int, int],
    shape: tuple[str, int],
    kind: str,
) -> dict[str, Any]:
    shingle, trees = setting
    points = len(values) // shape[1]
    ours, theirs = [], []
    for turn in range(-1, turns):  # the first turn compiles, on both sides
        own = _timed(_RUNS[kind], shingle, trees, values, points)
        other = java.score(kind, shingle, trees, 1, values, points)[1] if java else None
        if turn >= 0:
            ours.append(len(values) / own)
            theirs.append(len(values) / other if other else None)
    result: dict[str, Any] = {
        "shingle_size": shingle,
        "trees": trees,
        "series": shape[0],
        "kind": kind,
        "points_per_cpu_second": round(statistics.median(ours)),
    }
    if java:
        ratios = [one / other for one, other in zip(ours, theirs, strict=True) if other]
        result["java_points_per_cpu_second"] = round(
            statistics.median(other for other in theirs if other)
        )
        result["ratio"] = round(statistics.median(ratios), 2)
        result["ratios"] = [round(ratio, 2) for ratio in ratios]
        result["holds"] = result["ratio"] >= LEAST_RATIO[kind]
    return result


def _parameters(shingle: int, trees: int) -> RandomCutForestParameters:
    """Both sides keep 256 points a tree, with the same time decay."""
    return RandomCutForestParameters(
        shingle_size=shingle, number_of_trees=trees, sample_size=SAMPLE_SIZE
    )


def _timed(run: Callable[..., object], *arguments: object) -> float:
    start = time.thread_time()
    run(*arguments)
    return time.thread_time() - start


def _run_core(shingle: int, trees: int, values: Floats, points: int) -> Floats:
    parameters = _parameters(shingle, trees)
    scores = np.empty(len(values))
    for first in range(0, len(values), points):
        one = slice(first, first + points)
        forest = RandomCutForest(parameters, first)
        _score_and_learn(forest._forest, values[one], scores[one])  # noqa: SLF001
    return scores


@njit(nogil=True, error_model="numpy")
def _score_and_learn(forest: Forest, values: Floats, scores: Floats) -> None:
    for i in range(values.shape[0]):
        scores[i] = score(forest, values[i : i + 1])
        learn(forest, values[i : i + 1], True)


def _run_full(shingle: int, trees: int, values: Floats, points: int) -> None:
    parameters = _parameters(shingle, trees)
    spec = ModelSpec("RandomCutForest", parameters)
    for first in range(0, len(values), points):
        SeriesModel(spec, first).score_and_learn(values[first : first + points])


_RUNS: dict[str, Callable[..., object]] = {"core": _run_core, "full": _run_full}


# --- size ---------------------------------------------------------------------------------------


def _size(java: JavaForest | None, shingle: int, trees: int) -> dict[str, Any]:
    """Memory of a live model, bytes of its snapshot, and CPU seconds to write and to read that."""
    parameters = _parameters(shingle, trees)
    spec = ModelSpec("RandomCutForest", parameters)
    model = SeriesModel(spec, 1)
    values = sine_with_spikes(STATE_ROWS, seed=1)
    model.score_and_learn(values)
    state = model.to_bytes()
    SeriesModel(spec, 1, state)
    result: dict[str, Any] = {
        "shingle_size": shingle,
        "trees": trees,
        "memory_bytes": model.state_bytes,
        "snapshot_bytes": len(state),
        "write_seconds": _typical(model.to_bytes),
        "read_seconds": _typical(SeriesModel, spec, 1, state),
    }
    if java:
        theirs = java.state(shingle, trees, 1, values)
        result["java_memory_bytes"] = java.heap(shingle, trees, 1, values[:3000])
        result["java_snapshot_bytes"] = theirs.size
        result["java_write_seconds"] = theirs.write_seconds
        result["java_read_seconds"] = theirs.read_seconds
    return result


def _typical(run: Callable[..., object], *arguments: object) -> float:
    return statistics.median(_timed(run, *arguments) for _ in range(STATE_REPEATS))


# --- agreement ----------------------------------------------------------------------------------


def _agreement_series(data: str | None) -> dict[str, Floats]:
    named = {one.series_id: one.values for one in load(data_folder(data), "nab")}
    missing = [name for name in REAL_SERIES if name not in named]
    if missing:
        raise DatasetError(f"set 'nab' lacks the series {', '.join(missing)}")
    return {
        **{name: named[name] for name in REAL_SERIES},
        "synthetic/sine_with_spikes": sine_with_spikes(SYNTHETIC_ROWS, seed=2),
        "synthetic/days_with_a_shift": days_with_a_shift(SYNTHETIC_ROWS, seed=3),
    }


def sine_with_spikes(rows: int, seed: int) -> Floats:
    """A sine of period 50 with noise of a tenth of its height, and a spike in a thousand rows."""
    random = np.random.default_rng(seed)
    values = np.sin(np.arange(rows) * 2 * np.pi / 50) + 0.1 * random.standard_normal(rows)
    values[random.integers(0, rows, max(rows // 1000, 1))] += 3.0
    return values


def days_with_a_shift(rows: int, seed: int) -> Floats:
    """Days of 288 rows whose heights differ, with noise; the level shifts after two thirds."""
    random = np.random.default_rng(seed)
    phase = np.arange(rows) % 288 / 288
    heights = np.repeat(random.uniform(0.8, 1.2, rows // 288 + 1), 288)[:rows]
    values = 10.0 * heights * np.exp(-(((phase - 0.6) / 0.2) ** 2))
    values += 0.5 * random.standard_normal(rows)
    values[2 * rows // 3 :] += 5.0
    return values


def _agreement(java: JavaForest | None, name: str, values: Floats, seeds: int) -> dict[str, Any]:
    shingle, trees = SETTINGS[0]
    ours = [_seeded(shingle, trees, seed, values) for seed in range(1, seeds + 1)]
    result: dict[str, Any] = {"series": name, "rows": len(values)}
    result["ours"] = _of_pairs(itertools.combinations(ours, 2))
    if java:
        theirs = [
            java.score("core", shingle, trees, seed, values, len(values))[0]
            for seed in range(1, seeds + 1)
        ]
        result["reference"] = _of_pairs(itertools.combinations(theirs, 2))
        result["across"] = _of_pairs(itertools.product(ours, theirs))
        result["holds"] = all(
            result["across"][measure]["mean"] >= result["reference"][measure]["least"]
            for measure in ("rank_correlation", "top_overlap")
        )
    return result


def _seeded(shingle: int, trees: int, seed: int, values: Floats) -> Floats:
    parameters = _parameters(shingle, trees)
    scores = np.empty(len(values))
    _score_and_learn(RandomCutForest(parameters, seed)._forest, values, scores)  # noqa: SLF001
    return scores


def _of_pairs(pairs: Any) -> dict[str, dict[str, float]]:
    """Least, mean and greatest of both measures over pairs of scores."""
    found = [(rank_correlation(*pair), top_overlap(*pair)) for pair in _settled(pairs)]
    return {
        measure: {
            "least": round(min(column), 4),
            "mean": round(statistics.fmean(column), 4),
            "greatest": round(max(column), 4),
        }
        for measure, column in zip(
            ("rank_correlation", "top_overlap"), zip(*found, strict=True), strict=True
        )
    }


def _settled(pairs: Any) -> Any:
    return ((one[SETTLED_ROWS:], other[SETTLED_ROWS:]) for one, other in pairs)


def rank_correlation(one: Floats, other: Floats) -> float:
    """Spearman's; equal scores, which are rare, take their ranks in the order of the rows."""
    ranks = [np.argsort(np.argsort(scores, kind="stable")) for scores in (one, other)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def top_overlap(one: Floats, other: Floats, share: float = 0.01) -> float:
    """Share of the highest rows of one that are among the highest of the other."""
    count = max(int(share * len(one)), 1)
    top = [set(np.argsort(-scores, kind="stable")[:count].tolist()) for scores in (one, other)]
    return len(top[0] & top[1]) / count


# --- the report ---------------------------------------------------------------------------------


def _print(report: dict[str, Any]) -> None:
    console = Console(width=max(Console().width, TABLE_WIDTH))
    console.print(f"Java: {report['java']}")
    for title, rows in (
        ("points a CPU second", [_speed_line(row) for row in report["speed"]]),
        ("size, after 20,000 points", [_size_line(row) for row in report["size"]]),
        (
            "agreement: rank correlation, top 1 % overlap; least / mean / greatest",
            [_agreement_line(row) for row in report["agreement"]],
        ),
    ):
        if rows:
            console.print(_table(title, rows))


def _table(title: str, rows: list[dict[str, str]]) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD)
    for number, heading in enumerate(rows[0]):
        table.add_column(heading, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row.values())
    return table


def _setting(row: dict[str, Any]) -> str:
    return f"shingle {row['shingle_size']}, {row['trees']} trees"


def _speed_line(row: dict[str, Any]) -> dict[str, str]:
    line = {
        "setting": _setting(row),
        "series": row["series"],
        "kind": row["kind"],
        "ours": f"{row['points_per_cpu_second']:,}",
    }
    if "ratio" in row:
        line["Java"] = f"{row['java_points_per_cpu_second']:,}"
        line["ratio"] = f"{row['ratio']:.1f}"
        line["least..most"] = f"{min(row['ratios']):.1f}..{max(row['ratios']):.1f}"
        line["holds"] = "yes" if row["holds"] else "no"
    return line


def _size_line(row: dict[str, Any]) -> dict[str, str]:
    line = {"setting": _setting(row)}
    for prefix, side in (("", "ours"), ("java_", "Java")):
        if f"{prefix}memory_bytes" in row:
            line[f"{side} memory kB"] = f"{row[f'{prefix}memory_bytes'] / 1e3:,.0f}"
            line[f"{side} snapshot kB"] = f"{row[f'{prefix}snapshot_bytes'] / 1e3:,.0f}"
            line[f"{side} write ms"] = f"{row[f'{prefix}write_seconds'] * 1e3:.2f}"
            line[f"{side} read ms"] = f"{row[f'{prefix}read_seconds'] * 1e3:.2f}"
    return line


def _agreement_line(row: dict[str, Any]) -> dict[str, str]:
    line = {"series": row["series"].split("/")[-1]}
    for side in ("reference", "across", "ours"):
        if side in row:
            line[side] = "  ".join(
                " / ".join(f"{row[side][measure][of]:.3f}" for of in ("least", "mean", "greatest"))
                for measure in ("rank_correlation", "top_overlap")
            )
    if "holds" in row:
        line["holds"] = "yes" if row["holds"] else "no"
    return line


if __name__ == "__main__":
    sys.exit(main())
