"""Every named query gives the same rows as loops over the records, and is Athena's SQL."""

from __future__ import annotations

import json
from datetime import timedelta

import naive_lake
import pytest
import sqlglot
from lake_writer import (
    DIMENSION,
    START,
    dead_letter,
    late,
    random_results,
    series_id,
    write,
)
from sqlglot import exp

from lake.named_queries import DIALECTS, Parameters, names, purpose, render, tables_of
from lake.reader import Lake
from lake.tables import TABLES, LakeError
from pipeline.endpoints import LAKE_TABLES
from pipeline.launch import main as run_job
from transforms import schema

ASKED = {
    "all": Parameters(),
    "one series": Parameters(series=series_id("it's C"), buckets=7),
    "a range within days": Parameters(
        from_time="2026-03-02 00:30:00", to_time="2026-03-03 00:20:00", recovery_after=2
    ),
    "another detector": Parameters(detector="other"),
    "no such detector": Parameters(detector="it's none"),
    "few rows, many alerts": Parameters(rows=5, alerts_per_week=60.0, buckets=3),
    "points": Parameters(series=series_id("item-A"), first_point=20, last_point=90),
    "before all": Parameters(to_time="2026-03-02 00:00:00"),
}
BY_ONE_SERIES = {"score_chart", "points_between"}


@pytest.fixture(scope="module")
def records():
    results = random_results(7)
    results += [
        record | {"detectorName": "other", "resultId": f"other {record['resultId']}"}
        for record in random_results(8, ["item-A", "item-D"], days=2)
    ]
    refused = [
        late("item-A", START + timedelta(hours=9)),
        late("item-A", START + timedelta(hours=9)),  # no record ID: two records, not one twice
        late("item-B", START + timedelta(days=1), recordId=7),
    ]
    dead = [dead_letter(n, START + timedelta(hours=11 * n)) for n in range(5)]
    return results, refused, [*dead, dead_letter(0, START, "other")]


