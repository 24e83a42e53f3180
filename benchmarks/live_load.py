"""A live load on a Kafka topic, and what comes out of a job: rates, latency, CPU by part.

The producer stamps each record with the moment it is made, as a sensor would. The observer reads a
job's results and takes a result's time from its Kafka message, which the job's client sets when it
hands the result over. Both run in processes of their own, so that their CPU can be told apart.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import psutil
from confluent_kafka import Consumer, Producer, TopicPartition

MICROSECONDS = 1_000_000
_TICK_SECONDS = 0.05
_MANY = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Load:
    """Records of noisy waves, every series in turn.

    Parameters
    ----------
    brokers, topic : str
        Where they go.
    series : int
        How many series take turns.
    rate : float
        Records a second; 0 makes ``records`` of them as fast as it can.
    records : int
        How many in all.
    first : int or None
        Event time of the first record, microseconds since 1970; None takes the clock's.
    apart : int
        With ``first``: event time from one round of the series to the next, microseconds.
    """

    brokers: str
    topic: str
    series: int
    rate: float
    records: int
    first: int | None = None
    apart: int = 60 * MICROSECONDS

    def start(self) -> BaseProcess:
        """Begin in a process of its own."""
        process = _MANY.Process(target=_produce, args=(self,), daemon=True)
        process.start()
        return process


_LINE = b'{"series":"%b","event_time":%d,"value":%b}'


def _noise() -> list[bytes]:
    values = np.random.default_rng(0).normal(100.0, 5.0, 1 << 16).round(3).tolist()
    return [repr(value).encode() for value in values]


def _keys(series: int) -> list[bytes]:
    return [b"series-%05d" % number for number in range(series)]


def write_history(folder: Path, series: int, rows: int) -> None:
    """A record a minute of each series up to this minute, in files of 500 series each."""
    folder.mkdir()
    noise, keys = _noise(), _keys(series)
    begin = int(time.time()) // 60 * 60 - rows * 60
    moments = [(begin + 60 * row) * MICROSECONDS for row in range(rows)]
    for start in range(0, series, 500):
        lines = [
            _LINE % (key, moment, noise[(number * rows + row) * 7919 & 0xFFFF])
            for number, key in enumerate(keys[start : start + 500], start)
            for row, moment in enumerate(moments)
        ]
        (folder / f"part-{start:06}.jsonl").write_bytes(b"\n".join(lines))


def _produce(load: Load) -> None:
    producer = Producer(
        {
            "bootstrap.servers": load.brokers,
            "linger.ms": 20,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    noise, keys = _noise(), _keys(load.series)
    begin, made = time.time(), 0
    while made < load.records:
        if load.rate:
            due = min(load.records, int((time.time() - begin) * load.rate) + 1)
        else:
            due = min(load.records, made + 10_000)
        for record in range(made, due):
            which = record % load.series
            if load.first is None:
                moment = int((begin + record / load.rate) * MICROSECONDS)
            else:
                moment = load.first + record // load.series * load.apart
            line = _LINE % (keys[which], moment, noise[(record * 7919) & 0xFFFF])
            while True:
                try:
                    producer.produce(load.topic, line, keys[which])
                    break
                except BufferError:
                    producer.poll(0.1)
        made = due
        producer.poll(0)
        if load.rate:
            time.sleep(_TICK_SECONDS)
    if left := producer.flush(120):
        raise RuntimeError(f"{left} records were not taken by the broker within 120 s")


@dataclass(frozen=True)
class Seen:
    """Results of a topic.

    Attributes
    ----------
    results : int
        How many.
    seconds : float
        From the first to the last of them, by the time of their Kafka messages.
    latencies : list of float
        Of each result that was looked at, seconds from the close of its period.
    by_detector : dict of str to int
        How many of each.
    by_close : dict of float to list of float
        The latencies again, by the end of the period.
    out_of_order : int
        Results that came after one of a later period of their series.
    """

    results: int
    seconds: float
    latencies: list[float]
    by_detector: dict[str, int]
    by_close: dict[float, list[float]]
    out_of_order: int


def results_of(
    brokers: str, topic: str, delay: float, since: float, until: float, closed_since: float = 0.0
) -> Seen:
    """The results that came between two moments.

    Parameters
    ----------
    brokers, topic : str
        Where they are.
    delay : float
        Allowed disorder, seconds: a period is closed so long after its end.
    since, until : float
        Seconds since 1970, by the Kafka message's time.
    closed_since : float, optional
        Results of periods that were closed before do not count, seconds since 1970.
    """
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "observer"})
    partitions = consumer.list_topics(topic, 10).topics[topic].partitions
    starts = consumer.offsets_for_times(
        [TopicPartition(topic, number, int(since * 1000)) for number in partitions]
    )
    consumer.assign(starts)
    ends = {p.partition: consumer.get_watermark_offsets(p)[1] for p in starts}
    left = {p.partition for p in starts if 0 <= p.offset < ends[p.partition]}
    first, last, count = float("inf"), 0.0, 0
    latencies: list[float] = []
    by_detector: dict[str, int] = {}
    by_close: dict[float, list[float]] = {}
    newest: dict[tuple[str, str], str] = {}
    out_of_order = 0
    while left:
        for message in consumer.consume(10_000, 1.0):
            moment = message.timestamp()[1] / 1000
            if message.offset() + 1 >= ends[message.partition()] or moment >= until:
                left.discard(message.partition())
            if not since <= moment < until:
                continue
            result = orjson.loads(message.value())
            close = result.get("detectionPeriodEndTime")
            end = _seconds(close) if close else None
            if end is not None and end + delay < closed_since:
                continue
            first, last, count = min(first, moment), max(last, moment), count + 1
            name = result.get("detectorName", "")
            by_detector[name] = by_detector.get(name, 0) + 1
            if end is not None:
                latencies.append(moment - delay - end)
                by_close.setdefault(end, []).append(latencies[-1])
                series = name, result["timeseriesId"]
                out_of_order += close < newest.get(series, "")
                newest[series] = close
    consumer.close()
    seconds = max(last - first, 0.0)
    return Seen(count, seconds, latencies, by_detector, by_close, out_of_order)


_KNOWN: dict[str, float] = {}


def _seconds(text: str) -> float:
    found = _KNOWN.get(text)
    if found is None:
        found = float(np.datetime64(text.replace(" ", "T"), "us").astype(np.int64)) / MICROSECONDS
        _KNOWN[text] = found
    return found


def percentile(values: list[float], share: float) -> float | None:
    """The value below which ``share`` of them lie; None without values."""
    return float(np.quantile(values, share)) if values else None


class CpuMeter:
    """CPU seconds of the parts of a run, each a process with all its descendants.

    Parameters
    ----------
    parts : mapping of str to iterable of int
        Process IDs by the name of the part; one that is below another part's counts for itself.
    """

    def __init__(self, parts: Mapping[str, Iterable[int]]) -> None:
        self._parts = {name: list(pids) for name, pids in parts.items()}
        self._begin = self._read()

    def spent(self) -> dict[str, float]:
        """CPU seconds of each part since the meter was made; Python workers told apart."""
        now = self._read()
        return {name: now[name] - self._begin.get(name, 0.0) for name in now}

    def _read(self) -> dict[str, float]:
        seconds: dict[str, float] = {}
        for name, pids in self._parts.items():
            for pid in pids:
                for process in _tree(pid):
                    part = name
                    if name == "flink" and "python" in _name(process):
                        part = "python workers"
                    seconds[part] = seconds.get(part, 0.0) + _cpu(process)
        return seconds


def _tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _name(process: psutil.Process) -> str:
    try:
        return str(process.name())
    except psutil.NoSuchProcess:
        return ""


def _cpu(process: psutil.Process) -> float:
    try:
        times: Any = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)
