"""The live shop's files, words and messages, without its servers."""

from __future__ import annotations

import json
import os
from dataclasses import asdict

import pytest

from examples.anybooks.live.__main__ import main
from examples.anybooks.live.job_file import job_text, write_ingest
from examples.anybooks.live.notifications import Notification, notifications
from examples.anybooks.live.stack import LiveFailed, Stack
from examples.anybooks.live.topics import ENDS
from ingest.config import load_config
from pipeline.job import load_job
from runners.cluster.local_cluster import Settings

MAIL = b"""\
Subject: [anybooks] item-A: quantity 41 where 10 was expected (2.486 to 17.51), score 97
From: tidewatch@anybooks.example
To: manager@anybooks.example
Content-Type: text/plain; charset="utf-8"

quantity of product_name item-A was 41 at 2026-11-29 15:44 UTC.\r
Look: http://127.0.0.1:8501/?series=c920&anomaly=c6be
Delivery: a091d97a356d804f01519708427eb39b
"""


@pytest.fixture
def stack(tmp_path):
    return Stack(tmp_path / "shop")


def test_a_stack_that_was_never_started_makes_nothing(stack):
    assert [server.name for server in stack.servers if server.process] == []
    stack.stop()
    assert stack.job() is None
    assert not stack.folder.exists()


def test_ports_stay(stack):
    stack.keep()
    (stack.folder / "cluster.json").write_text(json.dumps(asdict(stack.cluster.settings)))
    again = Stack(stack.folder)
    assert again.ports == stack.ports
    assert [each.address for each in again.servers] == [each.address for each in stack.servers]


def test_another_kind_of_cluster_is_left_alone(tmp_path):
    settings = Settings(parts=("kafka",)).with_all_ports()
    (tmp_path / "cluster.json").write_text(json.dumps(asdict(settings)))
    with pytest.raises(LiveFailed, match="has no aws, flink, postgres; name another --folder"):
        Stack(tmp_path)


def test_the_files_are_right_and_name_the_servers_here(stack):
    stack.folder.mkdir()
    stack.job_file().write_text(job_text(stack, "90s"))
    job = load_job(stack.job_file())
    assert job.kafka.bootstrap_servers == (stack.brokers,)
    assert job.detectors[0].allowed_disorder == 90_000_000
    topics = {sink.name for sink in job.sinks.lines.values()} | {job.feedback.name}
    assert topics == {f"anybooks-{end}" for end in ENDS}
    ingest = load_config(write_ingest(stack))
    assert ingest.target.name == job.source.name == "sales"
    assert ingest.postgres.id == job.detectors[0].record_id


def test_nothing_here_reaches_the_real_aws(stack):
    for server in stack.cluster.servers:
        assert server.environment["AWS_ENDPOINT_URL"] == f"http://{stack.cluster.aws.address}"
    assert stack.aws("sns").meta.endpoint_url == f"http://{stack.cluster.aws.address}"


def test_words_say_what_to_do(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(os, "environ", {**os.environ, "AWS_PROFILE": "the-users-own"})
    folder = ["--folder", str(tmp_path / "shop")]
    assert main(["spike", *folder]) == 1
    assert "start all of it: make anybooks" in capsys.readouterr().err
    assert main(["stop", *folder]) == 0
    assert "nothing: it was down already" in capsys.readouterr().out
    assert main(["status", *folder]) == 0
    assert "down" in capsys.readouterr().out
    assert "AWS_PROFILE" not in os.environ


def test_mails_and_sns_messages_are_read_alike(stack, monkeypatch):
    (stack.mails / "new").mkdir(parents=True)
    (stack.mails / "new" / "1.mail").write_bytes(MAIL)
    body = MAIL.decode().replace("\r", "").partition("\n\n")[2].strip()
    subject = MAIL.decode().partition("\n")[0].removeprefix("Subject: ")
    sent = {"Subject": subject, "Message": body, "Timestamp": "2026-11-29T15:47:04.915Z"}
    monkeypatch.setattr("examples.anybooks.live.notifications.delivered", lambda stack: [sent])
    sns, mail = sorted(notifications(stack), key=lambda each: each.channel)
    assert (mail.title, mail.text) == (sns.title, sns.text)
    assert sns.arrived == 1795967224.915
    assert mail.delivery == "a091d97a356d804f01519708427eb39b"
    assert mail.link == "http://127.0.0.1:8501/?series=c920&anomaly=c6be"
    assert mail.tells("c6be")
    assert not mail.tells("c6be", "recovery")
    assert not mail.tells("c6bf")


def test_a_recovery_is_not_its_alert():
    over = Notification("SNS", "[anybooks] Over: item-A, quantity as usual", "anomaly=c6be", 0.0)
    assert over.tells("c6be", "recovery")
    assert not over.tells("c6be")
