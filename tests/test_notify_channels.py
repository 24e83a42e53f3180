"""Each channel against a real server: what it sends, and what it makes of every kind of refusal."""

from __future__ import annotations

import io
import json
import logging

import boto3
import pytest
from alert_records import alert, recovery
from aws_server import ENVIRONMENT, AwsServer
from channel_servers import MailCatcher, Webhook, free_port

from transforms.io import aws
from transforms.io.notify_answer import Refused
from transforms.io.notify_apprise import AppriseChannel
from transforms.io.notify_email import EmailChannel
from transforms.io.notify_message import Wording
from transforms.io.notify_sns import SnsChannel

MESSAGE = Wording("shop").of_one("mail", alert())
RECOVERY = Wording("shop").of_one("mail", recovery())


def refused(channel, message=MESSAGE):
    with pytest.raises(Refused) as caught:
        channel.send(message)
    return caught.value


# SNS


@pytest.fixture(scope="module")
def server():
    with AwsServer() as running:
        yield running


@pytest.fixture
def topic(server, monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    aws.client.cache_clear()
    server.faults.clear()
    sns = boto3.client("sns", endpoint_url=server.url)
    sqs = boto3.client("sqs", endpoint_url=server.url)
    arn = sns.create_topic(Name="alerts")["TopicArn"]
    url = sqs.create_queue(QueueName="alerts")["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue["QueueArn"])
    yield (
        arn,
        lambda: [
            json.loads(each["Body"])
            for each in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get(
                "Messages", []
            )
        ],
    )
    sqs.delete_queue(QueueUrl=url)
    sns.delete_topic(TopicArn=arn)
    sns.close()
    sqs.close()
    aws.client.cache_clear()


def error(code, message="injected"):
    return (
        '<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error><Type>Sender</Type>'
        f"<Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
    ).encode()


def test_sns_gets_text_subject_and_id(server, topic):
    arn, received = topic
    taken = SnsChannel(arn, server.url).send(MESSAGE)
    (got,) = received()
    assert taken.answer == f"taken as message {got['MessageId']}"
    assert got["Message"] == MESSAGE.body
    assert got["Subject"] == MESSAGE.title
    assert got["MessageAttributes"]["deliveryId"]["Value"] == MESSAGE.id
    assert got["MessageAttributes"]["event"]["Value"] == "alert"
    assert float(got["MessageAttributes"]["score"]["Value"]) == pytest.approx(93.7123)


def test_sns_takes_any_title(server, topic):
    arn, received = topic
    title = "  Überschuß\n" + "x" * 200
    SnsChannel(arn, server.url).send(MESSAGE._replace(title=title))
    (got,) = received()
    assert got["Subject"].startswith("Uberschu") and len(got["Subject"]) == 100


def test_a_fifo_topic_drops_what_comes_twice(server, topic):
    client = boto3.client("sns", endpoint_url=server.url)
    arn = client.create_topic(Name="alerts.fifo", Attributes={"FifoTopic": "true"})["TopicArn"]
    client.close()
    server.bodies.clear()
    SnsChannel(arn, server.url).send(MESSAGE)
    assert f"MessageDeduplicationId={MESSAGE.id}".encode() in server.bodies[-1]


@pytest.mark.parametrize(
    ("status", "code", "passing"),
    [
        (429, "Throttled", True),
        (400, "ThrottlingException", True),
        (503, "ServiceUnavailable", True),
        (500, "InternalError", True),
        (403, "AuthorizationError", False),
        (404, "NotFound", False),
        (400, "InvalidParameter", False),
    ],
)
def test_sns_refusals_are_told_apart(server, topic, status, code, passing):
    arn, received = topic
    server.fail(status, error(code), content_type="text/xml")
    said = refused(SnsChannel(arn, server.url))
    assert said.passing is passing
    assert arn in said.reason and code in said.reason
    assert ("allow sns:Publish" in said.reason) is (status == 403)
    assert received() == []


def test_sns_that_is_away_may_come_back(topic):
    said = refused(SnsChannel(topic[0], f"http://127.0.0.1:{free_port()}"))
    assert said.passing and "Could not connect" in said.reason


def test_sns_without_credentials_says_so(server, topic, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    aws.client.cache_clear()
    said = refused(SnsChannel(topic[0], server.url))
    assert not said.passing and "credentials" in said.reason


# E-mail


@pytest.fixture
def catcher():
    with MailCatcher() as running:
        yield running


def to(catcher, **changes):
    plain = {
        "host": "127.0.0.1",
        "port": catcher.port,
        "sender": "Tidewatch <tide@shop.example>",
        "to": ("a@shop.example", "b@shop.example"),
        "security": "none",
    }
    return EmailChannel(**(plain | changes))


def test_a_mail_has_the_text_and_an_id_and_a_recovery_answers_it(catcher):
    assert to(catcher).send(MESSAGE) == ("taken by the mail server", "")
    to(catcher).send(RECOVERY)
    first, second = catcher.mails
    assert first["Subject"] == MESSAGE.title
    assert first["To"] == "a@shop.example, b@shop.example"
    assert first.get_content().splitlines() == MESSAGE.body.splitlines()
    assert first["Message-ID"] == f"<{MESSAGE.id}@shop.example>"
    assert first["In-Reply-To"] is None
    assert second["In-Reply-To"] == first["Message-ID"]


@pytest.mark.parametrize(
    ("reply", "passing"),
    [("451 try later", True), ("421 busy", True), ("552 full", False), ("550 no", False)],
)
def test_a_mail_server_s_refusals_are_told_apart(catcher, reply, passing):
    catcher.replies.append(reply)
    said = refused(to(catcher))
    assert (said.passing, catcher.mails) == (passing, [])
    assert reply in said.reason and "a@shop.example" in said.reason


def test_one_bad_address_does_not_keep_a_mail_from_the_others(catcher):
    catcher.refuses["b@shop.example"] = "550 unknown"
    taken = to(catcher).send(MESSAGE)
    assert taken.missed == "b@shop.example refused: 550 unknown"
    assert len(catcher.mails) == 1
    catcher.refuses["a@shop.example"] = "450 greylisted"
    assert refused(to(catcher)).passing  # one of them may take it later
    catcher.refuses["a@shop.example"] = "550 unknown"
    assert not refused(to(catcher)).passing


def test_a_mail_server_that_is_away_may_come_back(catcher):
    assert refused(to(catcher, port=free_port())).passing


def test_a_mail_server_without_tls_is_not_given_the_mail(catcher, monkeypatch):
    monkeypatch.setenv("SMTP_PASSWORD", "hunter2hunter2")
    signed = to(catcher, security="starttls", username="u", password="SMTP_PASSWORD")
    said = refused(signed)
    assert not said.passing and "STARTTLS" in said.reason
    assert "hunter2" not in said.reason + repr(signed) + signed.place
    assert catcher.mails == []


def test_a_password_that_is_not_there_is_named(catcher, monkeypatch):
    monkeypatch.delenv("SMTP_PASSWORD", raising=False)
    said = refused(to(catcher, username="u", password="SMTP_PASSWORD"))
    assert not said.passing and "SMTP_PASSWORD is not set" in said.reason


# apprise


@pytest.fixture
def logged():
    """What a worker's log would hold; pytest's own capture also takes what goes nowhere else."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    logging.getLogger().addHandler(handler)
    yield text
    logging.getLogger().removeHandler(handler)


@pytest.fixture
def hook(monkeypatch):
    with Webhook() as running:
        monkeypatch.setenv("HOOK_URL", running.url)
        yield running


def test_a_webhook_gets_title_and_text(hook):
    assert AppriseChannel("HOOK_URL").send(MESSAGE).answer == "taken by JSON"
    (got,) = hook.bodies
    assert (got["title"], got["message"], got["type"]) == (MESSAGE.title, MESSAGE.body, "warning")
    AppriseChannel("HOOK_URL").send(RECOVERY)
    assert hook.bodies[-1]["type"] == "success"


@pytest.mark.parametrize(
    ("status", "passing"),
    [(401, False), (404, False), (429, True), (408, True), (500, True), (503, True)],
)
def test_a_webhook_s_refusals_are_told_apart_and_nothing_secret_is_told(
    hook, status, passing, logged
):
    hook.answers.append(status)
    said = refused(AppriseChannel("HOOK_URL"))
    assert said.passing is passing
    assert f"error={status}" in said.reason and "HOOK_URL" in said.reason
    assert hook.bodies == []
    assert "hook-token" not in said.reason + logged.getvalue()


def test_a_webhook_that_is_away_may_come_back(monkeypatch):
    monkeypatch.setenv("HOOK_URL", f"json://user:topsecret@127.0.0.1:{free_port()}/")
    said = refused(AppriseChannel("HOOK_URL"))
    assert said.passing and "topsecret" not in said.reason


@pytest.mark.parametrize("url", ["nonsense-topsecret", "nosuch://topsecret", "slack://topsecret"])
def test_an_address_that_apprise_does_not_take_is_not_shown(url, monkeypatch, logged):
    monkeypatch.setenv("HOOK_URL", url)
    said = refused(AppriseChannel("HOOK_URL"))
    assert not said.passing
    assert "apprise does not take the address" in said.reason
    assert "topsecret" not in said.reason + logged.getvalue()


def test_an_address_in_a_file_is_read_there(hook, tmp_path):
    (tmp_path / "url").write_text(hook.url + "\n")
    AppriseChannel(f"file:{tmp_path}/url").send(MESSAGE)
    assert len(hook.bodies) == 1
    assert "is not there" not in refused(AppriseChannel(f"file:{tmp_path}/none")).reason
