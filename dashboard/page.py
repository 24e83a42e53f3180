"""The web page: how all series stand, one of them over time, and one of its anomalies in detail.

Streamlit runs this file anew for each reader and each change; `dashboard.serve` starts it.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial

import pandas as pd
import streamlit as st

from dashboard import detail, pictures, readings
from dashboard.overview import filtered, ranked
from dashboard.readings import Source
from dashboard.serve import add_page_arguments
from dashboard.view import SPANS, View
from lake.named_queries import Parameters
from lake.tables import LakeError

EMPTY = """
### No results yet

There are no rows in the lake at `{lake}`. The page looks again every {refresh:g} seconds and
shows the first ones by itself.

A job fills a lake if its job file names one:

```yaml
sinks:
  lake: {{path: {lake}}}
```

Run it with `python -m pipeline --job=JOB.yaml`. If it runs already: results appear once its first
periods are over, and the path above must be the job's own.
"""
STYLE = """
<style>
  .block-container {padding-top: 1.5rem; padding-bottom: 2rem;}
  h3 {padding-top: 0.2rem;}
  [data-testid="stMetricValue"] {font-variant-numeric: tabular-nums;}
  @media (max-width: 640px) {
    [data-testid="stMetric"] {padding: 0.4rem 0.8rem;}
    [data-testid="stMetricValue"] {font-size: 1.4rem;}
  }
