"""Marks in a local file, for a user of the database who may only read.

Written under another name, synced, renamed: a crash leaves the old one or the new one.

A mark in the database is lost with all that it knows of. A file is not, so it must not know of what
the server may forget:

- After a crash the server gives IDs anew that are not in what it had written of its log; a
  transaction that was rolled back waits for no write. So the file is written once the log is on
  disk up to the end of every transaction that the mark counts as over.
- After a failover, IDs that only the old server had may be others. So the file has the timeline.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from typing import Any

from psycopg import Connection, sql

from ingest.marks import RESTART, Busy, Mark, MarkRefused
from ingest.snapshots import read, written

VERSION = 1
_LOG_SECONDS = 30.0
_LOOK_SECONDS = 0.02


class FileMarks:
    """See `ingest.marks.Marks`.

    Parameters
    ----------
    path : Path
        The file; beside it is one with ``.lock`` after its name.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log_end = ""
        self._lock: int | None = None

    def prepare(self, connection: Connection[Any], first: Mark) -> None:
        """Make the folder and the first file."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if not self._path.exists():
                self._write(first, _timeline(connection))
        except OSError as error:
            raise MarkRefused(f"mark.file {self._path}: {error.strerror}") from error

    def read(self, connection: Connection[Any]) -> Mark:
        """What the file says."""
        self.lock(connection)
        try:
            known = json.loads(self._path.read_text(encoding="utf-8"))
            version, timeline = known.pop("version"), known.pop("timeline")
            snapshot, first = read(known.pop("snapshot")), read(known.pop("first"))
            mark = Mark(snapshot=snapshot, first=first, **known)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise MarkRefused(
                f"mark.file {self._path} cannot be used: {error}; {RESTART}"
            ) from error
        if version != VERSION:
            raise MarkRefused(f"mark.file {self._path} has version {version}, known is {VERSION}")
        # of the log when the snapshot had been taken: whatever is over in it, ended before
        self._log_end = _asked(connection, "pg_current_wal_insert_lsn()")
        now = _timeline(connection)
        if mark.snapshot is not None and timeline != now:
            raise MarkRefused(
                f"mark.file {self._path} is of the cluster's timeline {timeline}, now is {now}: a "
                "failover or a restore, after which transactions may be others; a mark in the "
                f"database (mark.table) would have come along; {RESTART}"
            )
        return mark

    def write(self, connection: Connection[Any], mark: Mark) -> None:
        """Write the file; it is durable when this returns.

        Raises
        ------
        Busy
            The server did not write its log for half a minute.
        """
        self._wait_for_log(connection)
        self._write(mark, _timeline(connection))

    def _wait_for_log(self, connection: Connection[Any]) -> None:
        # a restart forgets all marks and has read none
        end = self._log_end or _asked(connection, "pg_current_wal_insert_lsn()")
        deadline = time.monotonic() + _LOG_SECONDS
        while _asked(connection, f"pg_current_wal_flush_lsn() >= '{end}'") != "true":
            if time.monotonic() > deadline:
                raise Busy(f"the server has not written its log up to {end} yet")
            time.sleep(_LOOK_SECONDS)

    def _write(self, mark: Mark, timeline: int) -> None:
        known = {
            "version": VERSION,
            "snapshot": written(mark.snapshot),
            "start": mark.start,
            "database": mark.database,
            "timeline": timeline,
            "source": mark.source,
            "first": written(mark.first),
            "published": mark.published,
        }
        new = self._path.with_name(self._path.name + ".new")
        with new.open("w", encoding="utf-8") as file:
            file.write(json.dumps(known, indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def lock(self, _: Connection[Any]) -> None:
        """Lock the file for as long as this object lives."""
        if self._lock is not None:
            return
        lock = os.open(self._path.with_name(self._path.name + ".lock"), os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise Busy(f"another run holds the mark {self._path}") from None
        self._lock = lock

    def close(self) -> None:
        """Let go of the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _timeline(connection: Connection[Any]) -> int:
    name = _asked(connection, "pg_walfile_name(pg_current_wal_insert_lsn())")
    return int(name[:8], 16)


def _asked(connection: Connection[Any], function: str) -> str:
    """What the server's function says, as text."""
    query = sql.SQL("SELECT ({})::text").format(sql.SQL(function))
    return str(connection.execute(query).fetchone()[0])  # type: ignore[index] # it has one row
