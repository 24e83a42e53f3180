"""Retention: days that are older than the lake is to remember."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby

from lake.store import Store
from lake.tables import TABLES, LakeError

_AGE = re.compile(r"(\d{1,5})([dw])")


@dataclass(frozen=True)
class OldDay:
    """One day of one table, with what it holds."""

    table: str
    date: str
    objects: int
    bytes: int


def cutoff(age: str, today: date) -> str:
    """The first day that is kept, ``YYYY-MM-DD``.

    Parameters
    ----------
    age : str
        Days or weeks, such as ``90d`` or ``13w``; at least one day.
    today : date
        The day the age is counted from, in UTC.

    Raises
    ------
    LakeError
        If ``age`` is no such text.
    """
    found = _AGE.fullmatch(age)
    days = int(found[1]) * (7 if found[2] == "w" else 1) if found else 0
    if not 1 <= days < today.toordinal():
        raise LakeError(f"an age is days or weeks, such as 90d or 13w, got {age!r}")
    return (today - timedelta(days=days)).isoformat()


def days_before(store: Store, first_kept: str) -> list[OldDay]:
    """Days of every table before ``first_kept``."""
    return [
        OldDay(name, day, len(sizes), sum(sizes))
        for name in TABLES
        for day, sizes in (
            (day, [each.size for each in found])
            for day, found in groupby(store.all_objects(name), key=lambda each: each.date)
        )
        if day < first_kept
    ]


def delete_days(store: Store, days: list[OldDay]) -> None:
    """Delete these days with all that is in their folders."""
    for day in days:
        store.delete_folder(f"{day.table}/date={day.date}")
