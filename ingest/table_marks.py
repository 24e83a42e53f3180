"""Marks in a table of the database that is read.

There a mark is moved by the transaction that read the rows, is replicated and restored with them,
and so stays right after a failover or a restore of the whole cluster.
"""

from __future__ import annotations

from typing import Any

from psycopg import Connection, errors, sql

from ingest.marks import Busy, Mark, MarkRefused, relation
from ingest.snapshots import read, written

_CREATE = sql.SQL("""
CREATE TABLE IF NOT EXISTS {table} (
    name text PRIMARY KEY,
    snapshot pg_snapshot,
    start text NOT NULL,
    database text NOT NULL,
    source text NOT NULL,
    first pg_snapshot,
    published bigint NOT NULL,
    updated_at timestamptz NOT NULL
)""")
_FIRST = sql.SQL(
    "INSERT INTO {table} VALUES (%s, %s, %s, %s, %s, %s, %s, now()) ON CONFLICT (name) DO NOTHING"
)
_READ = sql.SQL(
    "SELECT snapshot::text, start, database, source, first::text, published FROM {table}"
    " WHERE name = %s FOR UPDATE NOWAIT"
)
_WRITE = sql.SQL(
    "UPDATE {table} SET (snapshot, start, database, source, first, published, updated_at)"
    " = (%s::pg_snapshot, %s, %s, %s, %s::pg_snapshot, %s, clock_timestamp()) WHERE name = %s"
)


class TableMarks:
    """See `ingest.marks.Marks`.

    Parameters
    ----------
    table : str
        ``table`` or ``schema.table``.
    name : str
        The mark's.
    """

    def __init__(self, table: str, name: str) -> None:
        self._table = table
        self._name = name

    def _sql(self, statement: sql.SQL) -> sql.Composed:
        return statement.format(table=relation(self._table))

    def prepare(self, connection: Connection[Any], first: Mark) -> None:
        """Make table and row."""
        try:
            there = connection.execute("SELECT to_regclass(%s)", [_quoted(self._table)]).fetchone()
            if there is None or there[0] is None:
                try:
                    connection.execute(self._sql(_CREATE))
                except errors.UniqueViolation:
                    pass  # another run made it at the same moment
            connection.execute(self._sql(_FIRST), [self._name, *_values(first)])
        except (errors.InsufficientPrivilege, errors.InvalidSchemaName) as error:
            raise MarkRefused(
                f"the mark's table {self._table} cannot be made or written: "
                f"{error.diag.message_primary}; let the user create it (GRANT CREATE ON SCHEMA), "
                "name a schema of its own (mark.table: schema.name), or keep the mark in a file "
                "(mark.file)"
            ) from error

    def lock(self, connection: Connection[Any]) -> None:
        """Lock the row."""
        self.read(connection)

    def read(self, connection: Connection[Any]) -> Mark:
        """The row, locked."""
        try:
            row = connection.execute(self._sql(_READ), [self._name]).fetchone()
        except errors.LockNotAvailable as error:
            raise Busy(f"another run holds the mark {self._name!r}") from error
        if row is None:
            raise MarkRefused(
                f"the mark {self._name!r} has gone from table {self._table}; run again to begin "
                "as `start` says"
            )
        snapshot, start, database, source, first, published = row
        return Mark(read(snapshot), start, database, source, read(first), published)

    def write(self, connection: Connection[Any], mark: Mark) -> None:
        """Write the row; the transaction makes it durable."""
        connection.execute(self._sql(_WRITE), [*_values(mark), self._name])


def _values(mark: Mark) -> list[str | int | None]:
    return [
        written(mark.snapshot),
        mark.start,
        mark.database,
        mark.source,
        written(mark.first),
        mark.published,
    ]


def _quoted(name: str) -> str:
    return relation(name).as_string(None)
