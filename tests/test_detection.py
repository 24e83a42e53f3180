"""What `Detection.compile` promises: afterwards no kernel is compiled any more."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json, sys
import numpy as np
from numba.core.dispatcher import Dispatcher
from detectors.model import DETECTORS, ModelSpec, SeriesModel
from detectors.thresholds import THRESHOLDS
from transforms.advance import advance
from transforms.decide import Rules
from transforms.detection import Detection, SeriesSettings
from transforms.live_models import Journal, ModelKey
from transforms.records import Block, Series, decode_block, encode_block

kind, config, threshold = json.loads(sys.argv[1])
spec = ModelSpec(kind, DETECTORS[kind].Parameters(**config), THRESHOLDS[threshold]())
detection = Detection(SeriesSettings(spec))
detection.compile()


def signatures():
    return {
        (name, key): len(kernel.signatures)
        for name, module in sorted(sys.modules.items())
        if name.startswith(("detectors", "transforms"))
        for key, kernel in vars(module).items()
        if isinstance(kernel, Dispatcher)
    }


class Store:
    snapshot, journal = None, []

    def take(self, key):
        return key.rebuild(self.snapshot, self.journal)

    def put(self, key, model, since_snapshot, consumed):
        if len(self.journal) == 2:
            self.snapshot, self.journal = model.to_bytes(), []
        else:
            self.journal = [*self.journal, Journal.from_bytes(consumed.to_bytes())]
        return 0


before = signatures()
series, store, head = Series("d", "units", ()), Store(), None
explained, noise = 0, np.random.default_rng(1)
for start in range(0, 4000, 500):
    rows = np.arange(start, start + 500)
    values = np.sin(rows / 9.0)
    values += 0.1 * noise.normal(size=500)
    if start >= 3000:
        values[200:230] = 4.0 * noise.normal(size=30)
    block = Block(series, rows * 60_000_000, values, rows)
    block = decode_block(encode_block(block))
    outcome = advance(detection, head, [block], int(block.times[-1]) + 1, 0, store)
    head = outcome.head
    lines = [json.loads(line) for _, text in outcome.results for line in text.splitlines()]
    explained += sum(line["attribution"] is not None for line in lines)
after = signatures()
new = {f"{name}.{key}": n for (name, key), n in after.items() if n != before.get((name, key))}
print(json.dumps({"kernels": len(after), "explained": explained, "new": new}))
"""


@pytest.mark.parametrize(
    ("kind", "config", "threshold"),
    [
        ("RandomCutForest", {"shingle_size": 5, "sample_size": 32}, "Spot"),
        ("LeftDiscord", {"context": 1024}, "Spot"),
        ("LeftDiscord", {"context": 128, "sequence_length": 20, "normalize": False}, "Conformal"),
        ("LeftDiscord", {"context": 128, "score": "level"}, "MeanStdDev"),
    ],
)
def test_nothing_is_compiled_after_set_up(kind, config, threshold) -> None:
    # a process of its own: in this one other tests have compiled kernels
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps([kind, config, threshold])],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    report = json.loads(done.stdout)
    assert report["new"] == {}
    assert report["kernels"] > 10
    assert report["explained"] > 0
