"""One anomaly: what happened, how unusual it is, what bears the score, what it is most like."""

from __future__ import annotations

import math
from typing import Any

import streamlit as st

from dashboard import pictures
from dashboard.likeness import Likeness
from dashboard.readings import Source


def show(source: Source, anomalies: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Show one of a series' anomalies; the link's, or the newest, at first.

    Parameters
    ----------
    source : Source
        The lake.
    anomalies : list of dict
        Rows of the query ``anomalies``, newest first, at least one.
    name : str
        What the series is called.

    Returns
    -------
    dict
        The row that is shown.
    """
    by_id = {row["result_id"]: row for row in anomalies}
    if st.session_state.get("anomaly") not in by_id:
        st.session_state["anomaly"] = anomalies[0]["result_id"]
    st.markdown(f"### Anomalies of {name}")
    st.selectbox(
        f"{len(anomalies)} in the time range, newest first",
        list(by_id),
        key="anomaly",
        format_func=lambda result_id: title(by_id[result_id]),
    )
    row = by_id[st.session_state["anomaly"]]
    told, bears, like = st.columns([1, 1, 1], gap="medium")
    likeness = Likeness(row, source.frame)
    told.markdown(story(row))
    with bears:
        _attribution(row, likeness)
    with like:
        _likeness(row, likeness)
    return row


def title(row: dict[str, Any]) -> str:
    """One line on an anomaly."""
    return f"{row['time']} · {row['measure']} {number(row['value'])} · score {row['score']:.0f}"


def story(row: dict[str, Any]) -> str:
    """What a person wants to know first, as Markdown."""
    lines = [f"**{number(row['value'])}** {row['measure']} at **{row['time']} UTC**"]
    if row["expected"] is not None:
        lines[0] += f", where **{number(row['expected'])}** was expected"
        if row["lower"] is not None and row["upper"] is not None:
            lines[0] += f" ({number(row['lower'])} to {number(row['upper'])})"
    lines[0] += "."
    limit = f", threshold {row['threshold']:g}" if row["threshold"] is not None else ""
    lines.append(f"- Score **{row['score']:.1f}** of 100{limit}")
    if row["surprise"] is not None:
        lines.append(f"- About one row in **{_one_in(row['surprise'])}** scores so high")
    lines.append(f"- Confidence {row['confidence']:.0f} of 100, after {row['point']:,} rows")
    if row["reason"]:
        lines.append(f"- No alert: {row['reason']}")
    if row["imputed"]:
        lines.append("- Filled in by the gap policy, not measured")
    return "\n\n".join([lines[0], "\n".join(lines[1:])])


def number(value: float) -> str:
    """Four digits are enough to tell values apart."""
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


def _one_in(surprise: float) -> str:
    """So many rows for one as surprising, to two digits."""
    rows = 10 ** min(max(surprise, 0), 12)
    return f"{float(f'{rows:.2g}'):,.0f}"


def _attribution(row: dict[str, Any], likeness: Likeness) -> None:
    st.markdown("**What bears the score**")
    if not row["attribution"]:
        st.caption("The detector gave no attribution for this row.")
        return
    unknown = [math.nan] * (likeness.length - len(likeness.values))  # before the lake begins
    picture = pictures.attribution_picture(
        row["attribution"], row["attribution_high"], [*unknown, *likeness.values]
    )
    st.altair_chart(picture, key="attribution_picture")


def _likeness(row: dict[str, Any], likeness: Likeness) -> None:
    st.markdown("**Most like it before**")
    if likeness.like_time is None:
        st.caption("The past is too short to look for it.")
        return
    how = (
        "nearest neighbour, named by the detector" if likeness.from_detector else "found by values"
    )
    st.caption(f"{likeness.like_time} UTC, {how} ({likeness.length} rows)")
    st.altair_chart(pictures.likeness_picture(likeness.shown, row["measure"]), key="likeness")
