"""Drives `DetectFn` for one key without a runner: cells are lists, timers a set of due times."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
from apache_beam.pvalue import TaggedOutput
from apache_beam.utils.timestamp import Timestamp

from detectors.ensemble import EnsembleParameters
from detectors.left_discord import LeftDiscordParameters
from detectors.model import ModelSpec
from detectors.random_cut_forest import RandomCutForestParameters
from transforms.detect import DetectFn, Settings
from transforms.records import Block, Series, encode_block

MINUTE = 60_000_000
SERIES = Series("d", "units", (("item", "A"),))
FOREST = ModelSpec(
    "RandomCutForest",
    RandomCutForestParameters(shingle_size=2, number_of_trees=5, sample_size=16),
)
DISCORD = ModelSpec("LeftDiscord", LeftDiscordParameters(sequence_length=4, context=64))
ENSEMBLE = ModelSpec("Ensemble", EnsembleParameters(context=64, number_of_trees=5, sample_size=32))
END = (1 << 63) - 1


class Bag:
    def __init__(self) -> None:
        self.items: list[bytes] = []
        self.written = 0

    def add(self, item: bytes) -> None:
        self.items.append(item)
        self.written += len(item)

    def read(self) -> list[bytes]:
        return list(self.items)

    def clear(self) -> None:
        self.items.clear()


class Timer:
    def __init__(self) -> None:
        self.set_for: dict[str, int] = {}

    def set(self, time: Timestamp, dynamic_timer_tag: str = "") -> None:
        self.set_for[dynamic_timer_tag] = int(time.micros)

    def take_due(self, watermark: int) -> list[int]:
        due = sorted(t for t in self.set_for.values() if t <= watermark)
        self.set_for = {tag: t for tag, t in self.set_for.items() if t > watermark}
        return due


class Harness:
    """One series in a DoFn; `results`, `alerts`, `late` and `tally` are what it emitted."""

    def __init__(self, detection: Any, settings: Settings, series: Series = SERIES) -> None:
        self.fn = DetectFn({series.detector: detection}, settings)
        self.series = series
        self.pending, self.journal = Bag(), Bag()
        self.due, self.expiry, self.input_end = Timer(), Timer(), Timer()
        self.results: list[dict[str, Any]] = []
        self.alerts: list[dict[str, Any]] = []
        self.late: list[dict[str, Any]] = []
        self.left_discords: list[dict[str, Any]] = []
        self.tally: Counter[str] = Counter()

    def feed(self, times: Any, values: Any, ids: Any = None, **more: Any) -> None:
        times = np.asarray(times, np.int64)
        ids = np.zeros(len(times), np.int64) if ids is None else np.asarray(ids, np.int64)
        self.add(Block(self.series, times, np.asarray(values, np.float64), ids, **more))

    def add(self, block: Block) -> None:
        self.fn.process((self.series.key, encode_block(block)), self.pending, self.due)

    def watermark(self, micros: int, rng: Any = None) -> None:
        """Fire every timer up to ``micros``, re-armed ones too; in any order with an ``rng``."""
        while True:
            due = self.due.take_due(micros)
            end = self.input_end.take_due(micros)
            if rng is not None:
                rng.shuffle(due)
                due = due + due[:1]
            for time in due:
                self.wake(time)
            if end:
                self.fn.end_of_input(self.pending)
            if not due and not end:
                break
        for time in self.expiry.take_due(micros):
            self.fn.expire(self.series.key, Timestamp(micros=time), self.pending, self.journal)

    def wake(self, micros: int) -> None:
        for out in self.fn.wake(
            self.series.key, Timestamp(micros=micros), self.pending, self.journal,
            self.due, self.expiry, self.input_end,
        ):  # fmt: skip
            self._take(out)

    def _take(self, out: Any) -> None:
        if not isinstance(out, TaggedOutput):
            self.results += [json.loads(line) for line in out[2].split(b"\n")]
        elif out.tag == "tally":
            _, counter, number = out.value
            self.tally[counter] += number
        elif out.tag == "left_discords":
            self.left_discords += [json.loads(line) for line in out.value[2].split(b"\n")]
        else:
            getattr(self, out.tag).append(json.loads(out.value))

    @property
    def lines(self) -> list[str]:
        """Results as comparable text, in the order of their periods."""
        return [json.dumps(row, sort_keys=True) for row in self.results]


def bounded(detection: Any, times: Any, values: Any, **more: Any) -> Harness:
    """Everything in one block and one wake at the end of input."""
    harness = Harness(detection, Settings())
    harness.feed(times, values, **more)
    harness.watermark(END)
    return harness
