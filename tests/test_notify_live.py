"""A live job on Flink that tells people: once each, also when its worker dies at the worst moment.

Kafka, Flink and the channels' servers are real. The webhook kills the worker right after it has
accepted its first message, before it answers: the worker cannot have recorded it.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial

import boto3
import numpy as np
import psutil
import pytest
from aws_server import ENVIRONMENT, AwsServer
from channel_servers import MailCatcher, Webhook
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from drill_shop import pipeline
from test_notify_channels import error

from pipeline import feedback
from pipeline.runs import _topic
from runners.cluster.local_cluster import Cluster, Settings
from runners.flink_rest import JobManager
from transforms.io.notify_ledger import Ledger
from transforms.io.objects import LocalStore

pytestmark = pytest.mark.integration
PATIENCE_SECONDS = 240.0
START = datetime(2026, 3, 2, tzinfo=UTC)
WARM, ITEMS = 350, "ABC"
TOPICS = ("records", "results", "results-late", "results-dead-letters", "results-undelivered")
JOB = """\
job: shop
kafka: {{bootstrap_servers: "{brokers}"}}
source: {{kafka: {{topic: records, idle_after: 10m}}, format: json}}
feedback: {{kafka: {{topic: said}}}}
detectors:
  - name: sales
    measure: units
    dimensions: [item]
    event_time: {{field: time}}
    model: {{type: RandomCutForest, config: {{number_of_trees: 5, sample_size: 16}}}}
    rules: {{min_absolute_deviation: 30, recovery_after: 2, quiet_period: 0}}
sinks:
  results: {{kafka: {{topic: results}}}}
  alerts: {{kafka: {{topic: alerts}}}}
  deliveries: {{path: {folder}/deliveries}}
  notify:
    channels:
      - apprise: {{url: HOOK_URL}}
      - email: {{host: 127.0.0.1, port: {port}, security: none, from: t@a.example, to: o@a.example}}
      - sns: {{topic_arn: "{arn}", endpoint_url: "{aws}"}}
"""


class Shop:
    """Sends minutes of sales."""

    def __init__(self, brokers):
        self._producer = Producer({"bootstrap.servers": brokers})
        self._random = np.random.default_rng(7)
        self.minute = 0

    def send(self, minutes=1, spike=""):
        for _ in range(minutes):
            time_text = (START + timedelta(minutes=self.minute)).isoformat()
            for item in ITEMS:
                units = 20 + self._random.normal() + 60 * (item == spike)
                record = {"time": time_text, "item": item, "units": round(units, 2)}
                self._producer.produce("records", json.dumps(record).encode())
            self.minute += 1
        assert self._producer.flush(60) == 0


def until(holds, what):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def workers(cluster):
    """Python workers of the cluster."""
    return [
        child
        for server in cluster.servers
        if server.process is not None
        for child in server.process.children(recursive=True)
        if any("sdk_worker_main" in word or "flink_worker" in word for word in child.cmdline())
    ]


def kill_workers(cluster, hook, body):
    hook.on_accept = lambda body: None
    found = workers(cluster)
    assert found
    for worker in found:
        worker.kill()
    psutil.wait_procs(found, 10)


@pytest.fixture
def servers(monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with Webhook() as hook, MailCatcher() as catcher, AwsServer() as aws:
        monkeypatch.setenv("HOOK_URL", hook.url)
        yield hook, catcher, aws


@pytest.fixture
def queue(servers):
    """An SNS topic, and what came of it so far, read past the server's injected faults."""
    *_, aws = servers
    host, port = aws._behind
    clients = [boto3.client(each, endpoint_url=f"http://{host}:{port}") for each in ("sns", "sqs")]
    sns, sqs = clients
    arn = sns.create_topic(Name="anomalies")["TopicArn"]
    url = sqs.create_queue(QueueName="anomalies")["QueueUrl"]
    named = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=named["QueueArn"])
    got = []

    def received():
        while found := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for each in found:
                got.append(json.loads(each["Body"]))
                sqs.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
        return got

    yield arn, received
    for client in clients:
        client.close()


@pytest.fixture
def cluster(servers, tmp_path):  # its workers get the environment of the servers
    with Cluster(tmp_path / "cluster", Settings(parts=("kafka", "flink"), slots=1)) as cluster:
        admin = AdminClient({"bootstrap.servers": cluster.kafka.address})
        for made in admin.create_topics(
            [NewTopic(name, 1, 1) for name in (*TOPICS, "alerts", "said")]
        ).values():
            made.result()
        yield cluster


