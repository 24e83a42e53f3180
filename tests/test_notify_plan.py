"""What is sent now and what waits: the rate, digests, quiet hours in a time zone."""

from __future__ import annotations

import datetime as dt
import zoneinfo

import pytest
from alert_records import alert, line, recovery
from hypothesis import given
from hypothesis import strategies as st

from transforms.io.notify_plan import Head, Policy, QuietHours, Waiting, of_state, plan

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
NIGHT = QuietHours(22 * 60, 7 * 60, "Europe/Berlin", urgent_score=95)
NOW = 1_772_474_000.0


def waiting(*numbers, **changes):
    return [Waiting(line(alert(number)), **changes) for number in numbers]


def berlin(text):
    return dt.datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


def sizes(planned):
    return [len(group) for group in planned.groups]


def test_few_alerts_are_a_message_each_and_many_are_one():
    assert sizes(plan(waiting(1, 2, 3, 4), Head(), Policy(), NOW)) == [1, 1, 1, 1]
    assert sizes(plan(waiting(*range(5)), Head(), Policy(), NOW)) == [5]
    assert plan([], Head(), Policy(), NOW) == ([], [], None, 0)


def test_what_the_rate_does_not_let_through_is_one_digest_later():
    sent = tuple(NOW - 59 + n for n in range(9))
    assert sizes(plan(waiting(1), Head(sent), Policy(), NOW)) == [1]
    assert sizes(plan(waiting(1, 2), Head(sent), Policy(), NOW)) == [2]
    full = Head((*sent, NOW - 1))
    held = plan(waiting(1, 2), full, Policy(), NOW)
    assert (held.groups, held.wake, held.newly_held) == ([], NOW + 1, 2)
    later = plan(held.rest, full, Policy(), held.wake)
    assert (sizes(later), later.newly_held) == ([2], 0)


@given(st.lists(st.integers(0, 90), max_size=40), st.integers(1, 5), st.integers(2, 5))
def test_no_minute_has_more_messages_than_allowed_and_nothing_is_lost(gaps, most, digest_from):
    policy = Policy(messages_per_minute=most, digest_from=digest_from)
    now, head, left, sent, told = NOW, Head(), [], [], 0
    arrivals = [NOW + sum(gaps[: i + 1]) for i in range(len(gaps))]
    pending = list(enumerate(arrivals))
    while pending or left:
        wakes = [pending[0][1]] if pending else []
        planned = plan(left, head, policy, now)
        if planned.wake is not None:
            wakes.append(planned.wake)
        now = max(now, min(wakes))
        while pending and pending[0][1] <= now:
            left += waiting(pending.pop(0)[0])
        planned = plan(left, head, policy, now)
        told += sum(sizes(planned))
        sent += [now] * len(planned.groups)
        head, left = Head(tuple(sent)), planned.rest
    assert told == len(gaps)
    for time in sent:
        assert sum(time - 60 < each <= time for each in sent) <= most


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-03-02 21:59:59", None),
        ("2026-03-02 22:00:00", "2026-03-03 07:00:00"),
        ("2026-03-03 06:59:59", "2026-03-03 07:00:59"),
        ("2026-03-03 07:00:00", None),
        ("2026-03-28 23:00:00", "2026-03-29 07:00:00"),  # the clock goes forward in that night
        ("2026-10-24 23:00:00", "2026-10-25 07:00:00"),  # and back in this one
    ],
)
def test_quiet_hours_are_those_of_the_wall_clock(now, until):
    found = NIGHT.until(berlin(now))
    assert found == (until and berlin(until))


def test_quiet_hours_within_a_day():
    lunch = QuietHours(12 * 60, 13 * 60)
    noon = dt.datetime(2026, 3, 2, 12, 30, tzinfo=dt.UTC).timestamp()
    assert lunch.until(noon) == noon + 1800
    assert lunch.until(noon + 1800) is None and lunch.until(noon - 1860) is None


def test_what_comes_in_quiet_hours_is_told_in_a_digest_after_them_but_what_is_urgent_at_once():
    now = berlin("2026-03-02 23:00:00")
    urgent = Waiting(line(alert(9, peakScore=95.1)))
    over = Waiting(line(recovery(9, peakScore=99.0)))
    policy = Policy(quiet_hours=NIGHT)
    night = plan([*waiting(1, 2), urgent, over], Head(), policy, now)
    assert night.groups == [[urgent]]
    assert night.wake == berlin("2026-03-03 07:00:00")
    morning = plan([*night.rest, *waiting(3)], Head(), policy, night.wake)
    assert sizes(morning) == [4]


def test_a_channel_that_failed_is_left_alone_until_its_time():
    head = Head(failures=2, not_before=NOW + 20)
    resting = plan(waiting(1), head, Policy(), NOW)
    assert (resting.groups, resting.wake) == ([], NOW + 20)
    assert sizes(plan(waiting(1), head, Policy(), NOW + 20)) == [1]


def test_one_message_that_waits_holds_up_no_other():
    (later,) = waiting(1, due=NOW + 300)
    planned = plan([later, *waiting(2)], Head(), Policy(), NOW)
    assert (sizes(planned), planned.rest, planned.wake) == ([1], [later], NOW + 300)


def test_state_is_the_same_after_its_bytes():
    head = Head((NOW, NOW + 1), 3, NOW + 9)
    entries = [*waiting(1, held=True, failing_since=NOW, due=NOW + 0.5), *waiting(2, accepted=True)]
    elements = [entries[0].to_bytes(), head.to_bytes(), entries[1].to_bytes()]
    assert of_state(elements) == (head, entries)
    assert of_state([]) == (Head(), [])
    with pytest.raises(ValueError, match="not a waiting notification: starts with b'X1'"):
        of_state([b"X1"])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"messages_per_minute": 0}, "messages_per_minute must be >= 1, got 0"),
        ({"digest_from": 1}, "digest_from must be >= 2, got 1"),
        ({"give_up_after": -1}, "give_up_after must be >= 0, got -1"),
    ],
)
def test_a_policy_names_what_is_wrong(wrong, message):
    with pytest.raises(ValueError, match=message):
        Policy(**wrong)
