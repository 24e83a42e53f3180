"""Accuracy of the detectors and of their peers on a development set.

    python -m benchmarks.accuracy --set nab --data DIR --model Ensemble --model LeftDiscord --peers

Every series goes once through the core, all with one configuration, and every measure is taken
twice: of the scores as they are, and with a quiet period, in which a row's score counts only if it
beats the 100 rows before it. Peers get exactly the same. Thresholds and measures see the whole set,
so a configuration that was chosen by these figures looks better here than it will elsewhere.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table

from benchmarks.datasets import DatasetError, Series, data_folder, load
from benchmarks.machine import machine
from benchmarks.peers import JAVA_PEERS, PEERS, QUIET_ROWS, SLOW_PEERS, quiet
from benchmarks.scoring import ucr, vus
from benchmarks.scoring.nab import PROFILES, ScoredSeries, carried_over, nab_scores
from detectors.model import DETECTORS, ModelSpec, SeriesModel

Floats = NDArray[np.float64]

SETS = ("nab", "ucr", "wsd")
COLUMNS = ("score", "decades", "surprise", "raw")
FORMS = (0, QUIET_ROWS)
"""Lengths of the quiet period, in rows, that every measure is taken with."""

WARM_UP_ROWS = 2000
TABLE_WIDTH = 100


@dataclass(frozen=True)
class Contestant:
    """Who is measured.

    Attributes
    ----------
    name : str
        A detector of the core or a name in `benchmarks.peers.PEERS`.
    spec : ModelSpec or None
        The detector's model; None for a peer.
    column : str
        Which of the core's figures ranks the rows, one of `COLUMNS`.
    """

    name: str
    spec: ModelSpec | None = None
    column: str = "score"


@dataclass(frozen=True, eq=False)
class Form:
    """One contestant's scores of one series with one quiet period, and the series' own measures."""

    scores: Floats
    auc_pr: float | None
    vus_pr: float | None


@dataclass(frozen=True, eq=False)
class Run:
    """One contestant on one series: ``forms`` by length of the quiet period."""

    contestant: str
    series_id: str
    cpu_seconds: float
    forms: dict[int, Form]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure as the command line says; 0, or 2 with one message if it asks for the impossible."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        contestants = _contestants(options)
        every = load(data_folder(options.data), options.set)
        series = _choose(up_to(every, options.longest), options.series)
    except (DatasetError, ValueError) as error:
        parser.error(str(error))
    curves = options.vus or options.set == "wsd"
    report = measure(options.set, series, contestants, curves, options.workers)
    if options.json:
        print(_json(report))
    else:
        Console(width=max(Console().width, TABLE_WIDTH)).print(_table(report))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy", description="Accuracy on a development set."
    )
    parser.add_argument("--set", required=True, choices=SETS)
    parser.add_argument("--data", metavar="DIR", help="folder of the set (or TIDEWATCH_DATA)")
    parser.add_argument(
        "--model",
        choices=sorted(DETECTORS),
        action="append",
        default=[],
        help="detector of the core; may be given for each of them",
    )
    parser.add_argument("--config", default="{}", metavar="JSON", help="its parameters")
    parser.add_argument("--column", default="score", choices=COLUMNS, help="what ranks the rows")
    parser.add_argument("--peers", action="store_true", help="measure the peers too")
    parser.add_argument(
        "--slow-peers", action="store_true", help="and those that are quadratic in time (stumpy)"
    )
    parser.add_argument(
        "--java-peers", action="store_true", help="and the AWS forest (needs Java and Maven)"
    )
    parser.add_argument(
        "--series", type=int, metavar="N", help="only N series, evenly spread over the set"
    )
    parser.add_argument(
        "--longest", type=int, metavar="ROWS", help="only series of at most so many rows"
    )
    parser.add_argument("--workers", type=int, default=2, help="processes, default 2")
    parser.add_argument("--vus", action="store_true", help="AUC-PR and VUS-PR (wsd: always)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    return parser


def _contestants(options: argparse.Namespace) -> list[Contestant]:
    """Who the command line names; raises ValueError if that is nobody or a wrong configuration."""
    if options.workers < 1:
        raise ValueError(f"--workers must be >= 1, got {options.workers}")
    chosen = []
    if len(options.model) > 1 and options.config != "{}":
        raise ValueError(f"--config needs one --model, got {', '.join(options.model)}")
    for kind in dict.fromkeys(options.model):
        chosen.append(Contestant(kind, _spec(kind, options.config), options.column))
    if options.peers:
        chosen += [Contestant(name) for name in PEERS]
    if options.slow_peers:
        chosen += [Contestant(name) for name in SLOW_PEERS]
    if options.java_peers:
        chosen += [Contestant(name) for name in JAVA_PEERS]
    if not chosen:
        raise ValueError(f"nothing to measure: give --peers or --model {'|'.join(DETECTORS)}")
    return chosen


def _spec(kind: str, config: str) -> ModelSpec:
    try:
        given = json.loads(config)
    except json.JSONDecodeError as error:
        raise ValueError(f"--config must be a JSON object, got {config!r}: {error}") from error
    if not isinstance(given, dict):
        raise ValueError(f"--config must be a JSON object, got {config!r}")
    parameters = DETECTORS[kind].Parameters
    allowed = [field.name for field in fields(parameters)]
    unknown = sorted(set(given) - set(allowed))
    if unknown:
        raise ValueError(f"--config of {kind} must name {', '.join(allowed)}, got {unknown}")
    try:
        return ModelSpec(kind, parameters(**given))
    except (TypeError, ValueError) as error:
        raise ValueError(f"--config of {kind}: {error}") from error


def up_to(series: list[Series], longest: int | None) -> list[Series]:
    """The series of at most ``longest`` rows, all if it is None; ValueError if there are none."""
    chosen = [one for one in series if longest is None or len(one.values) <= longest]
    if not chosen:
        least = min(len(one.values) for one in series)
        raise ValueError(f"--longest must be >= {least}, the shortest series, got {longest}")
    return chosen


def _choose(series: list[Series], limit: int | None) -> list[Series]:
    if limit is None or limit >= len(series):
        return series
    if limit < 1:
        raise ValueError(f"--series must be >= 1, got {limit}")
    return [series[i * len(series) // limit] for i in range(limit)]


def measure(
    set_name: str,
    series: Sequence[Series],
    contestants: Sequence[Contestant],
    curves: bool,
    workers: int,
) -> dict[str, Any]:
    """Every contestant on every series, as the object that ``--json`` prints.

    Parameters
    ----------
    set_name : str
        Decides the measures: the NAB score for nab, UCR accuracy for ucr.
    series : sequence of Series
        What to score.
    contestants : sequence of Contestant
        Who scores it.
    curves : bool
        Whether to take AUC-PR and VUS-PR.
    workers : int
        Processes; the results do not depend on it.
    """
    runs = _run_all(series, contestants, curves, workers)
    results = []
    for contestant in contestants:
        own = [runs[contestant.name, one.series_id] for one in series]
        results += [_result(set_name, series, contestant, own, rows) for rows in FORMS]
    return {
        "set": set_name,
        "series": len(series),
        "rows": sum(len(one.values) for one in series),
        "windows": sum(len(one.windows) for one in series),
        "machine": {**machine(), "workers": workers},
        "results": results,
    }


def _run_all(
    series: Sequence[Series], contestants: Sequence[Contestant], curves: bool, workers: int
) -> dict[tuple[str, str], Run]:
    # the longest first, so that no worker is left with one at the end
    longest_first = sorted(series, key=lambda one: len(one.values), reverse=True)
    groups = _of_one_model(contestants)
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _warm_up, (groups,))
    with pool:
        tasks = [pool.submit(_run, group, one, curves) for one in longest_first for group in groups]
        try:
            done = [task.result() for task in _watched(as_completed(tasks), len(tasks))]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return {(run.contestant, run.series_id): run for runs in done for run in runs}


def _of_one_model(contestants: Sequence[Contestant]) -> list[list[Contestant]]:
    """Contestants that differ in the column alone stand together: their model runs once."""
    groups: dict[ModelSpec | str, list[Contestant]] = {}
    for one in contestants:
        groups.setdefault(one.spec or one.name, []).append(one)
    return list(groups.values())


def _watched(tasks: Iterable[Any], total: int) -> Iterable[Any]:
    """The same tasks, their progress shown on stderr."""
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield from progress.track(tasks, total=total, description="series")


def _warm_up(groups: Sequence[Sequence[Contestant]]) -> None:
    """Compile and import in this process what the contestants need: it is no cost of a point."""
    rows = np.arange(WARM_UP_ROWS, dtype=np.int64)
    values = np.sin(rows / 10.0) + np.cos(rows.astype(np.float64))
    for group in groups:
        _scores(group, Series("warm-up", rows, values, (), None, None))


def _run(group: Sequence[Contestant], series: Series, curves: bool) -> list[Run]:
    start = time.process_time()
    columns = _scores(group, series)
    seconds = time.process_time() - start
    return [
        Run(
            contestant.name,
            series.series_id,
            seconds,
            {rows: _form(series, quiet(scores, rows), curves) for rows in FORMS},
        )
        for contestant, scores in zip(group, columns, strict=True)
    ]


def _form(series: Series, scores: Floats, curves: bool) -> Form:
    if not curves or not series.windows:  # no anomaly, no precision-recall curve
        return Form(scores, None, None)
    period = vus.find_period(series.values)
    labels = series.labels
    return Form(scores, vus.auc_pr(labels, scores), vus.vus_pr(labels, scores, period))


def _scores(group: Sequence[Contestant], series: Series) -> list[Floats]:
    """One run's scores by the column of each contestant, all of which are of one model."""
    first = group[0]
    if first.spec is None:
        return [{**PEERS, **SLOW_PEERS, **JAVA_PEERS}[first.name](series.values)]
    model = SeriesModel(first.spec, series_seed(series.series_id))
    found = model.score_and_learn(series.values, series.times if series.has_clock else None)
    return [getattr(found, contestant.column) for contestant in group]


