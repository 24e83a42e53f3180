"""The record of what each channel has accepted, outside of the runner's state.

A runner's state is as old as its last checkpoint; after a crash it would tell everything again that
was told since. So a delivery is written down here right after the channel has accepted it::

    FOLDER/CHANNEL/delivered-YYYY-MM-DD   delivery IDs, one a line; the day is that of the event
    FOLDER/CHANNEL/digest                 the digest that is being sent, before it is sent

A message of one alert needs no such plan, since it is the same each time; what is in a digest
depends on what waits. One that a crash or a lost answer left open is so sent again as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import orjson

from transforms.io.notify_message import Message
from transforms.io.objects import Changed, Store, Stored

_MOST_CHANGES = 9
_NOTHING = b"null"


class Digest(NamedTuple):
    """A message of several deliveries.

    Attributes
    ----------
    message : Message
        As it is sent.
    dates : dict of str to str
        Its delivery IDs, each with the date of its event.
    """

    message: Message
    dates: Mapping[str, str]


@dataclass(frozen=True)
class Ledger:
    """The record of one channel.

    Parameters
    ----------
    store : Store
        Where it lies.
    folder : str
        The channel's folder.
    """

    store: Store
    folder: str

    def delivered(self, dates: Iterable[str]) -> set[str]:
        """IDs of deliveries that were accepted, of events of these dates."""
        return {each for date in sorted(set(dates)) for each in self._read(date)[1]}

    def add(self, dates: Mapping[str, str]) -> None:
        """Write down deliveries, each ID with the date of its event; repeatable."""
        by_date: dict[str, set[str]] = {}
        for identity, date in dates.items():
            by_date.setdefault(date, set()).add(identity)
        for date, ids in sorted(by_date.items()):
            self._add(date, ids)

    def _add(self, date: str, ids: set[str]) -> None:
        for left in reversed(range(_MOST_CHANGES)):
            stored, known = self._read(date)
            new = [each for each in sorted(ids) if each not in known]
            if not new:
                return
            text = "".join(f"{each}\n" for each in (*known, *new))
            try:
                self.store.replace(self._path(date), text.encode(), stored)
                return
            except Changed:  # by a worker that was given up and still runs
                if not left:
                    raise

    def _read(self, date: str) -> tuple[Stored | None, dict[str, None]]:
        stored = self.store.read(self._path(date))
        return stored, dict.fromkeys(stored.data.decode().split()) if stored else {}

    def _path(self, date: str) -> str:
        return f"{self.folder}/delivered-{date}"

    def open_digest(self) -> Digest | None:
        """The digest of which it is not known whether it was accepted."""
        stored = self.store.read(f"{self.folder}/digest")
        found = orjson.loads(stored.data) if stored else None
        return None if found is None else Digest(Message(*found[0]), found[1])

    def plan_digest(self, digest: Digest) -> None:
        """Write down a digest that is about to be sent."""
        plain = [list(digest.message), dict(digest.dates)]
        self.store.put(f"{self.folder}/digest", orjson.dumps(plain))

    def close_digest(self) -> None:
        """Forget it: its deliveries are written down, or given up."""
        self.store.put(f"{self.folder}/digest", _NOTHING)
