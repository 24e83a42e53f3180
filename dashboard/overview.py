"""The series of a lake as a list: their names, and which of them need attention."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pandas as pd

HOURS_TO_HALF = 24.0
"""Age of an anomaly at which it needs half the attention."""


def attention(peak_score: float | None, last_anomaly: str | None, end: str) -> float:
    """How much attention a series needs, 0 to 100.

    The highest score of its anomalies, halved for each day since the last one; 0 without any.
    """
    if peak_score is None or last_anomaly is None or pd.isna(peak_score):
        return 0.0
    age = datetime.fromisoformat(end) - datetime.fromisoformat(last_anomaly)
    return float(peak_score * 0.5 ** (age.total_seconds() / 3600 / HOURS_TO_HALF))


def series_name(row: dict[str, Any], dimensions: Sequence[str]) -> str:
    """What people call a series: the values of its dimensions, else its measure."""
    values = [str(row[name]) for name in dimensions if row.get(name) is not None]
    return ", ".join(values) or f"{row['measure']} {row['series'][:8]}"


def ranked(rows: Sequence[dict[str, Any]], dimensions: Sequence[str], end: str) -> pd.DataFrame:
    """List series, the one that needs attention most first.

    Parameters
    ----------
    rows : sequence of dict
        Rows of the query ``series_overview``.
    dimensions : sequence of str
        The lake's dimension columns.
    end : str
        End of the time range that is shown.

    Returns
    -------
    pandas.DataFrame
        The rows' columns and ``name``, ``attention``; the index counts from 0.
    """
    frame = pd.DataFrame(
        [
            row
            | {
                "name": series_name(row, dimensions),
                "attention": attention(row["peak_score"], row["last_anomaly"], end),
            }
            for row in rows
        ]
    )
    if frame.empty:
        return frame
    order = ["attention", "anomalies", "name"]
    frame = frame.sort_values(order, ascending=[False, False, True], kind="stable")
    return frame.reset_index(drop=True)


def filtered(frame: pd.DataFrame, find: str, only_anomalies: bool) -> pd.DataFrame:
    """Keep series whose name or measure contains ``find``; if asked, only those with anomalies."""
    if frame.empty:
        return frame
    text = frame["name"] + " " + frame["measure"] + " " + frame["series"]
    kept = text.str.contains(find, case=False, regex=False)
    if only_anomalies:
        kept &= frame["anomalies"] > 0
    return frame[kept].reset_index(drop=True)
