"""A live job from end to end without servers: the same results as over the same records in files.

The source is Beam's `TestStream`, the topics are lists; everything between is the job's own graph.
"""

from __future__ import annotations

import json
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing import test_pipeline, test_stream
from apache_beam.utils.timestamp import Timestamp
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from pipeline import build, verify
from pipeline.endpoints import ReadSource
from pipeline.job import load_job
from pipeline.launch import main
from pipeline.runs import rows_of
from runners.cluster.local_cluster import Cluster
from runners.cluster.local_cluster import Settings as ClusterSettings
from transforms.detect import Settings
from transforms.live_models import LIVE_MODELS
from transforms.records import MICROSECONDS, Batch

JOB = """\
job: probe
{ends}
detectors:
  - name: forest
    measure: units
    dimensions: [item]
    event_time: {{field: t, format: unix_s}}
    aggregation: {{function: sum, period: 1m}}
    allowed_disorder: 2m
    record_id: id
    model: {{type: RandomCutForest, config: {{number_of_trees: 5, sample_size: 16}}}}
    threshold: 60
  - name: discord
    measure: units
    dimensions: [item]
    event_time: {{field: t, format: unix_s}}
    aggregation: {{function: mean, period: 1m}}
    model: {{type: LeftDiscord, config: {{sequence_length: 8}}}}
"""
LIVE = """\
kafka: {{bootstrap_servers: [localhost:1]}}
source: {{kafka: {{topic: in}}, format: json}}
sinks:
  results: {{kafka: {{topic: results}}}}
  alerts: {{kafka: {{topic: alerts}}}}
  lake: {{path: {folder}/live-lake, bucket: 10m, shards: 2}}
"""
FILES = """\
source: {{files: ["{folder}/in.jsonl"], format: json}}
sinks:
  results: {{path: {folder}/results}}
  alerts: {{path: {folder}/alerts}}
  lake: {{path: {folder}/lake}}
"""
MINUTES, ITEMS, START = 240, 3, 1_724_932_800
SPIKE = 200
TOPICS: dict[str, list[bytes]] = {}
"""What the pipeline wrote; it runs in this process."""


def records():
    """JSON records a minute apart and more, out of order by less than two minutes; one is bad."""
    random = np.random.default_rng(2)
    rows = [
        {
            "id": f"{minute}-{item}-{part}",
            "t": START + 60 * minute + 20 * part,
            "item": "ABC"[item],
            "units": round(float(random.normal(10, 1)), 2) + 60 * (minute == SPIKE and item == 1),
        }
        for minute in range(MINUTES)
        for item in range(ITEMS)
        for part in range(3)
    ]
    order = np.argsort([row["t"] + random.uniform(0, 115) for row in rows])
    lines = [json.dumps(rows[i]).encode() for i in order]
    return [*lines[:100], b"{oops", *lines[100:200], *lines[190:200], *lines[200:]]


def job_of(folder, ends):
    path = Path(folder) / f"{'live' if ends is LIVE else 'files'}.yaml"
    path.write_text(JOB.format(ends=ends.format(folder=folder)))
    return path


@pytest.mark.parametrize(
    ("second", "seconds"),
    [("period: 1m", 60), ("period: 90s", 30), (None, 0)],
    ids=["the same", "the longest that divides both", "one scores each point"],
)
def test_the_reader_knows_which_period_all_detectors_share(tmp_path, second, seconds):
    path = Path(job_of(tmp_path, LIVE))
    old = "    aggregation: {function: mean, period: 1m}\n"
    new = "" if second is None else old.replace("period: 1m", second)
    path.write_text(path.read_text().replace(old, new))
    read = ReadSource(load_job(path), bounded=False)
    assert read._read._settings.period == seconds * MICROSECONDS


