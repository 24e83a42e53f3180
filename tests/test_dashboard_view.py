"""Links, names, ranking and likeness: the page's plain functions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.likeness import like_window
from dashboard.overview import attention, filtered, ranked, series_name
from dashboard.serve import _parser, command
from dashboard.view import PLOTS, SPANS, View

DAYS = st.sampled_from(["", "2026-03-02", "2026-12-31"])
VIEWS = st.builds(
    View,
    span=st.sampled_from(list(SPANS)),
    first=DAYS,
    last=DAYS,
    detector=st.text(max_size=20),
    find=st.text(max_size=20),
    only=st.sampled_from(["", "anomalies"]),
    series=st.text(max_size=64),
    of=st.text(max_size=20),
    anomaly=st.text(max_size=40),
    plots=st.sampled_from(PLOTS),
)


@given(VIEWS)
def test_a_link_gives_the_view_again(view):
    assert View.of_query(view.to_query()) == view


@given(st.dictionaries(st.sampled_from(list(View().__dict__) + ["other"]), st.text()))
def test_any_link_gives_a_view_with_a_time_range(query):
    first, end = View.of_query(query).time_range("2026-03-04 12:00:00.5")
    assert len(first) == len(end) == 19


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (View(span="1h"), ("2026-03-04 11:00:01", "2026-03-04 12:00:01")),
        (View(span="7d"), ("2026-02-25 12:00:01", "2026-03-04 12:00:01")),
        (View(span="all"), ("0001-01-01 00:00:00", "2026-03-04 12:00:01")),
        (
            View(span="days", first="2026-03-01", last="2026-03-02"),
            ("2026-03-01 00:00:00", "2026-03-03 00:00:00"),
        ),
    ],
)
def test_time_ranges(view, expected):
    assert view.time_range("2026-03-04 12:00:00") == expected


def test_attention_halves_each_day():
    assert attention(80.0, "2026-03-03 00:00:00", "2026-03-03 00:00:00") == 80
    assert attention(80.0, "2026-03-02 00:00:00", "2026-03-03 00:00:00") == 40
    assert attention(None, None, "2026-03-03 00:00:00") == 0


def overview(**fields):
    row = {"detector": "d", "measure": "m", "series": "0123456789", "shop": None, "product": None}
    return row | {"anomalies": 0, "peak_score": None, "last_anomaly": None} | fields


def test_series_have_the_names_of_their_dimensions():
    names = ["product", "shop"]
    assert series_name(overview(product="A", shop="north"), names) == "A, north"
    assert series_name(overview(shop="north"), names) == "north"
    assert series_name(overview(), names) == "m 01234567"


def test_series_are_ranked_and_filtered():
    hit = {"anomalies": 1, "peak_score": 90.0}
    rows = [
        overview(product="calm"),
        overview(product="old", last_anomaly="2026-03-01 00:00:00", **hit),
        overview(product="new", last_anomaly="2026-03-03 00:00:00", **hit),
    ]
    frame = ranked(rows, ["product"], "2026-03-03 00:00:00")
    assert frame["name"].tolist() == ["new", "old", "calm"]
    assert filtered(frame, "", only_anomalies=True)["name"].tolist() == ["new", "old"]
    assert filtered(frame, "OL", only_anomalies=False)["name"].tolist() == ["old"]
    assert filtered(frame, "(", only_anomalies=False).empty
    assert filtered(ranked([], [], ""), "x", only_anomalies=True).empty


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=30), st.integers(1, 6))
def test_the_window_most_like_the_last(values, length):
    found = like_window(np.array(values, float), length)
    last = values[-length:]
    ends = range(length - 1, len(values) - length)
    distances = {
        end: sum(
            (a - b) ** 2 for a, b in zip(values[end - length + 1 : end + 1], last, strict=True)
        )
        for end in ends
    }
    if not distances:
        assert found == -1
    else:
        best = min(distances.values())
        assert found == max(end for end, distance in distances.items() if distance == best)


def test_the_server_is_for_this_machine_and_silent():
    words = command(_parser().parse_args(["--lake", "x"]))
    assert "--server.address=127.0.0.1" in words
    assert "--browser.gatherUsageStats=false" in words
    assert words[-4:] == ["--lake", "x", "--refresh", "30.0"]


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "100000"])
def test_refresh_is_checked(seconds):
    with pytest.raises(SystemExit):
        _parser().parse_args(["--lake", "x", "--refresh", seconds])
