"""The lake: names that depend on the data alone, sorted rows, a repeat that changes nothing."""

from __future__ import annotations

import json

import apache_beam as beam
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from transforms import schema
from transforms.io import parquet
from transforms.io.objects import LocalStore
from transforms.io.parquet import WriteDayFn, WriteLake

ORDER = ("detectorName", "eventTime", "recordId")


def late_line(day, number, product="A"):
    return json.dumps(
        {
            "detectorName": "d",
            "measure": "m",
            "timeseriesId": "s",
            "dimensionList": [{"name": "product", "value": product}],
            "eventTime": f"{day} 00:00:{number % 60:02}",
            "measureValue": float(number),
            "recordId": number,
            "closedUntil": f"{day} 01:00:00",
        }
    ).encode()


@pytest.fixture
def writer(tmp_path):
    return WriteDayFn(
        str(tmp_path / "lake" / "late"), schema.LATE, ["product"], ORDER, LocalStore()
    )


def objects(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*.parquet"))
    }


def test_a_days_rows_are_sorted_into_one_object(writer, tmp_path):
    lines = [late_line("2024-08-29", n) for n in (3, 1, 2)]
    paths = list(writer.process(("2024-08-29", [lines[0] + b"\n" + lines[1], lines[2]])))
    assert paths == [f"{tmp_path}/lake/late/date=2024-08-29/part-00000.parquet"]
    table = pq.ParquetFile(paths[0]).read()
    assert table["recordId"].to_pylist() == [1, 2, 3]
    assert table.schema.equals(schema.flat(schema.LATE, ["product"]), check_metadata=True)


def test_rows_beyond_the_limit_go_into_further_objects(writer, monkeypatch):
    monkeypatch.setattr(parquet, "ROWS_AN_OBJECT", 4)
    paths = list(writer.process(("2024-08-29", [late_line("2024-08-29", n) for n in range(10)])))
    assert [path.rpartition("/")[2] for path in paths] == [
        f"part-0000{part}.parquet" for part in range(3)
    ]
    found = [pq.ParquetFile(path).read()["recordId"].to_pylist() for path in paths]
    assert found == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_lines_are_read_in_runs_without_a_trace(writer, monkeypatch):
    lines = [late_line("2024-08-29", n) for n in range(10)]
    whole = pq.ParquetFile(next(writer.process(("2024-08-29", lines)))).read()
    monkeypatch.setattr(parquet, "_PARSED_BYTES", 3 * len(lines[0]))
    assert pq.ParquetFile(next(writer.process(("2024-08-29", lines)))).read() == whole


def test_a_repeat_in_another_order_writes_the_same_bytes(writer, tmp_path):
    lines = [late_line("2024-08-29", n) for n in range(10)]
    list(writer.process(("2024-08-29", lines)))
    first = objects(tmp_path)
    list(writer.process(("2024-08-29", lines[::-1])))
    assert objects(tmp_path) == first
    assert len(first) == 1


def test_the_lake_is_a_hive_partitioned_dataset(tmp_path):
    days = ["2024-08-29", "2024-08-30"]
    rows = [(day, late_line(day, n, "AB"[n % 2])) for day in days for n in range(5)]
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        paths = (
            pipeline
            | beam.Create(rows)
            | WriteLake(str(tmp_path), "late", schema.LATE, ["product"], ORDER)
        )
        expected = [f"{tmp_path}/late/date={day}/part-00000.parquet" for day in days]
        assert_that(paths, equal_to(expected))
    lake = ds.dataset(
        tmp_path / "late",
        partitioning=ds.partitioning(pa.schema([("date", pa.string())]), flavor="hive"),
    )
    found = lake.to_table(filter=ds.field("date") == days[1]).to_pylist()
    assert [row["recordId"] for row in found] == list(range(5))
    assert {row["date"] for row in found} == {days[1]}
    assert lake.count_rows() == 10
    assert lake.count_rows(filter=ds.field("product") == "A") == 6
