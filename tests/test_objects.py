"""Objects on S3 and on local disks: one put, versions, refusals that pass and that do not."""

from __future__ import annotations

import logging

import boto3
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError, EndpointConnectionError
from moto.server import ThreadedMotoServer
from tenacity import stop_after_attempt
from test_lake_live import ORDER, late_line

from transforms import schema
from transforms.io import aws, objects
from transforms.io.lake_live import GrowingTable
from transforms.io.objects import BeamStore, Changed, LocalStore, S3Store, Stored, store_at
from transforms.io.parquet import of_parquet

BUCKET = "lake"
PATH = f"s3://{BUCKET}/t/date=2024-08-29/a.parquet"


@pytest.fixture(scope="module")
def endpoint():
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def store(endpoint, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setattr(
        objects, "RETRYING", objects.RETRYING.copy(sleep=lambda _: None, stop=stop_after_attempt(4))
    )
    aws.client.cache_clear()
    boto3.client("s3", "us-east-1", endpoint_url=endpoint).create_bucket(Bucket=BUCKET)
    yield S3Store(endpoint, "us-east-1")
    bucket = boto3.resource("s3", "us-east-1", endpoint_url=endpoint).Bucket(BUCKET)
    bucket.objects.all().delete()
    bucket.delete()
    aws.client.cache_clear()


class Raw:
    def __init__(self, body):
        self._body = body

    def stream(self, **_):
        yield self._body


def refuse(store, operation, *answers):
    """Answer the next requests so: (status, code), or an exception; then let them through."""
    left, asked = list(answers), []

    def before_send(request, **_):
        asked.append(request.headers)
        if not left:
            return None
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        status, code = answer
        body = f"<Error><Code>{code}</Code><Message>injected</Message></Error>".encode()
        return AWSResponse(request.url, status, {}, Raw(body))

    client = aws.client("s3", store.endpoint_url, store.region)
    client.meta.events.register(f"before-send.s3.{operation}", before_send)
    return asked


@pytest.mark.parametrize("where", ["s3", "local", "beam"])
def test_what_was_put_is_read(where, store, tmp_path):
    s = {"s3": store, "local": LocalStore(), "beam": BeamStore()}[where]
    path = PATH if where == "s3" else f"{tmp_path}/deep/a.parquet"
    if where == "beam":
        (tmp_path / "deep").mkdir()
    assert s.read(path) is None
    s.put(path, b"one")
    s.put(path, b"two")
    assert s.read(path).data == b"two"


def test_a_put_to_a_folder_leaves_only_the_object(tmp_path):
    LocalStore().put(f"{tmp_path}/a/b.parquet", b"one")
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "b.parquet"]


def test_only_the_version_that_was_read_is_replaced(store):
    store.replace(PATH, b"one", None)
    one = store.read(PATH)
    store.replace(PATH, b"two", one)
    for stale in (None, one, Stored(b"", '"0"')):
        with pytest.raises(Changed):
            store.replace(PATH, b"three", stale)
    assert store.read(PATH).data == b"two"
    with pytest.raises(Changed):
        store.replace(PATH + "x", b"three", one)


def test_s3_refusing_for_a_while_is_ridden_out(store, caplog):
    asked = refuse(
        store, "PutObject", (503, "SlowDown"), EndpointConnectionError(endpoint_url="x"), (500, "I")
    )
    with caplog.at_level(logging.WARNING):
        store.put(PATH, b"one")
    assert store.read(PATH).data == b"one"
    assert len(asked) == 4
    assert [record.levelname for record in caplog.records].count("WARNING") == 3


def test_s3_refusing_for_too_long_fails_loudly(store):
    refuse(store, "PutObject", *[(503, "SlowDown")] * 9)
    with pytest.raises(ClientError, match="SlowDown"):
        store.put(PATH, b"one")


@pytest.mark.parametrize(
    ("operation", "use"),
    [
        ("PutObject", lambda store: store.put(PATH, b"")),
        ("PutObject", lambda store: store.replace(PATH, b"", None)),
        ("GetObject", lambda store: store.read(PATH)),
    ],
)
def test_denied_access_fails_at_once_and_names_what_to_allow(store, operation, use):
    asked = refuse(store, operation, *[(403, "AccessDenied")] * 9)
    with pytest.raises(PermissionError) as caught:
        use(store)
    for part in (f"s3:{operation}", "'lake'", "'t/date=2024-08-29/a.parquet'"):
        assert part in str(caught.value)
    assert len(asked) == 1


def test_a_missing_bucket_fails_at_once(store):
    with pytest.raises(ClientError, match="NoSuchBucket"):
        store.put("s3://nowhere/a", b"")


def test_a_put_whose_answer_was_lost_is_no_second_row(store):
    """The retry finds the object already there; the next look finds nothing to add."""
    client = aws.client("s3", store.endpoint_url, store.region)
    answered = []

    def lose(response_dict, **_):
        if not answered:
            response_dict["status_code"] = 503
            response_dict["body"] = b""
        answered.append(response_dict["status_code"])

    client.meta.events.register("before-parse.s3.PutObject", lose)
    table = GrowingTable(store, f"s3://{BUCKET}/late", schema.LATE, ("product",), ORDER, 100)
    assert table.add("date=x/s", [late_line(n) for n in range(6)]) == []
    assert answered == [503, 412]
    rows = of_parquet(store.read(f"s3://{BUCKET}/late/date=x/s-00000.parquet").data)
    assert rows["recordId"].to_pylist() == list(range(6))


def test_the_path_chooses_the_store_and_the_options_the_endpoint():
    options = PipelineOptions(["--s3_endpoint_url=http://x", "--s3_region_name=eu-west-1"])
    assert store_at("s3://a/b", options) == S3Store("http://x", "eu-west-1")
    assert store_at("gs://a/b", options) == BeamStore()
    assert store_at("/a/b", options) == LocalStore()


def test_the_environment_names_the_endpoint(store, endpoint, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    S3Store().put(PATH, b"one")
    assert store.read(PATH).data == b"one"
