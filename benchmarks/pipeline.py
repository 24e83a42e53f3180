"""Throughput of the bounded job, from a file to results on disk, beside Beam's own detection.

    python -m benchmarks.pipeline

One input, series interleaved by time as a stream brings them, is scored by a RandomCutForest, by a
LeftDiscord and by Beam's ``AnomalyDetection(ZScore)``: each reads the same files, parses the same
JSON with the same parser, writes a JSON line a point, and runs on the same runner with one worker
in a process of its own; they take turns. A run's time is from building the graph until the results
lie on disk; starting Python and importing Beam are left out for all, and kernels are compiled into
their cache before, as they are only once on a machine.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import orjson
from apache_beam.coders import BytesCoder
from apache_beam.ml.anomaly.base import AnomalyResult
from apache_beam.ml.anomaly.detectors.zscore import ZScore
from apache_beam.ml.anomaly.transforms import AnomalyDetection
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.typehints.row_type import RowTypeConstraint
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.machine import machine
from detectors.model import ModelSpec, SeriesModel
from pipeline.build import build
from pipeline.job import load_job
from pipeline.specs import model_parameters
from runners import direct
from transforms.detect import Settings

PEER = "Beam ZScore"
MODELS: dict[str, dict[str, Any]] = {
    "RandomCutForest": {
        "type": "RandomCutForest",
        "config": {"number_of_trees": 50, "sample_size": 256, "shingle_size": 8},
    },
    "LeftDiscord": {
        "type": "LeftDiscord",
        # one exact profile, so that context says how many subsequences a point is compared with
        "config": {"context": 1024, "sequence_length": 100, "differences": False},
    },
}
"""Who runs beside the peer: a model section of the job file each."""

_ROW = RowTypeConstraint.from_fields([("value", float)])
"""The peer's rows have a schema: without, Beam pickles each, which costs it a seventh."""

SECONDS_APART = 60
FIRST_SECOND = 1_704_067_200  # 2024-01-01
TABLE_WIDTH = 100


@dataclass(frozen=True)
class Run:
    """One run in a process of its own.

    Attributes
    ----------
    points : int
        Points read, and results found on disk.
    wall_seconds, cpu_seconds : float
        From building the graph until the results lie on disk; CPU of all threads.
    """

    points: int
    wall_seconds: float
    cpu_seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure as the command line says; 0, or 2 with one message if it asks for the impossible."""
    parser = _parser()
    options = parser.parse_args(arguments)
    for name in ("series", "points", "runs", "files", "peer_points"):
        value = getattr(options, name)
        if value is not None and value < 1:
            parser.error(f"--{name.replace('_', '-')} must be >= 1, got {value}")
    if options.peer_points is not None and not 2 <= options.peer_points <= options.points:
        parser.error(
            f"--peer-points must be 2 to --points = {options.points}, got {options.peer_points}"
        )
    with tempfile.TemporaryDirectory(prefix="tidewatch-benchmark-") as folder:
        report = measure(Path(folder), options)
    if options.json:
        print(json.dumps(report, allow_nan=False))
    else:
        _print(report)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pipeline",
        description="Points per second of the bounded job, beside Beam's AnomalyDetection(ZScore).",
    )
    parser.add_argument("--series", type=int, default=100, help="default %(default)s")
    parser.add_argument(
        "--points", type=int, default=10_000, help="of each series, default %(default)s"
    )
    parser.add_argument("--runs", type=int, default=3, help="of each, default %(default)s")
    parser.add_argument(
        "--files", type=int, default=1, help="that the input is cut into, default %(default)s"
    )
    parser.add_argument(
        "--peer-points",
        type=int,
        metavar="N",
        help="give the peer only N points of each series, and also N // 2, to show that its rate "
        "is the same (default: the same input)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    return parser


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """All runs, as the object that ``--json`` prints; ``folder`` takes inputs and results."""
    sizes: dict[str, int] = dict.fromkeys(MODELS, options.points)
    if options.peer_points is None:
        sizes[PEER] = options.points
    else:
        for points in (options.peer_points, options.peer_points // 2):
            sizes[f"{PEER}, {points:,} a series"] = points
    inputs = {
        points: write_input(folder / f"input-{points}", options.series, points, options.files)
        for points in set(sizes.values())
    }
    _compile_kernels()
    runs: dict[str, list[Run]] = {name: [] for name in sizes}
    for number in range(options.runs):
        for name, points in sizes.items():
            print(f"run {number + 1} of {options.runs}: {name}", file=sys.stderr)
            output = folder / f"output-{number}" / name.partition(",")[0] / str(points)
            runs[name].append(in_fresh_process(name.partition(",")[0], inputs[points], output))
    peers = [name for name in sizes if name.startswith(PEER)]
    return {
        "input": {
            "series": options.series,
            "points_a_series": options.points,
            "files": options.files,
            "peer_points_a_series": [sizes[name] for name in peers],
        },
        "machine": machine(),
        "models": MODELS,
        "results": [_result(name, runs[name], runs[peers[0]]) for name in sizes],
    }


def _result(name: str, runs: Sequence[Run], peer: Sequence[Run]) -> dict[str, Any]:
    return {
        "name": name,
        "points": runs[0].points,
        "points_per_second": _rate(runs, "wall_seconds"),
        "points_per_cpu_second": _rate(runs, "cpu_seconds"),
        "times_the_peer": _rate(runs, "wall_seconds") / _rate(peer, "wall_seconds"),
        "times_the_peer_by_cpu": _rate(runs, "cpu_seconds") / _rate(peer, "cpu_seconds"),
        "runs": [asdict(run) for run in runs],
    }


def _rate(runs: Sequence[Run], clock: str) -> float:
    return runs[0].points / statistics.median(getattr(run, clock) for run in runs)


def write_input(folder: Path, series: int, points: int, files: int) -> Path:
    """Noisy waves as JSON lines, a point of every series a minute; the same for equal arguments.

    Parameters
    ----------
    folder : Path
        Where ``input-K.jsonl`` are written; must not exist.
    series, points : int
        Series, and points of each.
    files : int
        How many files the stream is cut into, one after another.
    """
    folder.mkdir()
    random = np.random.default_rng(0)
    phases = random.uniform(0.0, 2.0 * math.pi, series)
    names = [f"series-{number:05}" for number in range(series)]
    bounds = np.linspace(0, points, files + 1).astype(int).tolist()
    for file, (first, end) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
        with (folder / f"input-{file}.jsonl").open("wb") as lines:
            for row in range(first, end):
                second = FIRST_SECOND + SECONDS_APART * row
                moment = str(np.datetime64(second, "s"))
                wave = 100.0 + 20.0 * np.sin(2.0 * math.pi * row / 100.0 + phases)
                values = np.round(wave + random.normal(0.0, 2.0, series), 3).tolist()
                lines.writelines(
                    orjson.dumps({"series": name, "event_time": moment, "value": value}) + b"\n"
                    for name, value in zip(names, values, strict=True)
                )
    return folder


def _compile_kernels() -> None:
    for section in MODELS.values():
        parameters = model_parameters(section["type"], section["config"])
        spec = ModelSpec(section["type"], parameters)
        model = SeriesModel(spec, 0)
        model.score_and_learn(np.arange(2.0))
        SeriesModel(spec, 0, model.to_bytes())


def in_fresh_process(name: str, source: Path, output: Path) -> Run:
    """Run ``name`` in a new Python process, see `run_once`."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(run_once, name, source, output).result()


