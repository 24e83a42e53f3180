"""The mark: which transactions have been published, kept where no crash loses it.

A mark moves only after every row of the transactions that it counts as published has arrived.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from psycopg import Connection, sql

from ingest.snapshots import Snapshot

RESTART = (
    "run `python -m ingest.postgres --config FILE --restart_from TIME` with a time from which on "
    "all may be published again; consumers drop what they have by its record ID"
)


class MarkRefused(ValueError):
    """A mark does not belong to what is read; the text says why, and what to do."""


@dataclass(frozen=True)
class Mark:
    """How far publishing came.

    Parameters
    ----------
    snapshot : Snapshot or None
        What was over in it is published; None: nothing is yet.
    start : str
        Where it begins: ``earliest``, ``latest`` or microseconds since 1970.
    database : str
        The cluster's system identifier and the database's number: IDs mean nothing elsewhere.
    source : str
        The table or query.
    first : Snapshot or None
        While not all is published that there was at the first run of a start at a time: of what was
        over in it, only rows from that time on are.
    published : int
        Rows published under this mark, repetitions after failures not counted.
    """

    snapshot: Snapshot | None
    start: str
    database: str
    source: str
    first: Snapshot | None = None
    published: int = 0

    def check(self, now: Snapshot, database: str, source: str) -> None:
        """See whether this mark may be moved on.

        Raises
        ------
        MarkRefused
            It may not: rows would be left out.
        """
        if self.snapshot is None:
            return
        if self.database != database:
            raise MarkRefused(
                f"the mark is of database {self.database}, this one is {database} (cluster's "
                "system identifier / number of the database): it was restored from a dump, "
                f"upgraded, or is another one, and counts its transactions anew; {RESTART}"
            )
        if self.source != source:
            raise MarkRefused(
                f"the mark is of {self.source!r}, and {source!r} is read: rows that were committed "
                f"before would be left out; name another mark under `ingest`, or {RESTART}"
            )
        if self.snapshot.xmax > now.xmax:
            raise MarkRefused(
                f"the mark ({self.snapshot}) is ahead of the database ({now}): it was restored to "
                f"an earlier state; {RESTART}"
            )


class Marks(Protocol):
    """Where a mark is kept; used inside one transaction, by one run at a time."""

    def prepare(self, connection: Connection[Any], first: Mark) -> None:
        """Make the place, and put the first mark there if it has none.

        Raises
        ------
        MarkRefused
            It cannot be made.
        """

    def lock(self, connection: Connection[Any]) -> None:
        """Keep other runs away, at least until the transaction ends.

        Raises
        ------
        Busy
            Another run has it.
        """

    def read(self, connection: Connection[Any]) -> Mark:
        """The mark, locked.

        Raises
        ------
        Busy
            Another run has it.
        MarkRefused
            It cannot be used.
        """

    def write(self, connection: Connection[Any], mark: Mark) -> None:
        """Move the mark; it is durable at the latest when the transaction has committed."""


class Busy(RuntimeError):
    """Another run of the same name is publishing at this moment."""


def database_of(connection: Connection[Any]) -> str:
    """The cluster's system identifier and the database's number."""
    return str(
        connection.execute(
            "SELECT system_identifier || '/' || (SELECT oid FROM pg_database"
            " WHERE datname = current_database()) FROM pg_control_system()"
        ).fetchone()[0]  # type: ignore[index] # it always has one row
    )


def relation(name: str) -> sql.Identifier:
    """A table's name, ``table`` or ``schema.table``, quoted."""
    return sql.Identifier(*name.split("."))
