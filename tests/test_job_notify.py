"""The job file's notifications: what is read, and every mistake by its place, without a secret."""

from __future__ import annotations

import copy

import pytest
import yaml
from test_job import REMOVE, changed

from pipeline.job import load_job
from pipeline.job_errors import JobFileError
from pipeline.recipients import recipients_of, wording_of
from transforms.io.notify_apprise import AppriseChannel
from transforms.io.notify_email import EmailChannel
from transforms.io.notify_plan import Policy, QuietHours
from transforms.io.notify_sns import SnsChannel

TOPIC = "arn:aws:sns:eu-central-1:123456789012:anomalies"
MAIL = {
    "host": "smtp.example.com",
    "from": "t@example.com",
    "to": ["a@example.com", "b@example.com"],
}
NOTIFY = {
    "dashboard_url": "https://tide.example.com",
    "time_zone": "Europe/Berlin",
    "channels": [
        {"sns": {"topic_arn": TOPIC}},
        {"name": "team", "email": MAIL | {"username": "u", "password": "SMTP_PASSWORD"}},
        {
            "name": "chat",
            "apprise": {"url": "file:/run/secrets/chat"},
            "recoveries": False,
            "messages_per_minute": 3,
            "digest_from": 2,
            "give_up_after": "2h",
            "quiet_hours": {"start": "22:00", "end": "7:00", "urgent_score": 95},
        },
    ],
}


@pytest.fixture
def load(tmp_path):
    def load(*changes):
        file = tmp_path / "job.yaml"
        file.write_text(
            yaml.safe_dump(changed(("sinks.notify", copy.deepcopy(NOTIFY)), *changes)), "utf-8"
        )
        try:
            return load_job(file)
        except JobFileError as error:
            return [each.removeprefix(f"{file}: ") for each in error.mistakes]

    return load


def test_every_key_reaches_the_step(load):
    job = load()
    sns, team, chat = recipients_of(job).values()
    assert list(recipients_of(job)) == ["sns", "team", "chat"]
    assert (sns.channel, sns.policy) == (SnsChannel(TOPIC), Policy())
    to = ("a@example.com", "b@example.com")
    assert team.channel == EmailChannel(
        "smtp.example.com", 587, "t@example.com", to, "starttls", "u", "SMTP_PASSWORD"
    )
    assert chat.channel == AppriseChannel("file:/run/secrets/chat")
    assert chat.policy == Policy(3, 2, False, QuietHours(1320, 420, "Europe/Berlin", 95.0), 7200)
    wording = wording_of(job)
    assert (wording.time_zone, wording.dashboard_url) == (
        "Europe/Berlin",
        "https://tide.example.com",
    )


@pytest.mark.parametrize(
    ("changes", "deliveries", "undelivered"),
    [
        ([], "out/r-deliveries", "out/r-undelivered"),
        ([("sinks.alerts", {"path": "out/a/"})], "out/a-deliveries", "out/r-undelivered"),
        ([("sinks.lake", {"path": "s3://l/x"})], "s3://l/x-deliveries", "out/r-undelivered"),
        (
            [("sinks.deliveries", {"path": "d"}), ("sinks.undelivered", {"path": "u"})],
            "d",
            "u",
        ),
    ],
)
def test_where_deliveries_are_recorded(load, changes, deliveries, undelivered):
    sinks = load(*changes).sinks
    assert sinks.deliveries_path == sinks.paths["deliveries"] == deliveries
    assert sinks.lines["undelivered"].name == undelivered


@pytest.mark.parametrize(
    ("place", "value", "told", "sentence"),
    [
        ("channels", [], "channels", "is empty; ways to tell people; at least one"),
        (
            "channels.2.sns",
            {"topic_arn": TOPIC},
            "channels[2]",
            "needs exactly one of: sns, email, apprise; got sns, apprise",
        ),
        (
            "channels.2.name",
            "team",
            "channels[2].name",
            "'team' is another channel's name; names must be unique",
        ),
        (
            "channels.2.apprise.url",
            "slack://topsecret",
            "channels[2].apprise.url",
            "is neither the name of an environment variable nor file:/path",
        ),
        (
            "channels.2.messages_per_minute",
            0,
            "channels[2].messages_per_minute",
            "must be 1 to 60, got 0",
        ),
        (
            "channels.2.quiet_hours.start",
            "22 h",
            "channels[2].quiet_hours.start",
            "'22 h' is not a time of day; write hours and minutes, such as '22:00'",
        ),
        (
            "channels.2.quiet_hours.end",
            "22:00",
            "channels[2].quiet_hours.end",
            "is the start; a whole day cannot be quiet",
        ),
        (
            "channels.0.sns.topic_arn",
            "anomalies",
            "channels[0].sns.topic_arn",
            "'anomalies' is not allowed; topic: arn:aws:sns:REGION:ACCOUNT:NAME",
        ),
        (
            "channels.1.email.to",
            ["a@example.com", "b"],
            "channels[1].email.to",
            "'b' is not an e-mail address; write name@example.com",
        ),
        (
            "channels.1.email",
            MAIL | {"password": "SMTP_PASSWORD"},
            "channels[1].email.username",
            "missing; username and password go together",
        ),
        (
            "dashboard_url",
            "https://u:topsecret@tide.example.com",
            "dashboard_url",
            "'https://***@tide.example.com' is not a web address; "
            "write https://host/path, without credentials",
        ),
    ],
)
def test_a_mistake_makes_one_line(load, place, value, told, sentence):
    assert load((f"sinks.notify.{place}", value)) == [f"sinks.notify.{told}: {sentence}"]


def test_all_mistakes_are_named_at_once(load):
    told = load(
        ("sinks.notify.channels.0.sns.topic_arn", "x"),
        ("sinks.notify.channels.1.email.from", "x"),
        ("sinks.notify.time_zone", "Mars"),
    )
    assert [each.partition(": ")[0] for each in told] == [
        "sinks.notify.channels[0].sns.topic_arn",
        "sinks.notify.channels[1].email.from",
        "sinks.notify.time_zone",
    ]


def test_a_job_without_a_folder_must_name_one(load):
    kafka = {"kafka": {"topic": "results"}}
    told = load(("kafka", {"bootstrap_servers": "b:1"}), ("sinks.results", kafka))
    assert told == [
        "sinks.deliveries: missing; name a folder, deliveries: {path: ...}, as neither lake, "
        "alerts nor results has a path to put it beside"
    ]


def test_what_is_about_notifications_needs_some(load):
    told = load(("sinks.notify", REMOVE), ("sinks.deliveries", {"path": "d"}))
    assert told == ["sinks.deliveries: is about notifications, and there is no sinks.notify"]


def test_no_two_sinks_share_a_folder(load):
    told = load(("sinks.undelivered", {"path": "out/r"}))
    assert told == ["sinks.undelivered.path: 'out/r' is another sink's path"]
