"""The balance: every record that was read is accounted for, counted from outputs.

read = used + duplicate + late + dead + waiting; closed = scored + warm_up, imputed apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import apache_beam as beam
import orjson

RECORDS = ("used", "duplicate", "late", "dead", "waiting")
PERIODS = ("scored", "warm_up")
COUNTERS = {
    "read": "records read",
    "used": "= used",
    "duplicate": "+ duplicate",
    "late": "+ late",
    "dead": "+ dead",
    "waiting": "+ waiting",
    "closed": "periods closed",
    "scored": "= scored",
    "warm_up": "+ warm-up",
    "imputed": "periods imputed",
    "decided": "anomalous periods",
}
"""Every counter, and what a person reads for it."""


class Balance(beam.PTransform):
    """(detector, counter, number) of every step into one JSON object, by detector.

    Parameters
    ----------
    detectors : list of str
        All detectors of the job, so that one without a record is in it too.
    """

    def __init__(self, detectors: list[str]) -> None:
        super().__init__()
        self._zeros = [((name, counter), 0) for name in detectors for counter in COUNTERS]

    def expand(self, tallies: Any) -> Any:
        """Sum by detector and counter."""
        zeros = tallies.pipeline | "Zeros" >> beam.Create(self._zeros)
        counts = tallies | "Keyed" >> beam.Map(lambda t: ((t[0], t[1]), t[2]))
        return (
            (counts, zeros)
            | beam.Flatten()
            | "Sum" >> beam.CombinePerKey(sum)
            | "One" >> beam.combiners.ToList()
            | "Json" >> beam.Map(as_json)
        )


def as_json(sums: Iterable[tuple[tuple[str, str], int]]) -> bytes:
    """The sums as one JSON object: detector -> counter -> number."""
    by_detector: dict[str, dict[str, int]] = {}
    for (detector, counter), number in sorted(sums):
        by_detector.setdefault(detector, {})[counter] = number
    ordered = {name: {c: counts[c] for c in COUNTERS} for name, counts in by_detector.items()}
    return orjson.dumps(ordered, option=orjson.OPT_INDENT_2)


def differences(counts: Mapping[str, int]) -> list[str]:
    """What does not add up in one detector's counts, in words; empty: all is accounted for."""
    found = []
    records = sum(counts[name] for name in RECORDS)
    if counts["read"] != records:
        found.append(f"read {counts['read']} != {' + '.join(RECORDS)} = {records}")
    periods = sum(counts[name] for name in PERIODS)
    if counts["closed"] != periods:
        found.append(f"closed {counts['closed']} != {' + '.join(PERIODS)} = {periods}")
    return found