def series_seed(series_id: str) -> int:
    """The seed of a series' model: 63 bits of the SHA-256 of its name."""
    return int.from_bytes(hashlib.sha256(series_id.encode()).digest()[:8], "big") >> 1


def _result(
    set_name: str,
    series: Sequence[Series],
    contestant: Contestant,
    runs: Sequence[Run],
    quiet_rows: int,
) -> dict[str, Any]:
    forms = [run.forms[quiet_rows] for run in runs]
    seconds = sum(run.cpu_seconds for run in runs)
    result: dict[str, Any] = {
        "detector": contestant.name,
        "parameters": asdict(contestant.spec.parameters) if contestant.spec else None,
        "column": contestant.column,
        "quiet_rows": quiet_rows,
        "cpu_seconds": round(seconds, 3),
        "rows_per_cpu_second": round(sum(len(one.values) for one in series) / max(seconds, 1e-9)),
    }
    if set_name == "nab":
        result["nab"] = _nab(series, forms)
    if set_name == "ucr":
        result["ucr"] = _ucr(series, forms)
    curves = [form for form in forms if form.vus_pr is not None]
    if curves:
        result["auc_pr"] = float(np.mean([form.auc_pr for form in curves]))
        result["vus_pr"] = float(np.mean([form.vus_pr for form in curves]))
    return result


