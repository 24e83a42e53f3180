"""What the failure drills have in common: 200 series that flow, a live job, an undisturbed twin.

The records are in disorder, but within what the job allows; some are poisoned; one partition of the
topic never gets any. The twin is a bounded run of the same job on the Direct runner over the same
records in a file.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import boto3
import numpy as np
import psutil
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from pipeline.runs import rows_of
from runners.cluster.local_cluster import Cluster
from runners.flink_rest import JobManager

START = 1_704_067_200  # 2024-01-01
PARTITIONS, IDLE = 4, 3
POISON = (
    b"{oops",
    b"\xff\xfe",
    b'{"item":"item-001","t":1704067300}',
    b'{"item":"item-002","t":1704067300,"units":NaN}',
    b'{"item":"item-003","t":"yesterday","units":1}',
)
PATIENCE_SECONDS = 600.0
ROOT = Path(__file__).parent.parent

JOB = """\
job: {name}
{ends}
detectors:
  - name: forest
    measure: units
    dimensions: [item]
    event_time: {{field: t, format: unix_s}}
    aggregation: {{function: sum, period: 5m}}
    allowed_disorder: 3m
    record_id: id
    threshold: {threshold}
    model: {{type: RandomCutForest, config: {{number_of_trees: 30, shingle_size: 4}}}}
  - name: discord
    measure: units
    dimensions: [item]
    event_time: {{field: t, format: unix_s}}
    aggregation: {{function: mean, period: 5m}}
    allowed_disorder: 3m
    record_id: id
    model: {{type: LeftDiscord, config: {{sequence_length: 12, context: 128}}}}
"""
LIVE = """\
kafka: {{bootstrap_servers: ["{brokers}"]}}
source: {{kafka: {{topic: {topic}, idle_after: 10m}}, format: json}}
sinks:
  results: {{kafka: {{topic: {name}}}}}
  alerts: {{kafka: {{topic: {name}-alerts}}}}
  lake: {{path: "s3://lake/{name}", bucket: 1h}}\
"""
FILES = """\
source: {{files: ["{file}"], format: json}}
sinks:
  results: {{path: {folder}/results}}
  alerts: {{path: {folder}/alerts}}\
