"""What a series remembers beside its model, between two wakes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import orjson

from transforms.decide import AlertState
from transforms.live_models import NOTHING_CONSUMED
from transforms.records import Series

LONG_AGO = -(2**62)
"""An event time before any other."""


@dataclass(frozen=True)
class Head:
    """What a series remembers beside its model.

    Parameters
    ----------
    series : Series
        Which one.
    consumed : int
        Rows its model has consumed.
    chain : bytes
        Chained hash of these rows.
    since_snapshot : int
        Rows in the journal.
    closed_until : int
        Event time before which everything is closed; microseconds since 1970.
    last_start : int
        Start of the last measured row.
    filled_to : int
        Start of the last row, imputed ones included.
    last_value : float
        Value of the last row.
    last_history : bool
        Whether the last row was made of history.
    alerts : AlertState
        Decisions so far.
    model : bytes
        Hash of the model's spec; another one starts a new model.
    ended : bool
        The watermark passed the end of time: nothing is filled in any more.
    """

    series: Series
    consumed: int = 0
    chain: bytes = NOTHING_CONSUMED
    since_snapshot: int = 0
    closed_until: int = LONG_AGO
    last_start: int = LONG_AGO
    filled_to: int = LONG_AGO
    last_value: float = 0.0
    last_history: bool = False
    alerts: AlertState = field(default_factory=AlertState)
    model: bytes = b""
    ended: bool = False

    def at_end(self) -> Head:
        """The same, after the end of input."""
        return replace(self, ended=True)

    def anew(self) -> Head:
        """The head of a series that starts again: only what was closed stays closed."""
        return Head(self.series, closed_until=self.closed_until, ended=self.ended)

    def to_bytes(self) -> bytes:
        """As a JSON array, in the order of the fields; small, as it is written at every wake."""
        plain = (
            self.series.to_bytes().decode(),
            self.consumed,
            self.chain.hex(),
            self.since_snapshot,
            self.closed_until,
            self.last_start,
            self.filled_to,
            self.last_value,
            self.last_history,
            self.alerts.to_plain(),
            self.model.hex(),
            self.ended,
        )
        return orjson.dumps(plain)

    @classmethod
    def from_bytes(cls, data: bytes) -> Head:
        """The head that `to_bytes` wrote."""
        (
            series,
            consumed,
            chain,
            since,
            closed,
            last,
            filled,
            value,
            history,
            alerts,
            model,
            ended,
        ) = orjson.loads(data)
        return cls(
            Series.from_bytes(series.encode()),
            consumed,
            bytes.fromhex(chain),
            since,
            closed,
            last,
            filled,
            value,
            history,
            AlertState.from_plain(alerts),
            bytes.fromhex(model),
            ended,
        )
