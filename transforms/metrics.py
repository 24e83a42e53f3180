"""What a run counts and measures about itself: every name, once; no result depends on it.

They are Beam metrics, which the runner reports (Flink: its REST interface and reporters). A bundle
that is retried counts twice, so the balance (`transforms.balance`) is counted from outputs instead.
Counters are also summed for this process, for a progress display.

An increment takes 0.8 microseconds; steps count by batch and by wake, never by point.
"""

from __future__ import annotations

import threading
from collections import Counter

from apache_beam.metrics import Metrics

NAMESPACE = "tidewatch"

COUNTERS = {
    "read": "records read",
    "bytes": "bytes of these records",
    "parsed": "points given to the detectors: a record is one for each detector that can use it",
    "dead": "records that a detector could not use",
    "used": "points that went into a period",
    "late": "points that came after their period was closed",
    "duplicate": "points dropped because their record ID was there already",
    "scored": "periods scored, without imputed ones",
    "warm_up": "periods learnt while the model warms up",
    "imputed": "periods filled in by the gap policy",
    "alerts": "alerts and recoveries",
    "muted": "alerts and recoveries that a feedback rule kept quiet",
    "notified": "alerts and recoveries that a channel accepted",
    "held": "alerts and recoveries held back for a channel by quiet hours or by its rate",
    "retried": "messages sent again after a failure that may pass",
    "undelivered": "alerts and recoveries that a channel did not accept, or not for everybody",
    "wakes": "timers of series that fired",
    "rebuilt": "models rebuilt from snapshot and journal, as they were not in memory",
    "pending_bytes": "bytes of points appended to wait for the watermark",
    "journal_bytes": "bytes of rows appended to journals",
    "snapshot_bytes": "bytes of models written as snapshots",
}
"""Numbers that only grow, with their meanings."""

DISTRIBUTIONS = {
    "latency_ms": "clock when a period's result is made, less the period's end; milliseconds",
    "watermark_lag_ms": "clock when a series is woken, less the event time of its timer; ms",
    "rebuild_ms": "time that the rebuild of one model took; milliseconds",
}
"""Values of which a runner keeps count, sum, least and greatest, with their meanings."""

GAUGES = {
    "live_models": "models in the memory of a worker process",
    "live_model_bytes": "bytes that these take",
}
"""Values that rise and fall, with their meanings; each worker process has its own."""

_counters = {name: Metrics.counter(NAMESPACE, name) for name in COUNTERS}
_distributions = {name: Metrics.distribution(NAMESPACE, name) for name in DISTRIBUTIONS}
_gauges = {name: Metrics.gauge(NAMESPACE, name) for name in GAUGES}
_lock = threading.Lock()
_process: Counter[str] = Counter()


def count(name: str, number: int = 1) -> None:
    """Count ``number`` more of one of `COUNTERS`."""
    if not number:
        return
    _counters[name].inc(number)
    with _lock:
        _process[name] += number


def observe(name: str, value: float) -> None:
    """Add a value to one of `DISTRIBUTIONS`."""
    _distributions[name].update(round(value))


def show(name: str, value: int) -> None:
    """Set one of `GAUGES`."""
    _gauges[name].set(value)


def counts() -> dict[str, int]:
    """All counters of this process so far."""
    with _lock:
        return dict(_process)
