"""The statements that read rows: PostgreSQL makes the JSON, so any type comes out as it writes it.

Values stand in the text, quoted, so that a ``%`` in the user's own query means nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from ingest.config import Postgres
from ingest.marks import relation
from ingest.snapshots import Snapshot

_SELECT = sql.SQL(
    "SELECT {position}::text, {key},"
    " (SELECT row_to_json(message) FROM (SELECT {columns}) AS message)::text"
    " FROM {source} AS source WHERE {condition} ORDER BY {order}"
)
_NEW = sql.SQL(
    "source.{xid} >= pg_snapshot_xmin({then}::pg_snapshot)"  # an index can use this one
    " AND NOT pg_visible_in_snapshot(source.{xid}, {then}::pg_snapshot)"
)
_LATER = sql.SQL("({since} OR NOT pg_visible_in_snapshot(source.{xid}, {first}::pg_snapshot))")
_TIMES = sql.SQL("source.{time} >= {since}")


@dataclass(frozen=True)
class Statements:
    """What reads one source.

    Parameters
    ----------
    postgres : Postgres
        The source.
    columns : sequence of str
        Columns to publish.
    """

    postgres: Postgres
    columns: Sequence[str]

    def probe(self) -> sql.Composed:
        """No row: what columns there are."""
        return sql.SQL("SELECT * FROM {} AS source LIMIT 0").format(self._source)

    def without_xid(self) -> sql.Composed:
        """One row if there is any that no snapshot can find."""
        return sql.SQL("SELECT 1 FROM {} AS source WHERE source.{} IS NULL LIMIT 1").format(
            self._source, sql.Identifier(self.postgres.xid)
        )

    def new(
        self, then: Snapshot, since: dt.datetime | None = None, first: Snapshot | None = None
    ) -> sql.Composed:
        """Transaction ID, key and message of rows visible now and not then, in the IDs' order.

        Within a transaction they come by time, then by ID: what one long transaction or a bulk load
        brought is in order.

        Parameters
        ----------
        then : Snapshot
            What was over in it is left out.
        since : datetime, optional
            Also left out are rows with earlier times ...
        first : Snapshot, optional
            ... of transactions that were over in this one.
        """
        xid = sql.Identifier(self.postgres.xid)
        condition = _NEW.format(xid=xid, then=sql.Literal(str(then)))
        if since is not None:
            later = _LATER.format(xid=xid, since=self._since(since), first=sql.Literal(str(first)))
            condition = sql.SQL("{} AND {}").format(condition, later)
        order = (self.postgres.xid, self.postgres.time, self.postgres.id)
        return self._select(condition, order)

    def between(self, since: dt.datetime, until: dt.datetime) -> sql.Composed:
        """Time, key and message of rows from ``since`` to before ``until``, in order of time."""
        before = sql.SQL("source.{} < {}").format(
            sql.Identifier(self.postgres.time), sql.Literal(until)
        )
        condition = sql.SQL("{} AND {}").format(self._since(since), before)
        return self._select(condition, (self.postgres.time, self.postgres.id))

    def _since(self, since: dt.datetime) -> sql.Composed:
        return _TIMES.format(time=sql.Identifier(self.postgres.time), since=sql.Literal(since))

    def _select(self, condition: sql.Composed, order: Sequence[str]) -> sql.Composed:
        key = self.postgres.key
        return _SELECT.format(
            position=_column(order[0]),
            key=sql.SQL("NULL") if key is None else sql.SQL("{}::text").format(_column(key)),
            columns=sql.SQL(", ").join(map(_column, self.columns)),
            source=self._source,
            condition=condition,
            order=sql.SQL(", ").join(map(_column, order)),
        )

    @property
    def _source(self) -> sql.Composable:
        if self.postgres.table:
            return relation(self.postgres.table)
        # of the user's own file, run with the user's own rights
        query = str(self.postgres.query)
        return sql.SQL("({})").format(sql.SQL(query))

    def preparation(self) -> str:
        """What makes a table fit to be read, for its owner to run."""
        table = relation(self.postgres.table or "my_table").as_string(None)
        names = {
            word: sql.Identifier(getattr(self.postgres, word)).as_string(None)
            for word in ("xid", "time", "id")
        }
        xid, order = names["xid"], ", ".join(names.values())
        return (
            f"-- existing rows count as inserted by this statement's transaction\n"
            f"ALTER TABLE {table} ADD COLUMN {xid} xid8 NOT NULL DEFAULT pg_current_xact_id();\n"
            f"CREATE INDEX CONCURRENTLY ON {table} ({order});\n"
        )


def _column(name: str) -> sql.Composed:
    return sql.SQL("source.{}").format(sql.Identifier(name))
