"""Which waiting alerts a channel is told now, in how many messages, and when to look again.

Pure: the clock comes in as a number of seconds since 1970.
"""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import orjson

MINUTE = 60.0
_ENTRY, _HEAD = b"N1", b"M1"


@dataclass(frozen=True)
class QuietHours:
    """When a channel is told nothing, or only what is urgent.

    Parameters
    ----------
    start, end : int
        Minutes since midnight; an end before the start is that of the next day.
    time_zone : str
        IANA name of the zone of both.
    urgent_score : float
        Alerts whose score is above it pass all the same, 0 to 100; 100: none does.
    """

    start: int
    end: int
    time_zone: str = "UTC"
    urgent_score: float = 100.0

    def until(self, now: float) -> float | None:
        """When the quiet hours that ``now`` lies in are over; None outside of them."""
        zone = zoneinfo.ZoneInfo(self.time_zone)
        here = dt.datetime.fromtimestamp(now, zone)
        minute = here.hour * 60 + here.minute
        over_midnight = self.end <= self.start
        if over_midnight:
            is_quiet = minute >= self.start or minute < self.end
        else:
            is_quiet = self.start <= minute < self.end
        if not is_quiet:
            return None
        day = here.date() + dt.timedelta(days=1 if over_midnight and minute >= self.start else 0)
        end = dt.time(self.end // 60, self.end % 60)
        # at least a minute on: an hour that the clock skips or repeats must not hold forever
        return max(dt.datetime.combine(day, end, zone).timestamp(), now + MINUTE)


@dataclass(frozen=True)
class Policy:
    """How much a channel is told at once.

    Parameters
    ----------
    messages_per_minute : int
        Most messages in any minute; what is left goes into one digest.
    digest_from : int
        So many alerts at once become one message.
    recoveries : bool
        Whether it is told when an alert is over.
    quiet_hours : QuietHours, optional
        What comes then is told in a digest after them.
    give_up_after : int
        Seconds for which a delivery that failed is tried again.
    """

    messages_per_minute: int = 10
    digest_from: int = 5
    recoveries: bool = True
    quiet_hours: QuietHours | None = None
    give_up_after: int = 86_400

    def __post_init__(self) -> None:
        for name, least in (("messages_per_minute", 1), ("digest_from", 2), ("give_up_after", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be >= {least}, got {getattr(self, name)}")


@dataclass(frozen=True)
class Waiting:
    """An alert or a recovery that a channel has not been told yet.

    Parameters
    ----------
    line : bytes
        The record as JSON.
    held : bool
        Quiet hours or the rate have held it back: it goes into a digest.
    failing_since : float
        Clock of the first failure to deliver it; 0: none yet.
    due : float
        Not before.
    accepted : bool
        The channel has taken it; only the record of that is missing.
    """

    line: bytes
    held: bool = False
    failing_since: float = 0.0
    due: float = 0.0
    accepted: bool = False

    @cached_property
    def alert(self) -> dict[str, Any]:
        """The record."""
        found: dict[str, Any] = orjson.loads(self.line)
        return found

    def to_bytes(self) -> bytes:
        """An element of the state's bag."""
        own = orjson.dumps([self.held, self.failing_since, self.due, self.accepted])
        return _ENTRY + own + b"\n" + self.line


@dataclass(frozen=True)
class Head:
    """What a channel remembers beside what waits.

    Parameters
    ----------
    sent : tuple of float
        Clock of each message of the last minute.
    failures : int
        Wakes in succession at which the channel failed.
    not_before : float
        The channel is left alone until then.
    """

    sent: tuple[float, ...] = ()
    failures: int = 0
    not_before: float = 0.0

    def to_bytes(self) -> bytes:
        """An element of the state's bag."""
        return _HEAD + orjson.dumps([self.sent, self.failures, self.not_before])


def of_state(elements: Sequence[bytes]) -> tuple[Head, list[Waiting]]:
    """What a channel's bag holds; of several heads the last."""
    head, waiting = Head(), []
    for data in elements:
        if data.startswith(_HEAD):
            sent, failures, not_before = orjson.loads(data[len(_HEAD) :])
            head = Head(tuple(sent), failures, not_before)
        elif data.startswith(_ENTRY):
            own, _, line = data[len(_ENTRY) :].partition(b"\n")
            waiting.append(Waiting(line, *orjson.loads(own)))
        else:
            raise ValueError(f"not a waiting notification: starts with {data[:2]!r}")
    return head, waiting


class Plan(NamedTuple):
    """What to do now.

    Attributes
    ----------
    groups : list of list of Waiting
        Messages to send; one with more than one alert is a digest.
    rest : list of Waiting
        What goes on waiting.
    wake : float or None
        When to look again; None: when something new comes.
    newly_held : int
        How many were held back for the first time.
    """

    groups: list[list[Waiting]]
    rest: list[Waiting]
    wake: float | None
    newly_held: int = 0


def plan(waiting: Sequence[Waiting], head: Head, policy: Policy, now: float) -> Plan:
    """Decide what is sent at ``now``."""
    if not waiting:
        return Plan([], [], None)
    if now < head.not_before:
        return Plan([], list(waiting), head.not_before)
    due, rest, wakes = _due(waiting, policy.quiet_hours, now)
    recent = [each for each in head.sent if each > now - MINUTE]
    room = policy.messages_per_minute - len(recent)
    if due and room <= 0:
        rest += [replace(each, held=True) for each in due]
        wakes.append(sorted(recent)[-policy.messages_per_minute] + MINUTE)
        due = []
    held_before = sum(each.held for each in waiting)
    held = sum(each.held for each in (*due, *rest)) - held_before
    is_digest = len(due) > 1 and (
        len(due) >= policy.digest_from or len(due) > room or any(each.held for each in due)
    )
    groups = [due] if is_digest else [[each] for each in due]
    return Plan(groups, rest, min(wakes) if wakes else None, held)


def _due(
    waiting: Sequence[Waiting], quiet: QuietHours | None, now: float
) -> tuple[list[Waiting], list[Waiting], list[float]]:
    """What may be told now; what may not, and when it may."""
    quiet_until = None if quiet is None else quiet.until(now)
    due, rest, wakes = [], [], []
    for each in waiting:
        if each.due > now:
            rest.append(each)
            wakes.append(each.due)
        elif quiet_until is not None and not each.accepted and not _is_urgent(each, quiet):
            rest.append(replace(each, held=True))
            wakes.append(quiet_until)
        else:
            due.append(each)
    return due, rest, wakes


def _is_urgent(waiting: Waiting, quiet: QuietHours | None) -> bool:
    is_alert = waiting.alert["event"] == "alert"
    return quiet is not None and is_alert and waiting.alert["peakScore"] > quiet.urgent_score
