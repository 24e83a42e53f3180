"""Reading files: every record once, with its position, in bounded batches; damage is loud."""

from __future__ import annotations

import bz2
import datetime as dt
import gzip
import json
import math

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given
from hypothesis import strategies as st

from transforms.io import files
from transforms.io.files import DamagedFile, NoFiles, ReadFiles, ReadLinesFn, ReadParquetFn, match
from transforms.records import Batch


def batches_of(path, header=False):
    reader = ReadParquetFn() if str(path).endswith(".parquet") else ReadLinesFn(header)
    return [Batch(*elements) for elements in reader.process((3, str(path), True))]


def records_of(path, header=False):
    """Position -> payload."""
    return {
        batch.first_position + i: payload
        for batch in batches_of(path, header)
        for i, payload in enumerate(batch.payloads)
    }


@pytest.fixture
def lines(tmp_path):
    def write(content, name="in.txt"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize(
    ("content", "records"),
    [
        (b"", {}),
        (b"\n", {}),
        (b"a", {0: b"a"}),
        (b"a\n", {0: b"a"}),
        (b"a\nb", {0: b"a", 1: b"b"}),
        (b"a\r\nb\r\n", {0: b"a", 1: b"b"}),
        (b"a\r\nb\r", {0: b"a", 1: b"b"}),
        (b"a\n\n\nb\n", {0: b"a", 3: b"b"}),
        (b"\r\na\r\n", {1: b"a"}),
        (b"a\rb\n", {0: b"a\rb"}),
        (b" \n", {0: b" "}),
        (b"\xff\x00\n", {0: b"\xff\x00"}),
    ],
)
def test_lines_and_their_positions(lines, content, records):
    assert records_of(lines(content)) == records


@given(st.lists(st.binary(max_size=5).filter(lambda line: b"\n" not in line)), st.integers(1, 7))
def test_no_cut_of_a_file_into_chunks_shows(tmp_path_factory, rows, chunk):
    path = tmp_path_factory.mktemp("chunks") / "in.txt"
    path.write_bytes(b"\n".join(rows))
    kept = {i: row.removesuffix(b"\r") for i, row in enumerate(rows)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_CHUNK", chunk)
        assert records_of(path) == {i: row for i, row in kept.items() if row}


def test_what_a_batch_says_of_its_file(lines):
    path = lines(b"t,v\r\n1,2\n")
    batch = batches_of(path, header=True)[0]
    changed = int(path.stat().st_mtime * 1_000_000)
    assert batch == Batch(str(path), 0, 3, True, batch.time, b"t,v", [b"1,2"])
    assert abs(batch.time - changed) <= 1_000_000


def test_positions_after_a_header_start_at_the_first_record(lines):
    assert records_of(lines(b"t,v\n1,2\n\n3,4"), header=True) == {0: b"1,2", 2: b"3,4"}
    assert records_of(lines(b"t,v"), header=True) == {}
    assert records_of(lines(b""), header=True) == {}


def test_batches_are_bounded_in_records(lines, monkeypatch):
    monkeypatch.setattr(files, "BATCH_RECORDS", 4)
    batches = batches_of(lines(b"a\n" * 10))
    assert [(b.first_position, len(b.payloads)) for b in batches] == [(0, 4), (4, 4), (8, 2)]


def test_batches_are_bounded_in_bytes(lines, monkeypatch):
    monkeypatch.setattr(files, "BATCH_BYTES", 100)
    batches = batches_of(lines((b"x" * 60 + b"\n") * 5))
    assert [len(batch.payloads) for batch in batches] == [2, 2, 1]


def test_a_line_of_many_chunks_is_read_whole(lines):
    line = bytes(range(32, 127)) * 60_000
    assert records_of(lines(line + b"\nb\n")) == {0: line, 1: b"b"}


@pytest.mark.parametrize(("name", "compress"), [("a.gz", gzip.compress), ("a.bz2", bz2.compress)])
def test_compressed_files(lines, name, compress):
    several = compress(b"a\nb") + compress(b"c\nd\n")
    assert records_of(lines(several, name)) == {0: b"a", 1: b"bc", 2: b"d"}


@pytest.mark.parametrize(("name", "compress"), [("a.gz", gzip.compress), ("a.bz2", bz2.compress)])
@pytest.mark.parametrize("damage", ["cut", "overwritten", "other"])
def test_a_damaged_file_is_never_taken_for_a_whole_one(lines, name, compress, damage):
    whole = compress(np.random.default_rng(0).bytes(100_000))
    content = {
        "cut": whole[:-9],
        "overwritten": whole[:50_000] + bytes(1000) + whole[51_000:],
        "other": b"a\nb\n",
    }[damage]
    path = lines(content, name)
    with pytest.raises(DamagedFile, match=f"{name} cannot be read to its end: "):
        records_of(path)


def test_rows_of_parquet_are_json_objects(tmp_path):
    path = tmp_path / "in.parquet"
    moment = dt.datetime(2024, 8, 29, 13, 35, tzinfo=dt.UTC)
    columns = {
        "time": pa.array([moment] * 4, pa.timestamp("ns", "UTC")),
        "value": pa.array([1.5, math.nan, -math.inf, None]),
        "count": pa.array([1, 2, 3, 2**60]),
        "name": ["a", "é", None, ""],
        "tags": [["x"], [], None, ["y", "z"]],
    }
    pq.write_table(pa.table(columns), path)
    rows = {position: json.loads(row) for position, row in records_of(path).items()}
    assert [rows[i]["value"] for i in range(4)] == [1.5, "nan", "-inf", None]
    assert [rows[i]["count"] for i in range(4)] == [1, 2, 3, 2**60]
    assert [rows[i]["name"] for i in range(4)] == ["a", "é", None, ""]
    assert rows[3]["tags"] == ["y", "z"]
    assert {dt.datetime.fromisoformat(row["time"]) for row in rows.values()} == {moment}


def test_parquet_times_finer_than_a_microsecond_lose_what_is_finer(tmp_path):
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"t": pa.array([1_500_000_000_123_456_789], pa.timestamp("ns"))}), path)
    assert json.loads(records_of(path)[0])["t"] == "2017-07-14T02:40:00.123456"


