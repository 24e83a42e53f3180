"""The generators of the left discord and NAB examples, and the examples' job files."""

from __future__ import annotations

import doctest
import importlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from examples.left_discords import generate as left_discords
from examples.left_discords.generate import (
    KINDS,
    LEARNING_PERIODS,
    PERIOD,
    generate,
    read_column,
    write,
)
from examples.nab import prepare
from examples.nab.prepare import read_series, write_series
from pipeline.job import load_job

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_numbers_repeat_but_for_their_odd_shapes():
    numbers = generate(points=6000, seed=2, odd_shapes=6)
    profile = numbers.values.reshape(-1, PERIOD)
    usual = np.median(profile, axis=0)
    distance = np.sqrt(np.mean((profile - usual) ** 2, axis=1))
    odd = {(shape.first - 1) // PERIOD for shape in numbers.odd_shapes}
    assert len(odd) == 6
    assert min(odd) >= LEARNING_PERIODS
    assert min(np.diff(sorted(odd))) >= 2
    rest = [period for period in range(len(profile)) if period not in odd]
    assert distance[rest].max() < 0.1
    assert distance[sorted(odd)].min() > 0.3
    assert [shape.kind for shape in numbers.odd_shapes] == [KINDS[k % 5] for k in range(6)]
    assert all(shape.last - shape.first == PERIOD - 1 for shape in numbers.odd_shapes)


def test_same_seed_same_numbers():
    assert np.array_equal(generate(seed=1).values, generate(seed=1).values)
    assert not np.array_equal(generate(seed=1).values, generate(seed=2).values)
    assert generate(points=70, odd_shapes=0).odd_shapes == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points": 0, "odd_shapes": 0}, "points must be >= 1, got 0"),
        ({"seed": -1}, "seed must be >= 0, got -1"),
        ({"points": 2000, "odd_shapes": 1}, "odd_shapes must be from 0 to 0 in 2000 points, got 1"),
        ({"odd_shapes": -1}, "odd_shapes must be from 0 to 30 in 5000 points, got -1"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        generate(**options)


def test_numbers_are_written_without_loss(tmp_path):
    numbers = generate()
    write(tmp_path, numbers)
    lines = (tmp_path / "numbers.txt").read_text().splitlines()
    assert [float(line) for line in lines] == numbers.values.tolist()
    truth = [
        json.loads(line) for line in (tmp_path / "ground_truth.jsonl").read_text().splitlines()
    ]
    assert truth == [vars(shape) for shape in numbers.odd_shapes]


def test_a_csv_column_becomes_the_stream(tmp_path, capsys):
    file = tmp_path / "sensor.csv"
    file.write_text("timestamp,value\n2024-01-01,1.5\n2024-01-02,-2e3\n")
    assert read_column(file, "value").values.tolist() == [1.5, -2000.0]
    left_discords.main(["--csv", str(file), "--output", str(tmp_path / "out")])
    assert (tmp_path / "out" / "numbers.txt").read_text() == "1.5\n-2000.0\n"
    assert "2 numbers, 0 odd shapes" in capsys.readouterr().out


def test_wrong_csv_is_named_by_its_place(tmp_path, capsys):
    file = tmp_path / "sensor.csv"
    file.write_text("value\n1\n\nnan\n")
    with pytest.raises(ValueError, match=r"line 4: must be a finite number, got 'nan'"):
        read_column(file, "value")
    with pytest.raises(ValueError, match=r"column must be one of \['value'\] in .*, got 'speed'"):
        read_column(file, "speed")
    with pytest.raises(SystemExit):
        left_discords.main(["--csv", str(tmp_path / "absent.csv")])
    assert "absent.csv" in capsys.readouterr().err


def nab_repository(folder):
    (folder / "data" / "artificial").mkdir(parents=True)
    (folder / "data" / "real").mkdir()
    (folder / "data" / "artificial" / "jump.csv").write_text(
        "timestamp,value\n2014-04-01 00:00:00,20.0\n2014-04-01 00:05:00,21\n"
    )
    # the clock steps back: the rows stay as they are
    (folder / "data" / "real" / "cpu.csv").write_text(
        "timestamp,value\n1970-01-01 01:00:01,1\n1970-01-01 00:00:01,-0.5\n"
    )
    return folder


NAB_ROWS = {
    "series_id": ["artificial/jump", "artificial/jump", "real/cpu", "real/cpu"],
    "timestamp": [1396310400, 1396310700, 3601, 1],
    "value": [20.0, 21.0, 1.0, -0.5],
}


def test_nab_repository_becomes_one_table_in_stream_order(tmp_path):
    series = read_series(nab_repository(tmp_path))
    assert series.schema.equals(prepare.SCHEMA)
    assert series.to_pydict() == NAB_ROWS


def test_nab_parquet_keeps_its_rows(tmp_path):
    table = pa.table({**NAB_ROWS, "is_anomaly": [0, 0, 1, 0]})
    coded = table.set_column(0, "series_id", table["series_id"].dictionary_encode())
    pq.write_table(coded, tmp_path / "nab.parquet")
    series = read_series(tmp_path)
    assert series.schema.equals(prepare.SCHEMA)
    assert series.to_pydict() == NAB_ROWS
    path = write_series(tmp_path / "out", series)
    assert path.name == "nab-series.parquet"
    assert pq.read_table(path).to_pydict() == NAB_ROWS


def test_nab_command_line(tmp_path, capsys):
    prepare.main(["--data", str(nab_repository(tmp_path)), "--output", str(tmp_path / "out")])
    assert "4 rows of 2 series" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        prepare.main(["--data", str(tmp_path / "out")])
    assert "must hold nab.parquet or data/<group>/<name>.csv" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("timestamp,value\nyesterday,1\n", "yesterday"),
        ("timestamp,value\n2014-04-01 00:00:00,\n", "value must not be empty, 1 rows are"),
        ("time,value\n2014-04-01 00:00:00,1\n", r"without \['timestamp'\]"),
    ],
)
def test_wrong_nab_files_are_named(tmp_path, text, message):
    file = tmp_path / "data" / "real" / "cpu.csv"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        read_series(tmp_path)
    assert str(file) in str(error.value)


@pytest.mark.parametrize(
    "module", ["anybooks.sales", "anybooks.generate", "anybooks.evaluate", "left_discords.generate"]
)
def test_examples_of_the_documentation_run(module):
    outcome = doctest.testmod(importlib.import_module(f"examples.{module}"))
    assert outcome.attempted > 0
    assert outcome.failed == 0


def test_job_files_load():
    jobs = {
        name: load_job(EXAMPLES / name / "job.yaml")
        for name in ("anybooks", "left_discords", "nab")
    }
    anybooks = jobs["anybooks"].detectors[0]
    assert anybooks.allowed_disorder >= 90_000_000  # what the generator delays a record by at most
    assert anybooks.record_id == "transaction_id"
    assert jobs["nab"].detectors[0].event_time.order == "position"
    assert jobs["nab"].source.files == (f"out/nab/{prepare.FILE_NAME}",)
    assert jobs["left_discords"].sinks.results.format == "left_discords"
