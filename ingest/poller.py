"""Looks again and again for what is new; waits, with growing pauses, for what is away."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from psycopg import Connection, Error
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    sleep_using_event,
    stop_after_delay,
    stop_never,
    stop_when_event_set,
    wait_random_exponential,
)

from ingest import database, source
from ingest.backfill import Backfill
from ingest.config import Ingest
from ingest.file_marks import FileMarks
from ingest.marks import Busy, Mark, Marks, database_of
from ingest.publisher import NotPublished, Publisher
from ingest.statements import Statements
from ingest.table_marks import TableMarks
from ingest.targets import open_publisher
from ingest.transfer import transfer

_LOG = logging.getLogger(__name__)
MOST_WAIT_SECONDS = 30
_MICROSECONDS = 1_000_000
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Published:
    """What one look came to.

    Parameters
    ----------
    rows : int
        Rows published.
    is_all : bool
        Whether that was all there was; False if it was stopped before.
    mark : Mark
        Where the mark stands.
    """

    rows: int
    is_all: bool
    mark: Mark


class Poller:
    """Publishes what is new in one source.

    Parameters
    ----------
    config : Ingest
        What to read and where to publish it.
    file : str
        Where the configuration was written, for messages.
    stop : threading.Event
        Once it is set, the batch at hand is ended with the transaction that it is at.
    patience_seconds : float or None
        How long database or brokers may be away; None: for ever.
    """

    def __init__(
        self,
        config: Ingest,
        file: str,
        stop: threading.Event,
        patience_seconds: float | None = None,
    ) -> None:
        self._config = config
        self._file = file
        self._stop = stop
        self._patience = patience_seconds
        self._marks: Marks = (
            FileMarks(Path(config.mark.file))
            if config.mark.file
            else TableMarks(config.mark.table, config.ingest)
        )
        self._publisher: Publisher | None = None
        self._connection: Connection[Any] | None = None
        self._statements: Statements | None = None
        self._is_prepared = False

    def restart(self, start: str) -> None:
        """Forget what was published; the next look begins as ``start`` says."""

        def forget() -> None:
            connection, statements = self._ready()
            with connection.transaction():
                self._marks.lock(connection)
                first = self._first(connection, statements)
                self._marks.write(connection, replace(first, start=start))

        self._tried(forget)

    def check(self) -> Statements:
        """Connect and see whether the source can be read; waits for the server.

        Raises
        ------
        JobFileError
            It cannot.
        """
        return self._tried(self._examined)[1]

    def look(self) -> Published:
        """Publish all that is new.

        Raises
        ------
        JobFileError, MarkRefused
            Something is wrong that does not pass.
        Busy, NotPublished, psycopg.OperationalError
            What is away stayed so for longer than the patience.
        """
        rows = 0
        while True:
            batch = self._tried(self._transfer)
            rows += batch.rows
            if batch.is_last or self._stop.is_set():
                return Published(rows, batch.is_last, batch.mark)

    def run(self) -> None:
        """Look, wait for the rest of the interval, and so on until stopped.

        Raises
        ------
        JobFileError, MarkRefused, ...
            As `look`.
        """
        interval = self._config.interval / _MICROSECONDS
        while not self._stop.is_set():
            started = time.monotonic()
            found = self.look()
            if found.rows:
                seconds = time.monotonic() - started
                _LOG.info(
                    "published %d rows in %.1f s, mark %s", found.rows, seconds, found.mark.snapshot
                )
            self._stop.wait(max(0.0, interval - (time.monotonic() - started)))

    def backfill(self, task: Backfill) -> int:
        """Publish a range of time once more; the mark stays. Returns the rows published."""
        while not task.is_done and not self._stop.is_set():
            self._tried(lambda: task.advance(*self._examined(), self._open(), self._stop.is_set))
        return task.rows

    def close(self) -> None:
        """Let go of all connections."""
        self._drop()
        if isinstance(self._marks, FileMarks):
            self._marks.close()

    def _transfer(self) -> Any:
        connection, statements = self._ready()
        return transfer(
            connection,
            statements,
            self._marks,
            self._open(),
            self._config.batch_rows,
            self._stop.is_set,
        )

    def _open(self) -> Publisher:
        if self._publisher is None:
            self._publisher = open_publisher(self._config)
        return self._publisher

    def _examined(self) -> tuple[Connection[Any], Statements]:
        if self._connection is None:
            self._connection = database.connect(self._config.postgres, self._config.ingest)
        if self._statements is None:
            self._statements = source.examine(self._connection, self._config.postgres, self._file)
        return self._connection, self._statements

    def _ready(self) -> tuple[Connection[Any], Statements]:
        connection, statements = self._examined()
        if not self._is_prepared:
            self._marks.prepare(connection, self._first(connection, statements))
            self._is_prepared = True
        return connection, statements

    def _first(self, connection: Connection[Any], statements: Statements) -> Mark:
        start = str(self._config.start)
        return Mark(None, start, database_of(connection), statements.postgres.source)

    def _drop(self) -> None:
        if self._connection is not None:
            with suppress(Error):
                self._connection.close()
        if self._publisher is not None:
            self._publisher.close()
        self._connection = self._publisher = None
        self._is_prepared = False

    def _passes(self, error: BaseException) -> bool:
        if isinstance(error, NotPublished):
            return error.may_pass
        if isinstance(error, Busy):
            return self._patience is None  # a run that ends leaves it to the other one
        return database.passes(error)

    def _tried(self, call: Callable[[], Answer]) -> Answer:
        end = stop_never if self._patience is None else stop_after_delay(self._patience)

        def attempt() -> Answer:
            try:
                return call()
            except BaseException:
                self._drop()
                raise

        retrying = Retrying(
            retry=retry_if_exception(self._passes),
            wait=wait_random_exponential(multiplier=0.5, max=MOST_WAIT_SECONDS),
            stop=end | stop_when_event_set(self._stop),
            sleep=sleep_using_event(self._stop),
            before_sleep=_tell,
            reraise=True,
        )
        return retrying(attempt)


def _tell(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    pause = state.next_action.sleep if state.next_action else 0.0
    text = database.one_line(error) if error else ""
    _LOG.warning("%s; trying again in %.1f s", text, pause)
