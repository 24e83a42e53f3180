"""The step that keeps alerts quiet: live with state, and in a whole job of files."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from alert_records import alert, line, recovery
from apache_beam.pvalue import TaggedOutput
from series_harness import Bag, Timer
from test_feedback_rules import RULE
from test_notify import job  # noqa: F401 - a fixture

from pipeline import feedback
from pipeline.launch import main
from transforms import metrics
from transforms.mute import DEAD, MuteFn, ReadRulesFn, _keyed
from transforms.records import Batch


class Step:
    """`MuteFn` of one detector without a runner."""

    def __init__(self, ends=False):
        self.fn = MuteFn(ends)
        self.said, self.unjudged, self.timer = Bag(), Bag(), Timer()

    def add(self, *elements):
        told = []
        for each in elements:
            data = b"R" + each.to_line() if hasattr(each, "to_line") else _keyed(line(each))[1]
            told += self.fn.process(("sales", data), self.said, self.unjudged, self.timer)
        return [json.loads(each)["mutedBy"] for each in told]

    def end(self):
        told = self.fn.judge(self.said, self.unjudged)
        return [(each["event"], each["mutedBy"]) for each in map(json.loads, told)]


def test_a_live_rule_holds_from_when_it_is_read():
    step = Step()
    before = metrics.counts().get("muted", 0)
    assert step.add(alert(1), RULE, alert(2), alert(1, alertId="x")) == [None, None, "r1"]
    written = step.said.written
    assert step.add(alert(2), recovery(1)) == [None, None]
    assert step.said.written == written  # nothing to remember, nothing written
    assert step.add(recovery(1, alertId="x"), replace(RULE, kind="withdrawn")) == ["r1"]
    assert step.add(alert(1)) == [None]
    assert step.timer.set_for == {}
    assert metrics.counts()["muted"] - before == 2


def test_a_run_that_ends_reads_all_rules_first():
    step = Step(ends=True)
    assert step.add(recovery(1), alert(1), RULE, alert(2)) == []
    assert step.end() == [("alert", "r1"), ("recovery", "r1"), ("alert", None)]
    assert step.end() == []


def test_what_is_no_rule_is_a_dead_letter_and_other_jobs_rules_are_left_alone():
    payloads = [b"{oops", RULE.to_line(), replace(RULE, detectorName="other").to_line()]
    batch = Batch("kafka://rules/0", 7, 0, False, 0, b"", payloads)
    dead, *rules = ReadRulesFn(frozenset(["sales"])).process(tuple(batch))
    assert isinstance(dead, TaggedOutput) and dead.tag == DEAD
    letter = json.loads(dead.value)
    assert (letter["step"], letter["source"], letter["position"]) == ("mute", "kafka://rules/0", 7)
    assert letter["reason"].startswith("not JSON")
    assert rules == [("sales", b"R" + RULE.to_line())]


def alerts(folder):
    found = [each for path in folder.glob("alerts/*") for each in path.read_text().splitlines()]
    return [json.loads(each) for each in found]


def results(folder):
    found = [each for path in folder.glob("results/*") for each in path.read_text().splitlines()]
    return sorted(found)


def test_a_job_of_files_keeps_quiet_what_is_said_and_its_results_stay(job, tmp_path, capsys):  # noqa: F811
    option, hook, catcher = job
    file = tmp_path / "job.yaml"
    text = file.read_text().replace(
        "  notify:", f"  alerts: {{path: {tmp_path}/alerts}}\n  notify:"
    )
    rules = tmp_path / "rules.jsonl"
    file.write_text(
        text + f"  deliveries: {{path: {tmp_path}/first}}\nfeedback: {{path: {rules}}}\n"
    )
    assert main([option]) == 0
    told, before = alerts(tmp_path), results(tmp_path)
    assert {each["mutedBy"] for each in told} == {None}
    heard = len(hook.bodies)
    assert heard == len(told) >= 2
    (body,) = [each for each in hook.bodies if "celsius 8" in each["title"]]
    (link,) = [each[6:] for each in body["message"].split("\n") if each.startswith("Look: ")]
    more = ["--link", link, "--from", "2026-03-02", "--until", "2026-03-04", "--note", "oven"]
    assert feedback.main([option, "expected", *more]) == 0
    rules.write_bytes(rules.read_bytes() + b"{oops\n")
    file.write_text(file.read_text().replace("/first", "/second"))
    hook.bodies.clear()
    assert main([option, "--overwrite"]) == 0
    (rule,) = [json.loads(each) for each in rules.read_bytes().splitlines()[:1]]
    quiet = [each for each in alerts(tmp_path) if each["mutedBy"] == rule["ruleId"]]
    assert quiet and {each["timeseriesId"] for each in quiet} == {rule["timeseriesId"]}
    assert len(hook.bodies) == heard - len(quiet)
    assert not [each for each in hook.bodies if "celsius 8" in each["title"]]
    assert results(tmp_path) == before
    dead = [
        each for path in tmp_path.glob("results-dead*/*") for each in path.read_text().splitlines()
    ]
    assert [json.loads(each)["step"] for each in dead] == ["mute"]

    capsys.readouterr()
    assert feedback.main([option, "list"]) == 0
    assert "oven" in capsys.readouterr().out
    assert feedback.main([option, "withdraw", rule["ruleId"]]) == 0
    assert feedback.main([option, "list"]) == 0
    assert "oven" not in capsys.readouterr().out.partition("\n")[2]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["not-an-anomaly"], "whose alerts? Give --link"),
        (
            ["not-an-anomaly", "--series", "x", "--detector", "d"],
            "the job has no detector 'd'; its",
        ),
        (["expected", "--all_series", "--until", "soon"], "'soon' is not a time"),
        (["expected", "--all_series", "--until", "2020-01-01"], "which is not after its start"),
        (["not-an-anomaly", "--series", "x", "--most_score", "101"], "must be 0 to 100, got 101"),
        (["withdraw", "x"], "there is no rule x; `list` shows those that hold"),
    ],
)
def test_what_cannot_be_said_is_refused(job, tmp_path, capsys, arguments, reason):  # noqa: F811
    option, *_ = job
    file = tmp_path / "job.yaml"
    file.write_text(file.read_text() + f"feedback: {{path: {tmp_path}/rules.jsonl}}\n")
    assert feedback.main([option, *arguments]) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "rules.jsonl").exists()


def test_a_job_that_reads_no_feedback_says_so(job, capsys):  # noqa: F811
    option, *_ = job
    assert feedback.main([option, "not-an-anomaly", "--all_series"]) == 2
    assert "the job reads no feedback" in capsys.readouterr().err
