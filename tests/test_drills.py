"""Failures while 200,000 records of 200 series flow, on a real cluster; nothing may show of them.

After each the results, de-duplicated, are those of an undisturbed bounded run, bit for bit, and the
lake has each row once. In all of them the records are in disorder, some are poisoned, and one
partition of the topic is idle throughout.
"""

from __future__ import annotations

import base64
import os
import shutil
import signal
import time

import orjson
import pytest
from drill_shop import (
    END,
    POISON,
    RESULTS,
    ROOT,
    Drill,
    Gate,
    Twin,
    aws_environment,
    lake_rows,
    verify,
)

from pipeline.runs import _topic, rows_of
from runners.cluster.local_cluster import Cluster, Settings

pytestmark = pytest.mark.drills
REFUSAL_SECONDS = 60


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    return Twin(tmp_path_factory.mktemp("twin"))


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    """The AWS stand-in, behind a proxy that can refuse writes."""
    settings = Settings(parts=("aws",))
    with Cluster(tmp_path_factory.mktemp("aws"), settings) as cluster:
        gate = Gate(cluster.aws.address)
        with aws_environment(gate.url):
            yield gate
        gate.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, gate):
    settings = Settings(parts=("kafka", "flink"))
    with Cluster(tmp_path_factory.mktemp("cluster"), settings) as cluster:
        yield cluster


@pytest.fixture
def drill(cluster, tmp_path, request):
    name = request.node.name.removeprefix("test_").replace("_", "-")
    drill = Drill(cluster, tmp_path, name)
    yield drill
    drill.cancel()


def check(drill, twin):
    """Wait for all results, then compare what is in the topic and in the lake with the twin's."""
    drill.wait()
    assert "equal, bit for bit" in verify(twin.results, drill.results, "--until", END)
    assert "equal, bit for bit" in verify(twin.results, drill.lake, "--until", END)
    rows = lake_rows(drill.lake)
    assert len(rows) == len(set(rows)) == RESULTS
    letters = [
        orjson.loads(line)
        for line in _topic([drill.cluster.kafka.address], f"{drill.name}-dead-letters", None)
    ]
    found = {(each["source"], each["position"], each["payload"]) for each in letters}
    assert sorted(base64.b64decode(payload) for _, _, payload in found) == sorted(POISON)


def test_nothing_happens(drill, twin):
    drill.start()
    drill.flow()
    check(drill, twin)


def test_task_manager_is_killed(drill, twin):
    def kill():
        manager = drill.cluster.task_managers[0]
        manager.kill()
        manager.start()

    drill.start()
    drill.flow(kill)
    check(drill, twin)


def test_python_worker_is_killed(drill, twin):
    def kill():
        (worker,) = drill.workers()
        os.kill(worker, signal.SIGKILL)

    drill.start()
    drill.flow(kill)
    check(drill, twin)
    assert len(drill.workers()) == 1


def test_broker_is_killed(drill, twin):
    def kill():
        drill.cluster.kafka.kill()
        time.sleep(5)
        drill.cluster.kafka.start()

    drill.start()
    drill.flow(kill)
    check(drill, twin)


def test_s3_refuses_writes(drill, twin, gate):
    def refuse():
        gate.refuses = True
        time.sleep(REFUSAL_SECONDS)
        gate.refuses = False

    drill.start()
    before = gate.refused
    drill.flow(refuse)
    check(drill, twin)
    assert gate.refused > before


def test_newer_build_goes_on_from_savepoint(drill, twin, tmp_path):
    """Another build, started by itself, that names the brokers otherwise."""
    newer = tmp_path / "newer"
    for package in ("detectors", "transforms", "pipeline", "runners"):
        shutil.copytree(ROOT / package, newer / package)
    source = newer / "transforms" / "io" / "kafka_source.py"
    source.write_text(source.read_text() + '\nADDED_LATER = "a newer build"\n')

    def upgrade():
        savepoint = drill.stop()
        port = drill.cluster.kafka.address.rpartition(":")[2]
        drill.start(f"--savepoint_path={savepoint}", brokers=f"localhost:{port}", root=newer)

    drill.start()
    drill.flow(upgrade)
    check(drill, twin)


def test_changed_threshold_goes_on_from_savepoint(drill, twin):
    """Scores and expectations stay the same, bit for bit; decisions are those of the threshold."""

    def change():
        savepoint = drill.stop()
        drill.start(f"--savepoint_path={savepoint}", threshold=40)

    drill.start()
    drill.flow(change)
    drill.wait()
    options = ("--until", END, "--ignore", "decision")
    assert "equal, bit for bit" in verify(twin.results, drill.results, *options)
    thresholds = set()
    for row in rows_of(drill.results):
        decides = row["anomalyDecisionThreshold"]
        thresholds.add(decides)
        decided = row["modelStage"] == "INFERENCE" and row["anomalyScore"] > decides
        assert row["anomalyDecision"] == decided, row
    assert thresholds == {40, 70}
