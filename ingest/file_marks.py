"""Marks in a local file, for a user of the database who may only read.

Written under another name, synced, renamed: a crash leaves the old one or the new one. A file knows
nothing of a failover, after which transactions that only the old server had may be others: so it
has the timeline, too.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

from psycopg import Connection

from ingest.marks import RESTART, Busy, Mark, MarkRefused
from ingest.snapshots import read, written

VERSION = 1


class FileMarks:
    """See `ingest.marks.Marks`.

    Parameters
    ----------
    path : Path
        The file; beside it is one with ``.lock`` after its name.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
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
        now = _timeline(connection)
        if mark.snapshot is not None and timeline != now:
            raise MarkRefused(
                f"mark.file {self._path} is of the cluster's timeline {timeline}, now is {now}: a "
                "failover or a restore, after which transactions may be others; a mark in the "
                f"database (mark.table) would have come along; {RESTART}"
            )
        return mark

    def write(self, connection: Connection[Any], mark: Mark) -> None:
        """Write the file; it is durable when this returns."""
        self._write(mark, _timeline(connection))

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
    name = connection.execute("SELECT pg_walfile_name(pg_current_wal_insert_lsn())").fetchone()
    return int(name[0][:8], 16)  # type: ignore[index] # it always has one row
