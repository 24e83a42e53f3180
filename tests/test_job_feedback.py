"""The job file's feedback: kinds, and mistakes by their place."""

from __future__ import annotations

import pytest
import yaml
from test_job import changed

from pipeline import launch
from pipeline.job import Job, load_job
from pipeline.job_errors import JobFileError
from pipeline.reach import _ends

KAFKA = ("kafka", {"bootstrap_servers": "b:1"})
TOPIC = ("feedback", {"kafka": {"topic": "said"}})


@pytest.fixture
def load(tmp_path):
    def load(*changes):
        file = tmp_path / "job.yaml"
        file.write_text(yaml.safe_dump(changed(*changes)), "utf-8")
        try:
            return load_job(file)
        except JobFileError as error:
            return [each.removeprefix(f"{file}: ") for each in error.mistakes]

    return load


@pytest.mark.parametrize(
    ("changes", "kind", "name"),
    [
        ([("feedback", {"path": "said.jsonl"})], "path", "said.jsonl"),
        ([KAFKA, TOPIC], "kafka", "said"),
        ([("feedback", {"kinesis": {"stream": "said"}})], "kinesis", "said"),
    ],
)
def test_kinds(load, changes, kind, name):
    job = load(*changes)
    assert isinstance(job, Job)
    assert (job.feedback.kind, job.feedback.name) == (kind, name)
    word = {"path": "path", "kafka": "topic", "kinesis": "stream"}[kind]
    assert _ends(job, kind)["feedback", kind, word] == name  # what is asked for before a start


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ([TOPIC], "feedback.kafka: needs brokers; name them in kafka.bootstrap_servers"),
        ([("feedback", {})], "feedback: needs exactly one of: path, kafka, kinesis; got none"),
        (
            [KAFKA, TOPIC, ("source", {"kafka": {"topic": "said"}, "format": "json"})],
            "feedback.kafka.topic: 'said' is the source's topic",
        ),
        (
            [KAFKA, TOPIC, ("sinks.alerts", {"kafka": {"topic": "said"}})],
            "sinks.alerts.kafka: 'said' is where feedback is read",
        ),
    ],
)
def test_a_mistake_makes_one_line(load, changes, line):
    (told,) = load(*changes)
    assert told.startswith(line)


def test_a_live_run_reads_no_file_of_rules(load):
    results = ("sinks", {"results": {"kafka": {"topic": "r"}}})
    job = load(KAFKA, ("feedback", {"path": "said.jsonl"}), results)
    with pytest.raises(launch.WrongUse, match=r"feedback\.path: a live run reads what is said"):
        launch._check_sinks_of_endless(job, "job.yaml")
