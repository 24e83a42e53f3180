"""What the page reads from the lake, kept until the lake has new objects."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pandas as pd
import streamlit as st

from lake.named_queries import Parameters
from lake.reader import Lake

_KEPT = 64
MOST_ANOMALIES = 200
"""Anomalies of a series that can be looked at in detail, newest first."""
MOST_SERIES = 100_000


class Source:
    """A lake as it was at one moment.

    Parameters
    ----------
    location : str
        The lake's folder.
    stamp : str, optional
        What `stamp` was when the lake was looked at; by default it is looked at now.

    Attributes
    ----------
    stamp : str
        Changes when an object of the lake comes, goes or changes; what was read is kept under it.
    """

    def __init__(self, location: str, stamp: str | None = None) -> None:
        self.location = location
        self.lake = _lake_at(location)
        if stamp is None:
            listed = repr(self.lake.listing().fingerprint())
            stamp = hashlib.sha256(listed.encode()).hexdigest()
        self.stamp = stamp

    def newest_time(self) -> str | None:
        """Start of the newest row; None if there is none."""
        return _newest_time(self.lake, self.location, self.stamp)

    def dimensions(self) -> list[str]:
        """The lake's dimension columns."""
        return _dimensions(self.lake, self.location, self.stamp)

    def rows(self, name: str, asked: Parameters) -> list[dict[str, Any]]:
        """Rows of a named query."""
        return _rows(self.lake, self.location, self.stamp, name, asked)

    def frame(self, name: str, asked: Parameters) -> pd.DataFrame:
        """Rows of a named query as a data frame; ``time`` as times."""
        found = pd.DataFrame(self.rows(name, asked))
        if "time" in found:
            found["time"] = pd.to_datetime(found["time"], format="ISO8601")
        return found


def charted(asked: Parameters, buckets: int) -> Parameters:
    """Ask for a chart so many buckets wide."""
    return replace(asked, buckets=buckets)


def budgeted(asked: Parameters, alerts_per_week: float) -> Parameters:
    """Ask about a budget of so many alerts a series and week."""
    return replace(asked, alerts_per_week=alerts_per_week)


@st.cache_resource(show_spinner=False)
def _lake_at(location: str) -> Lake:
    return Lake(location)


@st.cache_data(show_spinner=False, max_entries=_KEPT)
def _newest_time(_lake: Lake, location: str, stamp: str) -> str | None:
    dates = _lake.dates()
    if dates is None:
        return None
    statement = "SELECT max(detectionPeriodStartTime) AS newest FROM results"
    return str(_lake.sql(statement, dates[1], dates[1])["newest"][0].as_py())


@st.cache_data(show_spinner=False, max_entries=_KEPT)
def _dimensions(_lake: Lake, location: str, stamp: str) -> list[str]:
    return _lake.dimensions()


@st.cache_data(show_spinner=False, max_entries=_KEPT)
def _rows(
    _lake: Lake, location: str, stamp: str, name: str, asked: Parameters
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = _lake.query(name, asked).to_pylist()
    return found
