"""What goes wrong at Kafka: what passes is told once in a while, what does not ends the bundle."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException

_LOG = logging.getLogger(__name__)
_SILENCE_SECONDS = 30.0
_PASSING = {
    KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001 - the client's own names
    KafkaError._RESOLVE,  # noqa: SLF001
    KafkaError._TIMED_OUT,  # noqa: SLF001
    KafkaError._TRANSPORT,  # noqa: SLF001
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
}


class ReadFailed(RuntimeError):
    """A topic cannot be read on; trying again does not help."""


class NotDelivered(RuntimeError):
    """The cluster did not take some messages; the bundle must be done again."""


class Seldom:
    """Logs an error of the client, and then is silent for a while.

    Parameters
    ----------
    what : str
        What the error is about.
    clock : callable, optional
        Seconds, for tests.
    """

    def __init__(self, what: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._what = what
        self._clock = clock
        self._silent_until = -1e300

    def __call__(self, error: KafkaError | KafkaException | str) -> None:
        """Log it, unless another was logged a short while ago."""
        now = self._clock()
        if now >= self._silent_until:
            self._silent_until = now + _SILENCE_SECONDS
            _LOG.warning("%s: %s; still trying", self._what, error_text(error))


def error_text(error: KafkaError | KafkaException | str) -> str:
    """What went wrong, with Kafka's own name of it."""
    if isinstance(error, KafkaException):
        error = error.args[0]
    return f"{error.name()}: {error.str()}" if isinstance(error, KafkaError) else str(error)


def passes(error: KafkaError, place: str, offset: int | None) -> bool:
    """Whether an error that a consumer met at ``place`` goes away by itself.

    Raises
    ------
    ReadFailed
        It does not.
    """
    if error.code() in _PASSING:
        return True
    if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001
        raise ReadFailed(
            f"{place}: offset {offset} is no longer there (deleted by the topic's retention, or the"
            " topic was made anew). Records are lost: keep them longer, and start the job without"
            " its savepoint to read what is left"
        )
    raise ReadFailed(f"{place}: {error_text(error)}")