def run_once(name: str, source: Path, output: Path) -> Run:
    """Run one contestant over the files of ``source``.

    Raises
    ------
    RuntimeError
        There is not one result a point.
    """
    output.mkdir(parents=True)
    graph = _peer(source, output) if name == PEER else _job(name, source, output)
    wall, cpu = time.perf_counter(), time.process_time()
    with contextlib.redirect_stderr(io.StringIO()):  # the runner's progress
        direct.run(graph, PipelineOptions([]))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    read, written = _lines(source), _lines(output / "results")
    if read != written:
        raise RuntimeError(f"{name} wrote {written} results for {read} points")
    return Run(read, wall, cpu)


def _lines(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in folder.iterdir())


def _job(name: str, source: Path, output: Path) -> Callable[[beam.Pipeline], None]:
    file = output / "job.yaml"  # JSON is YAML
    event_time = {"field": "event_time", "format": "iso8601"}
    detector = {
        "name": "benchmark",
        "measure": "value",
        "dimensions": ["series"],
        "event_time": event_time,
        "model": MODELS[name],
    }
    job = {
        "job": "benchmark",
        "source": {"files": [str(source / "*.jsonl")], "format": "json"},
        "detectors": [detector],
        "sinks": {"results": {"path": str(output / "results")}},
    }
    file.write_text(json.dumps(job))
    return partial(build, job=load_job(file), settings=Settings())


def _peer(source: Path, output: Path) -> Callable[[beam.Pipeline], None]:
    def add(pipeline: beam.Pipeline) -> None:
        (
            pipeline
            | "Read" >> beam.io.ReadFromText(str(source / "*.jsonl"), coder=BytesCoder())
            | "Parse" >> beam.Map(_keyed).with_output_types(beam.typehints.Tuple[str, _ROW])
            | "Detect" >> AnomalyDetection(ZScore(features=["value"]))
            | "Format" >> beam.Map(_json_line).with_output_types(bytes)
            | "Write"
            >> beam.io.WriteToText(str(output / "results" / "part"), ".jsonl", coder=BytesCoder())
        )

    return add


def _keyed(line: bytes) -> tuple[str, beam.Row]:
    record = orjson.loads(line)
    return record["series"], beam.Row(value=float(record["value"]))


def _json_line(scored: tuple[str, AnomalyResult]) -> bytes:
    series, result = scored
    (prediction,) = result.predictions
    return orjson.dumps(
        {
            "series": series,
            "value": result.example.value,
            "score": prediction.score,
            "label": prediction.label,
        }
    )


def _print(report: dict[str, Any]) -> None:
    size, box = report["input"], report["machine"]
    title = f"{size['series']} series x {size['points_a_series']:,} points, {size['files']} file(s)"
    table = Table(title=f"{title}, {box['cores']} cores", box=SIMPLE_HEAD)
    headings = ("", "points", "wall s", "CPU s", "points/s", "points/CPU s", "x peer", "by CPU")
    for heading in headings:
        table.add_column(heading, justify="right" if heading else "left", no_wrap=not heading)
    for result in report["results"]:
        table.add_row(
            result["name"],
            f"{result['points']:,}",
            _range([run["wall_seconds"] for run in result["runs"]]),
            _range([run["cpu_seconds"] for run in result["runs"]]),
            f"{result['points_per_second']:,.0f}",
            f"{result['points_per_cpu_second']:,.0f}",
            f"{result['times_the_peer']:.2f}",
            f"{result['times_the_peer_by_cpu']:.2f}",
        )
    console = Console(width=max(Console().width, TABLE_WIDTH))
    console.print(table)
    if size["peer_points_a_series"] != [size["points_a_series"]]:
        console.print(f"{PEER} was given fewer points a series than the others.")


def _range(seconds: Sequence[float]) -> str:
    least, most = min(seconds), max(seconds)
    return f"{least:.1f}" if len(seconds) == 1 else f"{least:.1f}-{most:.1f}"


if __name__ == "__main__":
    sys.exit(main())
