"""What makes the left discord accurate, and what its thresholds find and cost, on the UCR set.

    python -m benchmarks.discord_accuracy --data DIR --json

Every series goes once through the core with each of `VARIANTS`; the raw score ranks. The
thresholds then run over the raw scores of the defaults. An *event* is a run of flagged rows, gaps
of up to a period closed. It is right if a row of it lies within the tolerance of UCR accuracy
around the label; all others are false, those of the training parts, which hold no anomaly, and
those after.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.datasets import Series, data_folder, load
from benchmarks.machine import machine
from benchmarks.peers import absolute_difference
from benchmarks.scoring import ucr
from detectors.calibration import Calibration
from detectors.left_discord import LeftDiscord
from detectors.left_discord_parameters import LeftDiscordParameters
from detectors.thresholds import (
    Conformal,
    Fixed,
    MeanStdDev,
    Quantile,
    Spot,
    make_threshold,
)

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

DEFAULTS, VALUES = "the defaults", "values alone, floor 0.3"
DIFFERENCES = "differences alone, n / 2, floor 1"
VARIANTS: dict[str, LeftDiscordParameters] = {
    DEFAULTS: LeftDiscordParameters(),
    VALUES: LeftDiscordParameters(differences=False),
    "values alone, no floor: the plain left matrix profile": LeftDiscordParameters(
        differences=False, floor=0.0
    ),
    "n = 100 instead of the period": LeftDiscordParameters(100, learning_points=1000),
    "context 10000": LeftDiscordParameters(context=10_000),
    "context 5000": LeftDiscordParameters(context=5000),
    "context 1000": LeftDiscordParameters(context=1000),
}

BLOCK_ROWS = 4096
USUAL_GAP = 100
DECADES = (3.0, 3.25, 4.0)
THRESHOLDS: dict[str, Any] = {
    **{f"Spot, risk {risk:g}": Spot(risk=risk) for risk in (1e-3, 3e-4, 1e-4, 3e-5, 1e-5)},
    **{f"Conformal, p {p:g}": Conformal(p_value=p) for p in (1e-3, 5e-4, 2e-4)},
    **{f"Quantile, level {level:g}": Quantile(level=level) for level in (0.999, 0.9995)},
    **{f"MeanStdDev, {k:g} deviations": MeanStdDev(k, 1000) for k in (2.0, 3.0, 4.0, 5.0, 6.0)},
}


@dataclass(frozen=True)
class Events:
    """What one threshold made of one series."""

    found: bool
    false_training: int
    false_test: int


@dataclass(frozen=True)
class Outcome:
    """One series: whether each variant ranks it right, its time, and what each threshold flags."""

    correct: dict[str, bool]
    cpu_seconds: dict[str, float]
    events: dict[str, Events]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.discord_accuracy",
        description="Ingredients and thresholds of the left discord, on the UCR set.",
    )
    parser.add_argument("--data", metavar="DIR", help="folder of the set (or TIDEWATCH_DATA)")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--longest", type=int, metavar="ROWS", help="leave longer series out")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    options = parser.parse_args(arguments)
    every = load(data_folder(options.data), "ucr")
    series = [one for one in every if len(one.values) <= (options.longest or len(one.values))]
    report = measure(series, options.variants, options.workers)
    if options.json:
        print(json.dumps(report))
    else:
        _print(report)
    return 0


def measure(series: Sequence[Series], variants: Sequence[str], workers: int) -> dict[str, Any]:
    """Every figure, as the object that ``--json`` prints."""
    longest_first = sorted(series, key=lambda one: -len(one.values))
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        outcomes = list(pool.map(outcome_of, longest_first, [tuple(variants)] * len(series)))
    recordings = [one.recording or one.series_id for one in longest_first]
    names = list(outcomes[0].correct)
    training = sum(_train_end(one) for one in longest_first)
    rows = sum(len(one.values) for one in longest_first)
    seconds = {
        name: sum(one.cpu_seconds[name] for one in outcomes) for name in outcomes[0].cpu_seconds
    }
    return {
        "machine": machine(),
        "series": len(series),
        "rows": rows,
        "ingredients": [
            {
                "variant": name,
                "accuracy": round(ucr.accuracy([one.correct[name] for one in outcomes]), 4),
                "accuracy_per_recording": round(
                    ucr.accuracy_per_recording([one.correct[name] for one in outcomes], recordings),
                    4,
                ),
                "rows_per_cpu_second": round(rows / seconds[name]) if name in seconds else None,
            }
            for name in names
        ],
        "thresholds": [
            {
                "threshold": name,
                "recall": round(float(np.mean([one.events[name].found for one in outcomes])), 4),
                "false_per_10000_training_rows": round(
                    1e4 * sum(one.events[name].false_training for one in outcomes) / training, 3
                ),
                "false_per_10000_test_rows": round(
                    1e4 * sum(one.events[name].false_test for one in outcomes) / (rows - training),
                    3,
                ),
            }
            for name in outcomes[0].events
        ],
    }


def outcome_of(series: Series, variants: Sequence[str]) -> Outcome:
    """Every variant and every threshold on one series."""
    raws: dict[str, Floats] = {"|difference|": absolute_difference(series.values)}
    decades, period = np.zeros(0), USUAL_GAP
    seconds = {}
    for name in variants:
        start = time.thread_time()
        raws[name], found, length = _scores(series, VARIANTS[name])
        seconds[name] = time.thread_time() - start
        if name == DEFAULTS:
            decades, period = found, length
    flags: dict[str, Flags] = {}
    if DEFAULTS in raws:
        raws["the defaults, ranked by the 0-100 score"] = decades
        if VALUES in raws:  # of the same length, so the other half of the root mean square
            square = 2.0 * raws[DEFAULTS] ** 2 - raws[VALUES] ** 2
            raws[DIFFERENCES] = np.sqrt(np.maximum(square, 0.0))
        for name, threshold in THRESHOLDS.items():
            flags[name] = make_threshold(threshold).flag(raws[DEFAULTS])
        for limit in DECADES:
            flags[f"0-100 score, {limit:g} decades"] = make_threshold(Fixed(limit)).flag(decades)
    ((first, last),) = series.windows
    end = _train_end(series)
    correct = {name: ucr.ucr_correct(raw, first, last, end)[0] for name, raw in raws.items()}
    events = {name: _events(series, flag, period) for name, flag in flags.items()}
    return Outcome(correct, seconds, events)


def _scores(series: Series, parameters: LeftDiscordParameters) -> tuple[Floats, Floats, int]:
    """Raw score and decades of each row, and the subsequence length at the end."""
    detector = LeftDiscord(parameters, seed=0)
    calibration = Calibration(*detector.raw_range)
    parts = [
        detector.score_and_learn(series.values[start : start + BLOCK_ROWS], calibration)
        for start in range(0, len(series.values), BLOCK_ROWS)
    ]
    raw = np.concatenate([part.raw for part in parts])
    return raw, np.concatenate([part.decades for part in parts]), detector.sequence_length or 0


def _events(series: Series, flags: Flags, gap: int) -> Events:
    ((first, last),) = series.windows
    slack = max(ucr.LEAST_SLACK_ROWS, last - first + 1)
    end = _train_end(series)
    label = slice(max(first - slack, 0), last + slack + 1)
    others = flags.copy()
    others[label] = False
    return Events(
        found=bool(flags[label].any()),
        false_training=count_events(flags[:end], gap),
        false_test=count_events(others[end:], gap),
    )


def count_events(flags: Flags, gap: int) -> int:
    """Runs of True in ``flags`` (bool[n]), those at most ``gap`` rows apart counted as one."""
    rows = np.flatnonzero(flags)
    return 0 if not len(rows) else 1 + int((np.diff(rows) > gap).sum())


def _train_end(series: Series) -> int:
    if series.train_end is None:
        raise ValueError(f"series {series.series_id!r} needs a train_end, got none")
    return series.train_end


def _print(report: dict[str, Any]) -> None:
    console = Console(width=max(Console().width, 100))
    for name in ("ingredients", "thresholds"):
        if not report[name]:
            continue
        title = f"{name}: {report['series']} series, {report['rows']:,} rows"
        table = Table(title=title, box=SIMPLE_HEAD)
        for heading in report[name][0]:
            table.add_column(heading.replace("_", " "))
        for line in report[name]:
            table.add_row(*(str(value) for value in line.values()))
        console.print(table)


if __name__ == "__main__":
    sys.exit(main())
