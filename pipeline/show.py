"""What a person is shown before a run and after it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import islice
from typing import Any

import apache_beam as beam
import numpy as np
import orjson
from apache_beam.io.filesystems import FileSystems
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.tree import Tree

from detectors.model import SeriesModel
from pipeline.job import Job
from pipeline.job_ends import END_WORDS
from pipeline.plan import detections_of, fields_of
from pipeline.try_channels import Tried
from transforms.balance import COUNTERS, differences
from transforms.io.files import ReadLinesFn, ReadParquetFn, match
from transforms.parse import parse_batch
from transforms.records import MICROSECONDS, Batch

SAMPLE_BATCHES = 32
SAMPLE_POINTS = 4096


def plan(console: Console, pipeline: beam.Pipeline, job: Job) -> None:
    """The graph, and an estimate of the series and what their models take."""
    console.print(_graph(pipeline, job))
    table = Table(title="Estimate from the first records of each file")
    for name in ("detector", "model"):
        table.add_column(name, overflow="fold")
    for name in ("series", "memory/series", "memory", "state/series"):
        table.add_column(name, justify="right", no_wrap=True)
    seen, records, dead = _seen(job)
    for name, detection in detections_of(job).items():
        live, snapshot = _model_bytes(detection.settings.model)
        series = seen.get(name, 0)
        sizes = [decimal(size) for size in (live, series * live, snapshot)]
        if not records:  # a live source is not read before the run
            sizes[1] = "?"
        table.add_row(
            name, detection.settings.model.kind, f"{series:,}" if records else "?", *sizes
        )
    console.print(table)
    console.print(f"{records:,} records looked at, {len(dead):,} of them cannot be used")
    for text in islice(dead.values(), 1):
        console.print(f"  the first: {text}", markup=False, soft_wrap=True)
    console.print("The job file is right. Nothing was started, nothing was written.")


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


def _seen(job: Job) -> tuple[dict[str, int], int, dict[tuple[int, int], str]]:
    """Series of each detector in the first batches of each file, records, and what is wrong.

    The last maps a refused record to the reason: (number of its file, position) -> in words.
    """
    is_parquet = job.source.format == "parquet"
    read: Any = ReadParquetFn() if is_parquet else ReadLinesFn(job.source.format == "csv")
    series: dict[str, set[str]] = {}
    records = 0
    dead: dict[tuple[int, int], str] = {}
    now = int(time.time() * MICROSECONDS)
    paths = match(list(job.source.files or job.source.history))
    for ordinal, path in enumerate(paths):
        for elements in islice(read.process((ordinal, path, False)), SAMPLE_BATCHES):
            batch = Batch(*elements)
            blocks, letters = parse_batch(batch, job.source.format, fields_of(job), now)
            records += len(batch.payloads)
            for letter in letters:
                position = batch.first_position + letter.position
                dead.setdefault((ordinal, position), f"{path}, record {position}: {letter.reason}")
            for block in blocks:
                series.setdefault(block.series.detector, set()).add(block.series.id)
    return {name: len(ids) for name, ids in series.items()}, records, dead


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
    table = Table()
    table.add_column("What became of them")
    for name in counts:
        table.add_column(name, justify="right", overflow="fold")
    for counter, meaning in COUNTERS.items():
        table.add_row(meaning, *(f"{numbers[counter]:,}" for numbers in counts.values()))
    console.print(table)
    wrong = [f"{name}: {text}" for name, each in counts.items() for text in differences(each)]
    for text in wrong:
        console.print(f"does not add up: {text}", style="red", markup=False)
    for text in _remarks(counts):
        console.print(text, markup=False)
    places(console, job)
    return 1 if wrong else 0


def tried(console: Console, channels: Iterable[Tried]) -> int:
    """Print what each channel answered to a test message; 1 if one did not take it."""
    failed = 0
    for each in channels:
        failed += not each.works
        style, word = ("green", "works") if each.works else ("red", "fails")
        console.print(f"{each.channel}: {word}", style=style, highlight=False)
        text = each.answer if each.place in each.answer else f"{each.place}: {each.answer}"
        console.print(f"  {text}", markup=False, highlight=False, soft_wrap=True)
    return 1 if failed else 0


def places(console: Console, job: Job) -> None:
    """Print where everything was written."""
    sinks = job.sinks
    found = {name: (END_WORDS[sink.kind], sink.name) for name, sink in sinks.lines.items()}
    found |= {name: ("path", path) for name, path in sinks.paths.items()}
    for name, (word, end) in found.items():
        shown = end if word == "path" else f"{word} {end}"
        console.print(f"{name.replace('_', ' '):>13}: {shown}", soft_wrap=True, markup=False)


def _remarks(counts: dict[str, dict[str, int]]) -> list[str]:
    """What a newcomer would wonder at in a balance, explained."""
    found = []
    for name, numbers in counts.items():
        if not numbers["read"]:
            found.append(f"{name}: there was no record to read")
        elif numbers["dead"] == numbers["read"]:
            found.append(f"{name}: no record could be used; the dead letters say why")
        elif not numbers["scored"]:
            found.append(f"{name}: too few periods to score any; its models are still learning")
    return found