class FromStream(beam.PTransform):
    """Batches as a Kafka source would give them, with the watermark behind the newest record."""

    def __init__(self, job, bounded) -> None:
        super().__init__()
        assert not bounded

    def expand(self, begin):
        stream, lines, position = test_stream.TestStream(), records(), 0
        newest = passed = 0
        for size in np.random.default_rng(7).integers(1, 120, 100):
            part = lines[position : position + int(size)]
            if not part:
                break
            times = [json.loads(line)["t"] for line in part if b"oops" not in line]
            newest = max(newest, *times)
            batch = Batch("kafka://in/0", position, 0, False, START * MICROSECONDS, b"", part)
            element = beam.window.TimestampedValue(tuple(batch), Timestamp(min(times)))
            stream = stream.add_elements([element])
            if newest > passed:
                stream = stream.advance_watermark_to(Timestamp(newest - 120))
            passed = newest
            position += len(part)
        return begin | stream.advance_watermark_to_infinity()


class ToList(beam.PTransform):
    """A topic that is a list."""

    def __init__(self, job, name) -> None:
        super().__init__()
        self._name = name

    def expand(self, lines):
        return lines | beam.Map(self._keep)

    def _keep(self, element):
        lines = element if isinstance(element, bytes) else element[1]
        TOPICS.setdefault(self._name, []).extend(lines.split(b"\n"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("live")
    (folder / "in.jsonl").write_bytes(b"\n".join([*records(), b""]))
    assert main([f"--job={job_of(folder, FILES)}"]) == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "ReadSource", FromStream)
        patch.setattr(build, "WriteLines", ToList)
        LIVE_MODELS.clear()
        TOPICS.clear()
        job = load_job(job_of(folder, LIVE))
        options = PipelineOptions([], streaming=True)
        with test_pipeline.TestPipeline(options=options) as pipeline:
            build.build(pipeline, job, Settings(MICROSECONDS, snapshot_rows=13))
    for name, lines in TOPICS.items():
        (folder / f"topic-{name}.jsonl").write_bytes(b"\n".join([*lines, b""]))
    return folder


def test_a_live_run_gives_what_the_bounded_one_gives(folder):
    live = str(folder / "topic-results.jsonl")
    found = verify.compare(rows_of(str(folder / "results")), rows_of(live))
    assert found.results == [2 * ITEMS * MINUTES] * 2
    assert found.are_equal, list(verify.report(found, ("files", "live")))


def test_the_live_lake_has_every_result_once(folder):
    lake = rows_of(str(folder / "live-lake"))
    found = verify.compare(rows_of(str(folder / "results")), lake)
    assert found.are_equal, list(verify.report(found, ("files", "lake")))
    assert found.rows == found.results


def test_alerts_and_dead_letters_are_the_same(folder):
    def lines(name):
        parts = sorted((folder / name).glob("part-*"))
        return sorted(line for part in parts for line in part.read_bytes().splitlines())

    assert sorted(TOPICS["alerts"]) == lines("alerts")
    assert len(TOPICS["alerts"]) >= 1
    dead = [json.loads(line)["payload"] for line in TOPICS["dead_letters"]]
    assert dead == [json.loads(line)["payload"] for line in lines("results-dead-letters")]
    assert "late" not in TOPICS


@pytest.mark.integration
def test_a_topic_read_to_its_end_gives_what_the_file_gives(folder, tmp_path, capsys):
    with Cluster(tmp_path / "cluster", ClusterSettings(parts=("kafka",))) as cluster:
        broker = cluster.kafka
        names = ["in", "results", "alerts", "results-late", "results-dead-letters"]
        admin = AdminClient({"bootstrap.servers": broker.address})
        for made in admin.create_topics([NewTopic(name, 3, 1) for name in names]).values():
            made.result()
        producer = Producer({"bootstrap.servers": broker.address})
        for position, line in enumerate(records()):
            producer.produce("in", line, str(position % 7))
        assert producer.flush(30) == 0
        (tmp_path / "live.yaml").write_text(
            JOB.format(ends=LIVE.format(folder=tmp_path)).replace("localhost:1", broker.address)
        )
        assert main([f"--job={tmp_path}/live.yaml"]) == 0
        topic = f"kafka://{broker.address}/results"
        assert verify.main([str(folder / "results"), topic]) == 0
    assert verify.main([str(folder / "results"), str(tmp_path / "live-lake")]) == 0
    assert "equal, bit for bit" in capsys.readouterr().out
