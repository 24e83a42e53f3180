"""Bytes of keyed state that the stateful step writes a point, beside the model's own size.

    python -m benchmarks.state

One series goes through `transforms.detect.DetectFn` with a flush for every point, the costliest way
a live stream can come. Its state cells are counters: every byte that a runner would have to store
is counted, those of waiting points too. A step that writes its model at every point, as Beam's own
``AnomalyDetection`` does, writes the model's size a point.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from apache_beam.utils.timestamp import Timestamp
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.pipeline import MODELS
from detectors.model import ModelSpec, SeriesModel
from pipeline.specs import model_parameters
from transforms.detect import DetectFn, Settings
from transforms.detection import Detection, SeriesSettings
from transforms.live_models import LIVE_MODELS
from transforms.records import MICROSECONDS, Block, Floats, Series, encode_block

SERIES = Series("benchmark", "value", (("series", "series-00000"),))
PERIOD = 60 * MICROSECONDS
_KINDS = {b"B1": "points", b"H1": "head", b"R1": "rows", b"S1": "snapshot"}
"""What an element of a state cell is, by its first bytes."""
TABLE_WIDTH = 120
MOST_SHARE = 1 / 50
"""Of the model's bytes, what may be written a point."""


class Bag:
    """Beam's ``BagRuntimeState``, which counts what is added, by the kind of element."""

    def __init__(self) -> None:
        self.written: Counter[str] = Counter()
        self._held: list[bytes] = []

    def add(self, data: bytes) -> None:
        """Append, as a bag does."""
        self.written[_KINDS[data[:2]]] += len(data)
        self._held.append(data)

    def clear(self) -> None:
        """Empty it."""
        self._held = []

    def read(self) -> Iterator[bytes]:
        """All that was added since it was last cleared."""
        return iter(list(self._held))


class Timer:
    """Beam's ``RuntimeTimer``, which remembers when it is due."""

    def __init__(self) -> None:
        self.due: set[Timestamp] = set()

    def set(self, when: Timestamp, dynamic_timer_tag: str = "") -> None:
        """Ask to be woken."""
        self.due.add(when)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure both detectors; 1 if one writes more than `MOST_SHARE` of its model a point."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.state", description="State bytes written a point."
    )
    parser.add_argument("--points", type=int, default=5000, help="default %(default)s")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    options = parser.parse_args(arguments)
    if options.points < 1:
        parser.error(f"--points must be >= 1, got {options.points}")
    results = [measure(name, options.points) for name in MODELS]
    if options.json:
        print(json.dumps({"points": options.points, "results": results}))
    else:
        console = Console(width=max(Console().width, TABLE_WIDTH))
        console.print(_table(results, options.points))
    return int(any(result["share_of_model"] > MOST_SHARE for result in results))


def measure(name: str, points: int) -> dict[str, Any]:
    """Bytes written a point by kind, in all, and as a share of the model's bytes.

    Parameters
    ----------
    name : str
        A name in `benchmarks.pipeline.MODELS`.
    points : int
        How many points are sent, a flush each.
    """
    section = MODELS[name]
    spec = ModelSpec(section["type"], model_parameters(section["type"], section["config"]))
    rows = np.arange(points)
    noise = np.random.default_rng(0).normal(0.0, 2.0, points)
    values = 100.0 + 20.0 * np.sin(2.0 * np.pi * rows / 100.0) + noise
    counted = write_state(spec, values)
    model = SeriesModel(spec, SERIES.seed)
    model.score_and_learn(values)
    written = {kind: counted[kind] / points for kind in _KINDS.values()}
    total = sum(written.values())
    saved = len(model.to_bytes())
    return {
        "name": name,
        "written_a_point": written,
        "written_a_point_in_all": total,
        "model_bytes_saved": saved,
        "model_bytes_live": model.state_bytes,
        "share_of_model": total / saved,
        "share_of_live_model": total / model.state_bytes,
    }


def write_state(spec: ModelSpec, values: Floats) -> Counter[str]:
    """Bytes written to the state, by what they are, while each value went through by itself."""
    LIVE_MODELS.clear()
    step = DetectFn(
        {SERIES.detector: Detection(SeriesSettings(spec))}, Settings(flush_every=PERIOD)
    )
    pending, journal = Bag(), Bag()
    for row, value in enumerate(values):
        due = Timer()
        time = np.array([row * PERIOD])
        block = Block(SERIES, time, np.array([value]), np.zeros(1, np.int64))
        step.process((SERIES.key, encode_block(block)), pending, due)
        (wake,) = due.due
        timers = (Timer(), Timer(), Timer())
        outputs = list(step.wake(SERIES.key, wake, pending, journal, *timers))
        if sum(isinstance(output, tuple) for output in outputs) != 1:
            raise RuntimeError(f"point {row} was not scored by its own flush")
    return pending.written + journal.written


def _table(results: Sequence[dict[str, Any]], points: int) -> Table:
    table = Table(
        title=f"State bytes written a point, {points:,} flushes; model as saved and live",
        box=SIMPLE_HEAD,
    )
    headings = ("", *_KINDS.values(), "in all", "saved", "live", "of saved", "of live")
    for heading in headings:
        table.add_column(heading, justify="right" if heading else "left", no_wrap=not heading)
    for result in results:
        table.add_row(
            result["name"],
            *(f"{result['written_a_point'][kind]:,.0f}" for kind in _KINDS.values()),
            f"{result['written_a_point_in_all']:,.0f}",
            f"{result['model_bytes_saved']:,}",
            f"{result['model_bytes_live']:,}",
            f"1/{1 / result['share_of_model']:.0f}",
            f"1/{1 / result['share_of_live_model']:.0f}",
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
