"""Decimation, charts and the report that holds them."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import vl_convert

from examples.charts import TAGS, THEME, discord_charts, series_chart
from examples.decimation import CONTEXT_ROWS, decimate
from examples.report import write_report
from examples.series_layers import BAND, BLUE, DARK_BLUE, DECIDED, INJECTED, PINK, SCORE, THRESHOLD

START = datetime(2024, 8, 5, tzinfo=UTC)


def result(minute, value=20.0, score=10.0, decision=0, **fields):
    time = START + timedelta(minutes=minute)
    return {
        "measure": "quantity",
        "timeseriesId": "f3c7",
        "anomalyDecisionThreshold": 70.0,
        "aggregatedMeasureValue": value,
        "anomalyScore": score,
        "detectionPeriodStartTime": time.strftime("%Y-%m-%d %H:%M:%S"),
        "anomalyDecision": decision,
        "expectedValue": 20.0,
        "expectedLower": 15.0,
        "expectedUpper": 25.0,
        **fields,
    }


def rows(count=50, decisions=(30,)):
    rng = np.random.default_rng(1)
    return [
        result(k, 60.0, 95.0, 1) if k in decisions else result(k, float(rng.integers(15, 25)))
        for k in range(count)
    ]


def layers(chart):
    """Leaf layers of a chart as dictionaries by the legend's entry, and its data sets."""
    spec = chart.to_dict()
    found = {}
    for group in spec["layer"]:
        for leaf in group["layer"]:
            (calculated,) = [t for t in leaf["transform"] if "calculate" in t]
            # data that all layers of a group share stands at the group
            shared = {"data": group["data"]} if "data" in group else {}
            found[json.loads(calculated["calculate"])] = shared | leaf
    return found, spec


def data_of(leaf, spec):
    return spec["datasets"][leaf["data"]["name"]]


