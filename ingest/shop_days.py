"""What the shop will sell, day by day, for as long as it is asked: the same for the same seed.

A day's sales follow from the seed and the date alone, so that a shop which is started again in the
middle of a day goes on as if nothing had been.
"""

from __future__ import annotations

import datetime as dt
from functools import lru_cache

from examples.anybooks.sales import Injection, Sales, generate

DAY_MICROSECONDS = 86_400_000_000
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
_DAYS_A_SEED = 1_000_000


@lru_cache(maxsize=2)
def day_of_sales(day: int, seed: int, is_usual: bool = False) -> Sales:
    """A day's sales.

    Parameters
    ----------
    day : int
        Days since 1970, UTC.
    seed : int
        Same seed, same sales.
    is_usual : bool
        Whether there are no anomalies in it, for models to learn from.
    """
    start = _EPOCH + dt.timedelta(days=day)
    return generate(1, seed * _DAYS_A_SEED + day, learning_days=int(is_usual), start=start)


def injections_between(
    injections: tuple[Injection, ...], since: int, until: int
) -> list[Injection]:
    """Anomalies that begin from ``since`` to before ``until``, in microseconds since 1970."""
    return [each for each in injections if since <= micros_of(each.start) < until]


def micros_of(instant: dt.datetime) -> int:
    """Microseconds since 1970."""
    return (instant - _EPOCH) // _MICROSECOND


def instant_of(micros: int) -> dt.datetime:
    """The instant, UTC."""
    return _EPOCH + micros * _MICROSECOND
