"""Whether two runs are equal: every kind of difference is found, and repetitions are none."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from series_harness import FOREST, MINUTE, bounded

from pipeline import verify
from pipeline.endpoints import LAKE_TABLES
from pipeline.runs import NoRun, rows_of
from transforms.aggregate import Aggregation
from transforms.decide import Rules
from transforms.detection import Detection, SeriesSettings
from transforms.io.objects import LocalStore
from transforms.io.parquet import WriteDayFn

ROWS = 300


def run(threshold=60.0):
    """JSON lines of a series with a spike; the lake needs a dimension."""
    what = Detection(SeriesSettings(FOREST, Rules(threshold=threshold)), Aggregation("sum", MINUTE))
    values = np.round(np.random.default_rng(4).normal(10, 1, ROWS), 3)
    values[250] = 99.5
    return bounded(what, np.arange(ROWS) * MINUTE, values).results


@pytest.fixture(scope="module")
def results():
    return run()


def write(folder, rows, name="part-00000-of-00001.jsonl"):
    folder.mkdir(exist_ok=True)
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / name).write_text("".join(f"{line}\n" for line in lines))
    return str(folder)


@pytest.fixture
def verified(capsys, tmp_path, results):
    a = write(tmp_path / "a", results)

    def verified(b, *arguments):
        code = verify.main([a, b, *arguments])
        out, err = capsys.readouterr()
        return code, (out + err).replace(str(tmp_path), "").splitlines()

    return verified


def test_repetitions_and_order_make_no_difference(verified, results, tmp_path):
    b = write(tmp_path / "b", [*results[::-1], *results[:7]])
    assert verified(b) == (
        0,
        ["/a: 300 results in 300 rows", "/b: 300 results in 307 rows", "equal, bit for bit"],
    )


def test_each_kind_of_difference_is_named_by_its_first(verified, results, tmp_path):
    rows = [dict(row) for row in results]
    rows[250]["anomalyScore"] = math.nextafter(rows[250]["anomalyScore"], 0)
    rows[51]["aggregatedMeasureValue"] = 1.0
    rows[52]["aggregatedMeasureValue"] = 2.0
    repeated = {**rows[9], "rawScore": 5.0}
    extra = {**rows[5], "resultId": "other"}
    code, lines = verified(write(tmp_path / "b", [*rows[:3], *rows[4:], repeated, extra]))
    ids = [row["resultId"] for row in results]
    assert code == 1
    assert lines[2] == f"unlike repetitions in /b: 1, the first is {ids[9]}"
    assert lines[3] == "missing in /a: 1, the first is other"
    assert lines[4] == f"missing in /b: 1, the first is {ids[3]}"
    found = {line.split()[0]: line for line in lines[5:-1]}
    old = results[51]["aggregatedMeasureValue"]
    assert found["aggregatedMeasureValue"] == (
        f"aggregatedMeasureValue differs in 2, the first is {ids[51]}: {old} and 1.0"
    )
    assert found["anomalyScore"].startswith(f"anomalyScore differs in 1, the first is {ids[250]}: ")
    assert lines[-1] == "not equal"


def test_the_sign_of_zero_and_the_kind_of_a_number_are_bits_too(verified, results, tmp_path):
    rows = [dict(row) for row in results]
    for value in (-0.0, 0):
        rows[3]["aggregatedMeasureValue"] = value
        other = [dict(row) for row in rows]
        other[3]["aggregatedMeasureValue"] = 0.0
        found = verify.compare(rows_of(write(tmp_path / "b", rows)), other_rows(tmp_path, other))
        assert set(found.fields) == {"aggregatedMeasureValue"}


def other_rows(tmp_path, rows):
    return rows_of(write(tmp_path / "c", rows))


def test_a_changed_threshold_changes_decisions_only(verified, tmp_path):
    b = write(tmp_path / "b", run(threshold=5.0))
    code, lines = verified(b)
    assert code == 1
    named = {line.split()[0] for line in lines[2:-1]}
    assert "anomalyDecision" in named
    assert named <= verify.DECISION
    assert verified(b, "--ignore=decision")[0] == 0
    assert verified(b, "--ignore=anomalyDecisionThreshold")[0] == 1


def test_periods_after_a_time_can_be_left_out(verified, results, tmp_path):
    b = write(tmp_path / "b", results[:40])
    assert verified(b)[0] == 1
    code, lines = verified(b, "--until=1970-01-01T00:40:00Z")
    assert (code, lines[0]) == (0, "/a: 40 results in 40 rows")
    assert verified(b, "--until=1970-01-01T01:40:30+01:00")[0] == 0
    assert verified(b, "--until=1970-01-01T00:41:00")[0] == 1


def test_a_lake_is_compared_with_lines(verified, results, tmp_path):
    dimensions = [{"name": "item", "value": "A"}, {"name": "measure", "value": "m"}]
    rows = [{**row, "dimensionList": dimensions} for row in results]
    a = write(tmp_path / "x", rows)
    record, order = LAKE_TABLES["results"]
    folder = tmp_path / "lake" / "results"
    fn = WriteDayFn(str(folder), record, ["measure", "item", "other"], order, LocalStore())
    assert list(fn.process(("1970-01-01", [json.dumps(row).encode() for row in rows])))
    for lake in (tmp_path / "lake", folder, folder / "date=1970-01-01" / "part-00000.parquet"):
        assert verify.main([a, str(lake)]) == 0


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["/nowhere"], "/nowhere: no results there; name a folder with part-*.jsonl, a lake, "),
        (["/", "--ignore=score"], "--ignore: 'score' is not allowed; allowed: decision, detector"),
        (["/", "--until=noon"], "--until: 'noon' is not a time; write 2026-01-31T00:00:00Z"),
        (["/", "--job=/none.yaml"], "/none.yaml: cannot be read: No such file or directory"),
    ],
)
def test_wrong_use_is_one_line(verified, arguments, line):
    code, [found] = verified(*arguments)
    assert code == 2
    assert found.startswith(line)


def test_rows_without_an_id_are_no_run(verified, tmp_path):
    code, [line] = verified(write(tmp_path / "b", [{"index": 1, "input": 2.0}]))
    assert code == 2
    assert line.endswith("a row has no resultId; only the layout stack can be compared")
    code, [line] = verified(write(tmp_path / "c", ["{oops"]))
    assert code == 2
    assert "not JSON" in line


def test_two_empty_runs_are_no_comparison(tmp_path, capsys):
    empty = write(tmp_path / "e", [])
    assert verify.main([empty, empty]) == 2
    assert capsys.readouterr().err == "both runs are empty\n"
    with pytest.raises(NoRun):
        list(rows_of(str(tmp_path / "none")))
