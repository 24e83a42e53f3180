"""Snapshots of a PostgreSQL cluster: which transactions were over at an instant.

A transaction gets its ID when it first writes, and commits later, in any order. So no ID and no
time separates the rows that were seen from those to come. A snapshot does: a transaction is *over*
in it if its ID is below ``xmax`` and not among those in progress. A row that is visible now was not
visible then exactly if its transaction was not over then.

>>> then, now = Snapshot.parse("10:14:10,12"), Snapshot.parse("12:17:12,15")
>>> [xid for xid in range(9, 18) if now.is_over(xid) and not then.is_over(xid)]
[10, 14, 16]
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_TEXT = re.compile(r"([1-9][0-9]*):([1-9][0-9]*):((?:[1-9][0-9]*(?:,[1-9][0-9]*)*)?)")


@dataclass(frozen=True)
class Snapshot:
    """A value of PostgreSQL's type ``pg_snapshot``; IDs are 64 bits and never come again.

    Parameters
    ----------
    xmin : int
        The least ID in progress: all below are over.
    xmax : int
        No ID from here on is over.
    in_progress : frozenset of int
        IDs from ``xmin`` to below ``xmax`` that are not over.
    """

    xmin: int
    xmax: int
    in_progress: frozenset[int] = frozenset()

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        """Read PostgreSQL's text, ``xmin:xmax:id,id,...``.

        Raises
        ------
        ValueError
            It is none.
        """
        found = _TEXT.fullmatch(text)
        if found is None:
            raise ValueError(f"not a snapshot: {text!r}; it looks like 10:14:10,12")
        listed = frozenset(int(xid) for xid in found[3].split(",") if xid)
        return cls(int(found[1]), int(found[2]), listed)

    def __str__(self) -> str:
        """PostgreSQL's text."""
        return f"{self.xmin}:{self.xmax}:{','.join(map(str, sorted(self.in_progress)))}"

    def is_over(self, xid: int) -> bool:
        """Whether the transaction had committed or rolled back; ``pg_visible_in_snapshot``."""
        return xid < self.xmax and xid not in self.in_progress


def read(text: str | None) -> Snapshot | None:
    """A snapshot that may be absent."""
    return Snapshot.parse(text) if text else None


def written(snapshot: Snapshot | None) -> str | None:
    """The text of a snapshot that may be absent."""
    return None if snapshot is None else str(snapshot)


NOTHING = Snapshot(1, 1)
"""Before the first transaction."""


def advanced(then: Snapshot, now: Snapshot, below: int) -> Snapshot:
    """``then``, moved on to ``now`` for the transactions with an ID less than ``below`` only.

    What lies between two snapshots may be much: so a reader that takes it in the order of the IDs
    can keep how far it came, as a snapshot again.

    Parameters
    ----------
    then, now : Snapshot
        ``now`` was taken later, or is the same.
    below : int
        First ID that stays as it was.
    """
    xmax = max(then.xmax, min(below, now.xmax))
    listed = {xid for xid in now.in_progress if xid < below}
    listed |= {xid for xid in then.in_progress if xid >= below}
    return Snapshot(min(listed, default=xmax), xmax, frozenset(listed))