def test_batches_of_parquet_are_bounded(tmp_path, monkeypatch):
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"v": range(10)}), path)
    monkeypatch.setattr(files, "BATCH_RECORDS", 4)
    batches = batches_of(path)
    assert [(b.first_position, len(b.payloads)) for b in batches] == [(0, 4), (4, 4), (8, 2)]
    monkeypatch.setattr(files, "BATCH_BYTES", 14)
    assert [len(batch.payloads) for batch in batches_of(path)] == [2] * 5


@pytest.mark.parametrize("content", [b"", b"PAR1", b"a\nb\n"])
def test_what_is_no_parquet_is_named(lines, content):
    path = lines(content, "in.parquet")
    with pytest.raises(DamagedFile, match=r"in\.parquet cannot be read to its end: "):
        records_of(path)


def test_globs_are_matched_once_each_and_sorted(lines, tmp_path):
    paths = [str(lines(b"1\n", name)) for name in ("b.txt", "a.txt", "c.csv")]
    found = match([f"{tmp_path}/*.txt", f"{tmp_path}/?.csv", paths[0]])
    assert found == sorted(paths)


def test_a_pattern_without_a_file_is_named(lines, tmp_path):
    lines(b"1\n")
    with pytest.raises(NoFiles, match=r"/\*\.csv' matches no file"):
        match([f"{tmp_path}/*.txt", f"{tmp_path}/*.csv"])


@pytest.mark.parametrize(("history", "ordinals"), [(False, [0, 1]), (True, [-2, -1])])
def test_the_transform_reads_each_file_and_ranks_history_before(lines, history, ordinals):
    paths = [str(lines(content, name)) for name, content in (("a", b"1\n2"), ("b", b"3"))]
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        found = pipeline | ReadFiles(paths, "number", history) | beam.Map(_facts)
        expected = zip(ordinals, paths, [[b"1", b"2"], [b"3"]], strict=True)
        assert_that(found, equal_to([(*each, history) for each in expected]))


def _facts(elements):
    batch = Batch(*elements)
    return batch.ordinal, batch.source, batch.payloads, batch.history
