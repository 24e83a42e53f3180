"""How many series a worker process has seen of late: for watching, no result depends on it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

SPAN_SECONDS = 3600.0


class LiveSeries:
    """Counts the distinct series of the last one to two spans; safe for threads.

    Takes about 100 bytes a series: what is kept of a key is its hash.

    Parameters
    ----------
    clock : callable, optional
        Seconds that never jump, for tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self._since = clock()
        self._now: set[int] = set()
        self._before: set[int] = set()
        self._in_both = 0

    def saw(self, key: str) -> None:
        """Take note that the series was woken."""
        number = hash(key)
        with self._lock:
            self._turn()
            if number not in self._now:
                self._now.add(number)
                self._in_both += number in self._before

    def __len__(self) -> int:
        with self._lock:
            self._turn()
            return len(self._now) + len(self._before) - self._in_both

    def _turn(self) -> None:
        spans = int((self._clock() - self._since) / SPAN_SECONDS)
        if spans:
            self._since += spans * SPAN_SECONDS
            self._before = self._now if spans == 1 else set()
            self._now, self._in_both = set(), 0


LIVE_SERIES = LiveSeries()
"""Those of this process."""
