"""Before a live job starts its topics and streams are looked for, for a limited time."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import pytest
import yaml
from botocore.exceptions import ClientError, EndpointConnectionError

from pipeline import reach
from pipeline.job import Job
from pipeline.job_errors import JobFileError
from pipeline.launch import main
from transforms.io import aws
from transforms.io.kafka_client import KafkaCluster

DETECTOR = {"name": "d", "measure": "m", "event_time": {"field": "t"}}


def job(kind, **more):
    ends = {"kafka": "topic", "kinesis": "stream"}
    data = {
        "job": "probe",
        "source": {kind: {ends[kind]: "in"}, "format": "json"},
        "detectors": [DETECTOR],
        "sinks": {"results": {kind: {ends[kind]: "out"}}},
        **more,
    }
    if kind == "kafka":
        data.setdefault("kafka", {"bootstrap_servers": ["localhost:1"]})
    return data


def mistakes(data):
    with pytest.raises(JobFileError) as error:
        reach.check_reach(Job.model_validate(data), "job.yaml")
    return list(error.value.mistakes)


@pytest.fixture
def topics(monkeypatch):
    """Names of the topics that the broker knows."""
    known = {"in", "out", "out-late", "out-dead-letters"}
    admin = SimpleNamespace(list_topics=lambda timeout: SimpleNamespace(topics=known))
    monkeypatch.setattr(KafkaCluster, "admin", lambda self: admin)
    return known


def test_topics_that_are_there_are_no_mistake(topics):
    reach.check_reach(Job.model_validate(job("kafka")), "job.yaml")


def test_every_topic_that_is_not_there_is_named(topics):
    topics -= {"in", "out-late"}
    said = "is not a topic there, or may not be seen; create it"
    assert mistakes(job("kafka")) == [
        f"job.yaml: source.kafka.topic: 'in' {said}",
        f"job.yaml: sinks.late.kafka.topic: 'out-late' {said}",
    ]


def test_brokers_that_do_not_answer_are_named(monkeypatch):
    monkeypatch.setattr(reach, "PATIENCE_SECONDS", 0.3)
    with socket.socket() as bound:  # nobody else listens there
        bound.bind(("localhost", 0))
        server = f"localhost:{bound.getsockname()[1]}"
        [line] = mistakes(job("kafka", kafka={"bootstrap_servers": server}))
    assert line.startswith(f"job.yaml: kafka.bootstrap_servers: no answer from {server} in 0.3 s")


def test_a_secret_that_is_not_set_is_named_without_its_value(monkeypatch):
    monkeypatch.delenv("KAFKA_PASSWORD", raising=False)
    secrets = {"sasl.password": "KAFKA_PASSWORD"}
    kafka = {"bootstrap_servers": "localhost:1", "secrets": secrets}
    [line] = mistakes(job("kafka", kafka=kafka))
    assert line.startswith("job.yaml: kafka: sasl.password: ")
    assert "KAFKA_PASSWORD is not set" in line


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "DescribeStreamSummary"),
            "'in' is not a stream there; create it",
        ),
        (
            ClientError({"Error": {"Code": "AccessDeniedException"}}, "DescribeStreamSummary"),
            "'in' cannot be looked at: An error occurred (AccessDeniedException)",
        ),
        (
            EndpointConnectionError(endpoint_url="http://localhost:1"),
            "'in' cannot be reached: Could not connect",
        ),
    ],
)
def test_streams_that_cannot_be_looked_at_are_named(monkeypatch, error, said):
    def describe(StreamName):  # noqa: N803
        if StreamName == "in":
            raise error

    client = SimpleNamespace(describe_stream_summary=describe)
    monkeypatch.setattr(aws, "client", lambda *_: client)
    [line] = mistakes(job("kinesis"))
    assert line.startswith(f"job.yaml: source.kinesis.stream: {said}")


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(data):
        (tmp_path / "job.yaml").write_text(yaml.safe_dump(data))
        return "--job=job.yaml"

    return write


def last_line(capsys):
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()[-1]


def test_a_dry_run_asks_too(topics, file, capsys):
    topics.clear()
    assert main([file(job("kafka")), "--dry_run"]) == 2
    assert "sinks.late.kafka.topic: 'out-late' is not a topic there" in last_line(capsys)


def test_a_dry_run_of_a_live_job_shows_its_graph(topics, file, capsys):
    assert main([file(job("kafka")), "--dry_run"]) == 0
    out, err = capsys.readouterr()
    assert {"Read", "Parse", "Detect", "WriteResults", "WriteLate"} <= set(out.split())
    assert "WriteBalance" not in out.split()
    assert err == (
        "The Direct runner reads in up to its present end, as with --bounded; "
        "--runner=PrismRunner and --runner=FlinkRunner go on.\n"
    )


@pytest.mark.parametrize("every", ["0s", "soon", "1"])
def test_a_wrong_spacing_is_refused(topics, file, capsys, every):
    assert main([file(job("kafka")), f"--flush_every={every}"]) == 2
    assert last_line(capsys).startswith("--flush_every")