</style>
"""
_BUCKETS = 500


def main() -> None:
    """Show the page; what is wrong with the lake is said in words."""
    parser = argparse.ArgumentParser()
    add_page_arguments(parser)
    asked = parser.parse_args(sys.argv[1:])
    st.set_page_config(page_title="Tidewatch", layout="wide", initial_sidebar_state="collapsed")
    st.html(STYLE)
    try:
        _page(asked.lake, asked.refresh, asked.job)
    except LakeError as error:
        st.error(f"The lake cannot be read. {error}")
        _watch(asked.lake, asked.refresh, st.session_state.get("stamp"))


def _page(location: str, refresh: float, job: str | None) -> None:
    source = Source(location, st.session_state.get("stamp"))
    st.session_state["stamp"] = source.stamp
    newest = source.newest_time()
    title, seen = st.columns([1, 2], vertical_alignment="bottom")
    title.markdown("## Tidewatch")
    with seen:
        _watch(location, refresh, source.stamp)
    if newest is None:
        st.markdown(EMPTY.format(lake=location, refresh=refresh))
        return
    view = _filters(source, newest)
    times = view.time_range(newest)
    rows = source.rows("series_overview", _asked(view, times, rows=readings.MOST_SERIES))
    everything = ranked(rows, source.dimensions(), times[1])
    series = filtered(everything, view.find, view.only == "anomalies")
    _indicators(series)
    if series.empty:
        st.info("No series fits these filters. Choose a longer time range, or clear the search.")
    else:
        _series(source, view, times, series, job)
    _fleet(source, view, times)
    st.query_params.from_dict(_seen().to_query())


def _watch(location: str, refresh: float, stamp: str | None) -> None:
    """Look for new objects from time to time; run the page again when there are some."""

    @st.fragment(run_every=refresh)
    def look() -> None:
        try:
            now = Source(location).stamp
        except LakeError:
            now = None
        if now != stamp:
            st.session_state["stamp"] = now
            st.rerun(scope="app")
        looked = datetime.now(UTC)
        st.caption(
            f"`{location}` · looked for new results at {looked:%H:%M:%S} UTC, "
            f"again every {refresh:g} s · all times in UTC"
        )

    look()


def _asked(view: View, times: tuple[str, str], **more: str | int) -> Parameters:
    plain: dict[str, str | int] = {"from_time": times[0], "to_time": times[1]}
    return Parameters(**(plain | {"detector": view.detector} | more))  # type: ignore[arg-type]


def _seen() -> View:
    """The view as the widgets have it now."""
    known = {name: st.session_state.get(name, "") for name in asdict(View())}
    days = st.session_state.get("days") or ()
    if known["span"] == "days" and len(days) == 2:
        known["first"], known["last"] = (f"{day:%Y-%m-%d}" for day in days)
    known["only"] = "anomalies" if st.session_state.get("only_anomalies") else ""
    return View(**known)


def _filters(source: Source, newest: str) -> View:
    """Show the filters, as the link has them at first; returns what they say."""
    if "span" not in st.session_state:
        view = View.of_query(st.query_params)
        st.session_state.update(asdict(view), only_anomalies=bool(view.only))
    newest_day = Parameters(from_time=f"{newest[:10]} 00:00:00")
    detectors = [row["detector"] for row in source.rows("series_tracked", newest_day)]
    if st.session_state["detector"] not in ("", *detectors):  # one that the link names
        detectors.append(st.session_state["detector"])
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox(
            "Time range",
            list(SPANS),
            key="span",
            format_func=lambda name: SPANS[name][0],
            width=180,
        )
        if st.session_state["span"] == "days":
            _days(source)
        if len(detectors) > 1:
            st.selectbox(
                "Detector",
                ["", *detectors],
                key="detector",
                format_func=lambda name: name or "all",
                width=180,
            )
        st.text_input("Search series", key="find", placeholder="part of a name", width=200)
        st.toggle("with anomalies only", key="only_anomalies")
    return _seen()


def _days(source: Source) -> None:
    first, last = source.lake.dates() or ("", "")
    chosen = st.session_state["first"] or first, st.session_state["last"] or last
    days = tuple(datetime.fromisoformat(day).date() for day in chosen)
    st.date_input("From day to day (UTC)", value=(days[0], days[1]), key="days", width=240)


def _indicators(series: pd.DataFrame) -> None:
    points = 0 if series.empty else int(series["points"].sum())
    confidence = None if series.empty else float(series["confidence"].mean())
    with st.container(horizontal=True):
        st.metric("Number of Timeseries Tracked", f"{len(series):,}", border=True)
        st.metric("Number of Datapoints Processed", f"{points:,}", border=True)
        st.metric(
            "Anomaly Confidence Score",
            "–" if confidence is None else f"{confidence:.1f}",
            border=True,
            help="0 to 100, mean of the series: how much the models have learnt, times the share "
            "of measured rows.",
        )


def _series(
    source: Source, view: View, times: tuple[str, str], series: pd.DataFrame, job: str | None
) -> None:
    keys = [f"{row.detector}/{row.series}" for row in series.itertuples()]
    _choose(keys, view)
    wide, narrow = st.columns([5, 3], gap="medium")
    with narrow:
        _ranking(series, keys, len({*series["detector"]}) > 1)
    with wide:
        names = dict(zip(keys, series["name"], strict=True))
        st.selectbox(
            "Series, what needs attention first", keys, key="chosen", format_func=names.__getitem__
        )
        of, _, chosen = st.session_state["chosen"].rpartition("/")
        st.session_state.update(series=chosen, of=of)
        asked = _asked(view, times, series=chosen, detector=of, rows=readings.MOST_ANOMALIES)
        found = source.rows("anomalies", asked)
        _chart(source, asked, any(row["neighbour"] is not None for row in found))
    if found:
        row = detail.show(source, found, names[st.session_state["chosen"]])
        if job:
            from dashboard import feedback  # reading job files takes libraries that load slowly

            feedback.show(job, row)
    else:
        st.session_state["anomaly"] = ""
        st.success("This series has no anomaly in the time range.")


def _choose(keys: list[str], view: View) -> None:
    """Keep the chosen series if it is still listed; else the one of the link, else the first."""
    if st.session_state.get("chosen") in keys:
        return
    linked = [key for key in keys if view.series and key.endswith(f"/{view.series}")]
    exact = [key for key in linked if key == f"{view.of}/{view.series}"]
    st.session_state["chosen"] = [*exact, *linked, *keys][0]


def _ranking(series: pd.DataFrame, keys: list[str], several_detectors: bool) -> None:
    columns = {
        "name": st.column_config.TextColumn("series", width="small"),
        "attention": st.column_config.ProgressColumn(
            min_value=0, max_value=100, format="%.0f", width="small", color="orange"
        ),
        "anomalies": st.column_config.NumberColumn(width="small"),
        "last_anomaly": st.column_config.TextColumn("last anomaly"),
        "peak_score": st.column_config.NumberColumn("peak score", format="%.0f", width="small"),
        "stage": st.column_config.TextColumn(width="small"),
        "last_time": st.column_config.TextColumn("newest row"),
    }
    st.caption(
        f"{len(series):,} series · attention: highest anomaly score, halved for each day since "
        "the last anomaly · click to choose"
    )
    st.dataframe(
        series.assign(
            last_anomaly=series["last_anomaly"].fillna("").str[:16],
            last_time=series["last_time"].str[:16],
        ),
        column_order=[*(["detector"] if several_detectors else []), *columns],
        column_config=columns,
        hide_index=True,
        height=min(380, 37 + 35 * len(series)),
        key="ranking",
        on_select=partial(_on_ranking, keys),
        selection_mode="single-row",
    )


def _on_ranking(keys: list[str]) -> None:
    chosen = st.session_state["ranking"].selection.rows
    if chosen and chosen[0] < len(keys):
        st.session_state["chosen"] = keys[chosen[0]]


def _chart(source: Source, asked: Parameters, has_neighbours: bool) -> None:
    rows = source.frame("score_chart", readings.charted(asked, _BUCKETS))
    if rows.empty:
        st.info("This series has no row in the time range.")
        return
    if st.session_state.get("plots") not in ("score", "discord"):
        st.session_state["plots"] = "discord" if has_neighbours else "score"
    st.segmented_control(
        "Plots",
        ["score", "discord"],
        key="plots",
        format_func={"score": "score and band", "discord": "left discord"}.__getitem__,
        label_visibility="collapsed",
        required=True,
    )
    measure = str(rows["measure"].iloc[0])
    if st.session_state["plots"] == "score":
        st.altair_chart(pictures.series_picture(rows, measure), key="series_picture")
        return
    for number, picture in enumerate(pictures.discord_pictures(rows, measure)):
        st.altair_chart(picture, key=f"discord_picture_{number}")


def _fleet(source: Source, view: View, times: tuple[str, str]) -> None:
    if not st.toggle("Alerts, late records and dead letters by day", key="fleet"):
        return
    per_week = st.number_input(
        "Budget: alerts a series and week", 0.1, 1000.0, 1.0, key="budget", width=240
    )
    asked = readings.budgeted(_asked(view, times), per_week)
    days = pd.DataFrame(source.rows("daily_alert_budget", asked))
    alerts, refused = st.columns(2)
    if len(days):
        total = days.groupby("day", as_index=False)[["alerts", "budget"]].sum()
        alerts.altair_chart(pictures.alerts_picture(total))
    counts = pd.DataFrame(source.rows("late_and_dead", _asked(view, (times[0], "9999-12-31"))))
    if counts.empty:
        refused.success("No late record and no dead letter.")
    else:
        refused.dataframe(counts, hide_index=True, height=200)


main()
