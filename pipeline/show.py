"""What a person is shown before a run and after it."""

from __future__ import annotations

from itertools import islice
from typing import Any

import apache_beam as beam
import numpy as np
import orjson
from apache_beam.io.filesystems import FileSystems
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor
from rich.console import Console
from rich.table import Table
from rich.tree import Tree

from detectors.model import SeriesModel
from pipeline.job import Job
from pipeline.plan import detections_of, fields_of
from transforms.balance import COUNTERS, differences
from transforms.io.files import ReadLinesFn, ReadParquetFn, match
from transforms.parse import parse_batch
from transforms.records import Batch

SAMPLE_BATCHES = 32
SAMPLE_POINTS = 4096
_FAR_FUTURE = 2**61


def plan(console: Console, pipeline: beam.Pipeline, job: Job) -> None:
    """The graph, and an estimate of the series and what their models take."""
    console.print(_graph(pipeline, job))
    table = Table(title="Estimate, from the first records of each source")
    for name in ("detector", "model", "series seen", "live bytes a series", "snapshot bytes"):
        table.add_column(name, justify="left" if name in ("detector", "model") else "right")
    table.add_column("live bytes, all", justify="right")
    seen, records = _series_seen(job)
    for name, detection in detections_of(job).items():
        live, snapshot = _model_bytes(detection.settings.model)
        series = seen.get(name, 0)
        table.add_row(
            name,
            detection.settings.model.kind,
            f"{series:,}",
            f"{live:,}",
            f"{snapshot:,}",
            f"{series * live:,}",
        )
    console.print(table)
    console.print(f"{records:,} records looked at; the job file is right; nothing was started.")


def _graph(pipeline: beam.Pipeline, job: Job) -> Tree:
    tree = Tree(f"[bold]{job.job}")

    class Steps(PipelineVisitor):
        def enter_composite_transform(self, node: AppliedPTransform) -> None:
            self._add(node)

        def visit_transform(self, node: AppliedPTransform) -> None:
            self._add(node)

        def _add(self, node: AppliedPTransform) -> None:
            if node.full_label and "/" not in node.full_label:
                tree.add(node.full_label)

    pipeline.visit(Steps())
    return tree


def _series_seen(job: Job) -> tuple[dict[str, int], int]:
    """Series of each detector in the first batches of the source, and records looked at."""
    is_parquet = job.source.format == "parquet"
    read: Any = ReadParquetFn() if is_parquet else ReadLinesFn(job.source.format == "csv")
    series: dict[str, set[str]] = {}
    records = 0
    for ordinal, path in enumerate(match(list(job.source.files))):
        for batch in islice(read.process((ordinal, path, False)), SAMPLE_BATCHES):
            blocks, _ = parse_batch(Batch(*batch), job.source.format, fields_of(job), _FAR_FUTURE)
            records += len(Batch(*batch).payloads)
            for block in blocks:
                series.setdefault(block.series.detector, set()).add(block.series.id)
    return {name: len(ids) for name, ids in series.items()}, records


def _model_bytes(spec: Any) -> tuple[int, int]:
    """Live and snapshot bytes of a model that has seen some days of noise."""
    model = SeriesModel(spec, 0)
    model.score_and_learn(np.random.default_rng(0).normal(size=SAMPLE_POINTS))
    return model.state_bytes, len(model.to_bytes())


def read_balance(job: Job) -> dict[str, dict[str, int]]:
    """The balance that a run of the job wrote: detector -> counter -> number."""
    with FileSystems.open(job.sinks.balance_path) as file:
        counts: dict[str, dict[str, int]] = orjson.loads(file.read())
    return counts


def balance(console: Console, job: Job) -> int:
    """Print the balance and where the results are; 1 if something is not accounted for."""
    counts = read_balance(job)
    table = Table(title="Balance: what became of every record, and of every period")
    table.add_column("")
    for name in counts:
        table.add_column(name, justify="right")
    for counter, meaning in COUNTERS.items():
        table.add_row(meaning, *(f"{numbers[counter]:,}" for numbers in counts.values()))
    console.print(table)
    wrong = [f"{name}: {text}" for name, each in counts.items() for text in differences(each)]
    for text in wrong:
        console.print(f"[red]does not add up: {text}")
    if not wrong:
        console.print("read = used + duplicate + late + dead + waiting; closed = scored + warm-up")
    for name, path in job.sinks.paths.items():
        console.print(f"{name.replace('_', ' '):>13}: {path}", soft_wrap=True)
    return 1 if wrong else 0
