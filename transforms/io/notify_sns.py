"""Notifications through an SNS topic: e-mail, SMS, queues, functions, whoever subscribed to it."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Any

import orjson
from botocore.exceptions import BotoCoreError, ClientError

from transforms.io import aws
from transforms.io.notify_answer import Refused, Taken
from transforms.io.notify_message import Message

_LONGEST_SUBJECT = 100
_LONGEST_SMS = 140
_ANSWER_SECONDS = 10


@dataclass(frozen=True)
class SnsChannel:
    """A topic; credentials are the worker's own.

    Parameters
    ----------
    topic_arn : str
        The topic. One that ends in ``.fifo`` drops by itself what comes twice within five minutes.
    endpoint_url : str, optional
        Another server than AWS's, for tests.
    """

    topic_arn: str
    endpoint_url: str | None = None

    @property
    def place(self) -> str:
        """Where messages go, for people."""
        return f"SNS topic {self.topic_arn}"

    def send(self, message: Message) -> Taken:
        """Publish.

        Raises
        ------
        Refused
            SNS did not take it.
        """
        region = self.topic_arn.split(":")[3]
        try:
            client = aws.client("sns", self.endpoint_url, region, _ANSWER_SECONDS)
            answer = client.publish(**self._request(message))
        except ClientError as error:
            hint = ""
            if aws.is_denied(error):
                hint = "; allow sns:Publish to the worker's credentials"
            raise Refused(f"{self.place}: {error}{hint}", aws.is_passing(error)) from error
        except BotoCoreError as error:
            raise Refused(f"{self.place}: {error}", aws.is_passing(error)) from error
        return Taken(f"taken as message {answer['MessageId']}")

    def _request(self, message: Message) -> dict[str, Any]:
        request: dict[str, Any] = {
            "TopicArn": self.topic_arn,
            "Subject": _subject(message.title),
            "MessageStructure": "json",
            "Message": orjson.dumps(
                {"default": message.body, "sms": message.title[:_LONGEST_SMS]}
            ).decode(),
            "MessageAttributes": {
                "deliveryId": {"DataType": "String", "StringValue": message.id},
                "event": {"DataType": "String", "StringValue": message.kind},
                "score": {"DataType": "Number", "StringValue": f"{message.score:.6g}"},
            },
        }
        if self.topic_arn.endswith(".fifo"):
            request["MessageGroupId"] = "tidewatch"
            request["MessageDeduplicationId"] = message.id
        return request


def _subject(title: str) -> str:
    """What SNS takes: printable ASCII, at most 100 characters, not starting with a blank."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    plain = "".join(each for each in plain if each.isprintable()).strip()
    return plain[:_LONGEST_SUBJECT] or "Tidewatch"
