"""The shop while it is open: each sale at its time, some committed late, by several tills."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
from psycopg import Connection, OperationalError
from tenacity import (
    Retrying,
    before_sleep_log,
    retry_if_exception_type,
    sleep_using_event,
    stop_when_event_set,
    wait_random_exponential,
)

from ingest.shop import Sale, insert, sales_between
from ingest.shop_clock import MICROSECONDS, ShopClock
from ingest.shop_days import DAY_MICROSECONDS, day_of_sales

_TICK_SECONDS = 0.2
_LEAST_LATE = 0.2
_LOG = logging.getLogger(__name__)


class LiveShop:
    """Inserts sales as the clock comes to them.

    A late sale is inserted at its time like any other, by a till whose transaction is left open: it
    is committed up to ``most_late_seconds`` afterwards, in whatever order. While all late tills are
    in use, sales are on time. When the database goes away, sales of that moment and of the late
    tills are lost, as customers leave; it goes on when the database is back.

    Parameters
    ----------
    open_till : callable
        Makes a connection; called once for prompt sales, and once for each late till.
    table : str
        Where to.
    clock : ShopClock
        The shop's time.
    seed : int
        Of the sales, see `ingest.shop_days`, and of what is late.
    late_share : float
        Share of sales that are committed late, 0 to 1.
    most_late_seconds : float
        How late at most, by the shop's clock; at least a fifth of it.
    late_tills : int
        Transactions that may be open at once.
    """

    def __init__(
        self,
        open_till: Callable[[], Connection[Any]],
        table: str,
        clock: ShopClock,
        seed: int,
        *,
        late_share: float = 0.02,
        most_late_seconds: float = 90.0,
        late_tills: int = 8,
    ) -> None:
        if not 0.0 <= late_share <= 1.0:
            raise ValueError(f"late_share must be from 0 to 1, got {late_share}")
        if not 0.0 <= most_late_seconds < float("inf"):
            raise ValueError(f"most_late_seconds must be >= 0, got {most_late_seconds}")
        if late_tills < 1:
            raise ValueError(f"late_tills must be >= 1, got {late_tills}")
        self._table, self._clock, self._seed = table, clock, seed
        self._share, self._most_late = late_share, most_late_seconds
        self._random = np.random.default_rng([seed, 0x1A7E])
        self._open_till, self._late_tills = open_till, late_tills
        self._open_tills()
        self._open: list[tuple[int, int, Connection[Any]]] = []
        self._number = itertools.count()
        self.sold = self.late = self.lost = 0

    def _reopen(self, stop: threading.Event) -> None:
        """Give up what was open, and wait until the database is there again."""
        self.lost += len(self._open)
        retrying = Retrying(
            retry=retry_if_exception_type(OperationalError),
            wait=wait_random_exponential(multiplier=0.2, max=5),
            stop=stop_when_event_set(stop),
            sleep=sleep_using_event(stop),
            before_sleep=before_sleep_log(_LOG, logging.WARNING),
            reraise=True,
        )
        self.close()
        self._open.clear()
        retrying(self._open_tills)

    def _open_tills(self) -> None:
        self._prompt = self._open_till()
        self._free = [self._open_till() for _ in range(self._late_tills)]

    def run(self, stop: threading.Event, until: int | None = None) -> None:
        """Sell until told to stop, or the clock shows ``until``; then commit what is open."""
        sold_to = self._clock.now()
        try:
            while not stop.is_set() and (until is None or sold_to < until):
                now = self._clock.now() if until is None else min(self._clock.now(), until)
                try:
                    self._sell(sold_to, now)
                    self._commit_due(now)
                except OperationalError:
                    self._reopen(stop)
                sold_to = now
                stop.wait(_TICK_SECONDS)
        finally:
            with suppress(OperationalError):
                self._commit_due(None)

    def close(self) -> None:
        """Close the tills."""
        for till in (self._prompt, *self._free, *(till for _, _, till in self._open)):
            till.close()

    def _sell(self, since: int, until: int) -> None:
        prompt = []
        for sale in self._sales(since, until):
            if self._free and self._random.random() < self._share:
                self._sell_late(sale)
            else:
                prompt.append(sale)
        if prompt:
            self.lost += len(prompt)
            insert(self._prompt, self._table, prompt)
            self._prompt.commit()
            self.lost -= len(prompt)
            self.sold += len(prompt)

    def _sell_late(self, sale: Sale) -> None:
        till = self._free.pop()
        insert(till, self._table, [sale])
        seconds = self._most_late * self._random.uniform(_LEAST_LATE, 1.0)
        due = sale.micros + round(seconds * MICROSECONDS)
        heapq.heappush(self._open, (due, next(self._number), till))

    def _commit_due(self, now: int | None) -> None:
        while self._open and (now is None or self._open[0][0] <= now):
            till = self._open[0][2]
            till.commit()
            heapq.heappop(self._open)
            self._free.append(till)
            self.late += 1
            self.sold += 1

    def _sales(self, since: int, until: int) -> Iterator[Sale]:
        for day in range(since // DAY_MICROSECONDS, (until - 1) // DAY_MICROSECONDS + 1):
            yield from sales_between(day_of_sales(day, self._seed), since, until)
