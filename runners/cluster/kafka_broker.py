"""One Kafka broker that is its own controller (KRaft), from jars that Maven fetches."""

from __future__ import annotations

import base64
import uuid
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from runners import downloads
from runners.cluster.java import jvm
from runners.cluster.server import LOOPBACK, Server

VERSION = "3.9.1"
_POM = Path(__file__).parent / "kafka" / "pom.xml"
_HEAP = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC")
_LOGGING = "-Dorg.slf4j.simpleLogger.showDateTime=true"


def kafka_broker(folder: Path, port: int, controller_port: int) -> Server:
    """A broker without any protection, for this machine only; its data stay in ``folder``.

    Topics must be created; one that is merely named does not come into being.
    """

    def command() -> list[str]:
        classpath = f"{downloads.kept(f'kafka-{VERSION}', _fetch)}/*"
        settings = folder / "server.properties"
        settings.write_text(_settings(folder / "data", port, controller_port))
        if not (folder / "data" / "meta.properties").exists():
            cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
            given = f"--cluster-id={cluster}"  # one word: one ID in 64 begins with a dash
            storage = ("kafka.tools.StorageTool", "format", given, "-c", str(settings))
            quick = ("-Xmx128m", "-XX:TieredStopAtLevel=1")
            downloads.call(jvm(classpath, *quick, main=storage), needs="Java 17")
        return jvm(classpath, *_HEAP, _LOGGING, main=("kafka.Kafka", str(settings)))

    return Server(
        name="kafka",
        folder=folder,
        ports=(port, controller_port),
        command=command,
        answers=lambda: _answers(f"{LOOPBACK}:{port}"),
    )


def _fetch(folder: Path) -> None:
    downloads.maven(
        _POM, "dependency:copy-dependencies", includeScope="runtime", outputDirectory=folder
    )


def _settings(data: Path, port: int, controller_port: int) -> str:
    values = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{LOOPBACK}:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
        "log.dirs": data,
        # one broker can keep one copy
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        # few and quick: each partition of these takes files and start-up time
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.num.partitions": 4,
        "group.initial.rebalance.delay.ms": 0,
        # a topic that a typing error made would hide the error
        "auto.create.topics.enable": "false",
        # the default is a quarter of the heap
        "log.cleaner.dedupe.buffer.size": 16 << 20,
    }
    return "".join(f"{name}={value}\n" for name, value in values.items())


def _answers(address: str) -> bool:
    try:
        admin = AdminClient({"bootstrap.servers": address, "log_level": 0})
        return bool(admin.list_topics(timeout=2).brokers)
    except KafkaException:
        return False
