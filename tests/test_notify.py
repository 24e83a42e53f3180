"""The step around the sending: who is addressed, state and timers, and whole jobs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from alert_records import alert, line, recovery
from channel_servers import MailCatcher, Webhook, free_port
from series_harness import Bag, Timer
from test_notify_courier import LASTING, PASSING, FakeChannel

from pipeline.launch import main
from transforms.io.notify import NotifyFn, Recipient, addressed
from transforms.io.notify_message import Wording, delivery_id
from transforms.io.notify_plan import Policy
from transforms.io.objects import LocalStore

NOW = 1_772_474_000.0
RECORDS, SPIKE = 400, 350
JOB = """\
job: rooms
source: {{files: [{folder}/in.csv], format: csv}}
detectors:
  - name: rooms
    measure: celsius
    dimensions: [room]
    event_time: {{field: time}}
    model: {{type: RandomCutForest, config: {{number_of_trees: 5, sample_size: 16}}}}
sinks:
  results: {{path: {folder}/results}}
  notify:
    dashboard_url: https://tide.example.com
    channels:
      - apprise: {{url: HOOK_URL}}
        quiet_hours: {{start: "00:00", end: "23:59"}}
      - name: ops
        email: {{host: 127.0.0.1, port: {port}, security: none, from: t@a.example, to: o@a.example}}
