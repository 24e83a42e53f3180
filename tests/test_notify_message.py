"""What people are told: every fact, in words, with an ID that is the same in every run."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from alert_records import alert, recovery

from dashboard.view import View
from transforms.io.notify_message import LISTED, Wording, delivery_id, digest_id

PLAIN = Wording("shop")
LINKED = Wording("shop", "Europe/Berlin", "https://tide.example.com/shop")


def test_an_alert_says_what_where_how_unusual_since_when_and_what_was_expected():
    message = PLAIN.of_one("mail", alert())
    assert (
        message.title
        == "[shop] item-A: quantity 42 where 19 was expected (11.15 to 26.85), score 94"
    )
    assert message.body.split("\n") == [
        "quantity of product_name item-A was 42 at 2026-03-02 18:11 UTC, where 19 was expected "
        "(11.15 to 26.85).",
        "How unusual: score 93.7 of 100; about one row in 21,000,000 of this series scores so high",
        "Why: higher than ever in 3,000 values",
        "Since: 2026-03-02 18:11 UTC",
        "Detector: sales, job shop",
        f"Delivery: {message.id}",
    ]
    assert (message.kind, message.score, message.follows) == ("alert", 93.71229114864653, "")


def test_a_recovery_says_how_long_and_follows_its_alert():
    message = PLAIN.of_one("mail", recovery())
    assert message.title == "[shop] Over: item-A, quantity as usual again after 12 minutes"
    assert message.body.startswith("quantity of product_name item-A was 20 at 2026-03-02 18:23 UTC")
    assert "Highest score: 94 of 100" in message.body
    assert message.follows == PLAIN.of_one("mail", alert()).id != message.id


@pytest.mark.parametrize(
    ("until", "told"),
    [("18:11:00", "0 seconds"), ("18:11:01", "1 second"), ("20:12:05", "2 hours 1 minute")],
)
def test_a_duration_has_its_two_largest_units(until, told):
    title = PLAIN.of_one("mail", recovery(time=f"2026-03-02 {until}")).title
    assert title.endswith(f"after {told}")


def test_what_is_not_known_is_left_out():
    unknown = alert(
        expectedValue=None,
        expectedLower=None,
        expectedUpper=None,
        surprise=None,
        explanation=None,
        dimensionList=[],
    )
    message = PLAIN.of_one("mail", unknown)
    assert message.title == "[shop] sales: quantity 42, score 94"
    assert (
        "expected" not in message.body
        and "Why" not in message.body
        and "row in" not in message.body
    )
    assert "None" not in message.title + message.body


def test_times_are_those_of_the_reader_s_clock():
    assert "2026-03-02 19:11 CET" in LINKED.of_one("mail", alert()).body


def test_the_link_leads_to_the_anomaly():
    body = LINKED.of_one("mail", alert()).body
    (link,) = [line.removeprefix("Look: ") for line in body.split("\n") if line.startswith("Look")]
    parts = urlsplit(link)
    assert link.startswith("https://tide.example.com/shop?")
    view = View.of_query({name: each[0] for name, each in parse_qs(parts.query).items()})
    assert (view.series, view.of, view.anomaly) == (f"{0:064x}", "sales", f"a{0:031x}")
    first, after = view.time_range("2027-01-01 00:00:00")  # also a year later
    assert first < alert()["since"] < after


def test_values_cannot_add_lines_to_a_title():
    named = alert(dimensionList=[{"name": "product_name", "value": "a\r\nBcc: x@y"}])
    assert "\n" not in PLAIN.of_one("mail", named).title
    assert "\r" not in PLAIN.of_one("mail", named).title
    long = alert(dimensionList=[{"name": "product_name", "value": "x" * 1000}])
    assert len(PLAIN.of_one("mail", long).title) < 150


def test_a_digest_tells_the_strangest_and_counts_the_others():
    many = [alert(n, peakScore=50 + n / 2) for n in range(60)] + [recovery(3)]
    message = PLAIN.of_many("mail", many)
    assert message.title == "[shop] 60 alerts and 1 recovery of 10 series"
    lines = message.body.split("\n")
    assert lines[0].endswith(
        "item-J: quantity 101 where 19 was expected (11.15 to 26.85), score 80"
    )
    assert len([line for line in lines if line.startswith("- ")]) == LISTED
    assert f"And {61 - LISTED} more: {61 - LISTED} of sales" in lines
    assert message.score == 79.5
    assert len(message.body) < 4000


def test_ids_name_channel_event_and_alert_and_nothing_else():
    same = delivery_id("mail", alert())
    assert same == delivery_id("mail", alert(aggregatedMeasureValue=1.0, mutedBy=None))
    others = {
        delivery_id("sns", alert()),
        delivery_id("mail", recovery()),
        delivery_id("mail", alert(1)),
        delivery_id("mail", alert(detectorName="other")),
    }
    assert len(others | {same}) == 5
    assert digest_id(["a", "b"]) == digest_id(["b", "a"]) != digest_id(["a"])
