"""Glue tables: the Parquet schema's columns, repeatable, growing only, clear when refused."""

from __future__ import annotations

import json

import boto3
import pyarrow.parquet as pq
import pytest
from aws_server import ENVIRONMENT, AwsServer
from lake_writer import START, dead_letter, late, random_results, write

from lake import glue
from lake.tables import PARTITION, TABLES, LakeError

LOCATION = "s3://bucket/shop/lake"
ARROW = {
    "string": "string",
    "double": "double",
    "bigint": "int64",
    "boolean": "bool",
    "array<double>": "list<element: double>",
    "array<struct<name:string,share:double>>": "list<element: struct<name: string, share: double>>",
}


@pytest.fixture(scope="module")
def server():
    with AwsServer() as running:
        yield running


@pytest.fixture
def client(server, monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda seconds: waits.append(seconds))
    waits = []
    server.faults.clear()
    made = glue.client()
    made.waits = waits
    yield made
    server.faults.clear()
    plain = boto3.client("glue", endpoint_url=server.url)
    for each in plain.get_databases()["DatabaseList"]:
        plain.delete_database(Name=each["Name"])
    plain.close()
    made.close()


def put(client, dimensions=("product_name",), location=LOCATION, first_date="2026-03-01"):
    return glue.put_tables(client, "shop", location, dimensions, first_date)


def columns_of(client, table):
    got = client.get_table(DatabaseName="shop", Name=table)["Table"]
    return [(each["Name"], each["Type"]) for each in got["StorageDescriptor"]["Columns"]]


def test_columns_are_the_parquet_files(client, tmp_path):
    put(client)
    for table, found in (
        ("results", random_results(1, days=1)),
        ("late", [late("item-A", START)]),
        ("dead_letters", [dead_letter(0, START)]),
    ):
        (path,) = write(tmp_path, table, found)
        parquet = pq.read_schema(path)
        assert columns_of(client, table) == [
            (field.name.lower(), {v: k for k, v in ARROW.items()}[str(field.type)])
            for field in parquet
        ]


def test_days_are_projected(client):
    put(client)
    for name in TABLES:
        table = client.get_table(DatabaseName="shop", Name=name)["Table"]
        assert table["PartitionKeys"][0]["Name"] == PARTITION
        parameters = table["Parameters"]
        assert parameters["projection.enabled"] == "true"
        assert parameters["projection.date.range"] == "2026-03-01,NOW+2DAYS"
        assert parameters["storage.location.template"] == f"{LOCATION}/{name}/date=${{date}}"
        assert table["StorageDescriptor"]["Location"] == f"{LOCATION}/{name}/"


def test_a_repeat_changes_nothing(client, server):
    assert set(put(client).values()) == {"created"}
    server.requests.clear()
    assert set(put(client).values()) == {"unchanged"}
    assert client.get_table(DatabaseName="shop", Name="results")["Table"].get("VersionId") == "1"


def test_a_new_dimension_is_added_at_the_end(client):
    put(client)
    before = columns_of(client, "results")
    done = put(client, ["product_name", "Shop"])
    assert done["results"] == "updated: column shop added"
    assert done["dead_letters"] == "unchanged"
    assert columns_of(client, "results") == [*before, ("shop", "string")]
    assert put(client, ["product_name", "Shop"])["results"] == "unchanged"


def test_a_moved_lake_is_updated(client):
    put(client)
    done = put(client, location="s3://other/lake/")
    assert "location is now s3://other/lake/results/" in done["results"]
    assert put(client, location="s3://other/lake")["late"] == "unchanged"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda columns: columns[4].update(Type="bigint"), "product_name is bigint and would be"),
        (lambda columns: columns.append({"Name": "shop", "Type": "string"}), "shop would vanish"),
    ],
)
def test_only_additions_are_allowed(client, change, reason):
    put(client)
    table = client.get_table(DatabaseName="shop", Name="results")["Table"]
    wanted = {k: table[k] for k in ("Name", "TableType", "PartitionKeys", "StorageDescriptor")}
    change(wanted["StorageDescriptor"]["Columns"])
    client.update_table(DatabaseName="shop", TableInput=wanted)
    before = columns_of(client, "late"), columns_of(client, "results")
    with pytest.raises(LakeError, match=f"table results: columns may only be added.*{reason}"):
        put(client, ["product_name", "room"])
    assert (columns_of(client, "late"), columns_of(client, "results")) == before


def fault(code, message="no"):
    return json.dumps({"__type": code, "message": message}).encode()


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "ThrottlingException"), (503, "x"), (500, "InternalServiceException")],
)
def test_a_passing_fault_is_waited_out(client, server, status, code):
    server.fail(status, fault(code), times=glue.ATTEMPTS - 1)
    assert set(put(client).values()) == {"created"}
    assert len(client.waits) == glue.ATTEMPTS - 1


@pytest.mark.parametrize(("status", "code"), [(400, "ThrottlingException"), (503, "x")])
def test_a_lasting_fault_is_told_after_a_bounded_retry(client, server, status, code):
    server.requests.clear()
    server.fail(status, fault(code), times=50)
    with pytest.raises(LakeError, match=f"GetDatabase .*failed in {glue.ATTEMPTS} attempts"):
        put(client)
    assert len(server.requests) == glue.ATTEMPTS
    assert sum(client.waits) < 60


def test_a_denial_is_told_at_once(client, server):
    server.requests.clear()
    server.fail(400, fault("AccessDeniedException", "not you"))
    with pytest.raises(LakeError, match=r"GetDatabase.*denied.*glue:GetDatabase.*\(not you\)"):
        put(client)
    assert len(server.requests) == 1


def test_a_fault_between_two_tables_is_made_good_by_a_repeat(client, server):
    put(client)
    client.delete_table(DatabaseName="shop", Name="late")
    client.delete_table(DatabaseName="shop", Name="dead_letters")
    with_fault = iter(range(100))
    original = client.create_table

    def create(**asked):
        if next(with_fault) == 1:
            server.fail(400, fault("AccessDeniedException"))
        return original(**asked)

    client.create_table = create
    with pytest.raises(LakeError, match="CreateTable"):
        put(client)
    client.create_table = original
    assert sorted(put(client).values()) == ["created", "unchanged", "unchanged"]


def test_a_server_that_is_not_there_is_told(client, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    away = glue.client()
    with pytest.raises(LakeError, match="cannot reach Glue: "):
        put(away)
    away.close()
