"""What takes messages: sends in the background, and says whether each of them has arrived."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Message(NamedTuple):
    """What is sent, and the key by which it is placed."""

    payload: bytes
    key: str | None = None


class NotPublished(RuntimeError):
    """Some messages were not taken; they must be sent again.

    Parameters
    ----------
    message : str
        How many, where to, and why.
    may_pass : bool
        Whether it may be over soon, so that trying again helps.
    failed : sequence of Message
        Which; empty if that is not known, and then all since the last flush may be among them.
    """

    def __init__(self, message: str, may_pass: bool, failed: Sequence[Message] = ()) -> None:
        super().__init__(message)
        self.may_pass = may_pass
        self.failed = failed


class Publisher(Protocol):
    """A topic or a stream, for one thread."""

    def send(self, payload: bytes, key: str | None = None) -> None:
        """Take a message; it may be under way until `flush`."""

    def flush(self) -> None:
        """Return when each message sent since the last flush has arrived.

        Raises
        ------
        NotPublished
            Some have not. None is remembered: they must be sent anew.
        """

    def close(self) -> None:
        """Forget what has not arrived, and let go of connections."""
