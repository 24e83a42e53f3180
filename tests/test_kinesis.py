"""Kinesis as a job uses it: the sink's refusals, and both ends on a server in this process."""

from __future__ import annotations

import time

import apache_beam as beam
import boto3
import orjson
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that
from fake_kinesis import STREAM, Clock, FakeKinesis, error
from moto.server import ThreadedMotoServer
from tenacity import stop_after_attempt

from transforms.fields import Fields
from transforms.io import aws, kinesis, kinesis_put, unbounded
from transforms.io.kinesis import KinesisStream, ReadKinesis, WriteKinesis
from transforms.io.kinesis_mark import KinesisMarkCoder
from transforms.io.kinesis_put import MOST_RECORD_BYTES, NotDelivered
from transforms.io.kinesis_shards import KinesisSettings
from transforms.io.kinesis_sink import WriteKinesisFn
from transforms.io.kinesis_source import KinesisSource
from transforms.records import Batch
from transforms.watermark import EventTimes

TIMES = EventTimes("json", (Fields("d", "v", time_field="t", time_format="unix_us"),))
THROTTLED = "ProvisionedThroughputExceededException"


@pytest.fixture
def stream(monkeypatch):
    fake = FakeKinesis(Clock())
    monkeypatch.setattr(aws, "client", lambda *_: fake)
    quick = kinesis_put.RETRYING.copy(sleep=lambda _: None, stop=stop_after_attempt(4))
    monkeypatch.setattr(kinesis_put, "RETRYING", quick)
    return fake


def write(*elements):
    sink = WriteKinesisFn(KinesisStream(STREAM))
    sink.start_bundle()
    for element in elements:
        sink.process(element)
    sink.finish_bundle()


def test_a_line_is_a_record(stream):
    write(("a", b"1\n2"), ("b", b"3"))
    assert stream.put == [("a", b"1"), ("a", b"2"), ("b", b"3")]
    assert stream.calls == ["PutRecords"]


def test_a_request_has_at_most_500_records_and_5_mib(stream):
    write(("a", b"\n".join([b"x"] * 1001)))
    assert stream.calls == ["PutRecords"] * 3
    write(*[("a", b"x" * 1_000_000)] * 11)
    assert stream.calls == ["PutRecords"] * 6
    assert len(stream.put) == 1012


def test_only_what_was_refused_is_sent_again(stream):
    stream.failures["PutRecords"] = [None, THROTTLED, None, "InternalFailure", None, THROTTLED]
    write(("a", b"0\n1\n2\n3"))
    assert stream.put == [("a", b"0"), ("a", b"2"), ("a", b"1"), ("a", b"3")]
    assert stream.calls == ["PutRecords"] * 3


def test_a_stream_that_refuses_for_too_long_fails_loudly(stream):
    stream.failures["PutRecords"] = [None] + [THROTTLED] * 99
    with pytest.raises(NotDelivered, match="2 of 3 records were refused by stream 'stream'"):
        write(("a", b"0\n1\n2"))
    assert stream.calls == ["PutRecords"] * 4


def test_a_refusal_that_does_not_pass_fails_at_once(stream):
    stream.failures["PutRecords"] = ["KMSAccessDeniedException"]
    with pytest.raises(NotDelivered, match="KMSAccessDeniedException"):
        write(("a", b"0"))
    stream.failures["PutRecords"] = [error("AccessDeniedException", "PutRecords")]
    with pytest.raises(PermissionError, match="kinesis:PutRecords is denied on stream 'stream'"):
        write(("a", b"0"))
    assert stream.calls == ["PutRecords"] * 2


def test_a_failing_service_is_waited_for(stream):
    stream.failures["PutRecords"] = [error("ServiceUnavailable", "PutRecords", 503)]
    write(("a", b"0"))
    assert stream.put == [("a", b"0")]


def test_a_record_that_no_stream_takes_is_named(stream):
    with pytest.raises(ValueError, match=f"must be <= {MOST_RECORD_BYTES} bytes, got 1048577"):
        write(("a", b"x" * MOST_RECORD_BYTES))


def test_a_long_key_is_hashed():
    assert kinesis_put.partition_key_of("k" * 256) == "k" * 256
    assert len(kinesis_put.partition_key_of("k" * 257)) == 64


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"start": "now"}, "start must be earliest, latest or microseconds, got 'now'"),
        ({"start": -1}, "start must be >= 0 microseconds since 1970, got -1"),
        ({"allowed_disorder": -1}, "allowed_disorder must be >= 0 microseconds, got -1"),
        ({"idle_after": -1}, "idle_after must be >= 0 microseconds, got -1"),
        ({"splits": 0}, "splits must be >= 1, got 0"),
    ],
)
def test_a_wrong_parameter_is_named(named, message):
    right = {"start": "earliest", "times": TIMES, "allowed_disorder": 0, "idle_after": 0}
    with pytest.raises(ValueError, match=message):
        ReadKinesis(KinesisStream("s"), **(right | named))


@pytest.fixture(scope="module")
def endpoint():
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def served(endpoint, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setattr(kinesis, "READ_SECONDS", 0)
    aws.client.cache_clear()
    client = boto3.client("kinesis", "us-east-1", endpoint_url=endpoint)
    client.create_stream(StreamName="served", ShardCount=3)
    yield KinesisStream("served", "us-east-1", endpoint)
    client.delete_stream(StreamName="served")
    aws.client.cache_clear()


def line(number):
    return orjson.dumps({"v": number, "t": 1_700_000_000_000_000 + number})


def numbers(found):
    rows = [(batch[0], batch[1] + i, p) for batch in found for i, p in enumerate(batch[6])]
    assert len({row[:2] for row in rows}) == len(rows)
    return sorted(orjson.loads(payload)["v"] for _, _, payload in rows)


def test_what_a_job_writes_a_bounded_job_reads(served):
    elements = [(f"series {n % 17}", line(n) + b"\n" + line(n + 1)) for n in range(0, 2000, 2)]
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        pipeline | beam.Create(elements) | WriteKinesis(served)

    def check(found):
        assert numbers(found) == list(range(2000))
        assert len({batch[2] for batch in found}) == 3

    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        read = ReadKinesis(served, "earliest", TIMES, 0, 0, bounded=True)
        assert_that(pipeline | read, check)
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        read = ReadKinesis(served, "latest", TIMES, 0, 0, bounded=True)
        assert_that(pipeline | read, lambda found: numbers(found) == [] or pytest.fail("some"))


def test_a_live_reader_goes_on_after_its_mark(served, monkeypatch):
    settings = KinesisSettings(served, "earliest", TIMES, 1_000_000, 60_000_000)
    monkeypatch.setattr(unbounded._BUNDLE, "settings", settings, raising=False)
    client, found, mark = served.client(), [], None
    for begin in (0, 300):
        records = [{"Data": line(n), "PartitionKey": str(n)} for n in range(begin, begin + 300)]
        client.put_records(StreamName="served", Records=records)
        reader = KinesisSource("served").create_reader(None, mark)
        is_there, until = reader.start(), time.monotonic() + 30
        while sum(len(batch[6]) for batch in found) < begin + 300 and time.monotonic() < until:
            if is_there:
                found.append(Batch(*reader.get_current()))
            else:
                time.sleep(0.05)
            is_there = reader.advance()
        mark = KinesisMarkCoder().decode(KinesisMarkCoder().encode(reader.get_checkpoint_mark()))
        reader.close()
    assert numbers(found) == list(range(600))
    assert mark.watermark is not None
    assert mark.watermark <= 1_700_000_000_000_599 - 1_000_000