"""


@dataclass(frozen=True)
class Flow:
    """A record a minute of each series, out of order, some twice, and poison in between.

    Parameters
    ----------
    series, minutes : int
        How many series, and how many records of each.
    rate : int
        Records a second.
    disorder : int
        How much later than a newer one a record comes at most, seconds of event time.
    twice : float
        Share of the records that come once more, within the same time.
    """

    series: int = 200
    minutes: int = 1_000
    rate: int = 12_000
    disorder: int = 120
    twice: float = 0.01

    def __len__(self) -> int:
        return self.series * self.minutes

    @property
    def results(self) -> int:
        """Results of two detectors with periods of five minutes, up to `end`."""
        return len(self) // 5 * 2

    @property
    def end(self) -> str:
        """Of the periods that a bounded run closes too; later is only what ends the flow."""
        return str(np.datetime64(START + 60 * self.minutes, "s")).replace("T", " ")

    def records(self) -> list[bytes]:
        """Their lines."""
        random, many = np.random.default_rng(11), len(self)
        minutes = np.repeat(np.arange(self.minutes), self.series)
        items = np.tile(np.arange(self.series), self.minutes)
        units = np.round(20 + 8 * np.sin(minutes / 30 + items) + random.normal(0, 1, many), 2)
        units[random.random(many) < 0.001] += 80
        again = np.flatnonzero(random.random(many) < self.twice)
        which = np.concatenate((np.arange(many), again))
        comes = minutes[which] * 60 + random.uniform(0, self.disorder, len(which))
        lines = [
            b'{"id":%d,"item":"item-%03d","t":%d,"units":%b}'
            % (i, items[i], START + 60 * minutes[i], repr(float(units[i])).encode())
            for i in which[np.argsort(comes, kind="stable")].tolist()
        ]
        for number, poison in enumerate(POISON):
            lines.insert((number + 1) * many // (len(POISON) + 1), poison)
        return lines

    def ending(self) -> bytes:
        """The record that moves the watermark past all periods."""
        time = START + self.minutes * 60 + 3 * 3600
        return b'{"id":-1,"item":"end","t":%d,"units":0}' % time


FLOW = Flow()


class Twin:
    """The undisturbed bounded run, whose results are what each drill must come to."""

    def __init__(self, folder: Path, threshold: float = 70) -> None:
        file = folder / "records.jsonl"
        file.write_bytes(b"\n".join(FLOW.records()) + b"\n")
        job = folder / "twin.yaml"
        ends = FILES.format(file=file, folder=folder)
        job.write_text(JOB.format(name="twin", ends=ends, threshold=threshold))
        pipeline("--job", str(job))
        self.results = str(folder / "results")
        self.alerts = (folder / "alerts").glob("*.jsonl")


def pipeline(*arguments: str, root: Path = ROOT) -> None:
    """``python -m pipeline`` of the tree at ``root``, which must succeed."""
    command = [sys.executable, "-m", "pipeline", *arguments]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr


def verify(a: str, b: str, *options: str) -> str:
    """What ``python -m pipeline.verify`` says of two runs; it must find them equal."""
    command = [sys.executable, "-m", "pipeline.verify", a, b, *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Drill:
    """One live run: its topics, its lake, the flow into it and what came of it.

    Parameters
    ----------
    cluster : Cluster
        With Kafka and Flink.
    folder : Path
        For its job files.
    name : str
        Of the job, of its topic of results and of its lake.
    flow : Flow
        What flows.
    detectors : str
        The job file but for its ends.
    """

    def __init__(
        self,
        cluster: Cluster,
        folder: Path,
        name: str,
        flow: Flow = FLOW,
        detectors: str = JOB,
    ) -> None:
        self.cluster, self.folder, self.name = cluster, folder, name
        self.records, self._detectors = flow, detectors
        self.topic = f"{name}-records"
        self.job_manager = JobManager(cluster.job_manager.address)
        admin = AdminClient({"bootstrap.servers": cluster.kafka.address})
        ends = ("", "-records", "-alerts", "-late", "-dead-letters")
        topics = [NewTopic(name + end, PARTITIONS, 1) for end in ends]
        for future in admin.create_topics(topics).values():
            future.result()

    def start(
        self, *options: str, brokers: str = "", threshold: float = 70, root: Path = ROOT
    ) -> None:
        """Start the job; returns when all of its steps run, and the first checkpoint is there."""
        ends = LIVE.format(
            brokers=brokers or self.cluster.kafka.address, topic=self.topic, name=self.name
        )
        self.job.write_text(self._detectors.format(name=self.name, ends=ends, threshold=threshold))
        master = f"--flink_master={self.cluster.job_manager.address}"
        flink = ("--runner=FlinkRunner", master, "--parallelism=1", "--checkpointing_interval=2000")
        pipeline("--job", str(self.job), *flink, *options, root=root)
        job = self.job_manager.job(self.name)
        self.until(
            lambda: self.job_manager.checkpoints(job)["counts"]["completed"] > 0, "steps (or state)"
        )

    def flow(self, disturb: Callable[[], None] | None = None) -> None:
        """Send all records and their ending. The topic's last partition never gets any.

        ``disturb`` runs beside the flow, from its middle on, as soon as there are results.
        """
        # idempotent, so that its own retries neither repeat records nor change their order
        producer = Producer(
            {
                "bootstrap.servers": self.cluster.kafka.address,
                "message.timeout.ms": 120_000,
                "enable.idempotence": True,
            }
        )
        trouble: list[BaseException] = []

        def run() -> None:
            try:
                assert disturb is not None
                self.until(lambda: self.messages("") > 0, "results")
                disturb()
            except BaseException as error:
                trouble.append(error)

        disturbance = threading.Thread(target=run)
        begin = time.monotonic()
        for number, line in enumerate(self.records.records()):
            if number == len(self.records) // 2 and disturb is not None:
                disturbance.start()
            self._send(producer, line, number % IDLE)
            if number % 500 == 0:
                producer.poll(0)
                time.sleep(max(0.0, begin + number / self.records.rate - time.monotonic()))
        self._send(producer, self.records.ending(), 0)
        if disturb is not None:
            disturbance.join(PATIENCE_SECONDS)
        assert not trouble, trouble
        assert producer.flush(120) == 0

    def _send(self, producer: Producer, line: bytes, partition: int) -> None:
        while True:
            try:
                producer.produce(self.topic, line, partition=partition)
                return
            except BufferError:  # the broker is away
                producer.poll(0.5)

    def wait(self) -> None:
        """Wait until every result is in the topic and in the lake."""
        many = self.records.results
        self.until(
            lambda: self.messages("") >= many and self._distinct(self.results) >= many, "results"
        )
        self.until(lambda: self._distinct(self.lake) >= many, "rows in the lake")

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until that holds; say what is missing if it never does."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not holds():
            if time.monotonic() > deadline:
                job = self.job_manager.job(self.name)
                reasons = self.job_manager.exceptions(job)
                raise AssertionError(f"not all {what} came; {job.state}; {reasons[:1]}")
            time.sleep(2)

    def messages(self, *ends: str) -> int:
        """How many are in topics of the job, named by their ends; cheaper than to read them."""
        consumer = Consumer({"bootstrap.servers": self.cluster.kafka.address, "group.id": "drill"})
        names = [self.name + end for end in ends]
        partitions = [TopicPartition(name, i) for name in names for i in range(PARTITIONS)]
        spans = [consumer.get_watermark_offsets(each, 10) or (0, 0) for each in partitions]
        consumer.close()
        return sum(end - first for first, end in spans)

    def _distinct(self, run: str) -> int:
        try:
            return len({row["resultId"] for row in rows_of(run) if self._counts(row)})
        except ValueError:  # nothing is there yet
            return 0

    def _counts(self, row: dict[str, object]) -> bool:
        return str(row["detectionPeriodEndTime"]) <= self.records.end

    def lake_rows(self) -> list[str]:
        """IDs of the lake's rows, repetitions among them."""
        return [row["resultId"] for row in rows_of(self.lake) if self._counts(row)]

    @property
    def job(self) -> Path:
        """The job file."""
        return self.folder / f"{self.name}.yaml"

    @property
    def results(self) -> str:
        """The run's results, as `pipeline.verify` names them."""
        return f"kafka://{self.cluster.kafka.address}/{self.name}"

    @property
    def lake(self) -> str:
        """The run's lake."""
        return f"s3://lake/{self.name}"

    def stop(self) -> str:
        """Stop the job with a savepoint; where that is."""
        return self.job_manager.stop(self.job_manager.job(self.name))

    def cancel(self) -> None:
        """End the job, if it still runs."""
        for job in self.job_manager.jobs():
            if job.name == self.name and not job.is_over:
                self.job_manager.cancel(job)


