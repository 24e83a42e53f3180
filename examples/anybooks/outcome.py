"""A run of the AnyBooks job: its sales, and what it wrote held against what was injected."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from examples.anybooks.evaluate import Alert, Evaluation, evaluate
from examples.anybooks.generate import deliver, generate, write
from examples.anybooks.sales import Injection, read_ground_truth

JOB_FILE = Path(__file__).with_name("job.yaml")
DEFAULT_FOLDER = "out/anybooks"
LEARNING = timedelta(days=1)


@dataclass(frozen=True)
class Outcome:
    """A run's results.

    Attributes
    ----------
    results : dict of str -> list of dict
        Result records by product, in the order of their periods.
    events : list of dict
        Alerts and recoveries.
    injections : tuple of Injection
        The ground truth.
    evaluation : Evaluation
        Alerts after the learning day against the ground truth.
    balance : dict of str -> int
        What became of every record and period.
    """

    results: dict[str, list[dict[str, Any]]]
    events: list[dict[str, Any]]
    injections: tuple[Injection, ...]
    evaluation: Evaluation
    balance: dict[str, int]


def prepare(folder: Path, days: int, seed: int) -> Path:
    """Write sales and a job file into ``folder``; return the job file's path."""
    sales = generate(days, seed)
    write(folder, sales, deliver(sales, seed))
    return write_job(folder)


def write_job(folder: Path) -> Path:
    """Write the example's job file into ``folder``, with its paths there; return its path."""
    text = JOB_FILE.read_text(encoding="utf-8").replace(DEFAULT_FOLDER, folder.as_posix())
    path = folder / "job.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def read_outcome(folder: Path) -> Outcome:
    """Read what the job that `write_job` wrote left in ``folder``."""
    job = yaml.safe_load((folder / "job.yaml").read_text(encoding="utf-8"))
    results: dict[str, list[dict[str, Any]]] = {}
    for row in _lines(Path(job["sinks"]["results"]["path"])):
        results.setdefault(product_of(row), []).append(row)
    for rows in results.values():
        rows.sort(key=lambda row: str(row["detectionPeriodStartTime"]))
    events = sorted(_lines(Path(job["sinks"]["alerts"]["path"])), key=lambda e: str(e["time"]))
    injections = read_ground_truth(folder / "ground_truth.jsonl")
    first = min(rows[0]["detectionPeriodStartTime"] for rows in results.values())
    alerts = [
        Alert(product_of(event), instant(event["time"]))
        for event in events
        if event["event"] == "alert" and instant(event["time"]) >= instant(first) + LEARNING
    ]
    (balance,) = json.loads(Path(job["sinks"]["balance"]["path"]).read_text()).values()
    return Outcome(results, events, injections, evaluate(alerts, injections), balance)


def product_of(record: dict[str, Any]) -> str:
    """The product that a result or an alert is about."""
    return str(record["dimensionList"][0]["value"])


def instant(text: str) -> datetime:
    """A result's time."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _lines(folder: Path) -> Iterator[dict[str, Any]]:
    for part in sorted(folder.glob("part-*.jsonl")):
        with part.open("rb") as lines:
            yield from map(json.loads, lines)
