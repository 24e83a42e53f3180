"""Sends messages at a chosen rate, and again those that did not arrive."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from tenacity import (
    Retrying,
    before_sleep_log,
    retry_if_exception,
    sleep_using_event,
    stop_after_delay,
    stop_when_event_set,
    wait_random_exponential,
)

from ingest.publisher import Message, NotPublished, Publisher

_LOG = logging.getLogger(__name__)
MOST_A_CHUNK = 1_000


class Pace:
    """Counts what was sent, what arrived, and what was sent again.

    Parameters
    ----------
    publisher : Publisher
        Where to.
    rate : float or None
        Messages a second; None: as fast as they are taken.
    stop : threading.Event
        Ends it between two chunks.
    patience_seconds : float
        How long a chunk is tried.

    Raises
    ------
    ValueError
        The rate is not positive.
    """

    def __init__(
        self,
        publisher: Publisher,
        rate: float | None,
        stop: threading.Event,
        patience_seconds: float = 60.0,
    ) -> None:
        if rate is not None and not 0.0 < rate < float("inf"):
            raise ValueError(f"the rate must be > 0 messages a second, got {rate:g}")
        self._publisher, self._rate, self._stop = publisher, rate, stop
        self._patience = patience_seconds
        self.delivered = self.retried = 0

    def run(self, every: Iterable[Message], tell: Callable[[int], None]) -> None:
        """Send all; ``tell`` is given the number of each chunk that has arrived.

        Raises
        ------
        NotPublished
            A chunk did not arrive within the patience, or never will; the rest is not sent.
        """
        waiting = iter(every)
        began, taken = time.monotonic(), 0
        # at most a second's worth, so that the rate is even
        size = MOST_A_CHUNK if self._rate is None else max(1, min(MOST_A_CHUNK, int(self._rate)))
        while not self._stop.is_set():
            chunk = list(islice(waiting, size))
            if not chunk:
                return
            self._deliver(chunk)
            taken += len(chunk)
            tell(len(chunk))
            if self._rate is not None:
                self._stop.wait(max(0.0, began + taken / self._rate - time.monotonic()))

    def _deliver(self, chunk: Sequence[Message]) -> None:
        left: Sequence[Message] = chunk
        first = True

        def attempt() -> None:
            nonlocal left, first
            if not first:
                self.retried += len(left)
            first = False
            try:
                for message in left:
                    self._publisher.send(message.payload, message.key)
                self._publisher.flush()
            except NotPublished as error:
                # not known which: all of them again
                self.delivered += len(left) - len(error.failed or left)
                left = error.failed or left
                raise
            self.delivered += len(left)

        retrying = Retrying(
            retry=retry_if_exception(lambda e: isinstance(e, NotPublished) and e.may_pass),
            wait=wait_random_exponential(multiplier=0.5, max=15),
            stop=stop_after_delay(self._patience) | stop_when_event_set(self._stop),
            sleep=sleep_using_event(self._stop),
            before_sleep=before_sleep_log(_LOG, logging.WARNING),
            reraise=True,
        )
        retrying(attempt)
