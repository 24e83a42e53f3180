"""What takes messages: sends in the background, and says whether each of them has arrived."""

from __future__ import annotations

from typing import Protocol


class NotPublished(RuntimeError):
    """Some messages were not taken; they must be sent again.

    Parameters
    ----------
    message : str
        How many, where to, and why.
    may_pass : bool
        Whether it may be over soon, so that trying again helps.
    """

    def __init__(self, message: str, may_pass: bool) -> None:
        super().__init__(message)
        self.may_pass = may_pass


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
