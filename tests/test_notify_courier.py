"""Deliveries: once each, whatever fails and whenever the process dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from alert_records import alert, line, recovery
from channel_servers import Webhook

from transforms import metrics
from transforms.io import notify_courier
from transforms.io.notify_answer import Refused, Taken
from transforms.io.notify_apprise import AppriseChannel
from transforms.io.notify_courier import FIRST_WAIT, LONGEST_WAIT, Courier
from transforms.io.notify_ledger import Ledger
from transforms.io.notify_message import Wording, delivery_id
from transforms.io.notify_plan import Policy, Waiting, of_state
from transforms.io.objects import LocalStore

NOW = 1_772_474_000.0


class FakeChannel:
    """Takes messages, or answers as told first."""

    place = "a list"

    def __init__(self):
        self.messages, self.answers, self.asked = [], [], 0

    def send(self, message):
        self.asked += 1
        answer = self.answers.pop(0) if self.answers else Taken("taken")
        if isinstance(answer, Refused):
            raise answer
        self.messages.append(message)
        return answer

    @property
    def ids(self):
        return [message.id for message in self.messages]


class Bench:
    """A courier with a clock that stands still, its state, and what came of it."""

    def __init__(self, folder, channel=None, **policy):
        self.now = NOW
        self.channel = channel or FakeChannel()
        self.ledger = Ledger(LocalStore(), f"{folder}/ledger")
        self.policy = Policy(**policy)
        self.elements, self.undelivered, self.wake = [], [], None
        self.slept = []

    def add(self, *records):
        self.elements += [Waiting(line(each)).to_bytes() for each in records]

    def run(self, last=False):
        courier = Courier(
            "c",
            self.channel,
            self.policy,
            Wording("shop"),
            self.ledger,
            lambda: self.now,
            self.slept.append,
        )
        self.elements, undelivered, self.wake = courier.deliver(self.elements, last)
        self.undelivered += [json.loads(each) for each in undelivered]

    def run_all(self):
        """As long as there is a wake."""
        self.run()
        while self.wake is not None:
            self.now = self.wake
            self.run()

    @property
    def waiting(self):
        return of_state(self.elements)[1]


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


PASSING, LASTING = Refused("busy", passing=True), Refused("denied", passing=False)


def test_alerts_and_recoveries_are_told_once_each(bench):
    bench.add(alert(1), recovery(1), alert(1), alert(2))
    before = metrics.counts().get("notified", 0)
    bench.run()
    told = [delivery_id("c", each) for each in (alert(1), recovery(1), alert(2))]
    assert (bench.channel.ids, bench.waiting, bench.wake) == (told, [], None)
    bench.add(alert(2), recovery(1))  # a replay
    bench.run()
    assert bench.channel.ids == told
    assert metrics.counts()["notified"] - before == 3
    assert bench.undelivered == []


def test_a_flood_is_one_message_and_no_alert_of_it_comes_again(bench):
    bench.add(*(alert(n) for n in range(1000)))
    bench.run()
    (digest,) = bench.channel.messages
    assert digest.title == "[shop] 1,000 alerts of 10 series"
    bench.add(*(alert(n) for n in range(1000)), alert(1000))
    bench.run()
    assert bench.channel.ids == [digest.id, delivery_id("c", alert(1000))]
    days = {path.name for path in Path(bench.ledger.folder).glob("delivered-*")}
    assert len(days) == 43  # 1001 alerts, an hour apart, from 18:11


def test_a_failure_that_passes_is_tried_again_at_once_then_later_and_told(bench):
    bench.channel.answers = [PASSING] * 3
    bench.add(alert(1), alert(2))
    before = Counter(metrics.counts())
    bench.run()
    assert (bench.channel.asked, len(bench.slept)) == (notify_courier.ATTEMPTS, 2)
    assert bench.wake == NOW + FIRST_WAIT
    assert [(each["status"], each["reason"]) for each in bench.undelivered] == [
        ("waiting", "busy")
    ] * 2
    bench.run()  # woken early: nothing happens
    assert bench.channel.asked == 3
    bench.run_all()
    assert bench.channel.ids == [delivery_id("c", alert(1)), delivery_id("c", alert(2))]
    assert [each["status"] for each in bench.undelivered[2:]] == ["delivered"] * 2
    after = Counter(metrics.counts())
    assert {
        name: after[name] - before[name] for name in ("notified", "undelivered", "retried")
    } == {
        "notified": 2,
        "undelivered": 2,
        "retried": 3,
    }


def test_a_failing_channel_is_left_alone_for_longer_and_longer_then_given_up(tmp_path):
    bench = Bench(tmp_path, give_up_after=3600)
    bench.channel.answers = [PASSING] * 10_000
    bench.add(alert(1))
    bench.run()
    pauses = []
    while bench.wake is not None:
        pauses.append(bench.wake - bench.now)
        bench.now = bench.wake
        bench.run()
    assert pauses[:8] == [5, 10, 20, 40, 80, 160, 300, 300]
    assert set(pauses[6:]) == {LONGEST_WAIT}
    assert [each["status"] for each in bench.undelivered] == ["waiting", "given_up"]
    assert json.loads(bench.undelivered[1]["alert"]) == alert(1)
    assert 3600 <= bench.now - NOW < 3600 + 2 * LONGEST_WAIT


def test_a_lasting_refusal_concerns_one_message_and_is_not_asked_again_at_once(bench):
    bench.channel.answers = [LASTING]
    bench.add(alert(1), alert(2))
    bench.run()
    assert bench.channel.ids == [delivery_id("c", alert(2))]
    assert (bench.slept, bench.wake) == ([], NOW + LONGEST_WAIT)
    (told,) = bench.undelivered
    assert (told["status"], told["reason"], told["alertId"]) == (
        "waiting",
        "denied",
        alert(1)["alertId"],
    )
    bench.run_all()
    assert bench.channel.ids[1:] == [delivery_id("c", alert(1))]


def test_who_is_missed_is_told(bench):
    bench.channel.answers = [Taken("taken", "b@x refused: 550 unknown")]
    bench.add(alert(1))
    bench.run()
    assert [(each["status"], each["reason"]) for each in bench.undelivered] == [
        ("partly", "b@x refused: 550 unknown")
    ]
    assert bench.waiting == []


def test_a_digest_whose_answer_was_lost_is_sent_again_as_it_was(bench):
    bench.add(*(alert(n) for n in range(6)))
    accept = bench.channel.send

    def lose(message):
        accept(message)
        raise PASSING

    bench.channel.send = lose
    bench.run()
    bench.channel.send = accept
    first = bench.channel.messages[0]
    bench.add(*(alert(n) for n in range(6, 9)))
    bench.run_all()
    *again, others = bench.channel.messages
    assert again == [first] * (notify_courier.ATTEMPTS + 1)
    assert others == Wording("shop").of_many("c", [alert(n) for n in range(6, 9)])


def test_a_digest_that_is_refused_for_good_is_made_anew(bench):
    bench.channel.answers = [LASTING]
    bench.add(*(alert(n) for n in range(6)))
    bench.run()
    bench.add(*(alert(n) for n in range(6, 8)))
    bench.run_all()
    assert [message.title for message in bench.channel.messages] == [
        *(Wording("shop").of_one("c", alert(n)).title for n in (6, 7)),
        "[shop] 6 alerts of 6 series",
    ]


def test_the_end_of_a_run_waits_for_nobody(tmp_path):
    bench = Bench(tmp_path, messages_per_minute=1, digest_from=60)
    bench.add(alert(1))
    bench.run()
    bench.add(alert(2), alert(3))
    bench.run()  # held by the rate
    assert (len(bench.waiting), bench.wake) == (2, NOW + 60)
    bench.run(last=True)
    assert (len(bench.channel.messages), bench.waiting) == (2, [])  # one, then a digest of two
    bench.add(alert(4))
    bench.channel.answers = [LASTING]
    bench.run(last=True)
    assert (bench.waiting, bench.wake) == ([], None)
    assert [each["status"] for each in bench.undelivered] == ["given_up"]


class BrokenStore(LocalStore):
    """Refuses what it is told to."""

    broken: set[str] = set()

    def read(self, path):
        self._check("read")
        return super().read(path)

    def put(self, path, data):
        self._check("put")
        super().put(path, data)

    def _check(self, what):
        if what in self.broken:
            raise PermissionError("s3:PutObject is denied")


@pytest.fixture
def broken(bench):
    bench.ledger = Ledger(BrokenStore(), bench.ledger.folder)
    yield BrokenStore.broken
    BrokenStore.broken.clear()


def test_without_its_record_nothing_is_sent(bench, broken):
    broken.add("read")
    bench.add(alert(1))
    bench.run()
    assert (bench.channel.asked, bench.wake) == (0, NOW + FIRST_WAIT)
    assert "record of deliveries: s3:PutObject is denied" in bench.undelivered[0]["reason"]
    broken.clear()
    bench.run_all()
    assert bench.channel.ids == [delivery_id("c", alert(1))]


def test_what_was_accepted_but_not_written_down_is_written_down_later_and_not_sent_again(
    bench, broken
):
    broken.add("put")
    bench.add(alert(1))
    bench.run()
    assert [each.accepted for each in bench.waiting] == [True]
    bench.now = bench.wake
    bench.run()
    broken.clear()
    bench.run_all()
    assert (bench.channel.asked, bench.waiting) == (1, [])
    assert bench.ledger.delivered(["2026-03-02"]) == {delivery_id("c", alert(1))}


def test_a_digest_that_cannot_be_planned_is_not_sent(bench, broken):
    broken.add("put")
    bench.add(*(alert(n) for n in range(6)))
    bench.run()
    assert bench.channel.asked == 0
    broken.clear()
    bench.run_all()
    assert len(bench.channel.messages) == 1


def test_the_channels_refusals_over_http(tmp_path, monkeypatch):
    with Webhook() as hook:
        monkeypatch.setenv("HOOK_URL", hook.url)
        bench = Bench(tmp_path, AppriseChannel("HOOK_URL"))
        hook.answers.extend([503, 429, 500, 401])
        bench.add(alert(1), alert(2))
        bench.run()
        assert hook.asked == 3
        bench.run_all()
        assert sorted(hook.ids) == sorted(delivery_id("c", alert(n)) for n in (1, 2))
        assert [each["status"] for each in bench.undelivered] == ["waiting"] * 2 + ["delivered"] * 2
        assert "error=500" in bench.undelivered[0]["reason"]


@pytest.mark.integration  # two processes that import Beam
@pytest.mark.parametrize("alerts", [4, 9])
def test_killed_between_acceptance_and_record_only_that_message_repeats_with_its_id(
    tmp_path, alerts
):
    """Four alerts are four messages; nine are one, and more come before the second process."""
    with Webhook() as hook:

        def kill(body):
            hook.on_accept = lambda body: None
            os.kill(process.pid, signal.SIGKILL)
            process.wait(10)

        hook.on_accept = kill
        process = start(tmp_path, hook, [alert(n) for n in range(alerts)])
        assert process.wait(120) == -signal.SIGKILL
        (first,) = hook.bodies
        more = [alert(n) for n in range(alerts + (2 if alerts == 9 else 0))]
        assert start(tmp_path, hook, more).wait(120) == 0
        assert hook.bodies[1] == first  # the very same message
        counts = Counter(hook.ids)
        assert counts.pop(hook.ids[0]) == 2
        assert set(counts.values()) == {1}
        assert len(counts) == {4: 3, 9: 1}[alerts]
        ledger = Ledger(LocalStore(), str(tmp_path / "ledger"))
        assert ledger.delivered({each["time"][:10] for each in more}) == {
            delivery_id("hook", each) for each in more
        }


def start(folder, hook, records):
    (folder / "alerts").write_bytes(b"\n".join(line(each) for each in records))
    script = Path(__file__).parent / "courier_process.py"
    return subprocess.Popen([sys.executable, str(script), str(folder), hook.url])
