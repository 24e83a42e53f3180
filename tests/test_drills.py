"""Failures while 200,000 records of 200 series flow, on a real cluster; nothing may show of them.

After each the results, de-duplicated, are those of an undisturbed bounded run, bit for bit, and the
lake has each row once. In all of them the records are in disorder, some are poisoned, and one
partition of the topic is idle throughout.
"""

from __future__ import annotations

import base64
import io
import os
import shutil
import signal
import time

import boto3
import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest
from drill_shop import (
    FLOW,
    POISON,
    ROOT,
    Drill,
    Flow,
    Gate,
    Twin,
    aws_environment,
    verify,
    workers,
)

from pipeline.runs import _topic, rows_of
from runners.cluster.local_cluster import Cluster, Settings

pytestmark = pytest.mark.drills
REFUSAL_SECONDS = 60
POINTS = """\
job: {name}
{ends}
detectors:
  - name: points
    measure: units
    dimensions: [item]
    event_time: {{field: t, format: unix_s}}
    allowed_disorder: 3m
    record_id: id
    threshold: {threshold}
    model: {{type: LeftDiscord, config: {{sequence_length: 12, context: 128}}}}
"""


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
    assert "equal, bit for bit" in verify(twin.results, drill.results, "--until", FLOW.end)
    assert "equal, bit for bit" in verify(twin.results, drill.lake, "--until", FLOW.end)
    rows = drill.lake_rows()
    assert len(rows) == len(set(rows)) == FLOW.results
    letters = [
        orjson.loads(line)
        for line in _topic([drill.cluster.kafka.address], f"{drill.name}-dead-letters", None)
    ]
    found = {(each["source"], each["position"], each["payload"]) for each in letters}
    assert sorted(base64.b64decode(payload) for _, _, payload in found) == sorted(POISON)


def lake_late(drill):
    """The rows of the lake's table of late records."""
    bucket, prefix = "lake", f"{drill.name}/late/"
    s3 = boto3.client("s3")
    rows = []
    for found in s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", []):
        body = s3.get_object(Bucket=bucket, Key=found["Key"])["Body"].read()
        for row in pq.read_table(io.BytesIO(body)).to_pylist():
            rows.append(
                (row["item"], str(np.datetime64(row["eventTime"], "s")), row["measureValue"])
            )
    return rows


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
        (worker,) = workers(drill.cluster)
        os.kill(worker, signal.SIGKILL)

    drill.start()
    drill.flow(kill)
    check(drill, twin)
    assert len(workers(drill.cluster)) == 1


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
        drill.until(lambda: gate.refused, "refusals")
        time.sleep(REFUSAL_SECONDS)
        gate.refuses = False

    drill.start()
    drill.flow(refuse)
    check(drill, twin)


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
    options = ("--until", FLOW.end, "--ignore", "decision")
    assert "equal, bit for bit" in verify(twin.results, drill.results, *options)
    thresholds = set()
    for row in rows_of(drill.results):
        if row["detectorName"] == "forest":  # the other has a threshold on its raw score
            decides = row["anomalyDecisionThreshold"]
            thresholds.add(decides)
            decided = row["modelStage"] == "INFERENCE" and row["anomalyScore"] > decides
            assert row["anomalyDecision"] == decided, row
    assert thresholds == {40, 70}


def test_beyond_the_disorder_each_record_is_used_or_late(cluster, tmp_path):
    """Six hours of disorder where three minutes are allowed, and a TaskManager that is killed.

    Every record that was sent is in a result or among the late ones, and none is in two results. In
    both may be what was used before the crash and came late in the repetition. The lake has each
    late record once.
    """
    flow = Flow(disorder=6 * 3600, rate=4000)  # an hour passes in three seconds
    drill = Drill(cluster, tmp_path, "beyond", flow, POINTS)

    def kill():
        manager = cluster.task_managers[0]
        manager.kill()
        manager.start()

    def place(item, text, value):
        return item, str(np.datetime64(text.replace(" ", "T"), "s")), value

    lines = [orjson.loads(line) for line in flow.records() if line not in POISON]
    times = [str(np.datetime64(line["t"], "s")) for line in lines]
    sent = {place(line["item"], t, line["units"]) for line, t in zip(lines, times, strict=True)}
    assert len(sent) == len(flow) < len(lines)

    def found():
        late = [
            orjson.loads(line)
            for line in _topic([cluster.kafka.address], f"{drill.name}-late", None)
        ]
        late_ones = {
            place(row["dimensionList"][0]["value"], row["eventTime"], row["measureValue"])
            for row in late
        }
        results = {
            row["resultId"]: place(
                row["dimensions"]["item"],
                row["detectionPeriodStartTime"],
                row["aggregatedMeasureValue"],
            )
            for row in rows_of(drill.results)
            if row["dimensions"]["item"] != "end"
        }
        return results, late_ones

    def is_complete():
        if drill.messages("", "-late") < len(flow):
            return False
        results, late = found()
        return len(late.union(results.values())) >= len(flow)

    drill.start()
    try:
        drill.flow(kill)
        drill.until(is_complete, "records")
        results, late = found()
        used = set(results.values())
        assert used | late == sent
        assert len(used) == len(results)
        assert min(len(late), len(used)) > len(flow) / 10
        drill.until(lambda: len(lake_late(drill)) >= len(late), "late rows in the lake")
        assert sorted(lake_late(drill)) == sorted(late)
    finally:
        drill.cancel()
