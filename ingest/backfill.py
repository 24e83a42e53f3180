"""A range of time published once more, in the order of its times; no mark is read or moved."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from psycopg import Connection

from ingest.database import set_up
from ingest.publisher import Publisher
from ingest.statements import Statements
from ingest.transfer import rows_of

_ROWS_A_FLUSH = 20_000


class Backfill:
    """What is left of a range; after a failure it goes on with the last time that has arrived.

    Parameters
    ----------
    since, until : datetime
        First time, and the first that is left out; with a time zone.

    Raises
    ------
    ValueError
        The range is empty.
    """

    def __init__(self, since: dt.datetime, until: dt.datetime) -> None:
        if not since < until:
            raise ValueError(
                f"the end must be later than the start, got {since.isoformat()} to "
                f"{until.isoformat()}"
            )
        self.since = since
        self._until = until
        self.rows = 0
        self.is_done = False

    def advance(
        self,
        connection: Connection[Any],
        statements: Statements,
        publisher: Publisher,
        is_enough: Callable[[], bool] = lambda: False,
    ) -> None:
        """Publish what is left, unless it is told that it is enough.

        Raises
        ------
        NotPublished, psycopg.Error
            Call again to go on.
        """
        with connection.transaction():
            set_up(connection)
            waiting, last = 0, ""
            for time, key, message in rows_of(
                connection, statements.between(self.since, self._until)
            ):
                publisher.send(message.encode(), key)
                waiting, last = waiting + 1, time
                if waiting >= _ROWS_A_FLUSH:
                    self._flush(publisher, waiting, last)
                    waiting = 0
                    if is_enough():
                        return
            if waiting:
                self._flush(publisher, waiting, last)
        self.is_done = True

    def _flush(self, publisher: Publisher, rows: int, last: str) -> None:
        publisher.flush()
        time = dt.datetime.fromisoformat(last)
        self.since = time if time.tzinfo else time.replace(tzinfo=dt.UTC)
        self.rows += rows
