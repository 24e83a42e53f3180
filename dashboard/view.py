"""What a reader looks at, as the link says it: `View` to query parameters and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

SPANS = {
    "1h": ("last hour", timedelta(hours=1)),
    "6h": ("last 6 hours", timedelta(hours=6)),
    "24h": ("last 24 hours", timedelta(hours=24)),
    "7d": ("last 7 days", timedelta(days=7)),
    "30d": ("last 30 days", timedelta(days=30)),
    "all": ("everything", None),
    "days": ("from day to day", None),
}
"""Time ranges by their names in a link: how they are shown, and how far they reach back."""
PLOTS = ("", "score", "discord")
_EARLIEST = "0001-01-01 00:00:00"
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_MOST_CHARACTERS = 200


@dataclass(frozen=True)
class View:
    """Filters and what is chosen; every field is a query parameter of the same name.

    Attributes
    ----------
    span : str
        One of `SPANS`; counted back from the lake's newest row.
    first, last : str
        ``YYYY-MM-DD``, both included; only with the span ``days``.
    detector : str
        A detector's name; empty: all.
    find : str
        Text that a series' name contains.
    only : str
        ``anomalies`` to leave out series without one; else empty.
    series, of : str
        The series shown, and its detector; empty: the one that needs attention most.
    anomaly : str
        ``resultId`` of the anomaly shown in detail; empty: the newest.
    plots : str
        ``score``, ``discord``, or empty: what fits the detector.
    """

    span: str = "7d"
    first: str = ""
    last: str = ""
    detector: str = ""
    find: str = ""
    only: str = ""
    series: str = ""
    of: str = ""
    anomaly: str = ""
    plots: str = ""

    @classmethod
    def of_query(cls, query: Mapping[str, str]) -> View:
        """Read a link; what makes no sense there is as if it were not there."""
        known = {
            field.name: query[field.name][:_MOST_CHARACTERS]
            for field in fields(cls)
            if field.name in query
        }
        if known.get("span", "7d") not in SPANS:
            del known["span"]
        for name in ("first", "last"):
            if not _is_day(known.get(name, "")):
                known.pop(name, None)
        if known.get("plots", "") not in PLOTS:
            del known["plots"]
        if known.get("only", "") not in ("", "anomalies"):
            del known["only"]
        return cls(**known)

    def to_query(self) -> dict[str, str]:
        """The query parameters of a link; those that say nothing are left out."""
        default = View()
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if getattr(self, field.name) != getattr(default, field.name)
        }

    def time_range(self, newest: str) -> tuple[str, str]:
        """First time that is shown, and first after it, where a lake's newest row is at ``newest``.

        Both are ``YYYY-MM-DD HH:MM:SS``, UTC, as the lake's times are.
        """
        end = datetime.fromisoformat(newest[:19]) + timedelta(seconds=1)
        if self.span == "days":
            first = f"{self.first} 00:00:00" if self.first else _EARLIEST
            if not self.last:
                return first, str(end)
            return first, str(datetime.fromisoformat(self.last) + timedelta(days=1))
        reach = SPANS[self.span][1]
        if reach is None:
            return _EARLIEST, str(end)
        return str(end - reach), str(end)


def _is_day(text: str) -> bool:
    if not _DAY.fullmatch(text):
        return False
    try:
        return 1 < datetime.fromisoformat(text).year < 9999
    except ValueError:
        return False