def test_decimate_keeps_extremes_decisions_and_ends():
    rng = np.random.default_rng(0)
    count, buckets = 20_000, 50
    position = np.arange(count)
    value, score = rng.normal(size=count), rng.random(count)
    keep = np.zeros(count, bool)
    keep[[777, 15_003]] = True
    kept = decimate(position, [value, score], keep, buckets)
    assert kept.size <= 4 * buckets + 2 + 2 * (2 * CONTEXT_ROWS + 1)
    assert np.all(np.diff(kept) > 0)
    assert {0, count - 1, 777, 15_003} <= set(kept.tolist())
    assert set(range(777 - CONTEXT_ROWS, 777 + CONTEXT_ROWS + 1)) <= set(kept.tolist())
    bucket = np.minimum(position * buckets // (count - 1), buckets - 1)
    for measure in (value, score):
        for k in range(buckets):
            inside = kept[bucket[kept] == k]
            assert measure[inside].max() == measure[bucket == k].max()
            assert measure[inside].min() == measure[bucket == k].min()


def test_decimate_keeps_every_decision_even_if_they_are_many():
    keep = np.arange(10_000) % 3 == 0
    kept = decimate(np.arange(10_000), [np.zeros(10_000)], keep, 10)
    assert set(np.flatnonzero(keep)) <= set(kept.tolist())
    assert kept.size < 3_400  # without their neighbours


def test_decimate_passes_over_nan_and_leaves_short_series_alone():
    short = np.arange(40)
    assert decimate(short, [short * 1.0], np.zeros(40, bool), 20).tolist() == short.tolist()
    value = np.full(1000, np.nan)
    value[500] = 1.0
    kept = decimate(np.arange(1000), [value], np.zeros(1000, bool), 4)
    assert kept.tolist() == [0, 500, 999]
    same_time = decimate(np.zeros(1000), [np.arange(1000.0)], np.zeros(1000, bool), 4)
    assert same_time.tolist() == [0, 999]
    with pytest.raises(ValueError, match="buckets must be >= 1, got 0"):
        decimate(short, [short * 1.0], np.zeros(40, bool), 0)


def test_series_chart_has_the_layers_of_the_dashboard():
    truth = [{"kind": "spike", "start": START + timedelta(minutes=30), "end": "2024-08-05T00:31Z"}]
    found, spec = layers(series_chart(rows(), ground_truth=truth))
    assert set(found) == {"quantity", BAND, SCORE, THRESHOLD, DECIDED, INJECTED}
    colours = found["quantity"]["encoding"]["color"]["scale"]
    by_entry = dict(zip(colours["domain"], colours["range"], strict=True))
    assert (by_entry["quantity"], by_entry[SCORE], by_entry[THRESHOLD]) == (DARK_BLUE, PINK, BLUE)
    assert len(set(by_entry.values())) == 6
    assert found[SCORE]["encoding"]["y"]["axis"]["orient"] == "right"
    assert found["quantity"]["encoding"]["y"]["axis"]["orient"] == "left"
    assert spec["resolve"]["scale"]["y"] == "independent"
    assert found[THRESHOLD]["mark"]["strokeDash"]
    assert data_of(found[THRESHOLD], spec) == [{"threshold": 70}]
    assert found[BAND]["encoding"]["y"]["field"] == "lower"
    assert found[DECIDED]["mark"]["shape"] == "diamond"
    assert {"filter": "datum.decision == 1"} in found[DECIDED]["transform"]
    (injected,) = data_of(found[INJECTED], spec)
    assert injected["value"] == 60
    assert injected["end"] - injected["start"] == 60_000
    zoom = spec["params"][0]
    assert (zoom["bind"], zoom["select"]["encodings"]) == ("scales", ["x"])


def test_series_chart_draws_only_what_the_rows_have():
    bare = ("detectionPeriodStartTime", "aggregatedMeasureValue", "anomalyScore", "anomalyDecision")
    found, spec = layers(series_chart([{k: row[k] for k in bare} for row in rows(decisions=())]))
    assert set(found) == {"value", SCORE, THRESHOLD}
    assert data_of(found[THRESHOLD], spec) == [{"threshold": 70}]
    on_raw_score = [row | {"anomalyDecisionThreshold": None} for row in rows()]
    found, _ = layers(series_chart(on_raw_score))
    assert THRESHOLD not in found


def test_series_chart_takes_any_table_in_any_order():
    expected = series_chart(rows()).to_dict()
    table = pa.Table.from_pylist(rows()[::-1])
    times = pa.array([START + timedelta(minutes=k) for k in range(50)][::-1], pa.timestamp("us"))
    timed = table.set_column(5, "detectionPeriodStartTime", times)
    assert table.column_names[5] == "detectionPeriodStartTime"
    for given in (table, timed, pd.DataFrame(rows())):
        assert series_chart(given).to_dict()["datasets"] == expected["datasets"]


def test_series_chart_keeps_the_window_whole_and_the_rest_reduced():
    many = rows(6000, decisions=(50, 3000))
    window = (START + timedelta(minutes=4000), START + timedelta(minutes=4500))
    found, spec = layers(series_chart(many, window=window, buckets=20))
    data = data_of(found["quantity"], spec)
    minutes = {(point["time"] - round(START.timestamp() * 1000)) // 60_000 for point in data}
    assert set(range(4000, 4501)) <= minutes
    assert {50, 3000} <= minutes
    assert len(data) < 800
    domain = found["quantity"]["encoding"]["x"]["scale"]["domain"]
    assert domain == [round(instant.timestamp() * 1000) for instant in window]


def test_series_chart_writes_missing_numbers_as_null():
    first = result(0, expectedLower=None, expectedUpper=float("nan"), expectedValue=1 / 3)
    found, spec = layers(series_chart([first, *rows()[1:]]))
    point = data_of(found["quantity"], spec)[0]
    assert (point["lower"], point["upper"], point["expected"]) == (None, None, 0.333333)


def test_wrong_rows_are_named():
    with pytest.raises(ValueError, match="rows must hold at least 1 result, got 0"):
        series_chart([])
    with pytest.raises(ValueError, match=r"got none of \['anomalyDecision'\]"):
        series_chart([{k: v for k, v in result(0).items() if k != "anomalyDecision"}])
    with pytest.raises(ValueError, match="rows must be of 1 series, got 2"):
        series_chart([result(0), result(1, timeseriesId="other")])


def discord_rows(count=400):
    tags = np.where(np.arange(count) < 100, TAGS[0], TAGS[1])
    tags[300] = TAGS[2]
    return [
        {
            "index": k + 1,
            "input": float(np.sin(k)),
            "mp": float(k == 300),
            "anomalyTag": str(tags[k]),
        }
        for k in range(count)
    ]


def test_discord_charts_show_input_profile_and_tags():
    spec = discord_charts(
        discord_rows(), ground_truth=[{"kind": "flat", "first": 290, "last": 310}]
    )
    spec = spec.to_dict()
    upper, profile, tags = spec["vconcat"]
    assert [layer["mark"]["type"] for layer in upper["layer"]] == ["rect", "line"]
    assert upper["layer"][1]["encoding"]["y"]["field"] == "input"
    assert profile["encoding"]["y"]["field"] == "mp"
    assert tags["encoding"]["y"]["field"] == "anomalyTag"
    assert tags["encoding"]["shape"]["scale"]["range"][-1] == "diamond"
    assert spec["resolve"]["scale"]["x"] == "shared"
    data = spec["datasets"][profile["data"]["name"]]
    assert [point["index"] for point in data if point["anomalyTag"] == TAGS[2]] == [301]


@pytest.mark.parametrize(
    "chart",
    [
        series_chart(
            rows(), width=300, ground_truth=[{"kind": "drop", "start": START, "end": START}]
        ),
        discord_charts(discord_rows()),
    ],
    ids=["series", "discord"],
)
def test_charts_can_be_drawn(chart):
    svg = vl_convert.vegalite_to_svg(chart.to_json(), config=THEME)
    assert svg.count("<path") > 5
    assert "NaN" not in svg


class Page(HTMLParser):
    """Collects a page's attributes, text outside scripts, and number of scripts."""

    def __init__(self, text):
        super().__init__()
        self.attributes, self.text, self.scripts, self._inside = [], "", 0, ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.attributes += [(tag, *attribute) for attribute in attributes]
        self.scripts += tag == "script"
        self._inside = tag

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside not in ("script", "style"):
            self.text += data


def test_report_is_one_file_that_loads_nothing(tmp_path):
    path = tmp_path / "new" / "report.html"
    summary = {"points processed": 80640, "confidence": 99.2, "balance holds": True, "late": None}
    many = rows(20_000, decisions=(700,))
    sections = [
        ("item-A </script> & more", series_chart(many)),
        ("discords", discord_charts(discord_rows())),
        ("by kind", [{"kind": "spike", "found": 3}, {"kind": "<drop>", "share": 0.25}]),
    ]
    write_report(path, "AnyBooks & co", summary, sections)
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert path.stat().st_size < 5_000_000
    assert not [a for a in page.attributes if a[1] in ("src", "href", "srcset", "action", "data")]
    assert not re.search(r"@import|url\(", text[: text.index("</style>")])
    policies = [value for _, name, value in page.attributes if name == "content"]
    assert any("default-src 'none'" in policy for policy in policies)
    assert any("width=device-width" in policy for policy in policies)
    assert page.scripts == 2  # Vega once, whatever the number of charts
    for shown in (
        "AnyBooks & co",
        "80,640",
        "99.2",
        "yes",
        "–",
        "item-A </script> & more",
        "<drop>",
    ):
        assert shown in page.text
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert ids == ["chart-0", "chart-1"]


def test_report_without_charts_is_small_and_may_begin_with_a_table(tmp_path):
    write_report(tmp_path / "r.html", "t", [{"series": "a", "found": 1_000}], [])
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert "<th>series</th><th>found</th>" in text
    assert "<td>a</td><td class=number>1,000</td>" in text
    with pytest.raises(TypeError, match="must be a chart or rows of a table, got str"):
        write_report(tmp_path / "r.html", "t", {}, [("heading", "text")])
