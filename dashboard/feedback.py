"""What a reader says of an anomaly: it is none, or so much is expected for a while."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import streamlit as st

from pipeline.job import Job, load_job
from pipeline.job_errors import JobFileError
from pipeline.say import NOT_AN_ANOMALY_DAYS, CannotSay, make_rule, say

_EXPECTED_DAYS = 7


def show(path: str, row: dict[str, Any]) -> None:
    """Show the buttons for one anomaly; nothing where the job reads no feedback.

    Parameters
    ----------
    path : str
        The job file.
    row : dict
        The anomaly: a row of the query ``anomalies``.
    """
    try:
        job = _job(path)
    except JobFileError as error:
        st.warning(f"Feedback cannot be given: {error}")
        return
    if job.feedback is None:
        return
    day = datetime.fromisoformat(row["time"]).date()
    st.markdown("**Is it one?**")
    none, expected, until = st.columns([2, 2, 2], vertical_alignment="bottom")
    last = until.date_input(
        "until (UTC, of event time)",
        value=day + timedelta(days=_EXPECTED_DAYS),
        min_value=day,
        key=f"until_{row['result_id']}",
    )
    if none.button(
        "Not an anomaly",
        key="not_an_anomaly",
        help=f"For {NOT_AN_ANOMALY_DAYS} days of event time, alerts of this series with a score up "
        "to this one's are kept quiet. Results stay as they are.",
    ):
        until_day = day + timedelta(days=NOT_AN_ANOMALY_DAYS)
        _say(job, row, "not_an_anomaly", until_day, float(row["score"]))
    if expected.button(
        "Expected until",
        key="expected",
        help="Until the end of that day, all alerts of this series are kept quiet.",
    ):
        _say(job, row, "expected", _last_day(last), None)


def _last_day(chosen: object) -> date:
    if not isinstance(chosen, date):
        raise TypeError(f"a day is needed, got {chosen!r}")
    return chosen


def _say(job: Job, row: dict[str, Any], kind: str, last: date, most_score: float | None) -> None:
    until = str(last + timedelta(days=1))
    try:
        rule = make_rule(
            kind, row["detector"], row["series"], row["time"], until, most_score, row["result_id"]
        )
        say(job, rule)
    except CannotSay as error:
        st.error(f"Nobody was told: {error}")
        return
    st.success(
        f"Noted as rule {rule.ruleId}: alerts of this series are kept quiet until "
        f"{rule.validUntil[:16]} UTC" + (f", up to score {most_score:.0f}" if most_score else "")
    )


@st.cache_resource(show_spinner=False)
def _job(path: str) -> Job:
    return load_job(path)
