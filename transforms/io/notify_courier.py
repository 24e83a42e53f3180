"""Brings one channel what waits for it: looks into the ledger, sends, writes down, tries again.

It knows no Beam. A call may be repeated after a crash with the same state: what was accepted and
written down is not sent again; what was accepted but not yet written down is, with the same ID.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

import orjson
from apache_beam.io.filesystem import BeamIOError
from botocore.exceptions import BotoCoreError, ClientError
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from transforms import metrics
from transforms.io.notify_answer import Channel, Refused, Taken
from transforms.io.notify_ledger import Digest, Ledger
from transforms.io.notify_message import Wording, delivery_id
from transforms.io.notify_plan import MINUTE, Head, Plan, Policy, Waiting, of_state, plan
from transforms.io.objects import Changed

ATTEMPTS = 3
"""Of one message at one wake: a longer outage is waited for in state, not in the worker."""
LAST_SECONDS = 60
"""A run that ends tries so long, for it has no later."""
FIRST_WAIT, LONGEST_WAIT = 5.0, 300.0
"""Seconds between two wakes at which a channel fails; they double from the first to the longest."""
_LOGGER = logging.getLogger(__name__)
_LEDGER_TROUBLE = (OSError, BotoCoreError, ClientError, BeamIOError, Changed)
_NO_LIMIT = 1 << 30


class Delivery(NamedTuple):
    """What a call of `Courier.deliver` comes to.

    Attributes
    ----------
    elements : list of bytes
        The channel's state from now on.
    undelivered : list of bytes
        Records of what could not be delivered, and of what now was after all.
    wake : float or None
        Clock at which to call again; None: when something new comes.
    """

    elements: list[bytes]
    undelivered: list[bytes]
    wake: float | None


class Courier:
    """Delivers to one channel.

    Parameters
    ----------
    name : str
        The channel's name.
    channel : Channel
        Where to.
    policy : Policy
        How much at once.
    wording : Wording
        How messages are written.
    ledger : Ledger
        The channel's record of deliveries.
    clock, sleep : callable, optional
        Seconds since 1970, and a pause; for tests.
    """

    def __init__(
        self,
        name: str,
        channel: Channel,
        policy: Policy,
        wording: Wording,
        ledger: Ledger,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._name, self._channel, self._policy = name, channel, policy
        self._wording, self._ledger = wording, ledger
        self._clock, self._sleep = clock, sleep

    def deliver(self, elements: Sequence[bytes], last: bool = False) -> Delivery:
        """Send what may be sent now.

        Parameters
        ----------
        elements : sequence of bytes
            The channel's state.
        last : bool
            The run ends: nothing is held back, and what fails is given up.
        """
        head, waiting = of_state(elements)
        if last:
            head = replace(head, not_before=0.0)
            waiting = [replace(each, due=0.0) for each in waiting]
        now = self._clock()
        work = _Round(head, now, last)
        planned = self._plan(waiting, head, now, last)
        if planned.groups:  # else there is no need to look into the ledger
            planned = self._delivered(work, waiting, planned)
        metrics.count("held", planned.newly_held)
        kept = [*work.rest, *planned.rest]
        return Delivery(
            [work.head.to_bytes(), *(each.to_bytes() for each in kept)],
            work.undelivered,
            self._wake(kept, work.head),
        )

    def _delivered(self, work: _Round, waiting: Sequence[Waiting], first: Plan) -> Plan:
        """Send what is due, less what the ledger knows; the plan that was followed."""
        try:
            fresh, digest = self._look(waiting)
        except _LEDGER_TROUBLE as error:
            due = [each for group in first.groups for each in group]
            self._fail(work, due, f"the record of deliveries: {error}")
            return first
        planned = self._plan(fresh, work.head, work.now, work.last)
        groups = self._with_open_digest(planned.groups, digest)
        if groups and work.head.failures:
            metrics.count("retried")
        for number, group in enumerate(groups):
            try:
                self._send(work, group, digest)
            except Refused as error:
                self._fail(work, [each for left in groups[number:] for each in left], error.reason)
                return planned
        work.head = replace(work.head, failures=0)
        return planned

    def _wake(self, kept: Sequence[Waiting], head: Head) -> float | None:
        """When what is kept can be told."""
        now = self._clock()
        following = plan(kept, head, self._policy, now)
        return now + FIRST_WAIT if following.groups else following.wake

    def _plan(self, waiting: Sequence[Waiting], head: Head, now: float, last: bool) -> Plan:
        policy = self._policy
        if last:
            policy = replace(policy, quiet_hours=None, messages_per_minute=_NO_LIMIT)
        return plan(waiting, head, policy, now)

    def _id(self, waiting: Waiting) -> str:
        return delivery_id(self._name, waiting.alert)

    def _dates(self, group: Sequence[Waiting]) -> dict[str, str]:
        return {self._id(each): each.alert["time"][:10] for each in group}

    def _look(self, waiting: Sequence[Waiting]) -> tuple[list[Waiting], Digest | None]:
        """What was not delivered yet, each once, and the digest that is still open."""
        self._ledger.add(self._dates([each for each in waiting if each.accepted]))
        digest = self._ledger.open_digest()
        dates = {each.alert["time"][:10] for each in waiting}
        known = self._ledger.delivered(dates | set(digest.dates.values() if digest else ()))
        if digest and not known.isdisjoint(digest.dates):
            # IDs are written down after acceptance only: with one of them, all were accepted
            self._ledger.add(digest.dates)
            self._ledger.close_digest()
            known |= set(digest.dates)
            digest = None
        fresh = {self._id(each): each for each in waiting}
        return [each for identity, each in fresh.items() if identity not in known], digest

    def _with_open_digest(
        self, groups: list[list[Waiting]], digest: Digest | None
    ) -> list[list[Waiting]]:
        """The open digest first, as it was, with all of it that waits; then the others."""
        if digest is None:
            return groups
        inside = [each for group in groups for each in group if self._id(each) in digest.dates]
        if not inside:
            return groups
        others = [
            [each for each in group if self._id(each) not in digest.dates] for group in groups
        ]
        return [inside, *filter(None, others)]

    def _send(self, work: _Round, group: list[Waiting], digest: Digest | None) -> None:
        """Send one message and write it down; a lasting refusal concerns this message alone."""
        dates = self._dates(group)
        is_open = digest is not None and not dates.keys().isdisjoint(digest.dates)
        if is_open and digest is not None:
            message, dates = digest.message, dict(digest.dates)
        elif len(group) == 1:
            message = self._wording.of_one(self._name, group[0].alert)
        else:
            message = self._wording.of_many(self._name, [each.alert for each in group])
        is_digest = is_open or len(group) > 1
        try:
            if is_digest and not is_open:
                self._ledger.plan_digest(Digest(message, dates))
            taken: Taken = self._retrying(work.last)(self._channel.send, message)
        except _LEDGER_TROUBLE as error:
            raise Refused(f"the record of deliveries: {error}", passing=True) from error
        except Refused as error:
            if error.passing:
                raise
            self._refused(work, group, error.reason, is_digest)
            return
        metrics.count("notified", len(group))
        recent = [each for each in work.head.sent if each > work.now - MINUTE]
        work.head = replace(work.head, sent=(*recent, self._clock()))
        try:
            self._ledger.add(dates)
            if is_digest:
                self._ledger.close_digest()
        except _LEDGER_TROUBLE as error:
            _LOGGER.warning("%s: accepted, but not written down yet: %s", self._name, error)
            work.rest += [replace(each, accepted=True) for each in group]
        self._report_taken(work, group, taken)

    def _retrying(self, last: bool) -> Retrying:
        return Retrying(
            retry=retry_if_exception(lambda error: isinstance(error, Refused) and error.passing),
            wait=wait_random_exponential(multiplier=0.3, max=8 if last else 2),
            stop=stop_after_delay(LAST_SECONDS) if last else stop_after_attempt(ATTEMPTS),
            before_sleep=self._log_retry,
            sleep=self._sleep,
            reraise=True,
        )

    def _log_retry(self, state: RetryCallState) -> None:
        metrics.count("retried")
        if state.outcome is not None:
            _LOGGER.warning("%s: %s; trying again", self._name, state.outcome.exception())

    def _report_taken(self, work: _Round, group: Sequence[Waiting], taken: Taken) -> None:
        for each in group:
            if taken.missed:
                work.undelivered.append(self._record("partly", each, taken.missed))
            elif each.failing_since:
                work.undelivered.append(self._record("delivered", each, taken.answer))
        if taken.missed:
            metrics.count("undelivered", len(group))
            _LOGGER.warning("%s: %s", self._name, taken.missed)

    def _fail(self, work: _Round, waiting: Sequence[Waiting], reason: str) -> None:
        """The channel, or the ledger, does not answer: leave it alone for a while."""
        failures = work.head.failures
        pause = min(FIRST_WAIT * 2.0 ** min(failures, 16), LONGEST_WAIT)
        not_before = self._clock() + pause
        work.head = replace(work.head, failures=failures + 1, not_before=not_before)
        self._keep(work, waiting, reason)
        then = "given up, as the run ends" if work.last else f"again in {pause:g} s"
        _LOGGER.warning("%s: %s; %s", self._name, reason, then)

    def _refused(
        self, work: _Round, group: Sequence[Waiting], reason: str, is_digest: bool
    ) -> None:
        """The channel will not take this message until somebody mends something."""
        then = "given up, as the run ends" if work.last else f"again in {LONGEST_WAIT:g} s"
        _LOGGER.error("%s: %s; %s", self._name, reason, then)
        later = [replace(each, due=self._clock() + LONGEST_WAIT) for each in group]
        self._keep(work, later, reason)
        if is_digest:  # which may be what it does not like: the next one is made anew
            with suppress(*_LEDGER_TROUBLE):
                self._ledger.close_digest()

    def _keep(self, work: _Round, waiting: Sequence[Waiting], reason: str) -> None:
        """Go on waiting, up to the limit; tell the first failure and the end."""
        for each in waiting:
            since = each.failing_since or work.now
            over = work.last or work.now - since > self._policy.give_up_after
            if over or not each.failing_since:
                metrics.count("undelivered")
                status = "given_up" if over else "waiting"
                work.undelivered.append(self._record(status, each, reason))
            if not over:
                work.rest.append(replace(each, failing_since=since))

    def _record(self, status: str, waiting: Waiting, reason: str) -> bytes:
        return undelivered_line(status, self._name, waiting, reason)


def undelivered_line(status: str, channel: str, waiting: Waiting, reason: str) -> bytes:
    """A notification that could not be delivered, as JSON; see `transforms.schema`."""
    return orjson.dumps(
        {
            "status": status,
            "channel": channel,
            "reason": reason,
            "deliveryId": delivery_id(channel, waiting.alert),
            "alertId": waiting.alert["alertId"],
            "event": waiting.alert["event"],
            "alert": waiting.line.decode(),
        }
    )


class _Round:
    """What one call has come to so far."""

    def __init__(self, head: Head, now: float, last: bool) -> None:
        self.head, self.now, self.last = head, now, last
        self.rest: list[Waiting] = []
        self.undelivered: list[bytes] = []
