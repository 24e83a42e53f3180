"""The page without a browser: what it shows, what the filters do, what a link keeps."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from lake_writer import START, dead_letter, late, random_results, result, series_id, write
from streamlit.testing.v1 import AppTest

from dashboard.serve import PAGE
from lake.named_queries import Parameters
from lake.reader import Lake

MARKUP = ("markdown", "info", "error", "success", "caption")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    lake = tmp_path_factory.mktemp("lake")
    write(lake, "results", random_results(3, ["item-A", "item-B", "calm"], days=3))
    write(lake, "results", [], prefix="none")
    return lake


@pytest.fixture
def page(monkeypatch):
    def opened(lake, job=None, **query):
        # the page runs as __main__; left there, it is what a spawned process would begin with
        monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
        monkeypatch.setattr(
            sys, "argv", ["page.py", "--lake", str(lake), *(["--job", str(job)] if job else [])]
        )
        test = AppTest.from_file(str(PAGE), default_timeout=60)
        for name, value in query.items():
            test.query_params[name] = value
        return ran(test.run())

    return opened


def ran(test):
    assert not test.exception, [each.value for each in test.exception]
    return test


def text_of(test):
    return "\n".join(str(each.value) for kind in MARKUP for each in getattr(test, kind))


def metrics(test):
    return {each.label: each.value for each in test.metric}


def charts_of(test):
    """Specifications of the page's charts, in order."""
    return [json.loads(each.proto.spec) for each in test.get("vega_lite_chart")]


def link(test):
    return {name: "".join(value) for name, value in test.query_params.items()}


def pick(test, label):
    (found,) = [each for each in test.selectbox if each.label.startswith(label)]
    return found


def test_an_empty_lake_says_what_to_do(page, tmp_path):
    for lake in (tmp_path / "none", tmp_path):
        shown = text_of(page(lake))
        assert "No results yet" in shown
        assert f"path: {lake}" in shown
        assert "Traceback" not in shown


def test_a_lake_that_cannot_be_read_is_told_in_words(page, tmp_path):
    (path,) = write(tmp_path, "results", random_results(3, days=1))
    path.write_bytes(b"damaged")
    test = page(tmp_path)
    assert "The lake cannot be read" in test.error[0].value
    assert "part-00000.parquet" in test.error[0].value
    assert "cannot be read. a lake is a folder or s3://" in page("gs://x").error[0].value


def test_the_indicators_are_the_queries(page, folder):
    lake = Lake(str(folder))
    points = lake.query("points_processed").to_pylist()[0]["points"]
    confidence = lake.query("confidence").to_pylist()[0]["mean_confidence"]
    assert metrics(page(folder, span="all")) == {
        "Number of Timeseries Tracked": "3",
        "Number of Datapoints Processed": f"{points:,}",
        "Anomaly Confidence Score": f"{confidence:.1f}",
    }


def test_a_search_and_its_link(page, folder):
    test = page(folder)
    test.text_input(key="find").set_value("item").run()
    ran(test)
    assert metrics(test)["Number of Timeseries Tracked"] == "2"
    kept = link(test)
    assert kept["find"] == "item"
    again = page(folder, **kept)
    assert metrics(again) == metrics(test)
    assert link(again) == kept


def test_the_chosen_series_and_anomaly_are_in_the_link(page, folder):
    test = page(folder, span="all")
    other = f"sales/{series_id('item-B')}"
    pick(test, "Series").set_value(other).run()
    ran(test)
    chosen = (
        Lake(str(folder)).query("anomalies", Parameters(series=series_id("item-B"))).to_pylist()[2]
    )
    test.selectbox(key="anomaly").set_value(chosen["result_id"]).run()
    kept = link(ran(test))
    assert kept["series"] == series_id("item-B")
    assert kept["anomaly"] == chosen["result_id"]
    shown = text_of(page(folder, **kept))
    assert "Anomalies of item-B" in shown
    assert f"at **{chosen['time']} UTC**" in shown


def test_a_link_to_a_series_alone_is_enough(page, folder):
    test = page(folder, series=series_id("item-B"))
    assert pick(test, "Series").value == f"sales/{series_id('item-B')}"


def test_nonsense_in_a_link_does_no_harm(page, folder):
    test = page(folder, span="no", series="none", anomaly="<b>", plots="x", first="1")
    assert metrics(test)["Number of Timeseries Tracked"] == "3"
    unknown = page(folder, detector="it's none")
    assert "No series fits these filters" in text_of(unknown)


def test_a_time_range_is_counted_back_from_the_newest_row(page, folder):
    test = page(folder, span="1h")
    asked = Parameters(from_time="2026-03-04 00:00:00")
    points = Lake(str(folder)).query("series_overview", asked).num_rows
    assert metrics(test)["Number of Timeseries Tracked"] == str(points)
    days = page(folder, span="days", first="2026-03-02", last="2026-03-02")
    assert metrics(days)["Number of Datapoints Processed"] == "180"
    assert {"first": "2026-03-02", "last": "2026-03-02"}.items() <= link(days).items()


def test_new_objects_show_by_themselves(page, tmp_path):
    test = page(tmp_path)
    assert "No results yet" in text_of(test)
    write(tmp_path, "results", random_results(3, ["item-A"], days=1))
    test.session_state["stamp"] = None  # what the watching fragment does when objects changed
    assert metrics(ran(test.run()))["Number of Timeseries Tracked"] == "1"


