"""What a channel says of a message: taken, or refused and whether that may be over soon."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from transforms.io.notify_message import Message


class Taken(NamedTuple):
    """A message was accepted.

    Attributes
    ----------
    answer : str
        What the channel said, in words.
    missed : str
        Who does not get it all the same, and why; empty: nobody.
    """

    answer: str
    missed: str = ""


class Refused(Exception):
    """A message was not accepted.

    Parameters
    ----------
    reason : str
        In words; holds no secret.
    passing : bool
        Whether it may be over soon (network, overload, failing service); else what was asked is
        wrong (access denied, bad address), and asking again helps only when somebody mends it.
    """

    def __init__(self, reason: str, passing: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.passing = passing


class Channel(Protocol):
    """Where notifications go: small, pickled with the job, without secrets."""

    @property
    def place(self) -> str:
        """Where messages go, for people; no secret."""
        ...

    def send(self, message: Message) -> Taken:
        """Deliver one message, or raise `Refused`; takes at most some ten seconds."""
        ...
