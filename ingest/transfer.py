"""One batch: rows that are visible now and were not at the mark, published, and the mark moved.

All in one transaction of one snapshot. A long transaction of others delays nothing but its own
rows, which come as soon as it has committed; a crash anywhere repeats the batch.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from psycopg import Connection, sql

from ingest.database import set_up
from ingest.marks import Mark, MarkRefused, Marks, database_of
from ingest.publisher import Publisher
from ingest.snapshots import NOTHING, Snapshot, advanced
from ingest.statements import Statements

_FETCH = 2_000
_MICROSECONDS = 1_000_000
Row = tuple[str, str | None, str]
"""Transaction ID, key, message."""


@dataclass(frozen=True)
class Batch:
    """What became of a batch.

    Parameters
    ----------
    rows : int
        Rows published.
    is_last : bool
        Whether that was all there was.
    mark : Mark
        Where the mark stands.
    """

    rows: int
    is_last: bool
    mark: Mark


def transfer(
    connection: Connection[Any],
    statements: Statements,
    marks: Marks,
    publisher: Publisher,
    most_rows: int,
    is_enough: Callable[[], bool] = lambda: False,
) -> Batch:
    """Publish a batch and move the mark.

    Parameters
    ----------
    connection : Connection
        To the database, outside of a transaction.
    statements : Statements
        What reads the source.
    marks : Marks
        Where the mark is.
    publisher : Publisher
        Where rows go.
    most_rows : int
        The batch ends with the transaction that has this row.
    is_enough : callable
        Ends the batch with the transaction that it is at.

    Raises
    ------
    MarkRefused, Busy
        See `ingest.marks`.
    NotPublished
        The mark stands where it was.
    psycopg.Error
        Likewise.
    """
    with connection.transaction():
        set_up(connection)
        mark = marks.read(connection)
        now = _now(connection)
        database = database_of(connection)
        mark.check(now, database, statements.postgres.source)
        plan = _plan(mark, now)
        rows, stopped_at = 0, None
        if plan.then != now:
            last = ""
            query = statements.new(plan.then, plan.since, plan.first)
            for xid, key, message in rows_of(connection, query):
                if xid != last and rows and (rows >= most_rows or is_enough()):
                    stopped_at = int(xid)
                    break
                _check_row(int(xid), now, message)
                publisher.send(message.encode(), key)
                rows, last = rows + 1, xid
            publisher.flush()
        reached = now if stopped_at is None else advanced(plan.then, now, stopped_at)
        moved = replace(
            mark,
            snapshot=reached,
            first=None if stopped_at is None else plan.first,
            database=database,
            source=statements.postgres.source,
            published=mark.published + rows,
        )
        if rows or mark.snapshot is None:
            marks.write(connection, moved)
        else:
            moved = mark  # an idle database is not written to
    return Batch(rows, stopped_at is None, moved)


class _Plan(NamedTuple):
    then: Snapshot
    since: dt.datetime | None = None
    first: Snapshot | None = None


def _plan(mark: Mark, now: Snapshot) -> _Plan:
    """What to leave out."""
    if mark.snapshot is None and mark.start == "latest":
        return _Plan(now)
    then = mark.snapshot or NOTHING
    first = now if mark.snapshot is None else mark.first
    if first is None or mark.start == "earliest":
        return _Plan(then)
    since = dt.datetime.fromtimestamp(int(mark.start) / _MICROSECONDS, dt.UTC)
    return _Plan(then, since, first)


def _now(connection: Connection[Any]) -> Snapshot:
    row = connection.execute("SELECT pg_current_snapshot()::text").fetchone()
    return Snapshot.parse(row[0])  # type: ignore[index] # it always has one row


def rows_of(connection: Connection[Any], query: sql.Composed) -> Iterator[Row]:
    """Rows through a cursor of the server, so that memory does not grow with them."""
    with connection.cursor(name="tidewatch_rows") as cursor:
        cursor.itersize = _FETCH
        cursor.execute(query)
        yield from cursor


def _check_row(xid: int, now: Snapshot, message: str) -> None:
    if not now.is_over(xid):
        raise MarkRefused(
            f"a row has the transaction ID {xid}, which is yet to come here ({now}): the column "
            "was filled elsewhere (a dump, logical replication, an explicit value). Set it to "
            "pg_current_xact_id() in such rows, and have it filled by DEFAULT or a trigger alone; "
            f"the row is {message[:200]}"
        )