@pytest.fixture(scope="module")
def written(records, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lake")
    for table, found in zip(TABLES, records, strict=True):
        write(folder, table, found, objects_a_day=3)
    return Lake(str(folder))


def rows_of(lake, name, asked):
    return lake.query(name, asked).to_pylist()


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
@pytest.mark.parametrize("name", names())
def test_rows_equal_an_independent_count(written, records, name, asked):
    if name in BY_ONE_SERIES and not asked.series:
        asked = Parameters(**asked.__dict__ | {"series": series_id("item-B"), "detector": "sales"})
    naive_lake.assert_same(
        rows_of(written, name, asked), getattr(naive_lake, name)(*records, asked)
    )


def test_there_is_something_to_count(records):
    for name in names():
        asked = ASKED["one series"] if name in BY_ONE_SERIES else Parameters()
        assert getattr(naive_lake, name)(*records, asked), name
    budget = naive_lake.daily_alert_budget(*records, Parameters(alerts_per_week=20))
    assert {row["over_budget"] for row in budget} == {True, False}


@pytest.mark.parametrize("name", [name for name in names() if name != "late_and_dead"])
def test_results_that_came_twice_count_once(records, tmp_path, name):
    results, *_ = records
    write(tmp_path, "results", results)
    write(tmp_path, "results", results, prefix="again")
    asked = ASKED["one series"] if name in BY_ONE_SERIES else Parameters()
    expected = getattr(naive_lake, name)(results, [], [], asked)
    naive_lake.assert_same(rows_of(Lake(str(tmp_path)), name, asked), expected)


@pytest.mark.parametrize("name", names())
def test_an_empty_lake_has_no_rows(tmp_path, name):
    assert rows_of(Lake(str(tmp_path / "none")), name, Parameters()) == []


@pytest.mark.parametrize("name", names())
def test_statements_are_athenas(name):
    statement = render(name, Parameters(series="it's"), [DIMENSION, "Shop Floor"], "athena")
    for dialect in ("trino", "athena"):
        tree = sqlglot.parse_one(statement, read=dialect)
        assert not list(tree.find_all(exp.Placeholder))
    assert ":" not in statement.replace("'9999-12-31 23:59:59'", "").replace(
        "'0001-01-01 00:00:00'", ""
    ).partition("*/")[2].replace("'it''s'", "")


@pytest.mark.parametrize("name", names())
def test_statements_read_only_the_days_asked_for(name):
    tree = sqlglot.parse_one(render(name, Parameters(), (), "athena"), read="athena")
    for select in tree.find_all(exp.Select):
        source = select.args.get("from_") or select.args.get("from")
        if source and source.this.name in TABLES:
            between = [each.this.name for each in select.args["where"].find_all(exp.Between)]
            assert "date" in between


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_dimension_is_a_column(name, dialect):
    with_dimensions = render(name, Parameters(), ["a", "b c"], dialect)
    assert ('"b c"' in with_dimensions) == ('"a"' in with_dimensions)
    assert '"a"' not in render(name, Parameters(), (), dialect)


def test_every_query_says_what_it_answers():
    assert len(names()) >= 8
    for name in names():
        assert purpose(name).endswith("."), name
        assert set(tables_of(name)) <= set(TABLES)


def test_an_unknown_query_is_refused():
    for name in ("nothing", "../queries/anomalies"):
        with pytest.raises(LakeError, match="there is no query .*; allowed: anomalies, "):
            render(name, Parameters())


def test_the_tables_are_the_pipelines():
    assert {name: (table.record, table.order) for name, table in TABLES.items()} == LAKE_TABLES
    for table in TABLES.values():
        assert table.columns(["a"]).equals(schema.flat(table.record, ["a"]))
        assert table.dimension_columns(table.columns(["a", "Measure"]).names) == (
            []
            if table.name == "dead_letters"
            else table.columns(["a", "Measure"]).names[4:6]
            if table.name == "results"
            else table.columns(["a", "Measure"]).names[3:5]
        )


# A job's own lake

JOB = """\
job: shop
source: {{files: ["{folder}/in.jsonl"], format: json}}
detectors:
  - name: sales
    measure: quantity
    dimensions: [product_name]
    event_time: {{field: t}}
    aggregation: {{function: sum, period: 1m}}
    model:
      type: RandomCutForest
      config: {{number_of_trees: 10, sample_size: 32}}
    threshold: 50
    rules: {{quiet_period: 30m, recovery_after: 3}}
sinks:
  results: {{path: "{folder}/results"}}
  lake: {{path: "{folder}/lake"}}
  alerts: {{path: "{folder}/alerts"}}
  dead_letters: {{path: "{folder}/dead-letters"}}
"""


def lines_of(folder):
    files = sorted(folder.glob("part-*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    folder = tmp_path_factory.mktemp("job")
    lines = []
    for minute in range(1600):
        time = START + timedelta(minutes=minute)
        for number, product in enumerate(("item-A", "item-B")):
            spike = 30 if minute % 211 in (200, 203, 207 + number) else 0
            quantity = 10 + 5 * (minute // 30 % 2) + minute * 7 % 3 + spike
            sale = {"t": time.isoformat(), "product_name": product, "quantity": quantity}
            lines.append(json.dumps(sale))
    (folder / "in.jsonl").write_text("\n".join([*lines, "not JSON"]))
    (folder / "job.yaml").write_text(JOB.format(folder=folder))
    assert run_job([f"--job={folder / 'job.yaml'}"]) == 0
    return folder


@pytest.mark.parametrize("name", names())
def test_a_jobs_lake_has_what_its_json_results_have(job, name):
    results, dead = lines_of(job / "results"), lines_of(job / "dead-letters")
    series = results[0]["timeseriesId"] if name in BY_ONE_SERIES else ""
    asked = Parameters(series=series, recovery_after=3, rows=10_000, buckets=50)
    expected = getattr(naive_lake, name)(results, [], dead, asked)
    assert expected
    naive_lake.assert_same(rows_of(Lake(str(job / "lake")), name, asked), expected)


def test_the_alerts_counted_are_those_that_were_raised(job):
    raised = [each for each in lines_of(job / "alerts") if each["event"] == "alert"]
    budget = rows_of(Lake(str(job / "lake")), "daily_alert_budget", Parameters(recovery_after=3))
    assert sum(row["alerts"] for row in budget) == len(raised) > 3
