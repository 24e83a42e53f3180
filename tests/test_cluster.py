"""The local cluster: what it refuses, and that it ends exactly what it started."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import psutil
import pytest

from runners import downloads
from runners.cluster import __main__ as command
from runners.cluster import flink_servers
from runners.cluster.local_cluster import Cluster, ClusterError, Settings
from runners.cluster.server import LOOPBACK, Server, ServerFailed, is_free

LISTEN = """
import socket, sys, time
with socket.create_server(("127.0.0.1", int(sys.argv[1]))):
    print("up", flush=True)
    time.sleep(600)
"""


def free_port():
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return probe.getsockname()[1]


@pytest.fixture
def server(tmp_path):
    """A server that only listens."""
    port = free_port()

    def answers():
        with socket.socket() as client:
            return client.connect_ex((LOOPBACK, port)) == 0

    made = Server(
        name="listener",
        folder=tmp_path / "listener",
        ports=(port,),
        command=lambda: [sys.executable, "-c", LISTEN, str(port)],
        answers=answers,
        patience_seconds=20,
    )
    yield made
    made.stop()


def same_server(server):
    """Another object for the same server, as another process would have it."""
    return Server(server.name, server.folder, server.ports, server.command, server.answers)


# Settings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"parts": ("kafka", "kafak")}, "parts must be of kafka, aws, flink, postgres; got kafak"),
        ({"parts": ()}, "got none"),
        ({"parts": ("aws",), "ports": {"kafka": 9092}}, "port kafka=9092: name must be of aws"),
        ({"ports": {"aws": 0}}, "port aws must be 1 to 65535, got 0"),
    ],
)
def test_wrong_settings_are_refused(given, message):
    with pytest.raises(ClusterError, match=message):
        Settings(**given)


def test_named_ports_are_kept_and_the_others_picked():
    ports = Settings(parts=("kafka", "aws"), ports={"kafka": 9092}).with_all_ports().ports
    assert ports["kafka"] == 9092
    assert len(set(ports.values())) == len(ports) == 3


def test_a_folder_without_a_cluster_has_none_to_open(tmp_path, capsys):
    with pytest.raises(ClusterError, match="no cluster was started there"):
        Cluster(tmp_path)
    assert command.main(["stop", f"--folder={tmp_path}"]) == 1
    assert "no cluster was started there" in capsys.readouterr().err


def test_a_port_must_be_given_with_its_name(tmp_path, capsys):
    assert command.main(["start", f"--folder={tmp_path}", "--port=9092"]) == 1
    assert "--port must be NAME=PORT, got '9092'" in capsys.readouterr().err


# One server


def test_a_server_is_started_once_and_stopped(server):
    assert server.process is None
    server.start()
    pid = server.process.pid
    server.start()
    assert server.process.pid == pid
    assert not is_free(server.ports[0])
    server.stop()
    assert server.process is None
    assert is_free(server.ports[0])
    server.stop()


def test_a_server_is_killed_and_starts_again_at_its_port(server):
    server.start()
    first = server.process
    server.kill()
    assert server.process is None
    server.start()
    assert server.process.pid != first.pid
    assert server.log.read_text() == "up\nup\n"


def test_another_object_of_the_folder_stops_it(server):
    server.start()
    same_server(server).stop()
    assert server.process is None


def test_what_a_server_started_ends_with_it(server):
    child = "import subprocess, sys, time; subprocess.Popen(['sleep', '600']); "
    server.command = lambda: [sys.executable, "-c", child + LISTEN, str(server.ports[0])]
    server.start()
    (below,) = server.process.children()
    server.stop()
    assert not below.is_running() or below.status() == psutil.STATUS_ZOMBIE


def test_a_process_that_was_given_the_same_id_is_let_alone(server):
    """After a restart of the machine, the ID may be anybody's."""
    with subprocess.Popen(["sleep", "600"]) as stranger:
        server.folder.mkdir()
        file = server.folder / "process.json"
        file.write_text(json.dumps({"pid": stranger.pid, "created": 1.0}))
        server.stop()
        server.kill()
        assert stranger.poll() is None
        stranger.kill()


def test_a_taken_port_is_an_error_before_anything_starts(server):
    with socket.create_server((LOOPBACK, server.ports[0])):
        with pytest.raises(ServerFailed, match=rf"listener: port {server.ports[0]} .* is taken"):
            server.start()
    assert not server.folder.exists()


def test_a_server_that_ends_at_once_shows_its_log(server):
    server.command = lambda: [sys.executable, "-c", "raise SystemExit('no heap left')"]
    with pytest.raises(ServerFailed, match="listener ended while it started(.|\n)*no heap left"):
        server.start()


