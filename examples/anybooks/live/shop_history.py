"""What the shop sold before it was looked at: past days, and the time for which it was stopped."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from ingest import sales
from ingest.shop import TABLE, open_shop

_LEAST_GAP = timedelta(seconds=30)
"""A shorter time the live shop catches up with by itself."""


def last_sale(connection: str) -> datetime | None:
    """Time of the shop's newest sale; None if it has sold nothing yet."""
    with open_shop(connection) as shop:
        row = shop.execute(f"SELECT max(event_time) FROM {TABLE}").fetchone()  # noqa: S608
    return row[0] if row else None


def fill(connection: str, days: float, truth: Path) -> float:
    """Fill in the sales since the last one, or of the last ``days``; returns days filled in.

    So there is no hole in the series when the shop was stopped for a while, which would look
    as if nobody had bought anything.

    Raises
    ------
    psycopg.Error
        The database does not do it.
    """
    now = datetime.now(UTC)
    last = last_sale(connection)
    since = now - timedelta(days=days) if last is None else last + timedelta(milliseconds=1)
    if now - since < _LEAST_GAP:
        return 0.0
    length = (now - since) / timedelta(days=1)
    words = ["past", "--days", f"{length:.9f}", "--until", now.isoformat()]
    status = sales.main([*words, "--connection", connection, "--truth", str(truth)])
    if status:
        raise psycopg.OperationalError("the shop's past could not be filled in; see above")
    return length
