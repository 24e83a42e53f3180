"""Rows with a clock that repeats and steps back, through the real pipeline and through the core."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import equality
from benchmarks.equality import compare
from pipeline.job import load_job
from pipeline.launch import main
from transforms.io import files

ROWS = 700
NAMES = ("steady", "repeats", "steps-back")
START = 1_700_000_000


def clocks():
    """Seconds since 1970 of the rows of each series."""
    steady = START + 300 * np.arange(ROWS)
    repeats = steady.copy()
    repeats[350:361] = repeats[350]
    back = steady.copy()
    back[400:] -= 7 * 300 + 11
    back[600] = START
    return steady, repeats, back


def values():
    """The values of each series; all different."""
    random = np.random.default_rng(5)
    waves = [np.sin(np.arange(ROWS) / period) for period in (5, 7, 11)]
    found = [wave * 10 + random.normal(0, 0.3, ROWS) + 1 / 3 for wave in waves]
    found[1][500] += 40
    return found


def write_source(folder):
    """Two files; the rows of the series take turns, and each series goes on in the second."""
    times, points = np.array(clocks()), np.array(values())
    for file, part in enumerate((slice(0, 450), slice(450, ROWS))):
        rows = times[:, part].shape[1]
        table = {
            "series_id": np.tile(NAMES, rows),
            "timestamp": times[:, part].T.ravel(),
            "value": points[:, part].T.ravel(),
        }
        pq.write_table(pa.table(table), folder / f"rows-{file}.parquet")


def write_job(folder, model):
    detector = {
        "name": "rows",
        "measure": "value",
        "dimensions": ["series_id"],
        "event_time": {"field": "timestamp", "format": "unix_s", "order": "position"},
        "model": model,
    }
    job = {
        "job": "equality",
        "source": {"files": [str(folder / "rows-*.parquet")], "format": "parquet"},
        "detectors": [detector],
        "sinks": {"results": {"path": str(folder / "results")}},
    }
    path = folder / "job.yaml"
    path.write_text(json.dumps(job))
    return path


MODELS = [
    {"type": "RandomCutForest", "config": {"number_of_trees": 10, "sample_size": 64}},
    {"type": "LeftDiscord", "config": {"sequence_length": 16, "context": 128}},
    {
        "type": "Ensemble",
        "config": {"context": 128, "number_of_trees": 10, "sample_size": 32},
    },
]


@pytest.fixture(scope="module", params=MODELS, ids=lambda model: model["type"])
def job_file(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("equality")
    write_source(folder)
    path = write_job(folder, request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "BATCH_RECORDS", 64)  # many blocks a series
        assert main([f"--job={path}"]) == 0
    return path


def test_every_row_has_the_score_of_the_core(job_file):
    found = compare(load_job(job_file))
    assert (found.series, found.rows, found.results) == (3, 3 * ROWS, 3 * ROWS)
    assert found.differing == {}
    assert found.wrong == []


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("anomalyScore", lambda score: float(np.nextafter(score, 200))),
        ("expectedLower", lambda _: None),
        ("modelStage", lambda _: "LEARNING"),
        ("detectionPeriodStartTime", lambda time: time + ".5"),
    ],
)
def test_a_difference_in_the_last_bit_is_seen(job_file, monkeypatch, field, change):
    read = equality.read_results

    def changed(folder):
        results = read(folder)
        column = next(iter(results.values()))[field]
        column[-1] = change(column[-1])
        return results

    monkeypatch.setattr(equality, "read_results", changed)
    assert compare(load_job(job_file)).differing == {field: 1}


def test_rows_that_are_missing_or_out_of_turn_are_seen(job_file, monkeypatch):
    read = equality.read_results

    def changed(folder):
        results = read(folder)
        lacks, swapped, gone = results
        for column in results[lacks].values():
            column.pop()
        for column in results[swapped].values():
            column[-1], column[-2] = column[-2], column[-1]
        del results[gone]
        return results

    monkeypatch.setattr(equality, "read_results", changed)
    found = compare(load_job(job_file))
    assert found.differing == {}
    assert len(found.wrong) == 3
    assert sum("not one for each row" in sentence for sentence in found.wrong) == 1
    assert sum("before their row's turn" in sentence for sentence in found.wrong) == 1
    assert sum("has no result" in sentence for sentence in found.wrong) == 1


def test_the_command_says_so(job_file, capsys):
    assert equality.main(["--job", str(job_file)]) == 0
    assert "every figure is the core's, bit for bit" in capsys.readouterr().out