"""


class Step:
    """`NotifyFn` for one channel without a runner."""

    def __init__(self, folder, name="c", ends=False, **policy):
        self.channel, self.now, self.name = FakeChannel(), NOW, name
        self.waiting, self.send, self.rest = Bag(), Timer(), Timer()
        self.fn = NotifyFn(
            {"c": Recipient(self.channel, Policy(**policy))},
            Wording("shop"),
            LocalStore(),
            str(folder),
            ends,
            lambda: self.now,
        )

    def add(self, *records):
        for each in records:
            self.fn.process((self.name, line(each)), self.waiting, self.send, self.rest)

    def fire(self):
        """The real-time timer, if it is due; what comes out."""
        if not self.send.take_due(int(self.now * 1e6)):
            return []
        return [json.loads(each) for each in self.fn.wake(self.name, self.waiting, self.send)]


def test_who_is_addressed():
    wanted = {"a": True, "b": False}
    assert addressed(line(alert()), wanted) == [("a", line(alert())), ("b", line(alert()))]
    assert addressed(line(recovery()), wanted) == [("a", line(recovery()))]
    assert addressed(line(alert(mutedBy="rule")), wanted) == []


def test_an_element_reads_no_state_and_wakes_at_once(tmp_path):
    step = Step(tmp_path)
    step.waiting.read = None  # would fail
    step.add(alert(1), alert(2))
    del step.waiting.read
    assert step.send.set_for == {"": int(NOW * 1e6)}
    assert step.rest.set_for == {}
    assert step.fire() == []
    assert len(step.channel.messages) == 2
    assert step.send.set_for == {}


def test_what_waits_wakes_itself(tmp_path):
    step = Step(tmp_path)
    step.channel.answers = [PASSING] * 3
    step.add(alert(1))
    assert [each["status"] for each in step.fire()] == ["waiting"]
    assert step.send.set_for == {"": int((NOW + 5) * 1e6)}
    step.now += 5
    assert [each["status"] for each in step.fire()] == ["delivered"]


def test_state_of_a_checkpoint_is_not_told_again(tmp_path):
    step = Step(tmp_path)
    step.add(alert(1))
    checkpoint = list(step.waiting.items)
    step.fire()
    step.waiting.items = checkpoint
    step.send.set(step_time(NOW))
    step.fire()
    assert step.channel.ids == [delivery_id("c", alert(1))]


def step_time(seconds):
    from apache_beam.utils.timestamp import Timestamp

    return Timestamp(micros=int(seconds * 1e6))


def test_a_channel_that_the_job_no_longer_has_gives_up_what_waits(tmp_path):
    step = Step(tmp_path, name="gone")
    step.add(alert(1))
    (told,) = step.fire()
    assert (told["status"], told["channel"]) == ("given_up", "gone")
    assert "no channel of this name" in told["reason"]
    assert step.waiting.items == []


def test_a_run_that_ends_sends_everything_at_its_end(tmp_path):
    step = Step(tmp_path, ends=True)
    step.add(alert(1), alert(2))
    assert step.send.set_for == {} and len(step.rest.set_for) == 1
    step.channel.answers = [LASTING]
    told = [json.loads(each) for each in step.fn.wake_last("c", step.waiting)]
    assert [each["status"] for each in told] == ["given_up"]
    assert step.channel.ids == [delivery_id("c", alert(2))]


@pytest.fixture
def job(tmp_path, monkeypatch):
    random = np.random.default_rng(5)
    rows = ["time,room,celsius"]
    for n in range(RECORDS):
        for room in ("kitchen", "cellar"):
            value = 20 + random.normal() + 60 * (n == SPIKE and room == "kitchen")
            rows.append(
                f"2026-03-{2 + n // 288:02} {n // 12 % 24:02}:{n % 12 * 5:02}:00,{room},{value:.2f}"
            )
    (tmp_path / "in.csv").write_text("\n".join(rows) + "\n")
    with Webhook() as hook, MailCatcher() as catcher:
        monkeypatch.setenv("HOOK_URL", hook.url)
        file = tmp_path / "job.yaml"
        file.write_text(JOB.format(folder=tmp_path, port=catcher.port))
        yield f"--job={file}", hook, catcher


def undelivered(folder):
    lines = [
        each
        for path in folder.glob("results-undelivered/*.jsonl")
        for each in path.read_text().splitlines()
    ]
    return [json.loads(each) for each in lines]


def test_a_job_of_files_tells_its_alerts_at_its_end_and_never_again(job, tmp_path):
    option, hook, catcher = job
    assert main([option]) == 0
    kitchen = [body for body in hook.bodies if "room kitchen" in body["message"]]
    first, over = kitchen[0], kitchen[1]
    assert first["title"].startswith("[rooms] kitchen: celsius 8")
    assert "2026-03-03 05:10 UTC" in first["message"]
    assert "Look: https://tide.example.com?span=days&first=2026-03-02&" in first["message"]
    assert over["title"].startswith("[rooms] Over: kitchen")
    assert sorted(mail["Subject"] for mail in catcher.mails) == sorted(
        body["title"] for body in hook.bodies
    )
    told = len(hook.bodies)
    assert undelivered(tmp_path) == []
    assert main([option, "--overwrite"]) == 0
    assert (len(hook.bodies), len(catcher.mails)) == (told, told)


def test_a_channel_that_is_away_stops_neither_the_job_nor_the_others(job, tmp_path, monkeypatch):
    option, hook, catcher = job
    monkeypatch.setattr("transforms.io.notify_courier.LAST_SECONDS", 0)
    monkeypatch.setenv("HOOK_URL", f"json://127.0.0.1:{free_port()}/")
    assert main([option]) == 0
    assert catcher.mails
    told = undelivered(tmp_path)
    assert {(each["status"], each["channel"]) for each in told} == {("given_up", "apprise")}
    assert len(told) == len(catcher.mails)
    assert {json.loads(each["alert"])["alertId"] for each in told} == {
        each["alertId"] for each in told
    }


def test_every_channel_is_tried_on_request(job, capsys, monkeypatch):
    option, hook, catcher = job
    assert main([option, "--test_notification"]) == 0
    assert hook.bodies[0]["title"] == "[rooms] Test of the channel apprise"
    assert catcher.mails[0]["Subject"] == "[rooms] Test of the channel ops"
    told = capsys.readouterr().out
    assert "apprise: works" in told and "ops: works" in told
    assert main([option, "--test_notification"]) == 0
    assert catcher.mails[0]["Message-ID"] != catcher.mails[1]["Message-ID"]
    catcher.replies.append("550 no")
    assert main([option, "--test_notification"]) == 1
    told = capsys.readouterr().out
    assert "apprise: works" in told and "ops: fails" in told and "550 no" in told


def test_a_job_without_channels_has_nothing_to_try(job, capsys):
    option, *_ = job
    file = Path(option.removeprefix("--job="))
    file.write_text(file.read_text().partition("  notify:")[0])
    assert main([option, "--test_notification"]) == 2
    assert "sinks.notify is missing" in capsys.readouterr().err
