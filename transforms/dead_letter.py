"""The one place that shapes a record nobody could use."""

from __future__ import annotations

import base64
from typing import NamedTuple

import numpy as np
import orjson

from transforms.records import Batch, text_times


class DeadLetter(NamedTuple):
    """A refused record.

    Attributes
    ----------
    position : int
        Its place in the batch, from 0.
    reason : str
        What is wrong with it, in words.
    detector : str or None
        The detector it failed for; None: no detector could use it.
    """

    position: int
    reason: str
    detector: str | None = None


def dead_letter_line(batch: Batch, letter: DeadLetter, step: str) -> bytes:
    """A dead letter as JSON, the payload byte for byte in base64."""
    return orjson.dumps(
        {
            "reason": letter.reason,
            "step": step,
            "detectorName": letter.detector,
            "source": batch.source,
            "position": batch.first_position + letter.position,
            "time": text_times(np.array([batch.time]))[0],
            "payload": base64.b64encode(batch.payloads[letter.position]).decode(),
        }
    )
