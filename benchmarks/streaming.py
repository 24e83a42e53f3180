"""Throughput and latency of live jobs on Flink, from Kafka to Kafka, beside two peers.

    python -m benchmarks.streaming --json

Everything runs on this machine: broker, JobManager, TaskManager, Python workers and the producer
share its cores. Two measurements are made of each case:

- *drain*: the records lie in the topic before the job starts. The rate is that of the results,
  between the moments when a tenth and nine tenths of them are there.
- *live*: records are made at a steady rate, each stamped with the moment it is made. Latency is
  from the close of a period (its end and the allowed disorder; a point's own time without periods)
  to the moment the result is handed to Kafka. A rate is sustained if the job keeps up with it.
  Where a case has history, models learn it from files first, and the measurement begins after; else
  it begins once the load has run for a while, and what lay there until the job was up is caught up.

The peers read the same topic on the same cluster: Beam's ``AnomalyDetection(ZScore)`` through the
same source and parser, once with Beam's handling of state and once on Tidewatch's worker, and a
Flink job in Java that does the left discord by its definition.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import requests
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.live_load import CpuMeter, Load, percentile, results_of, write_history
from benchmarks.machine import machine
from benchmarks.pipeline import MODELS
from runners.cluster.local_cluster import Cluster, Settings
from runners.flink_rest import JobManager

FOREST, DISCORD = MODELS["RandomCutForest"], MODELS["LeftDiscord"]
MICROSECONDS = 1_000_000
FIRST = 1_704_067_200 * MICROSECONDS  # 2024-01-01
JAVA = Path(__file__).parent / "flink_java"
START_SECONDS = 240
SETTLE_SECONDS = 130
_POLL_SECONDS = 0.5
DISORDER_SECONDS = 1.0
_WORKER = {
    "command": str(Path(__file__).with_name("plain_worker.sh")),
    "env": {
        "TIDEWATCH_WORKER_PYTHON": sys.executable,
        "PYTHONPATH": str(Path(__file__).parent.parent),
    },
}
_PLAIN = [
    "--environment_type=PROCESS",
    f"--environment_config={json.dumps(_WORKER)}",
    "--environment_cache_millis=60000",
    "--max_cache_memory_usage_mb=101",
]
"""A peer's worker is Beam's own, with Beam's default cache (whose 100 counts as not set)."""
_OF_A_PERIOD = {"least": 0.0, "p50": 0.5, "p99": 0.99, "most": 1.0}


@dataclass(frozen=True)
class Case:
    """One load and the job that takes it.

    Attributes
    ----------
    name : str
        What it is called in the report.
    models : tuple of str
        ``forest``, ``discord``, or a peer: ``zscore``, ``zscore on our worker``, ``java``.
    series : int
        How many series take turns.
    period_seconds : int
        Length of a period; 0 scores each point.
    records : int
        Of the drain.
    apart_seconds : float
        Event time between two records of a series, in the drain.
    rate : int
        Records a second of the live run.
    seconds : int
        How long the live run lasts.
    history : int
        Rows of each series that its model has learnt before the live run, from files.
    """

    name: str
    models: tuple[str, ...]
    series: int
    period_seconds: int
    records: int
    apart_seconds: float
    rate: float
    seconds: int
    history: int = 0