def test_a_server_that_does_not_answer_is_an_error(server):
    server.answers = lambda: False
    server.patience_seconds = 0.3
    with pytest.raises(ServerFailed, match=r"did not answer at .* within 0\.3 s"):
        server.start()


def test_a_killed_task_manager_in_the_job_managers_list_does_not_answer(tmp_path, monkeypatch):
    with socket.create_server((LOOPBACK, 0)) as data:
        listed = {"taskmanagers": [{"id": "task-manager-1", "dataPort": data.getsockname()[1]}]}
        monkeypatch.setattr(flink_servers, "_get", lambda *_: json.dumps(listed))
        server = flink_servers.task_manager(tmp_path / "task-manager-1", 1, rest=2, rpc=3, slots=1)
        assert server.answers()
    assert not server.answers()


# Downloads


def test_a_fetched_folder_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    times = []

    def fill(folder):
        times.append(1)
        (folder / "jar").write_text("x")

    first = downloads.kept("thing-1", fill)
    assert first == downloads.kept("thing-1", fill) == tmp_path / "tidewatch" / "thing-1"
    assert (first / "jar").read_text() == "x"
    assert len(times) == 1


def test_a_fetch_that_fails_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def fill(folder):
        (folder / "half").write_text("x")
        downloads.call([sys.executable, "-c", "raise SystemExit('no network')"], needs="Python")

    with pytest.raises(downloads.DownloadFailed, match="ended with 1:\nno network"):
        downloads.kept("thing-1", fill)
    assert list((tmp_path / "tidewatch").iterdir()) == []


def test_a_missing_program_is_named_with_what_to_install():
    with pytest.raises(downloads.DownloadFailed, match="no-such-mvn was not found; install Maven"):
        downloads.call(["no-such-mvn"], needs="Maven")


# The real servers


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("cluster"), Settings(parts=("kafka", "aws"))) as cluster:
        yield cluster


def produce(cluster, *values):
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": cluster.kafka.address, "acks": "all"})
    for value in values:
        producer.produce("drill", value)
    assert producer.flush(30) == 0


def consumed(cluster, number):
    from confluent_kafka import Consumer

    settings = {"auto.offset.reset": "earliest", "group.id": os.urandom(4).hex()}
    consumer = Consumer({"bootstrap.servers": cluster.kafka.address, **settings})
    consumer.subscribe(["drill"])
    messages = consumer.consume(number, timeout=30)
    consumer.close()
    return sorted(message.value() for message in messages)


@pytest.mark.integration
def test_a_broker_that_was_killed_has_its_messages(cluster):
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": cluster.kafka.address})
    admin.create_topics([NewTopic("drill", 2)])["drill"].result(30)
    produce(cluster, b"a", b"b")
    cluster.kafka.kill()
    cluster.kafka.start()
    produce(cluster, b"c")
    assert consumed(cluster, 3) == [b"a", b"b", b"c"]


@pytest.mark.integration
def test_the_aws_stand_in_has_s3_and_kinesis(cluster):
    import boto3

    access = {
        "endpoint_url": f"http://{cluster.aws.address}",
        "region_name": "eu-west-1",
        "aws_access_key_id": "any",
        "aws_secret_access_key": "any",
    }
    s3 = boto3.client("s3", **access)
    s3.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_object(Bucket="bucket", Key="k", Body=b"x")
    assert s3.get_object(Bucket="bucket", Key="k")["Body"].read() == b"x"
    kinesis = boto3.client("kinesis", **access)
    kinesis.create_stream(StreamName="s", ShardCount=1)
    assert kinesis.list_streams()["StreamNames"] == ["s"]
    s3.close()
    kinesis.close()


@pytest.mark.integration
def test_the_command_shows_and_stops_what_the_api_started(cluster, capsys):
    assert command.main(["status", f"--folder={cluster.folder}"]) == 0
    shown = capsys.readouterr().out
    assert all(server.address in shown for server in cluster.servers)
    assert command.main(["start", f"--folder={cluster.folder}", "--parts=aws"]) == 1
    assert "a cluster runs there already (kafka, aws)" in capsys.readouterr().err
    kafka = cluster.kafka.process
    assert command.main(["stop", f"--folder={cluster.folder}"]) == 0
    assert not kafka.is_running() or kafka.status() == psutil.STATUS_ZOMBIE
    assert command.main(["status", f"--folder={cluster.folder}"]) == 1
    assert capsys.readouterr().out.count("down") == 4
