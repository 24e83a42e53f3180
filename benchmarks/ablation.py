"""What each member of the ensemble adds: the accuracy with it left out, on the development sets.

    python -m benchmarks.ablation --data DIR

The members speak once; only their fusion is done again. All weights stay as they are, so a line
shows what the member gives here, and not what another choice without it could reach.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.accuracy import series_seed
from benchmarks.datasets import DatasetError, Series, data_folder, load
from benchmarks.peers import QUIET_ROWS, quiet
from benchmarks.scoring import ucr, vus
from benchmarks.scoring.nab import ScoredSeries, carried_over, nab_scores
from detectors import _ensemble_kernels as kernels
from detectors.ensemble import Ensemble, EnsembleParameters

Floats = NDArray[np.float64]
Measure = Callable[[list[Series], list[Floats]], list[str]]

HEADINGS = {
    "nab": ["NAB / low FP / low FN", "half splits", "as is"],
    "wsd": ["WSD AUC-PR", "VUS-PR"],
    "ucr": ["UCR accuracy", "per recording"],
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 0, or 2 with one message if the command asks for the impossible."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablation")
    parser.add_argument("--data", metavar="DIR", help="folder of the sets (or TIDEWATCH_DATA)")
    parser.add_argument("--set", choices=HEADINGS, action="append", help="default: all three")
    parser.add_argument("--context", type=int, default=EnsembleParameters().context)
    options = parser.parse_args(arguments)
    names = options.set or list(HEADINGS)
    lines = ["all", *kernels.MEMBERS]
    try:
        parameters = EnsembleParameters(context=options.context)
        folder = data_folder(options.data)
        columns = [cells for name in names for cells in _cells(folder, name, parameters, lines)]
    except (DatasetError, ValueError) as error:
        parser.error(str(error))
    table = Table(box=SIMPLE_HEAD, title="the ensemble, and with each member left out")
    for heading in ["left out", *(heading for name in names for heading in HEADINGS[name])]:
        table.add_column(heading, justify="left" if heading == "left out" else "right")
    for cells in zip(["nothing", *lines[1:]], *columns, strict=True):
        table.add_row(*cells)
    Console(width=max(Console().width, 140)).print(table)
    return 0


def _cells(
    folder: Path, name: str, parameters: EnsembleParameters, lines: Sequence[str]
) -> list[list[str]]:
    """A set's columns, each with a cell for every line."""
    series = load(folder, name)
    decades = [_decades(one, parameters) for one in series]
    rows = []
    for left_out in lines:
        pairs = zip(series, decades, strict=True)
        rows.append(_MEASURES[name](series, [_fused(one, d, left_out) for one, d in pairs]))
    return [list(column) for column in zip(*rows, strict=True)]


def _decades(series: Series, parameters: EnsembleParameters) -> Floats:
    ensemble = Ensemble(parameters, series_seed(series.series_id))
    return ensemble.member_decades(series.values, series.times if series.has_clock else None)


def _fused(series: Series, decades: Floats, left_out: str) -> Floats:
    if left_out in kernels.MEMBERS:
        decades = decades.copy()
        decades[:, kernels.MEMBERS.index(left_out)] = 0.0
    light = kernels.new_light(smoothing=1)
    light.head[0] = len(decades)
    raw, given = np.empty(len(decades)), np.empty(decades.shape)
    kernels.fuse(light, decades, series.has_clock, given, raw)
    return raw


def _nab(series: list[Series], scores: list[Floats]) -> list[str]:
    def scored(rows: int) -> list[ScoredSeries]:
        pairs = zip(series, scores, strict=True)
        return [ScoredSeries(quiet(score, rows), one.windows) for one, score in pairs]

    profiles = nab_scores(scored(QUIET_ROWS)).values()
    return [
        " / ".join(f"{profile.score:.1f}" for profile in profiles),
        f"{carried_over(scored(QUIET_ROWS)):.1f}",
        f"{nab_scores(scored(0))['standard'].score:.1f}",
    ]


def _wsd(series: list[Series], scores: list[Floats]) -> list[str]:
    pairs = [(one, score) for one, score in zip(series, scores, strict=True) if one.windows]
    areas = [vus.auc_pr(one.labels, score) for one, score in pairs]
    volumes = [vus.vus_pr(one.labels, s, vus.find_period(one.values)) for one, s in pairs]
    return [f"{np.mean(areas):.3f}", f"{np.mean(volumes):.3f}"]


def _ucr(series: list[Series], scores: list[Floats]) -> list[str]:
    correct = []
    for one, score in zip(series, scores, strict=True):
        ((first, last),) = one.windows
        correct.append(ucr.ucr_correct(score, first, last, one.train_end or 0)[0])
    recordings = [one.recording or one.series_id for one in series]
    by_recording = ucr.accuracy_per_recording(correct, recordings)
    return [f"{ucr.accuracy(correct):.3f}", f"{by_recording:.3f}"]


_MEASURES: dict[str, Measure] = {"nab": _nab, "wsd": _wsd, "ucr": _ucr}


if __name__ == "__main__":
    sys.exit(main())
