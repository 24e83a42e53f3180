"""What one wake of the stateful step costs, with one row, as it is with a point a period.

    python -m benchmarks.wakes
    python -m benchmarks.wakes --json

Every series is woken in turn, with one new row each time, through `transforms.detect.DetectFn`;
its state cells are lists, so no runner takes part. Three figures of CPU time a wake: ``block``, a
row of one long block through the model alone (the kernel, and next to nothing else); ``live``, a
wake that finds its model in memory; ``rebuilt``, one that never does, soon after a snapshot. What
``live`` takes beyond ``block`` is the fixed cost of a wake.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from apache_beam.utils.timestamp import Timestamp
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.pipeline import MODELS
from benchmarks.state import Bag, Timer
from detectors.model import ModelSpec, SeriesModel
from pipeline.specs import model_parameters
from transforms.aggregate import Aggregation
from transforms.detect import DetectFn, Settings
from transforms.detection import Detection, SeriesSettings
from transforms.live_models import LIVE_MODELS
from transforms.records import MICROSECONDS, Block, Floats, Series, encode_block

PERIOD = 60 * MICROSECONDS
ENOUGH = 1 << 40
FIGURES = ("block", "live", "rebuilt")


class Woken:
    """One series with its state cells."""

    def __init__(self, step: DetectFn, number: int) -> None:
        self.series = Series("benchmark", "value", (("series", f"series-{number:05}"),))
        self._step = step
        self._pending, self._journal = Bag(), Bag()

    def block(self, start: int, values: Floats) -> tuple[bytes, Timestamp]:
        """Rows from row ``start`` on as a block, and when they are due."""
        times = np.arange(start, start + len(values)) * PERIOD
        block = Block(self.series, times, values, np.zeros(len(values), np.int64))
        return encode_block(block), Timestamp(micros=int(times[-1]) + PERIOD)

    def take(self, data: bytes, due: Timestamp) -> None:
        """Give the step a block and wake it."""
        key, timers = self.series.key, (Timer(), Timer(), Timer())
        self._step.process((key, data), self._pending, timers[0])
        outputs = list(self._step.wake(key, due, self._pending, self._journal, *timers))
        if not any(isinstance(output, tuple) for output in outputs):
            raise RuntimeError(f"{key}: nothing was scored")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure both detectors."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.wakes", description="CPU time of a wake with one row."
    )
    parser.add_argument("--series", type=int, default=1000, help="default %(default)s")
    parser.add_argument("--rows", type=int, default=1200, help="learnt before; default %(default)s")
    parser.add_argument("--wakes", type=int, default=3, help="of each series; default %(default)s")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    options = parser.parse_args(arguments)
    for name in ("series", "rows", "wakes"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be >= 1, got {getattr(options, name)}")
    results = [measure(name, options.series, options.rows, options.wakes) for name in MODELS]
    if options.json:
        print(json.dumps({**vars(options), "results": results}))
    else:
        Console().print(_table(results))
    return 0


def measure(name: str, series: int, rows: int, wakes: int) -> dict[str, Any]:
    """Microseconds of CPU a wake, live and rebuilt, and of a row of a block.

    Parameters
    ----------
    name : str
        A name in `benchmarks.pipeline.MODELS`.
    series, rows, wakes : int
        How many series, rows each has learnt before, wakes of each that are measured.
    """
    section = MODELS[name]
    spec = ModelSpec(section["type"], model_parameters(section["type"], section["config"]))
    detection = Detection(SeriesSettings(spec), Aggregation("sum", PERIOD))
    values = np.random.default_rng(0).normal(100.0, 2.0, rows + 2 * wakes + 1000)
    LIVE_MODELS.clear()
    step = DetectFn({"benchmark": detection}, Settings(PERIOD, live_bytes=ENOUGH))
    woken = [Woken(step, number) for number in range(series)]
    for one in woken:
        one.take(*one.block(0, values[:rows]))
        one.take(*one.block(rows, values[rows : rows + 1]))
    found = {"block": _block(spec, values, rows)}
    start = rows + 1
    for figure, every in (("live", woken), ("rebuilt", woken[: max(series // 10, 1)])):
        took = sum(
            _turn(every, row, values[row : row + 1], figure == "rebuilt")
            for row in range(start, start + wakes)
        )
        found[figure] = took / wakes / len(every) * 1e6
        start += wakes
    LIVE_MODELS.clear()
    return {"name": name, "microseconds": found, "wakes_a_second": 1e6 / found["live"]}


def _turn(woken: Sequence[Woken], row: int, value: Floats, rebuild: bool) -> float:
    """CPU seconds in which every series takes one row; the clock is read twice in all."""
    blocks = [one.block(row, value) for one in woken]
    began = time.process_time()
    for one, (data, due) in zip(woken, blocks, strict=True):
        if rebuild:
            LIVE_MODELS.clear()
        one.take(data, due)
    return time.process_time() - began


def _block(spec: ModelSpec, values: Floats, rows: int) -> float:
    model = SeriesModel(spec, 0)
    times = np.arange(len(values)) * PERIOD
    model.score_and_learn(values[:rows], times[:rows])
    began = time.process_time()
    model.score_and_learn(values[rows:], times[rows:])
    return (time.process_time() - began) / (len(values) - rows) * 1e6


def _table(results: Sequence[dict[str, Any]]) -> Table:
    table = Table(title="Microseconds of CPU a wake with one row", box=SIMPLE_HEAD)
    for heading in ("", *FIGURES, "live beyond block", "wakes/s, live"):
        table.add_column(heading, justify="right" if heading else "left")
    for result in results:
        took = result["microseconds"]
        table.add_row(
            result["name"],
            *(f"{took[figure]:,.0f}" for figure in FIGURES),
            f"{took['live'] - took['block']:,.0f}",
            f"{result['wakes_a_second']:,.0f}",
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