def test_a_calm_series_has_no_anomaly(page, tmp_path):
    calm = [result("calm", n + 1, START + timedelta(minutes=n)) for n in range(30)]
    write(tmp_path, "results", calm)
    test = page(tmp_path)
    assert "This series has no anomaly in the time range." in text_of(test)
    test.toggle(key="only_anomalies").set_value(True).run()
    assert "No series fits these filters" in text_of(ran(test))


def test_an_anomalys_story(page, tmp_path):
    rows = [result("item-A", n + 1, START + timedelta(minutes=n)) for n in range(60)]
    odd = {"aggregatedMeasureValue": 42.0, "anomalyScore": 80.1, "anomalyDecision": 1}
    odd |= {"surprise": 4.9, "attribution": [0.1, 0.9], "decisionReason": "quiet period: x"}
    rows[10]["aggregatedMeasureValue"] = 40.0
    rows[50] |= odd
    write(tmp_path, "results", rows)
    shown = text_of(page(tmp_path))
    for words in (
        "**42** quantity at **2026-03-02 00:50:00 UTC**, where **20** was expected (15 to 25).",
        "Score **80.1** of 100, threshold 70",
        "About one row in **79,000** scores so high",
        "Confidence 90 of 100, after 51 rows",
        "No alert: quiet period: x",
        "2026-03-02 00:10:00 UTC, found by values (2 rows)",
    ):
        assert words in shown


def test_a_left_discord_has_its_three_plots(page, tmp_path):
    rows = [result("item-A", n + 1, START + timedelta(minutes=n)) for n in range(200)]
    rows[150] |= {"anomalyDecision": 1, "anomalyScore": 90.0, "nearestNeighbour": 31}
    rows[150] |= {"attribution": [0.1] * 10, "anomalyDecisionThreshold": None}
    write(tmp_path, "results", rows)
    test = page(tmp_path)
    titles = [chart["encoding"]["y"]["title"] for chart in charts_of(test) if "encoding" in chart]
    assert titles[:3] == ["input: quantity", "matrix profile", None]
    assert "2026-03-02 00:30:00 UTC, nearest neighbour, named by the detector" in text_of(test)


def test_days_of_alerts_late_and_dead(page, tmp_path):
    write(tmp_path, "results", random_results(3, days=2))
    write(tmp_path, "late", [late("item-A", START)])
    write(tmp_path, "dead_letters", [dead_letter(1, START)])
    test = page(tmp_path)
    test.toggle(key="fleet").set_value(True).run()
    table = ran(test).dataframe[-1].value
    assert table[["late", "dead"]].sum().tolist() == [1, 1]


def test_the_page_imports_the_lake_and_nothing_above(monkeypatch):
    from test_layers import imports_of

    allowed = {"dashboard", "lake", "streamlit", "altair", "pandas", "numpy", "sqlglot"}
    for path in PAGE.parent.glob("*.py"):
        # what readers say goes where the job file says, and only there is it read
        more = {"pipeline"} if path.name == "feedback.py" else set()
        assert imports_of(path.read_text()) <= allowed | more | set(sys.stdlib_module_names)
    allowed = {"lake", "transforms", "duckdb", "pyarrow", "sqlglot", "boto3", "botocore"}
    for path in (Path(PAGE).parent.parent / "lake").glob("*.py"):
        text = path.read_text()
        assert imports_of(text) <= allowed | {"orjson", "rich"} | set(sys.stdlib_module_names)
        assert "transforms." not in text.replace("transforms.schema", "")


JOB = """\
job: shop
source: {{files: ["{folder}/none.jsonl"], format: json}}
feedback: {{path: "{folder}/said/rules.jsonl"}}
detectors:
  - {{name: sales, measure: quantity, dimensions: [product_name], event_time: {{field: t}}}}
sinks: {{results: {{path: "{folder}/results"}}}}
"""


def test_a_reader_may_say_that_an_anomaly_is_none(page, folder, tmp_path):
    assert "not_an_anomaly" not in {each.key for each in page(folder).button}
    job = tmp_path / "job.yaml"
    job.write_text(JOB.format(folder=tmp_path))
    test = page(folder, job)
    ran(test.button("not_an_anomaly").click().run())
    assert "Noted as rule" in text_of(test)
    ran(test.button("expected").click().run())
    none, expected = map(json.loads, (tmp_path / "said" / "rules.jsonl").read_text().splitlines())
    anomaly = test.session_state["anomaly"]
    assert (none["kind"], none["alertId"]) == ("not_an_anomaly", anomaly)
    assert (expected["kind"], expected["mostScore"]) == ("expected", None)
    (row,) = [
        each
        for each in Lake(str(folder)).query("anomalies", Parameters()).to_pylist()
        if each["result_id"] == anomaly
    ]
    assert (none["mostScore"], none["validFrom"]) == (row["score"], row["time"])
    assert none["timeseriesId"] == expected["timeseriesId"] == row["series"]
    assert none["validUntil"] > expected["validUntil"] > row["time"]


def test_feedback_that_cannot_be_given_says_why(page, folder, tmp_path):
    job = tmp_path / "job.yaml"
    assert "cannot be read" in str([each.value for each in page(folder, job).warning])
    job.write_text(JOB.format(folder=tmp_path).replace("name: sales", "name: other"))
    test = page(folder, job)
    ran(test.button("not_an_anomaly").click().run())
    assert "the job has no detector 'sales'; its detectors: other" in text_of(test)
    assert not (tmp_path / "said").exists()
