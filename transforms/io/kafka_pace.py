"""When a Kafka reader fetches, and when it hands over what it has.

Each series in a bundle is an element of the stateful step, which costs more than many of its
points. So many records that come one by one are taken together, unless they wait in heaps. Where
all detectors have periods, nothing is gained by a fetch long before the close. The close itself
comes first: all series are woken then, and each record that is handed over just before delays them.
"""

from __future__ import annotations

import math

from transforms.records import MICROSECONDS

GATHER_SECONDS, GATHER_SECONDS_AN_ELEMENT = 1.0, 0.005
"""After a fetch the next one waits for so long for each series and detector that it had records of,
and at most for so long."""
GATHER_SECONDS_A_PERIOD, GATHER_PARTS = 3.0, 20
"""Where all detectors have periods: so long, or a period in so many parts if that is shorter."""
CLOSE_SECONDS = 0.5
"""Nothing is fetched for so long before a period closes, nor handed over for so long after, or half
as long as is gathered, since a thousand wakes take a second."""
SURE_SECONDS = 0.05
"""So long after the close, the record that closes it has come, if the stream flows as it did."""


class FetchPace:
    """The pace of one reader.

    Parameters
    ----------
    period : int
        Every period ends at a multiple of it, microseconds since 1970; 0: nothing waits for one.
    allowed_disorder : int
        By how much the watermark is behind the newest event time, microseconds.
    now : float
        The time, in seconds that never jump, as everywhere here.
    """

    def __init__(self, period: int, allowed_disorder: int, now: float) -> None:
        self._period = period
        self._gather = min(GATHER_SECONDS_A_PERIOD, period / MICROSECONDS / GATHER_PARTS)
        self._phases = (0, allowed_disorder)
        self._fetched_at = now  # when there was something
        self._fetch_at = self._hand_over_at = -math.inf

    def fetched(self, elements: int, is_full: bool, now: float) -> None:
        """Take note of a fetch: elements of the stateful step, and whether more may wait."""
        if elements:
            self._fetched_at = now
        wait = min(GATHER_SECONDS, GATHER_SECONDS_AN_ELEMENT * elements)
        if elements and self._period:
            wait = self._gather
        self._fetch_at = -math.inf if is_full else now + wait

    def is_due(self, watermark: int | None, now: float) -> bool:
        """Whether to fetch; ``watermark`` is that of what was read so far, in microseconds."""
        if watermark is None or not self._period or self.is_behind:
            return now >= self._fetch_at
        gone = int((now - self._fetched_at - SURE_SECONDS) * MICROSECONDS)
        # the last records of a period come first, then, after the disorder, what closes it
        before = [watermark + ahead for ahead in self._phases]
        by_now = [each + gone for each in before]
        if any(b // self._period > a // self._period for a, b in zip(before, by_now, strict=True)):
            return True
        soon = CLOSE_SECONDS * MICROSECONDS
        return now >= self._fetch_at and all(-each % self._period > soon for each in by_now)

    @property
    def is_behind(self) -> bool:
        """Whether more records waited than a fetch takes."""
        return self._fetch_at == -math.inf

    def closed(self, now: float) -> None:
        """Take note that the watermark passed a period's end alone."""
        self._hand_over_at = now + max(CLOSE_SECONDS, self._gather / 2)

    def holds_back(self, now: float) -> bool:
        """Whether what was fetched waits until the series were woken."""
        return now < self._hand_over_at