CASES = {
    case.name: case
    for case in (
        Case("periods-100", ("forest", "discord"), 100, 60, 1_200_000, 0.3, 20_000, 240),
        Case("periods-1000", ("forest", "discord"), 1_000, 60, 1_200_000, 3.0, 20_000, 240),
        Case("periods-10000", ("forest", "discord"), 10_000, 60, 1_200_000, 30.0, 10_000, 240),
        Case("points-forest", ("forest",), 100, 0, 600_000, 1.0, 5_000, 90),
        Case("points-discord", ("discord",), 100, 0, 1_200_000, 1.0, 5_000, 90),
        Case("hot-discord", ("discord",), 1, 0, 1_200_000, 1.0, 20_000, 60),
        # a point a minute: all come due in the same second; their drain is an hour's backlog
        *(
            Case(f"many-{n}", ("forest", "discord"), n, 60, 60 * n, 60.0, n / 60, 900, 300)
            for n in (10_000, 20_000, 40_000, 80_000)
        ),
        Case("points-zscore", ("zscore",), 100, 0, 60_000, 1.0, 0, 0),
        Case("points-zscore-quick", ("zscore on our worker",), 100, 0, 60_000, 1.0, 0, 0),
        Case("points-java", ("java",), 100, 0, 60_000, 1.0, 0, 0),
    )
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure as the command line says."""
    options = _parser().parse_args(arguments)
    measures = options.measure or ["drain", "live"]
    report: dict[str, Any] = {"machine": machine(), "workers": options.workers, "cases": []}
    with tempfile.TemporaryDirectory(prefix="tidewatch-streaming-") as folder:
        settings = Settings(parts=("kafka", "flink"))
        with Cluster(Path(folder) / "cluster", settings) as cluster:
            bench = Bench(cluster, Path(folder), options.workers, options.runner_options)
            for name in options.case or [each for each in CASES if not CASES[each].history]:
                case = CASES[name]
                if options.records:
                    case = replace(case, records=options.records)
                if options.seconds and case.seconds:
                    case = replace(case, seconds=options.seconds)
                if options.history is not None and case.history:
                    case = replace(case, history=options.history)
                for kind in measures:
                    if not (case.rate if kind == "live" else case.records):
                        continue
                    print(f"{name}: {kind}", file=sys.stderr)
                    measured = bench.drain(case) if kind == "drain" else bench.live(case, options)
                    report["cases"].append({"name": name, "kind": kind, **measured})
                    print(json.dumps(report["cases"][-1]), file=sys.stderr)
    if options.json:
        print(json.dumps(report, allow_nan=False))
    else:
        _print(report)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.streaming",
        description="Live jobs on Flink, from Kafka to Kafka; the drain's rate, and live latency.",
    )
    parser.add_argument(
        "--case",
        action="append",
        choices=list(CASES),
        help="which; default all but many-*, one after another",
    )
    parser.add_argument(
        "--measure",
        action="append",
        choices=["drain", "live"],
        help="which of the two; default both",
    )
    parser.add_argument("--workers", type=int, default=1, help="parallelism, default %(default)s")
    parser.add_argument(
        "--share",
        type=float,
        default=1.0,
        help="of the case's rate in the live run, default %(default)s",
    )
    parser.add_argument("--records", type=int, help="of a drain; default the case's")
    parser.add_argument("--seconds", type=int, help="of a live run; default the case's")
    parser.add_argument(
        "--settle",
        type=int,
        default=SETTLE_SECONDS,
        help="seconds of a live run without history before it counts, default %(default)s",
    )
    parser.add_argument("--history", type=int, help="rows a series of a many-*; default the case's")
    parser.add_argument(
        "--runner-options",
        nargs="*",
        default=[],
        metavar="OPTION",
        help="more options of the runner, without their dashes: max_bundle_size=1000",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    return parser


class Bench:
    """A running cluster and the jobs that are measured on it, one after another."""

    def __init__(
        self, cluster: Cluster, folder: Path, workers: int, runner_options: Sequence[str]
    ) -> None:
        self._cluster = cluster
        self._folder = folder
        self._workers = workers
        self._runner_options = [f"--{option}" for option in runner_options]
        self._runs = 0

    def drain(self, case: Case) -> dict[str, Any]:
        """Records lie there, the job starts: the rate at which their results come."""
        source, results = self._topics(case)
        apart = round(case.apart_seconds * MICROSECONDS)
        load = Load(self._brokers, source, case.series, 0, case.records, FIRST, apart).start()
        load.join()
        with self._job(replace(case, history=0), source, results):
            meter = self._meter()
            begin, moments = time.time(), []
            expected = self._expected(case)
            while True:
                now, there = time.time(), self._end_of(results)
                moments.append((now, there))
                if there >= expected * 0.98 or now - begin > START_SECONDS * 4:
                    break
                time.sleep(_POLL_SECONDS)
            took, cpu, memory = time.time() - begin, meter.spent(), self._memory()
            seen = results_of(self._brokers, results, DISORDER_SECONDS, 0, time.time())
        rate = _rate_between(moments, there)
        per_result = case.records / max(there, 1)
        event_time = case.records / case.series * case.apart_seconds
        return {
            "records": case.records,
            "results": there,
            "results_per_second": rate,
            "records_per_second": None if rate is None else rate * per_result,
            "seconds": took,
            "event_time_seconds": event_time,
            "times_real_time": event_time / took,
            "out_of_order": seen.out_of_order,
            "cpu_us_a_record": {k: 1e6 * v / case.records for k, v in cpu.items()},
            "memory_mb": memory,
        }

    def live(self, case: Case, options: argparse.Namespace) -> dict[str, Any]:
        """Records come at a steady rate: does the job keep up, and how soon are results there."""
        source, results = self._topics(case)
        rate = case.rate * options.share
        learnt = case.history * case.series * len(case.models)
        with self._job(case, source, results):
            warm = self._warm_up(case, source, results, learnt) if learnt else 0.0
            settle = 0 if learnt else options.settle
            records = round(rate * (settle + case.seconds))
            process = Load(self._brokers, source, case.series, rate, records).start()
            time.sleep(settle)
            before = self._end_of(source)
            begin = time.time()
            while self._end_of(source) == before:
                time.sleep(_POLL_SECONDS)
            meter = self._meter(process.pid)
            self._metrics()  # Flink fetches them only after somebody asked
            process.join(case.seconds + START_SECONDS)
            end = time.time()
            cpu = meter.spent()
            made = self._end_of(source) - before
            metrics = self._metrics()
            memory = self._memory()
            time.sleep(10)  # what was due at the end comes
            # the last period of a history is learnt when the load closes it
            closed_since = begin if learnt else 0.0
            ends = self._brokers, results, DISORDER_SECONDS
            seen = results_of(*ends, begin, time.time(), closed_since)
        return {
            "rate": rate,
            "seconds": end - begin,
            "records": made,
            "results": seen.results,
            "by_detector": seen.by_detector,
            "latency_p50": percentile(seen.latencies, 0.5),
            "latency_p99": percentile(seen.latencies, 0.99),
            "latency_most": max(seen.latencies, default=None),
            "latency_by_period": [
                {"results": len(each), **{k: percentile(each, q) for k, q in _OF_A_PERIOD.items()}}
                for _, each in sorted(seen.by_close.items())
                if case.period_seconds
            ],
            "out_of_order": seen.out_of_order,
            "warm_up_seconds": warm,
            "metrics": metrics,
            "cpu_us_a_record": {k: 1e6 * v / max(made, 1) for k, v in cpu.items()},
            "memory_mb": memory,
        }

    def _warm_up(self, case: Case, source: str, results: str, learnt: int) -> float:
        """Move the watermark past the history, and wait until all of it was learnt; seconds."""
        begin = time.time()
        process = Load(self._brokers, source, case.series, case.series, case.series).start()
        process.join()
        if process.exitcode:
            raise RuntimeError(f"the producer ended with {process.exitcode}")
        while True:
            with suppress(KafkaException):  # the broker is slow while all cores learn
                if self._end_of(results) >= learnt:
                    break
            if time.time() - begin > START_SECONDS * 10:
                raise RuntimeError(f"the history was not learnt within {START_SECONDS * 10} s")
            time.sleep(_POLL_SECONDS)
        return time.time() - begin

    def _metrics(self) -> dict[str, float]:
        """The job's own metrics that tell what its models cost, summed over its tasks."""
        manager = JobManager(self._cluster.job_manager.address)
        (job,) = [each for each in manager.jobs() if not each.is_over]
        found: dict[str, float] = {}
        for name, values in manager.metrics(job, "tidewatch").items():
            own = name.rpartition("tidewatch_")[2]
            if own.endswith(".max"):
                found[own] = max([found.get(own, 0.0), *values])
            elif not own.endswith(".min"):
                found[own] = found.get(own, 0.0) + sum(values)
        return found

    @property
    def _brokers(self) -> str:
        return self._cluster.kafka.address

    def _expected(self, case: Case) -> int:
        if not case.period_seconds:
            return case.records * len(case.models)
        reach = case.records // case.series * case.apart_seconds
        periods = int((reach - DISORDER_SECONDS) // case.period_seconds)
        return periods * case.series * len(case.models)

    def _topics(self, case: Case) -> tuple[str, str]:
        self._runs += 1
        names = [f"{case.name}-{self._runs}-{end}" for end in ("records", "results")]
        made = names + [f"{names[1]}-late", f"{names[1]}-dead-letters"]
        admin = AdminClient({"bootstrap.servers": self._brokers})
        topics = [NewTopic(name, num_partitions=4, replication_factor=1) for name in made]
        for future in admin.create_topics(topics).values():
            future.result()
        return names[0], names[1]

    def _end_of(self, topic: str) -> int:
        consumer = Consumer({"bootstrap.servers": self._brokers, "group.id": "observer"})
        partitions = consumer.list_topics(topic, 10).topics[topic].partitions
        total = 0
        for number in partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), 10)
            total += high - low
        consumer.close()
        return total

    def _meter(self, producer: int | None = None) -> CpuMeter:
        flink = [s for s in self._cluster.servers if s.name != "kafka" and s.process]
        parts = {
            "broker": [self._cluster.kafka.process.pid] if self._cluster.kafka.process else [],
            "flink": [server.process.pid for server in flink if server.process],
            "producer": [] if producer is None else [producer],
        }
        return CpuMeter(parts)

    def _memory(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for server in self._cluster.servers:
            if server.process is None:
                continue
            for process in [server.process, *server.process.children(recursive=True)]:
                try:
                    name = "python worker" if "python" in process.name() else server.name
                    found[name] = max(found.get(name, 0.0), process.memory_info().rss / 1e6)
                except psutil.NoSuchProcess:
                    continue
        return found

    @contextmanager
    def _job(self, case: Case, source: str, results: str) -> Iterator[None]:
        """A running job, ended after; workers are up when it begins."""
        command = self._command(case, source, results)
        log = (self._folder / f"{results}.log").open("w")
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            self._wait_until_running(process, Path(log.name))
            yield
        finally:
            for job in self._running():
                requests.patch(f"{self._rest}/jobs/{job}?mode=cancel", timeout=30)
            while self._running():
                time.sleep(_POLL_SECONDS)
            process.terminate()
            process.wait(60)
            log.close()

    @property
    def _rest(self) -> str:
        return f"http://{self._cluster.job_manager.address}"

    def _running(self) -> list[str]:
        jobs = requests.get(f"{self._rest}/jobs", timeout=30).json()["jobs"]
        ended = {"CANCELED", "FINISHED", "FAILED"}
        return [job["id"] for job in jobs if job["status"] not in ended]

    def _wait_until_running(self, process: subprocess.Popen[bytes], log: Path) -> None:
        deadline = time.time() + START_SECONDS
        while time.time() < deadline:
            if process.poll():  # a live job is left to the cluster once it runs
                raise RuntimeError(f"the job did not start:\n{log.read_text()[-4000:]}")
            for job in self._running():
                vertices = requests.get(f"{self._rest}/jobs/{job}", timeout=30).json()["vertices"]
                if vertices and all(each["status"] == "RUNNING" for each in vertices):
                    return
            time.sleep(_POLL_SECONDS)
        raise RuntimeError(f"the job was not running within {START_SECONDS} s; see {log}")

    def _command(self, case: Case, source: str, results: str) -> list[str]:
        if case.models == ("java",):
            subprocess.run(["mvn", "-q", "-B", "package"], cwd=JAVA, check=True)  # noqa: S607
            jar = JAVA / "target" / "naive-left-discord.jar"
            return [
                *(sys.executable, "-m", "benchmarks.flink_jar", self._rest, str(jar)),
                *(self._brokers, source, results, "1024", "100", str(self._workers)),
            ]
        runner = [
            "--runner=FlinkRunner",
            f"--flink_master={self._cluster.job_manager.address}",
            f"--parallelism={self._workers}",
            *self._runner_options,
        ]
        if case.models[0].startswith("zscore"):
            ends = [f"--brokers={self._brokers}", f"--source={source}", f"--results={results}"]
            own = _PLAIN if case.models == ("zscore",) else []
            return [sys.executable, "-m", "benchmarks.live_zscore", *ends, *runner, *own]
        file = self._folder / f"{results}.json"
        job = _job_file(case, self._brokers, source, results)
        if case.history:
            job["source"]["history"] = [str(self._folder / f"{results}-history" / "*.jsonl")]
            write_history(self._folder / f"{results}-history", case.series, case.history)
        file.write_text(json.dumps(job))
        return [sys.executable, "-m", "pipeline", f"--job={file}", *runner]


def _job_file(case: Case, brokers: str, source: str, results: str) -> dict[str, Any]:
    models = {"forest": FOREST, "discord": DISCORD}
    detectors = []
    for name in case.models:
        detector: dict[str, Any] = {
            "name": name,
            "measure": "value",
            "dimensions": ["series"],
            "event_time": {"field": "event_time", "format": "unix_us"},
            "allowed_disorder": f"{DISORDER_SECONDS:g}s",
            "model": models[name],
        }
        if case.period_seconds:
            detector["aggregation"] = {"function": "mean", "period": f"{case.period_seconds}s"}
        detectors.append(detector)
    return {
        "job": results[:63],
        "kafka": {"bootstrap_servers": brokers},
        "source": {"kafka": {"topic": source}, "format": "json"},
        "detectors": detectors,
        "sinks": {"results": {"kafka": {"topic": results}}},
    }


def _rate_between(moments: Sequence[tuple[float, int]], total: int) -> float | None:
    """Results a second between a tenth and nine tenths of them."""
    inner = [(at, n) for at, n in moments if 0.1 * total <= n <= 0.9 * total]
    if len(inner) < 2 or inner[-1][0] == inner[0][0]:
        return None
    (first, low), (last, high) = inner[0], inner[-1]
    return (high - low) / (last - first)


def _print(report: dict[str, Any]) -> None:
    table = Table(title=f"{report['workers']} worker(s)", box=SIMPLE_HEAD)
    headings = ("case", "", "records/s", "results", "p50 s", "p99 s", "CPU us a record")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("case", "") else "right")
    for case in report["cases"]:
        rate = case.get("records_per_second") or case.get("rate")
        cpu = ", ".join(f"{part} {value:.0f}" for part, value in case["cpu_us_a_record"].items())
        table.add_row(
            case["name"],
            case["kind"],
            "" if rate is None else f"{rate:,.0f}",
            f"{case['results']:,}",
            *(
                "" if case.get(key) is None else f"{case[key]:.2f}"
                for key in ("latency_p50", "latency_p99")
            ),
            cpu,
        )
    Console(width=140).print(table)


if __name__ == "__main__":
    sys.exit(main())