def _nab(series: Sequence[Series], forms: Sequence[Form]) -> dict[str, Any]:
    pairs = list(zip(series, forms, strict=True))
    scores = nab_scores([ScoredSeries(form.scores, one.windows) for one, form in pairs])
    half_splits = carried_over([ScoredSeries(form.scores, one.windows) for one, form in pairs])
    return {profile: asdict(score) for profile, score in scores.items()} | {
        "half_splits": half_splits
    }


def _ucr(series: Sequence[Series], forms: Sequence[Form]) -> dict[str, float]:
    correct = []
    for one, form in zip(series, forms, strict=True):
        if len(one.windows) != 1 or one.train_end is None:
            raise DatasetError(
                f"series {one.series_id!r} needs one window and a train_end for UCR accuracy, "
                f"got {len(one.windows)} windows and train_end {one.train_end}"
            )
        ((first, last),) = one.windows
        correct.append(ucr.ucr_correct(form.scores, first, last, one.train_end)[0])
    recordings = [one.recording or one.series_id for one in series]
    return {
        "accuracy": ucr.accuracy(correct),
        "accuracy_per_recording": ucr.accuracy_per_recording(correct, recordings),
    }


def _json(report: Mapping[str, Any]) -> str:
    """JSON has no NaN and no infinity: a measure without a value becomes null."""
    plain = json.loads(json.dumps(report), parse_constant=lambda _: None)
    return json.dumps(plain, allow_nan=False)


def _table(report: Mapping[str, Any]) -> Table:
    title = f"{report['set']}: {report['series']} series, {report['rows']:,} rows"
    table = Table(title=f"{title}, {report['windows']} windows", box=SIMPLE_HEAD)
    lines = [_line(result) for result in report["results"]]
    for heading in lines[0]:
        table.add_column(heading, justify="left" if heading == "detector" else "right")
    for line in lines:
        table.add_row(*line.values())
    return table


def _line(result: Mapping[str, Any]) -> dict[str, str]:
    """One row of the table: its headings and what stands under them."""
    line = {"detector": result["detector"], "quiet": str(result["quiet_rows"] or "-")}
    if "nab" in result:
        scores = [f"{result['nab'][profile]['score']:.1f}" for profile in PROFILES]
        line["NAB / low FP / low FN"] = " / ".join(scores)
        standard = result["nab"]["standard"]
        line["half splits"] = f"{result['nab']['half_splits']:.1f}"
        line["found"] = f"{standard['windows_found']}/{standard['windows']}"
        line["false rows"] = str(standard["false_positive_rows"])
    if "ucr" in result:
        line["UCR accuracy"] = f"{result['ucr']['accuracy']:.3f}"
        line["per recording"] = f"{result['ucr']['accuracy_per_recording']:.3f}"
    if "vus_pr" in result:
        line["AUC-PR"] = f"{result['auc_pr']:.3f}"
        line["VUS-PR"] = f"{result['vus_pr']:.3f}"
    line["rows/CPU s"] = f"{result['rows_per_cpu_second']:,}"
    return line


if __name__ == "__main__":
    sys.exit(main())
