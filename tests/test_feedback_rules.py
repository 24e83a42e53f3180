"""Rules about alerts: what they cover, what replaces them, what is none, what is remembered."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from alert_records import alert, line, recovery

from transforms import schema
from transforms.feedback_rules import (
    MOST_MUTED,
    MOST_RULES,
    Feedback,
    FeedbackRule,
    rule_of,
    time_text,
)

RULE = FeedbackRule(
    "r1",
    "expected",
    "sales",
    f"{1:064x}",
    "2026-03-02 19:00:00",
    "2026-03-03 00:00:00",
    None,
    None,
    None,
    "2026-03-02 18:00:00",
)


@pytest.mark.parametrize(
    ("changes", "covers"),
    [
        ({}, True),
        ({"timeseriesId": None}, True),
        ({"timeseriesId": f"{2:064x}"}, False),
        ({"detectorName": "other"}, False),
        ({"validFrom": "2026-03-02 19:11:00"}, True),
        ({"validFrom": "2026-03-02 19:11:00.000001"}, False),
        ({"validUntil": "2026-03-02 19:11:00"}, False),
        ({"mostScore": 93.71229114864653}, True),
        ({"mostScore": 93.7}, False),
        ({"kind": "withdrawn"}, False),
        ({"kind": "not_an_anomaly"}, True),
    ],
)
def test_what_a_rule_covers(changes, covers):
    assert replace(RULE, **changes).covers(alert(1)) is covers  # at 19:11


def judged(feedback, record):
    told, changed = feedback.judge(line(record))
    muted = json.loads(told)
    assert muted == record | {"mutedBy": muted["mutedBy"]}
    assert list(muted) == list(record)
    assert changed is (muted["mutedBy"] is not None)
    return muted["mutedBy"]


def test_a_recovery_is_as_quiet_as_its_alert_whatever_is_said_in_between():
    feedback = Feedback()
    assert judged(feedback, alert(1)) is None
    feedback.add(RULE)
    assert judged(feedback, recovery(1)) is None
    assert judged(feedback, alert(1)) == "r1"
    feedback = Feedback(feedback.elements())
    feedback.add(replace(RULE, kind="withdrawn"))
    assert judged(feedback, recovery(1, peakScore=100.0)) == "r1"
    assert judged(feedback, recovery(1)) is None
    assert judged(feedback, alert(1)) is None


def test_what_is_said_later_replaces_what_was_said_before_in_whatever_order_it_comes():
    later = replace(RULE, validUntil="2026-03-02 19:00:01", made="2026-03-02 18:00:01")
    for order in ([RULE, later], [later, RULE]):
        feedback = Feedback()
        for each in order:
            feedback.add(each)
        assert feedback.rules == [later]


def test_state_is_the_same_after_its_bytes_and_bounded():
    feedback = Feedback()
    for number in range(MOST_RULES + 5):
        until = f"2026-03-03 00:00:00.{number:06}"
        feedback.add(replace(RULE, ruleId=str(number), validUntil=until))
    assert [each.ruleId for each in feedback.rules] == [str(n) for n in range(5, MOST_RULES + 5)]
    for number in range(3):
        judged(feedback, alert(1, alertId=str(number)))
    again = Feedback(feedback.elements())
    assert again.elements() == feedback.elements()
    assert len(again.elements()) == MOST_RULES + 3
    assert MOST_MUTED >= 1000
    with pytest.raises(ValueError, match="neither a rule nor a quiet alert: starts with b'X1'"):
        Feedback([b"X1"])


def test_the_oldest_quiet_alerts_are_forgotten(monkeypatch):
    monkeypatch.setattr("transforms.feedback_rules.MOST_MUTED", 2)
    feedback = Feedback([])
    feedback.add(replace(RULE, timeseriesId=None))
    for number in (3, 1, 2):
        assert judged(feedback, alert(number))
    assert judged(feedback, recovery(1)) is None
    assert judged(feedback, recovery(3)) == judged(feedback, recovery(2)) == "r1"


def test_a_record_is_read_as_it_was_written():
    assert rule_of(RULE.to_line()) == RULE
    assert list(json.loads(RULE.to_line())) == schema.FEEDBACK.names
    loose = json.loads(RULE.to_line()) | {"validFrom": "2026-03-02T20:00:00+01:00", "more": 1}
    assert rule_of(json.dumps(loose).encode()) == RULE


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ruleId": None}, "ruleId is not text: None"),
        ({"kind": "boring"}, "kind 'boring' is not one of not_an_anomaly, expected, withdrawn"),
        ({"validUntil": "soon"}, "validUntil: 'soon' is not a time"),
        ({"validUntil": 5}, "validUntil is not text: 5"),
        ({"mostScore": "90"}, "mostScore is not a number: '90'"),
        ({"mostScore": True}, "mostScore is not a number: True"),
        ({"mostScore": 101}, "mostScore must be 0 to 100, got 101"),
    ],
)
def test_a_record_that_tells_no_rule_says_why(changes, reason):
    payload = json.dumps(json.loads(RULE.to_line()) | changes).encode()
    with pytest.raises(ValueError, match=reason):
        rule_of(payload)


@pytest.mark.parametrize(
    ("payload", "reason"), [(b"{oops", "not JSON"), (b"[]", "not a JSON object")]
)
def test_what_is_no_record_at_all(payload, reason):
    with pytest.raises(ValueError, match=reason):
        rule_of(payload)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-03-02", "2026-03-02 00:00:00"),
        ("2026-03-02T18:11:00Z", "2026-03-02 18:11:00"),
        ("2026-03-02 18:11:00.5+02:00", "2026-03-02 16:11:00.500000"),
    ],
)
def test_times(text, time):
    assert time_text(text) == time