def workers(cluster: Cluster) -> list[int]:
    """Process IDs of the Python workers."""
    found = []
    for server in cluster.task_managers:
        if server.process is not None:
            for child in server.process.children(recursive=True):
                with suppress(psutil.NoSuchProcess):  # killed, or a zombie
                    if "runners.flink_worker" in child.cmdline():
                        found.append(child.pid)
    return found


class Gate:
    """A proxy before the S3 server that can refuse writes.

    Parameters
    ----------
    upstream : str
        ``host:port`` of the server.
    """

    def __init__(self, upstream: str) -> None:
        gate = self
        self.refuses = False
        self.refused = 0

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _pass(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if gate.refuses and self.command in ("PUT", "POST"):
                    gate.refused += 1
                    self._answer(503, {}, b"<Error><Code>SlowDown</Code></Error>")
                    return
                # urllib would call a body without a type a form, and the server would read it so
                headers = {"Content-Type": "application/octet-stream", **self.headers}
                url = f"http://{upstream}{self.path}"
                request = Request(url, body or None, headers, method=self.command)
                try:
                    with urlopen(request, timeout=60) as answer:
                        self._answer(answer.status, dict(answer.headers), answer.read())
                except HTTPError as error:
                    self._answer(error.code, dict(error.headers), error.read())

            def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response(status)
                length = headers.pop("Content-Length", None)
                for name, value in headers.items():
                    if name.lower() not in ("connection", "transfer-encoding", "server", "date"):
                        self.send_header(name, value)
                # the answer to HEAD has the length of a body that does not come
                head = self.command == "HEAD"
                self.send_header("Content-Length", (length or "0") if head else str(len(body)))
                self.end_headers()
                if not head:
                    self.wfile.write(body)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def aws_environment(url: str) -> Iterator[None]:
    """Variables by which this process and those it starts reach the AWS stand-in."""
    ours = {
        "AWS_ACCESS_KEY_ID": "drill",
        "AWS_SECRET_ACCESS_KEY": "drill",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": url,
    }
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        boto3.client("s3").create_bucket(Bucket="lake")
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
