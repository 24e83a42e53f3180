"""States that were saved once still load, and score as they did then.

A file in ``tests/data/`` holds one model in mid-stream and what it made of the values after that.
A file of a released state version is never written again. To add those that are missing, of a new
detector or a new state version::

    PYTHONPATH=. python tests/test_saved_states.py
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detectors import model
from detectors.model import DETECTORS, ModelSpec, SeriesModel
from detectors.thresholds import THRESHOLDS

FOLDER = Path(__file__).parent / "data"
LEARNT = {"Ensemble": 1200}
"""Values learnt by then, 600 of what is not named: the slowest member has to be warm."""
USUALLY_LEARNT, AHEAD, SPIKE = 600, 50, 30
COLUMNS = ("raw", "decades", "score", "surprise", "expected", "lower", "upper", "confidence")

SPECS: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "RandomCutForest": (
        {"shingle_size": 5, "number_of_trees": 20, "sample_size": 32, "time_decay": 0.05},
        "Spot",
        {"level": 0.9, "risk": 0.01, "most_excesses": 30, "warm_up": 100},
    ),
    "LeftDiscord": ({"sequence_length": 20, "context": 128}, "MeanStdDev", {"warm_up": 50}),
    "Ensemble": (
        {"context": 128, "number_of_trees": 20, "sample_size": 32},
        "MeanStdDev",
        {"warm_up": 50, "deviations": 5.0},
    ),
}
"""Parameters, threshold and its parameters of each kind; defaults where a kind is not named."""


def path_of(kind: str) -> Path:
    return FOLDER / f"{kind}-{model.STATE_VERSION}.{DETECTORS[kind].STATE_VERSION}.json"


def spec_of(record: dict[str, Any]) -> ModelSpec:
    return ModelSpec(
        record["kind"],
        DETECTORS[record["kind"]].Parameters(**record["parameters"]),
        THRESHOLDS[record["threshold"]](**record["threshold_parameters"]),
    )


def learnt_by(kind: str) -> int:
    return LEARNT.get(kind, USUALLY_LEARNT)


def values_of_stream(learnt: int) -> np.ndarray:
    noise = np.random.default_rng(8).standard_normal(learnt + AHEAD)
    values = 20.0 + 5.0 * np.sin(np.arange(learnt + AHEAD) * 2 * np.pi / 25) + noise
    values[[200, 400, learnt + SPIKE]] += 30.0
    values[[7, 300, 301]] = np.nan
    return np.round(values, 2)


def times_of_stream(learnt: int) -> np.ndarray:
    """A row every ten minutes."""
    return np.arange(learnt + AHEAD, dtype=np.int64) * 600_000_000


def record_of(kind: str) -> dict[str, Any]:
    parameters, threshold, threshold_parameters = SPECS.get(kind, ({}, "MeanStdDev", {}))
    record: dict[str, Any] = {
        "kind": kind,
        "parameters": parameters,
        "threshold": threshold,
        "threshold_parameters": threshold_parameters,
    }
    learnt = learnt_by(kind)
    values, times = values_of_stream(learnt), times_of_stream(learnt)
    one = SeriesModel(spec_of(record), seed=5)
    one.score_and_learn(values[:learnt], times[:learnt])
    record["state"] = base64.b64encode(one.to_bytes()).decode()
    record["values"] = values[learnt:].tolist()
    scores = one.score_and_learn(values[learnt:], times[learnt:])
    record["scores"] = {name: getattr(scores, name).tolist() for name in COLUMNS}
    assert scores.flagged is not None
    record["flagged"] = np.flatnonzero(scores.flagged).tolist()
    return record


def add_missing() -> None:
    FOLDER.mkdir(exist_ok=True)
    for kind in DETECTORS:
        if not path_of(kind).exists():
            path_of(kind).write_text(json.dumps(record_of(kind), indent=1) + "\n")


@pytest.mark.parametrize("kind", DETECTORS)
def test_each_detector_has_a_saved_state(kind: str) -> None:
    assert path_of(kind).exists(), f"none in {FOLDER}: see the docstring of this module"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_a_saved_state_scores_as_it_did(path: Path) -> None:
    record = json.loads(path.read_text())
    state = base64.b64decode(record["state"])
    loaded = SeriesModel(spec_of(record), seed=0, state=state)
    learnt = learnt_by(record["kind"])
    assert loaded.to_bytes() == state and loaded.rows == learnt
    scores = loaded.score_and_learn(np.array(record["values"]), times_of_stream(learnt)[learnt:])
    for name in COLUMNS:
        # the last digits of logarithms and square roots are the processor's own
        np.testing.assert_allclose(
            getattr(scores, name), record["scores"][name], rtol=1e-9, atol=1e-9, err_msg=name
        )
    assert scores.flagged is not None
    assert np.flatnonzero(scores.flagged).tolist() == record["flagged"]
    assert np.argmax(scores.decades) >= SPIKE  # a subsequence holds it for some rows


def test_saved_states_are_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.glob("*.json")) < 400_000


if __name__ == "__main__":
    add_missing()
