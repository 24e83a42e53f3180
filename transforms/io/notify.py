"""Alerts and recoveries to people: SNS, e-mail, and whatever apprise knows.

The sending itself is `transforms.io.notify_courier`'s; this is the step around it, keyed by
channel. ``process`` only adds to what waits and asks to be woken; the wake sends. What a channel
accepts is written down at once in a ledger outside of the runner's state, because that state is as
old as the last checkpoint when a run goes on after a crash.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import orjson
from apache_beam.coders import BytesCoder
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import (
    BagRuntimeState,
    BagStateSpec,
    RuntimeTimer,
    TimerSpec,
    on_timer,
)
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import Timestamp

from transforms.io.notify_answer import Channel
from transforms.io.notify_courier import Courier, undelivered_line
from transforms.io.notify_ledger import Ledger
from transforms.io.notify_message import Wording
from transforms.io.notify_plan import Policy, Waiting, of_state
from transforms.io.objects import Store, store_at
from transforms.records import MICROSECONDS

LEDGER_SECONDS = 20
"""So long the ledger's store may refuse at one wake; the delivery waits on in state after that."""
_END = GlobalWindow().max_timestamp()


@dataclass(frozen=True)
class Recipient:
    """A channel and how much it is told.

    Parameters
    ----------
    channel : Channel
        Where to.
    policy : Policy
        How much.
    """

    channel: Channel
    policy: Policy


class Notify(beam.PTransform):
    """Alerts as JSON lines to every channel; yields records of what could not be delivered.

    An alert that a feedback rule keeps quiet (``mutedBy``) is told to nobody.

    Parameters
    ----------
    recipients : mapping of str to Recipient
        By the channel's name, which is part of every delivery's ID and of the state's key.
    wording : Wording
        How messages are written.
    ledger : str
        Folder of the record of deliveries: local, ``s3://`` or what Beam has a file system for.
    ends : bool
        Whether the run ends: then nothing is held back, and what fails at its end is given up.
    """

    def __init__(
        self, recipients: Mapping[str, Recipient], wording: Wording, ledger: str, ends: bool
    ) -> None:
        super().__init__()
        self._recipients = dict(recipients)
        self._wording, self._folder, self._ends = wording, ledger.rstrip("/"), ends

    def expand(self, alerts: Any) -> Any:
        """Address each alert, let it wait, send."""
        store = store_at(self._folder, alerts.pipeline.options, LEDGER_SECONDS)
        if self._ends:
            # in one stage with the step before, whose timers fire at the end of the input, Beam's
            # Direct runner (2.77) would drop the timers that are set then
            alerts = alerts | "Apart" >> beam.Reshuffle()
        recoveries = {name: each.policy.recoveries for name, each in self._recipients.items()}
        deliver = NotifyFn(self._recipients, self._wording, store, self._folder, self._ends)
        return (
            alerts
            | "Address" >> beam.FlatMap(addressed, recoveries).with_output_types(tuple[str, bytes])
            | "Deliver" >> beam.ParDo(deliver).with_output_types(bytes)
        )


def addressed(line: bytes, recoveries: Mapping[str, bool]) -> list[tuple[str, bytes]]:
    """An alert with the name of each channel that is to be told of it."""
    alert = orjson.loads(line)
    if alert.get("mutedBy"):
        return []
    is_alert = alert["event"] == "alert"
    return [(name, line) for name, wanted in recoveries.items() if is_alert or wanted]


class NotifyFn(beam.DoFn):
    """(channel's name, alert) into deliveries; yields records of what is undelivered.

    Parameters
    ----------
    recipients, wording, ends
        See `Notify`.
    store : Store
        Where the ledger lies.
    folder : str
        The ledger's folder.
    clock : callable, optional
        Seconds since 1970.
    """

    WAITING = BagStateSpec("waiting", BytesCoder())
    # names of their own: see `transforms.io.lake_live`
    SEND = TimerSpec("send", TimeDomain.REAL_TIME)
    SEND_REST = TimerSpec("send_rest", TimeDomain.WATERMARK)

    def __init__(
        self,
        recipients: Mapping[str, Recipient],
        wording: Wording,
        store: Store,
        folder: str,
        ends: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._recipients, self._wording = dict(recipients), wording
        self._store, self._folder, self._ends, self._clock = store, folder, ends, clock

    def process(
        self,
        element: tuple[str, bytes],
        waiting: BagRuntimeState = beam.DoFn.StateParam(WAITING),
        send: RuntimeTimer = beam.DoFn.TimerParam(SEND),
        send_rest: RuntimeTimer = beam.DoFn.TimerParam(SEND_REST),
    ) -> None:
        """Let the alert wait; ask to be woken at once, or at the end of a run that has one."""
        _, line = element
        waiting.add(Waiting(line).to_bytes())
        if self._ends:
            send_rest.set(_END)
        else:
            send.set(_time(self._clock()))

    @on_timer(SEND)
    def wake(
        self,
        name: str = beam.DoFn.KeyParam,
        waiting: BagRuntimeState = beam.DoFn.StateParam(WAITING),
        send: RuntimeTimer = beam.DoFn.TimerParam(SEND),
    ) -> Iterator[bytes]:
        """Send what may be sent; come again for what may not yet."""
        wake, undelivered = self._deliver(name, waiting, last=False)
        if wake is not None:
            send.set(_time(wake))
        yield from undelivered

    @on_timer(SEND_REST)
    def wake_last(
        self,
        name: str = beam.DoFn.KeyParam,
        waiting: BagRuntimeState = beam.DoFn.StateParam(WAITING),
    ) -> Iterator[bytes]:
        """Send all that waits: the run has no later."""
        yield from self._deliver(name, waiting, last=True)[1]

    def _deliver(
        self, name: str, waiting: BagRuntimeState, last: bool
    ) -> tuple[float | None, list[bytes]]:
        elements = list(waiting.read())
        if not elements:
            return None, []
        if name not in self._recipients:
            waiting.clear()
            return None, _of_nobody(name, elements)
        delivery = self._courier(name).deliver(elements, last)
        waiting.clear()
        for element in delivery.elements:
            waiting.add(element)
        return delivery.wake, delivery.undelivered

    def _courier(self, name: str) -> Courier:
        recipient = self._recipients[name]
        ledger = Ledger(self._store, f"{self._folder}/{name}")
        return Courier(
            name, recipient.channel, recipient.policy, self._wording, ledger, self._clock
        )


def _of_nobody(name: str, elements: list[bytes]) -> list[bytes]:
    """What waited for a channel that a job before this one had."""
    reason = "the job has no channel of this name any more"
    return [undelivered_line("given_up", name, each, reason) for each in of_state(elements)[1]]


def _time(seconds: float) -> Timestamp:
    return Timestamp(micros=int(seconds * MICROSECONDS))
