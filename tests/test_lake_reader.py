"""Lakes on a disk and on S3: the same rows, empty ones, grown schemas, objects that vanish."""

from __future__ import annotations

from datetime import timedelta

import pyarrow.parquet as pq
import pytest
from lake_writer import START, random_results, result, series_id, write, write_without_neighbours

from lake.named_queries import Parameters
from lake.reader import Lake
from lake.tables import LakeError

COUNT = "SELECT count(*) AS rows FROM results"


def count(lake):
    return lake.sql(COUNT).to_pylist()[0]["rows"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    lake = tmp_path_factory.mktemp("lake")
    write(lake, "results", random_results(3, days=4), objects_a_day=2)
    return lake


def test_days_and_dimensions(folder):
    lake = Lake(str(folder))
    assert lake.dates() == ("2026-03-02", "2026-03-05")
    assert lake.dates("late") is None
    assert lake.dimensions() == ["product_name"]


def test_only_the_days_asked_for_are_opened(folder, tmp_path):
    broken = tmp_path / "results" / "date=2026-03-09"
    broken.mkdir(parents=True)
    (broken / "part-00000.parquet").write_bytes(b"not Parquet")
    write(tmp_path, "results", random_results(3, days=2))
    lake = Lake(str(tmp_path))
    asked = Parameters(to_time="2026-03-08 00:00:00")
    assert lake.query("series_tracked", asked).num_rows == 1
    with pytest.raises(LakeError, match=r"part-00000\.parquet"):
        lake.query("series_tracked")


def test_what_is_no_object_of_the_lake_is_left_out(folder, tmp_path):
    write(tmp_path, "results", random_results(3, days=1))
    day = tmp_path / "results" / "date=2026-03-02"
    for name in ("_part-00000.parquet.part", ".hidden.parquet", "_x.parquet", "notes.txt"):
        (day / name).write_text("x")
    (tmp_path / "results" / "date=tomorrow").mkdir()
    (tmp_path / "results" / "date=tomorrow" / "part-00000.parquet").write_text("x")
    assert count(Lake(str(tmp_path))) == 180


def test_columns_that_were_added_are_null_before(tmp_path):
    write(tmp_path, "results", random_results(3, days=1))
    new = result("item-A", 500, START + timedelta(days=2))
    new["dimensionList"].append({"name": "shop", "value": "north"})
    write(tmp_path, "results", [new], dimensions=("product_name", "shop"))
    lake = Lake(str(tmp_path))
    assert lake.dimensions() == ["product_name", "shop"]
    history = lake.query("score_history", Parameters(series=series_id("item-A"))).to_pylist()
    assert len(history) == 61
    assert [row["shop"] for row in history] == [None] * 60 + ["north"]


def test_fields_that_objects_do_not_have_yet_are_null(tmp_path):
    write_without_neighbours(tmp_path)
    found = Lake(str(tmp_path)).query("anomalies").to_pylist()
    assert found
    assert {row["neighbour"] for row in found} == {None}


def test_an_object_that_vanishes_is_no_error(tmp_path, monkeypatch):
    one, other = write(tmp_path, "results", random_results(3, days=1), objects_a_day=2)
    lake = Lake(str(tmp_path))
    listing = lake.store.objects

    def listed_then_gone(*asked):
        found = listing(*asked)
        other.unlink(missing_ok=True)
        return found

    monkeypatch.setattr(lake.store, "objects", listed_then_gone)
    assert lake.query("score_history").num_rows == pq.read_metadata(one).num_rows


def test_objects_that_keep_vanishing_are_told(tmp_path, monkeypatch):
    (path,) = write(tmp_path, "results", random_results(3, days=1))
    lake = Lake(str(tmp_path))
    found = lake.store.objects("results")
    path.unlink()
    monkeypatch.setattr(lake.store, "objects", lambda *asked: found)
    with pytest.raises(LakeError, match="objects of the lake vanish while they are read"):
        lake.sql(COUNT)


def test_other_schemes_are_refused():
    with pytest.raises(LakeError, match=r"a lake is a folder or s3://bucket/folder, got 'gs://x'"):
        Lake("gs://x")


def test_names_with_quotes_are_read(tmp_path):
    write(tmp_path / "it's", "results", random_results(3, days=1))
    assert count(Lake(str(tmp_path / "it's"))) == 180


def test_nothing_is_downloaded(folder, monkeypatch):
    monkeypatch.setenv("HOME", "/nonexistent")  # where DuckDB keeps extensions
    assert count(Lake(str(folder))) == 720
