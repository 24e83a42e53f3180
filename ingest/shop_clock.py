"""The shop's clock: the real one, or one that starts earlier and is faster till it catches up."""

from __future__ import annotations

import time
from collections.abc import Callable

MICROSECONDS = 1_000_000


class ShopClock:
    """Tells the shop's time; never later than the real one.

    Parameters
    ----------
    start : int
        The shop's time now, microseconds since 1970.
    speed : float
        How many of its seconds pass in a real one, until it has caught up.
    clock : callable, optional
        The real time, seconds since 1970.

    Raises
    ------
    ValueError
        The start is in the future, or the speed not a positive number.
    """

    def __init__(
        self, start: int, speed: float = 1.0, clock: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self._began = clock()
        if start > self._began * MICROSECONDS:
            raise ValueError("the start must not be in the future: a shop cannot sell there yet")
        if not 0.0 < speed < float("inf"):
            raise ValueError(f"the speed must be > 0 and finite, got {speed}")
        self._start = start
        self.speed = speed

    def now(self) -> int:
        """The shop's time, microseconds since 1970."""
        real = self._clock()
        shown = self._start + round((real - self._began) * self.speed * MICROSECONDS)
        return min(shown, round(real * MICROSECONDS))

    def seconds_until(self, micros: int) -> float:
        """Real seconds until the shop's clock shows this; 0 if it is past."""
        return max(0.0, (micros - self.now()) / MICROSECONDS / self.speed)
