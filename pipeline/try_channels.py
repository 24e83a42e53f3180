"""One test message to each channel of a job, and what each answered."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import NamedTuple

from pipeline.job import Job
from pipeline.recipients import recipients_of, wording_of
from transforms.io.notify_answer import Refused


class Tried(NamedTuple):
    """What became of one channel's test message.

    Attributes
    ----------
    channel : str
        The channel's name.
    place : str
        Where it goes.
    works : bool
        Whether everybody gets it.
    answer : str
        What the channel said.
    """

    channel: str
    place: str
    works: bool
    answer: str


def try_channels(job: Job) -> Iterator[Tried]:
    """Send each channel of the job one message, whatever its quiet hours."""
    wording = wording_of(job)
    for name, recipient in recipients_of(job).items():
        place = recipient.channel.place
        try:
            taken = recipient.channel.send(wording.of_test(name, uuid.uuid4().hex))
        except Refused as error:
            yield Tried(name, place, False, error.reason)
        else:
            answer = "; ".join(filter(None, (taken.answer, taken.missed)))
            yield Tried(name, place, not taken.missed, answer)
