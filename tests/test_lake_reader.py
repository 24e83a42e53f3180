"""Lakes on a disk and on S3: the same rows, empty ones, grown schemas, objects that vanish."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import unquote

import boto3
import pyarrow.parquet as pq
import pytest
from aws_server import ENVIRONMENT, AwsServer
from lake_writer import START, random_results, result, series_id, write

from lake.named_queries import Parameters, names
from lake.reader import Lake
from lake.store import S3_ATTEMPTS, Store
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


# S3


@pytest.fixture(scope="module")
def server():
    with AwsServer() as running:
        yield running


@pytest.fixture
def bucket(server, folder, monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    server.faults.clear()
    client = boto3.client("s3")
    client.create_bucket(Bucket="bucket")
    for path in folder.rglob("*.parquet"):
        key = f"shop/lake/{path.relative_to(folder).as_posix()}"
        client.put_object(Bucket="bucket", Key=key, Body=path.read_bytes())
    yield client
    server.faults.clear()
    listed = client.list_objects_v2(Bucket="bucket").get("Contents", [])
    for each in listed:
        client.delete_object(Bucket="bucket", Key=each["Key"])
    client.delete_bucket(Bucket="bucket")
    client.close()


@pytest.mark.parametrize("name", names())
def test_s3_gives_the_rows_of_a_disk(bucket, folder, name):
    asked = Parameters(
        series=series_id("item-A") if name in ("score_chart", "points_between") else "",
        from_time="2026-03-03 00:10:00",
        buckets=20,
    )
    local, remote = Lake(str(folder)), Lake("s3://bucket/shop/lake/")
    assert remote.query(name, asked).to_pylist() == local.query(name, asked).to_pylist()


def test_s3_opens_only_the_days_asked_for(bucket, server):
    server.requests.clear()
    asked = Parameters(from_time="2026-03-04 00:00:00", to_time="2026-03-04 12:00:00")
    Lake("s3://bucket/shop/lake").query("series_tracked", asked)
    paths = map(unquote, server.requests)
    read = {path.split("date=")[1][:10] for path in paths if "date=" in path}
    assert read == {"2026-03-04"}


def test_an_empty_bucket_is_an_empty_lake(bucket):
    assert count(Lake("s3://bucket/nothing/here")) == 0


XML = {"Content_Type": "application/xml"}


def xml(code):
    text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>"
    return text.encode()


@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (500, "InternalError")])
def test_a_passing_fault_is_waited_out(bucket, server, status, code):
    server.fail(status, xml(code), times=2, **XML)
    assert count(Lake("s3://bucket/shop/lake")) == 720


@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (500, "InternalError")])
def test_a_lasting_fault_is_told_after_a_bounded_retry(bucket, server, status, code):
    lake = Lake("s3://bucket/shop/lake")
    server.requests.clear()
    server.fail(status, xml(code), times=40, **XML)
    with pytest.raises(LakeError, match=f"S3 did not answer in {S3_ATTEMPTS} attempts"):
        count(lake)
    assert len(server.requests) == S3_ATTEMPTS


def test_a_denial_is_told(bucket, server):
    lake = Lake("s3://bucket/shop/lake")
    server.fail(403, xml("AccessDenied"), times=3, **XML)
    with pytest.raises(LakeError, match="access denied; the role or user needs s3:ListBucket"):
        count(lake)
    server.faults.clear()
    with pytest.raises(LakeError, match="cannot write s3://bucket/shop/lake/x: .*s3:PutObject"):
        server.fail(403, xml("AccessDenied"), times=9, **XML)
        lake.store.write("x", b"x")


def test_a_bucket_that_is_not_there_is_told(bucket):
    with pytest.raises(LakeError, match="cannot write s3://none/lake/x: "):
        Store("s3://none/lake").write("x", b"x")