def test_people_are_told_once_each_and_say_what_they_expect(cluster, servers, queue, tmp_path):
    hook, catcher, aws = servers
    arn, received = queue
    brokers = cluster.kafka.address
    job = tmp_path / "job.yaml"
    job.write_text(
        JOB.format(brokers=brokers, folder=tmp_path, port=catcher.port, arn=arn, aws=aws.url)
    )
    lines = partial(_lines, brokers)
    shop = Shop(brokers)
    shop.send(WARM)
    master = f"--flink_master={cluster.job_manager.address}"
    flink = ("--runner=FlinkRunner", master, "--parallelism=1", "--checkpointing_interval=1000")
    pipeline("--job", str(job), *flink)
    # a backlog sets few wakes, so its last rows wait for the next records
    until(lambda: len(_ids(lines("results"))) >= (WARM - 25) * len(ITEMS), "no results")

    # the worker dies between the acceptance of the first message and its record
    hook.on_accept = partial(kill_workers, cluster, hook)
    shop.send(spike="A")
    shop.send()
    until(lambda: len(hook.bodies) >= 2 and catcher.mails and received(), "nobody was told again")
    first, again = hook.bodies[:2]
    assert again == first
    assert "item A" in first["message"]
    shop.send(2)
    until(lambda: len(hook.bodies) >= 3 and len(catcher.mails) >= 2 and len(received()) >= 2, "end")
    assert "Over: A" in hook.bodies[2]["title"]
    assert catcher.mails[1]["In-Reply-To"] == catcher.mails[0]["Message-ID"]

    # what people expect is quiet, from when the job has read it
    expected = ["--from", _time(shop.minute), "--until", _time(shop.minute + 5)]
    assert feedback.main(["--job", str(job), "expected", "--all_series", *expected]) == 0
    producer = Producer({"bootstrap.servers": brokers})
    producer.produce("said", b"{oops")
    producer.flush(60)
    until(lambda: lines("results-dead-letters"), "the rules were not read")
    time.sleep(3)  # for the bundle with the rule
    shop.send(spike="B")
    shop.send(4)
    until(lambda: len(_muted(lines("alerts"))) >= 2, "nothing is quiet")

    # and SNS throttles for a while
    aws.fail(429, error("Throttled"), times=3, content_type="text/xml")
    shop.send(spike="C")
    begin = time.monotonic()
    shop.send()
    until(lambda: len(hook.bodies) >= 4, "nobody was told of C")
    print(f"from the record that closes the row to the webhook: {time.monotonic() - begin:.1f} s")
    shop.send(2)
    until(lambda: len(hook.bodies) >= 5 and len(catcher.mails) >= 4 and len(received()) >= 4, "C")
    until(lambda: len(lines("results-undelivered")) >= 2, "no record of the throttling")
    _cancel(cluster)

    told = [json.loads(each) for each in lines("results-undelivered")]
    assert {each["channel"] for each in told} == {"sns"}
    assert [each["status"] for each in told][:2] == ["waiting", "delivered"]
    assert "Throttled" in told[0]["reason"]
    titles = [body["title"] for body in hook.bodies[1:]]
    assert sorted(mail["Subject"] for mail in catcher.mails) == sorted(titles)
    assert sorted(each["Subject"] for each in received()) == sorted(titles)
    assert not [title for title in titles if " B:" in title or "B," in title]
    assert {each["event"] for each in _muted(lines("alerts"))} == {"alert", "recovery"}
    assert Counter(Counter(hook.ids).values()) == {1: 3, 2: 1}
    dates = {each["time"][:10] for each in map(json.loads, lines("alerts"))}
    ledger = Ledger(LocalStore(), f"{tmp_path}/deliveries/apprise")
    assert ledger.delivered(dates) == set(hook.ids)


def _time(minute):
    return (START + timedelta(minutes=minute)).isoformat()


def _lines(brokers, topic):
    return list(_topic([brokers], topic, None))


def _ids(lines):
    return {json.loads(each)["resultId"] for each in lines}


def _muted(lines):
    alerts = {each: None for each in lines}  # a replay writes them again
    return [each for each in map(json.loads, alerts) if each["mutedBy"]]


def _cancel(cluster):
    manager = JobManager(cluster.job_manager.address)
    for each in manager.jobs():
        if not each.is_over:
            manager.cancel(each)
