"""Lakes on S3: the rows of a disk, compaction, and a server that throttles, fails and denies."""

from __future__ import annotations

from urllib.parse import unquote

import boto3
import pyarrow.parquet as pq
import pytest
from aws_server import ENVIRONMENT, AwsServer
from lake_writer import random_results, series_id, write, write_without_neighbours

from lake.commands import main
from lake.compact import compact
from lake.named_queries import Parameters, names
from lake.reader import Lake
from lake.store import S3_ATTEMPTS, Store
from lake.tables import LakeError

pytestmark = pytest.mark.integration  # Arrow waits seconds before it asks S3 again


def count(lake):
    return lake.sql("SELECT count(*) AS rows FROM results").to_pylist()[0]["rows"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    lake = tmp_path_factory.mktemp("lake")
    write(lake, "results", random_results(3, days=4), objects_a_day=2)
    return lake


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


def test_fields_that_objects_on_s3_do_not_have_yet_are_null(bucket, tmp_path):
    write_without_neighbours(tmp_path)
    (path,) = tmp_path.rglob("*.parquet")
    key = f"old/{path.relative_to(tmp_path).as_posix()}"
    bucket.put_object(Bucket="bucket", Key=key, Body=path.read_bytes())
    local, remote = Lake(str(tmp_path)), Lake("s3://bucket/old")
    assert remote.query("anomalies").to_pylist() == local.query("anomalies").to_pylist() != []


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


def test_the_catalogue_has_the_columns_of_the_objects(bucket, folder, capsys):
    asked = ["glue", "--database", "shop", "--location", "s3://bucket/shop/lake"]
    assert main(asked) == 0
    assert "shop.results: created" in capsys.readouterr().out
    client = boto3.client("glue")
    table = client.get_table(DatabaseName="shop", Name="results")["Table"]
    client.close()
    written = pq.read_schema(next(folder.rglob("*.parquet")))
    names = [column["Name"] for column in table["StorageDescriptor"]["Columns"]]
    assert names == [name.lower() for name in written.names]
    assert table["Parameters"]["projection.date.range"] == "2026-03-02,NOW+2DAYS"


def test_compaction_keeps_the_rows(bucket, server):
    all_rows = "SELECT * FROM results ORDER BY ALL"
    lake = Lake("s3://bucket/shop/lake")
    before = lake.sql(all_rows).to_pylist()
    assert [each.before for each in compact(lake.store, "results", "2026-03-04")] == [2, 2]
    assert lake.sql(all_rows).to_pylist() == before
    listed = bucket.list_objects_v2(Bucket="bucket", Prefix="shop/lake/results/date=2026-03-02/")
    assert len([each for each in listed["Contents"] if each["Size"]]) == 1


@pytest.mark.parametrize("faults_after", [1, 2, 3, 4, 5])
def test_compaction_that_s3_stops_loses_nothing(bucket, server, faults_after, monkeypatch):
    all_rows = "SELECT * FROM results ORDER BY ALL"
    lake = Lake("s3://bucket/shop/lake")
    before = lake.sql(all_rows).to_pylist()
    answered = iter(range(1_000))
    for name in ("write", "delete"):
        original = getattr(Store, name)

        def call(store, *asked, original=original):
            if next(answered) + 1 == faults_after:
                server.fail(403, xml("AccessDenied"), times=99, **XML)
            original(store, *asked)

        monkeypatch.setattr(Store, name, call)
    with pytest.raises(LakeError, match="access denied"):
        list(compact(lake.store, "results", "2026-03-04"))
    server.faults.clear()
    assert lake.sql(all_rows).to_pylist() == before
    list(compact(lake.store, "results", "2026-03-04"))
    assert lake.sql(all_rows).to_pylist() == before
