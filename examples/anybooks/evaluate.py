"""Alerts held against the ground truth: found, missed, false.

>>> from examples.anybooks.sales import minute_totals
>>> injections = minute_totals(days=5, seed=1).injections
>>> alerts = [Alert(injections[0].product_name, injections[0].start)]
>>> result = evaluate(alerts, injections)
>>> (result.found, result.missed, result.false_alerts) == (1, len(injections) - 1, 0)
True
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from examples.anybooks.sales import Injection

TOLERANCE = timedelta(minutes=5)


class Alert(NamedTuple):
    """An alert event: its series, its start, and its end where that is known."""

    product_name: str
    start: datetime
    end: datetime | None = None


@dataclass(frozen=True)
class Recall:
    """How many of the injections of a kind were found."""

    found: int
    injected: int

    @property
    def share(self) -> float:
        """``found / injected``, NaN if nothing was injected."""
        return self.found / self.injected if self.injected else float("nan")


@dataclass(frozen=True)
class Evaluation:
    """Outcome of `evaluate`.

    Attributes
    ----------
    injected, found, missed : int
        Injections; ``found + missed == injected``.
    alerts, false_alerts : int
        Alert events, and those of them with no injection near them.
    by_kind : dict of str -> Recall
        ``spike`` and ``drop`` apart.
    missed_injections : tuple of Injection
        In the order given.
    false_alert_events : tuple of Alert
        In the order given.
    """

    injected: int
    found: int
    missed: int
    alerts: int
    false_alerts: int
    by_kind: dict[str, Recall]
    missed_injections: tuple[Injection, ...]
    false_alert_events: tuple[Alert, ...]

    @property
    def recall(self) -> float:
        """Share of the injections that were found; NaN if nothing was injected."""
        return Recall(self.found, self.injected).share


def evaluate(
    alerts: Iterable[Alert | tuple[str, datetime] | tuple[str, datetime, datetime | None]],
    injections: Sequence[Injection],
    tolerance: timedelta = TOLERANCE,
) -> Evaluation:
    """Count injections found and missed, and false alerts.

    An injection is found if an alert event of its series starts from its start to ``tolerance``
    after its end. An alert is false if it stays more than ``tolerance`` away from every injection
    of its series. So an alert just before an injection is neither.

    Parameters
    ----------
    alerts : iterable of (product name, start[, end])
        Alert events; times with a time zone.
    injections : sequence of Injection
        The ground truth.
    tolerance : timedelta
        Five minutes by default.
    """
    events = [Alert(*alert) for alert in alerts]
    missed = tuple(i for i in injections if not any(_finds(a, i, tolerance) for a in events))
    false = tuple(a for a in events if not any(_is_near(a, i, tolerance) for i in injections))
    return Evaluation(
        injected=len(injections),
        found=len(injections) - len(missed),
        missed=len(missed),
        alerts=len(events),
        false_alerts=len(false),
        by_kind={kind: _recall(kind, injections, missed) for kind in ("spike", "drop")},
        missed_injections=missed,
        false_alert_events=false,
    )


def _finds(alert: Alert, injection: Injection, tolerance: timedelta) -> bool:
    same_series = alert.product_name == injection.product_name
    return same_series and injection.start <= alert.start <= injection.end + tolerance


def _is_near(alert: Alert, injection: Injection, tolerance: timedelta) -> bool:
    end = alert.start if alert.end is None else alert.end
    return (
        alert.product_name == injection.product_name
        and alert.start <= injection.end + tolerance
        and end >= injection.start - tolerance
    )


def _recall(kind: str, injections: Sequence[Injection], missed: Sequence[Injection]) -> Recall:
    injected = sum(injection.kind == kind for injection in injections)
    return Recall(injected - sum(injection.kind == kind for injection in missed), injected)
