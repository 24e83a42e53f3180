"""Live jobs with both detectors on real servers: kills, and the same results on every runner."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import boto3
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from drill_shop import (
    JOB,
    PARTITIONS,
    ROOT,
    Drill,
    Flow,
    aws_environment,
    pipeline,
    verify,
    workers,
)

from pipeline.runs import rows_of
from runners.cluster.local_cluster import Cluster, Settings
from runners.flink_rest import JobManager

pytestmark = pytest.mark.integration
FLOW = Flow(series=20, minutes=300, rate=600)
PATIENCE_SECONDS = 600
SHARDS, IDLE = 4, 3
KINESIS = """\
kinesis: {{region: us-east-1, endpoint_url: "{endpoint}"}}
source: {{kinesis: {{stream: records, idle_after: 10m}}, format: json}}
sinks:
  results: {{kinesis: {{stream: results}}}}
  alerts: {{kinesis: {{stream: alerts}}}}\
"""


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    """The AWS stand-in; up before Flink, whose workers find it by the environment."""
    with Cluster(tmp_path_factory.mktemp("aws"), Settings(parts=("aws",))) as cluster:
        url = f"http://{cluster.aws.address}"
        with aws_environment(url):
            yield url


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, endpoint):
    settings = Settings(parts=("kafka", "flink"))
    with Cluster(tmp_path_factory.mktemp("cluster"), settings) as cluster:
        yield cluster


def kept(run, file):
    """A copy of a run's results, as a file that `pipeline.verify` takes."""
    with file.open("w") as lines:
        for row in rows_of(run):
            pairs = [{"name": k, "value": v} for k, v in row.pop("dimensions").items()]
            lines.write(json.dumps({**row, "dimensionList": pairs}) + "\n")
    return str(file)


def forget(drill):
    """Take away what a run wrote, so that the same job file can be run again."""
    admin = AdminClient({"bootstrap.servers": drill.cluster.kafka.address})
    ends = [TopicPartition(drill.name, number, -1) for number in range(PARTITIONS)]  # -1: all
    for done in admin.delete_records(ends).values():
        done.result()
    bucket = boto3.resource("s3").Bucket("lake")
    bucket.objects.filter(Prefix=f"{drill.name}/").delete()


def check(drill, right):
    """What is in the topic and in the lake is what the Flink run gave."""
    for run in (drill.results, drill.lake):
        assert "equal, bit for bit" in verify(right, run, "--until", FLOW.end)
    rows = drill.lake_rows()
    assert len(rows) == len(set(rows)) == FLOW.results


def test_a_job_file_gives_the_same_on_flink_with_kills_on_direct_and_on_prism(cluster, tmp_path):
    """Kafka to Kafka and S3; the job file stays as it is."""
    drill = Drill(cluster, tmp_path, "shop", FLOW)

    def kill():
        (worker,) = workers(cluster)
        os.kill(worker, signal.SIGKILL)
        drill.until(lambda: workers(cluster) not in ([], [worker]), "workers")
        cluster.task_managers[0].kill()
        cluster.task_managers[0].start()

    drill.start()
    try:
        drill.flow(kill)
        drill.wait()
    finally:
        drill.cancel()
    on_flink = kept(drill.results, tmp_path / "flink.jsonl")
    check(drill, on_flink)
    before = drill.job.read_bytes()

    forget(drill)
    pipeline("--job", str(drill.job))
    check(drill, on_flink)

    forget(drill)
    command = [sys.executable, "-m", "pipeline", "--job", str(drill.job), "--runner=PrismRunner"]
    with (tmp_path / "prism.log").open("w") as log:
        running = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        try:
            drill.wait()
        finally:
            running.send_signal(signal.SIGINT)
            running.wait(60)
    check(drill, on_flink)
    assert drill.job.read_bytes() == before


def put(client, lines):
    """Records into the first shards of the stream; the last one gets none."""
    width = (1 << 128) // SHARDS
    records = [
        {"Data": line, "PartitionKey": "-", "ExplicitHashKey": str(number % IDLE * width)}
        for number, line in enumerate(lines)
    ]
    for start in range(0, len(records), 500):
        answer = client.put_records(StreamName="records", Records=records[start : start + 500])
        assert not answer["FailedRecordCount"]


def lines_of(client, stream):
    """All records of a stream, by shard."""
    found = []
    for shard in client.list_shards(StreamName=stream)["Shards"]:
        names = {"StreamName": stream, "ShardId": shard["ShardId"]}
        place = client.get_shard_iterator(**names, ShardIteratorType="TRIM_HORIZON")
        iterator, lines = place["ShardIterator"], []
        while answer := client.get_records(ShardIterator=iterator, Limit=10_000):
            lines += [record["Data"] for record in answer["Records"]]
            iterator = answer["NextShardIterator"]
            if not answer["Records"]:
                break
        found.append(lines)
    return found


def test_kinesis_to_kinesis_on_flink_gives_what_the_bounded_run_gives(cluster, endpoint, tmp_path):
    """With a worker killed in between, and a shard that never gets a record."""
    client = boto3.client("kinesis")
    for stream in ("records", "results", "alerts", "results-late", "results-dead-letters"):
        client.create_stream(StreamName=stream, ShardCount=SHARDS)
    job = tmp_path / "job.yaml"
    ends = KINESIS.format(endpoint=endpoint)
    job.write_text(JOB.format(name="streams", ends=ends, threshold=70))
    address = cluster.job_manager.address
    manager = JobManager(address)

    def results():
        return [line for lines in lines_of(client, "results") for line in lines]

    def distinct(lines):
        rows = map(json.loads, lines)
        return {row["resultId"] for row in rows if row["detectionPeriodEndTime"] <= FLOW.end}

    def until(holds):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not holds():
            assert time.monotonic() < deadline, manager.exceptions(manager.job("streams"))[:1]
            time.sleep(1)

    flink = ("--runner=FlinkRunner", f"--flink_master={address}", "--parallelism=1")
    pipeline("--job", str(job), *flink, "--checkpointing_interval=2000")
    try:
        records = FLOW.records()
        half = len(records) // 2
        put(client, records[:half])
        until(lambda: len(distinct(results())) > FLOW.results // 4)
        (worker,) = workers(cluster)
        os.kill(worker, signal.SIGKILL)
        put(client, [*records[half:], FLOW.ending()])
        until(lambda: len(distinct(results())) >= FLOW.results)
    finally:
        manager.cancel(manager.job("streams"))
    live = lines_of(client, "results")
    (tmp_path / "live.jsonl").write_bytes(b"\n".join(line for each in live for line in each))

    pipeline("--job", str(job))
    after = [
        lines[len(old) :] for lines, old in zip(lines_of(client, "results"), live, strict=True)
    ]
    (tmp_path / "direct.jsonl").write_bytes(b"\n".join(line for each in after for line in each))
    runs = (str(tmp_path / "direct.jsonl"), str(tmp_path / "live.jsonl"))
    assert "equal, bit for bit" in verify(*runs, "--until", FLOW.end)
