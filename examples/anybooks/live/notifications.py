"""What reached people: the caught mails, and what SNS delivered."""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from examples.anybooks.live.aws_ends import delivered
from examples.anybooks.live.stack import Stack

CHANNELS = ("e-mail", "SNS")
_DELIVERY = re.compile(r"^Delivery: ([0-9a-f]+)$", re.MULTILINE)
_LINK = re.compile(r"^Look: (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Notification:
    """A message as somebody reads it.

    Parameters
    ----------
    channel : str
        One of `CHANNELS`.
    title, text : str
        What it says.
    arrived : float
        Seconds since 1970.
    """

    channel: str
    title: str
    text: str
    arrived: float

    @property
    def delivery(self) -> str:
        """ID of the delivery: equal for a message that came twice."""
        found = _DELIVERY.search(self.text)
        return found[1] if found else ""

    @property
    def link(self) -> str:
        """The link into the dashboard."""
        found = _LINK.search(self.text)
        return found[1] if found else ""

    def tells(self, result_id: str, event: str = "alert") -> bool:
        """Whether it is about that alert, and about its beginning or its end."""
        is_recovery = "] Over: " in self.title
        return f"anomaly={result_id}" in self.text and is_recovery == (event == "recovery")


def notifications(stack: Stack) -> list[Notification]:
    """All that came so far, on both channels, the oldest first."""
    found = [*_mails(stack.mails), *map(_of_sns, delivered(stack))]
    return sorted(found, key=lambda each: each.arrived)


def _mails(maildir: Path) -> Iterator[Notification]:
    for file in sorted((maildir / "new").glob("*")):
        mail = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
        text = mail.get_content().replace("\r\n", "\n").strip()
        yield Notification(CHANNELS[0], str(mail["Subject"]), text, file.stat().st_mtime)


def _of_sns(message: dict[str, Any]) -> Notification:
    arrived = datetime.fromisoformat(message["Timestamp"]).timestamp()
    return Notification(CHANNELS[1], message["Subject"], message["Message"], arrived)
