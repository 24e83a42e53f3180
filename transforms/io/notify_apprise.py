"""Notifications through what apprise knows: Slack, Teams, PagerDuty, webhooks, a hundred more."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import unquote

import apprise

from transforms.io.notify_answer import Refused, Taken
from transforms.io.notify_message import Message
from transforms.io.secret import read_secret

_LOGGER = logging.getLogger("apprise")
_STATUS = re.compile(r"error=(\d{3})\b")
_REQUEST_TIMEOUT, _TOO_MANY, _CLIENT_ERROR, _SERVER_ERROR = 408, 429, 400, 500
_LEAST_SECRET = 4
_TYPES = {
    "alert": apprise.NotifyType.WARNING,
    "digest": apprise.NotifyType.WARNING,
    "recovery": apprise.NotifyType.SUCCESS,
    "test": apprise.NotifyType.INFO,
}


@dataclass(frozen=True)
class AppriseChannel:
    """A service by apprise's address of it, which holds its secrets.

    Parameters
    ----------
    url : str
        Where the address is: see `transforms.io.secret`.
    """

    url: str

    @property
    def place(self) -> str:
        """Where messages go, for people: never the address itself."""
        return f"apprise, address in {self.url}"

    def send(self, message: Message) -> Taken:
        """Notify.

        Raises
        ------
        Refused
            The service did not take it.
        """
        try:
            address = read_secret("url", self.url)
        except ValueError as error:
            raise Refused(f"{self.place}: {error}", passing=False) from error
        asset = apprise.AppriseAsset(app_id="Tidewatch")
        with _said() as lines:
            service = apprise.Apprise.instantiate(address, asset=asset)
            if service is None:
                reason = "apprise does not take the address; see its documentation of the service"
                raise Refused(f"{self.place}: {reason}", passing=False)
            # not through `Apprise.notify`, which may send, and log, in a thread of its own
            taken = service.notify(
                body=message.body,
                title=message.title,
                notify_type=_TYPES[message.kind],
                body_format=apprise.NotifyFormat.TEXT,
            )
        name = str(service.service_name)
        if taken:
            return Taken(f"taken by {name}")
        reason = _without(address, "; ".join(lines)) or "it gave no reason"
        raise Refused(f"{self.place}: {name}: {reason}", _is_passing(lines))


def _is_passing(lines: list[str]) -> bool:
    """What apprise says of a failure is its log; a refusal by HTTP has its status there."""
    found = [int(status) for line in lines for status in _STATUS.findall(line)]
    refused = [
        status
        for status in found
        if _CLIENT_ERROR <= status < _SERVER_ERROR and status not in (_REQUEST_TIMEOUT, _TOO_MANY)
    ]
    return not refused


def _without(address: str, text: str) -> str:
    """``text`` without any part of the address that may be a secret."""
    _, _, rest = address.partition("://")
    parts = {*re.split(r"[/?&=:@,]", rest), *re.split(r"[/?&=:@,]", unquote(rest))}
    for part in sorted(parts, key=len, reverse=True):
        if len(part) >= _LEAST_SECRET:
            text = text.replace(part, "***")
    return text


class _Lines(logging.Handler):
    """What one thread's call of apprise logs; it may hold an address, so it goes nowhere else."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._thread = threading.get_ident()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.lines.append(" ".join(record.getMessage().split()))


@contextmanager
def _said() -> Iterator[list[str]]:
    handler = _Lines()
    _LOGGER.propagate = False
    _LOGGER.setLevel(logging.WARNING)  # below that it logs addresses and payloads
    _LOGGER.addHandler(handler)
    try:
        yield handler.lines
    finally:
        _LOGGER.removeHandler(handler)
