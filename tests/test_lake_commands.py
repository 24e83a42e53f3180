"""``python -m lake``: what a person types, and what comes back."""

from __future__ import annotations

import csv
import io
import json

import pytest
import sqlglot
from aws_server import ENVIRONMENT, AwsServer
from lake_writer import START, late, random_results, series_id, write

from lake.commands import main
from lake.named_queries import names
from lake.tables import TABLES


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    lake = tmp_path_factory.mktemp("lake")
    write(lake, "results", random_results(3, days=3), objects_a_day=3)
    write(lake, "late", [late("item-A", START)])
    return lake


@pytest.fixture
def call(folder, capsys):
    def run(*arguments, lake=folder):
        code = main([*arguments, *(["--lake", str(lake)] if lake else [])])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_the_three_forms_have_the_same_rows(call):
    asked = ("query", "anomalies", "--series", "product_name=item-B", "--rows", "7")
    _, table, _ = call(*asked)
    _, lines, _ = call(*asked, "--format", "json")
    _, sheet, _ = call(*asked, "--format", "csv")
    rows = [json.loads(line) for line in lines.splitlines()]
    cells = list(csv.DictReader(io.StringIO(sheet)))
    assert len(rows) == len(cells) == 7
    assert {row["series"] for row in rows} == {series_id("item-B")}
    for row, cell in zip(rows, cells, strict=True):
        assert list(row) == list(cell)
        assert float(cell["score"]) == row["score"]
        assert json.loads(cell["attribution"]) == row["attribution"]
    assert table.splitlines()[-1] == "(7 rows)"
    assert table.splitlines()[0].split() == list(rows[0])


def test_a_time_range(call):
    asked = ("query", "score_history", "--format", "json", "--rows", "100000")
    _, lines, _ = call(*asked, "--from", "2026-03-03", "--to", "2026-03-03 00:02")
    times = {json.loads(line)["time"] for line in lines.splitlines()}
    assert times == {"2026-03-03 00:00:00", "2026-03-03 00:01:00"}


@pytest.mark.parametrize(
    "name", [series_id("item-A"), series_id("item-A")[:10], "product_name=item-A"]
)
def test_series_have_several_names(call, name):
    code, lines, _ = call("query", "series_overview", "--series", name, "--format", "json")
    assert code == 0
    assert [json.loads(line)["product_name"] for line in lines.splitlines()] == ["item-A"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("query", "nothing"), "there is no query 'nothing'; allowed: anomalies, "),
        (
            ("query", "anomalies", "--series", "product_name=x"),
            "no series of the lake is 'product_name=x'; its dimensions are product_name",
        ),
        (("retain", "--older-than", "90"), "an age is days or weeks, such as 90d or 13w, got '90'"),
        (("retain", "--older-than", "0d"), "got '0d'"),
    ],
)
def test_what_cannot_be_done_is_told(call, arguments, message):
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert message in err


def test_several_series_are_not_one(call, tmp_path):
    write(tmp_path, "results", random_results(3, [f"p{n}" for n in range(40)], days=1))
    common = next(c for c in "0123456789abcdef" if _starts(c) > 1)
    code, _, err = call("query", "anomalies", "--series", common, lake=tmp_path)
    assert code == 2
    assert f"names {_starts(common)} series" in err


def _starts(text):
    return sum(series_id(f"p{n}").startswith(text) for n in range(40))


@pytest.mark.parametrize("time", ["yesterday", "2026-13-01", "2026-01-01 25:00"])
def test_times_are_checked(call, time, capsys):
    with pytest.raises(SystemExit):
        call("query", "anomalies", "--from", time)
    assert time in capsys.readouterr().err


@pytest.mark.parametrize("name", names())
def test_athenas_statement_is_printed(call, name):
    code, statement, _ = call("query", name, "--print-sql")
    assert code == 0
    assert sqlglot.parse_one(statement, read="athena")


def test_the_queries_are_listed(call):
    _, listed, _ = call("queries", lake=None)
    assert [line.split()[0] for line in listed.splitlines()] == names()


def test_compaction_and_retention(call, tmp_path):
    write(tmp_path, "results", random_results(3, days=3), objects_a_day=3)
    before = call("query", "score_history", "--format", "json", lake=tmp_path)
    code, text, _ = call("compact", "--before", "2026-03-04", lake=tmp_path)
    assert code == 0
    assert text.splitlines() == [
        "results 2026-03-02: 3 objects into 1, 180 rows",
        "results 2026-03-03: 3 objects into 1, 180 rows",
    ]
    assert call("query", "score_history", "--format", "json", lake=tmp_path) == before
    _, text, _ = call("compact", "--before", "2026-03-04", lake=tmp_path)
    assert text == "nothing to compact before 2026-03-04\n"


def test_retention_shows_before_it_deletes(call, tmp_path, monkeypatch):
    write(tmp_path, "results", random_results(3, days=3))
    write(tmp_path, "late", [late("item-A", START)])
    (tmp_path / "notes.txt").write_text("not the lake's")

    class Now:
        @staticmethod
        def now(_):
            return START.replace(day=7)

    monkeypatch.setattr("lake.commands.datetime", Now)
    asked = ("retain", "--older-than", "4d", "--lake", str(tmp_path))
    days = lambda: sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.glob("*/date=*"))  # noqa: E731
    before = days()
    _, text, _ = call(*asked, lake=None)
    assert [line.split(":")[0] for line in text.splitlines()[:-1]] == [
        "results 2026-03-02",
        "late 2026-03-02",
    ]
    assert text.splitlines()[-1] == "would delete what is before 2026-03-03; add --delete to do it"
    assert days() == before
    _, text, _ = call(*asked, "--delete", lake=None)
    assert days() == ["results/date=2026-03-03", "results/date=2026-03-04"]
    assert (tmp_path / "notes.txt").exists()
    assert call(*asked, lake=None)[1] == "nothing is older than 2026-03-03\n"


def test_the_catalogue(call, capsys, monkeypatch):
    with AwsServer() as server:
        for name, value in ENVIRONMENT.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        asked = ("glue", "--database", "shop", "--location", "s3://bucket/lake")
        code, _, err = call(*asked, lake=None)
        assert code == 2
        assert "cannot list s3://bucket/lake/results: there is no such bucket" in err or (
            "has no results yet, so the job's dimensions are unknown" in err
        )
        code, out, _ = call(*asked, "--dimension", "product_name", lake=None)
        assert (code, out.splitlines()) == (0, [f"shop.{name}: created" for name in TABLES])
        code, _, err = call("glue", "--database", "d", "--location", "/tmp/x", lake=None)
        assert (code, err) == (2, "--location must be s3://bucket/folder, got '/tmp/x'\n")
