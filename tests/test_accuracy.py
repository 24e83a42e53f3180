import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import accuracy
from benchmarks.accuracy import Contestant, main, measure, series_seed
from benchmarks.datasets import load

ROWS = 1200


@pytest.fixture
def folder(tmp_path):
    """Three series with a jump each; the set serves as nab, ucr and wsd."""
    rows = np.arange(ROWS)
    names = np.repeat(["a", "b", "c"], ROWS)
    values = np.concatenate([np.sin(rows / 10) + 5 * (rows >= at) for at in (700, 800, 900)])
    table = pa.table({"series_id": names, "timestamp": np.tile(rows, 3), "value": values})
    for name in ("nab", "ucr", "wsd"):
        pq.write_table(table, tmp_path / f"{name}.parquet")
        (tmp_path / f"{name}_series.csv").write_text(
            f"series_id,n,train_end,recording\na,{ROWS},300,x\nb,{ROWS},300,x\nc,{ROWS},300,y\n"
        )
        (tmp_path / f"{name}_windows.csv").write_text(
            "series_id,first_row,last_row\na,700,719\nb,100,119\n"
            + ("c,900,909\n" if name == "ucr" else "")
        )
    return tmp_path


@pytest.fixture(autouse=True)
def children_find_the_project(monkeypatch):
    """Workers are new processes, which do not get pytest's path."""
    monkeypatch.setenv("PYTHONPATH", os.getcwd())


def test_peers_of_a_set(folder):
    difference = Contestant("|difference|")
    report = measure("ucr", load(folder, "ucr"), [difference], curves=True, workers=1)
    assert (report["series"], report["rows"], report["windows"]) == (3, 3 * ROWS, 3)
    assert {"cores", "python", "numpy", "numba", "workers"} <= set(report["machine"])
    as_is, with_quiet = report["results"]
    assert (as_is["quiet_rows"], with_quiet["quiet_rows"]) == (0, 100)
    assert as_is["ucr"] == {
        "accuracy": pytest.approx(2 / 3),
        "accuracy_per_recording": pytest.approx(3 / 4),
    }
    assert 0 < as_is["vus_pr"] < 1
    assert as_is["vus_pr"] != with_quiet["vus_pr"]


def test_the_result_is_one_json_object(folder, capsys, monkeypatch):
    monkeypatch.setattr(accuracy, "PEERS", {"|difference|": accuracy.PEERS["|difference|"]})
    arguments = ["--set", "nab", "--data", str(folder), "--peers", "--workers", "1", "--json"]
    assert main(arguments) == 0
    report = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    standard = report["results"][0]["nab"]["standard"]
    # the other window lies in the probation, where nothing is found
    assert (standard["windows_found"], standard["windows"]) == (1, 2)
    assert "auc_pr" not in report["results"][0]


def test_the_table_has_a_line_for_each_form(folder, capsys, monkeypatch):
    monkeypatch.setattr(accuracy, "PEERS", {"|difference|": accuracy.PEERS["|difference|"]})
    main(["--set", "wsd", "--data", str(folder), "--peers", "--workers", "1", "--series", "2"])
    printed = capsys.readouterr().out
    assert printed.count("|difference|") == 2
    assert "wsd: 2 series, 2,400 rows" in printed
    assert "VUS-PR" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--peers", "--data", "/nowhere"], "data folder '/nowhere' does not exist"),
        ([], "nothing to measure: give --peers or --model"),
        (["--peers", "--series", "0"], "--series must be >= 1, got 0"),
        (["--peers", "--longest", "3"], "the shortest series, got 3"),
        (["--peers", "--workers", "0"], "--workers must be >= 1, got 0"),
        (["--model", "RandomCutForest", "--config", "[1]"], "must be a JSON object, got '[1]'"),
        (["--model", "RandomCutForest", "--config", "{"], "must be a JSON object, got '{'"),
        (["--model", "RandomCutForest", "--config", '{"no": 1}'], "got ['no']"),
        (
            ["--model", "Ensemble", "--model", "LeftDiscord", "--config", '{"context": 64}'],
            "--config needs one --model, got Ensemble, LeftDiscord",
        ),
    ],
)
def test_a_wrong_command_is_one_message(folder, arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--set", "nab", "--data", str(folder), *arguments])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_the_seed_is_the_same_everywhere():
    assert series_seed("a") == 0xCA978112CA1BBDCA >> 1
    assert series_seed("a") != series_seed("b")
