"""Messages into a Kinesis stream: full requests, each record's fate read."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from ingest.publisher import NotPublished
from transforms.io import aws
from transforms.io.kinesis_put import NotDelivered, PutRecords, partition_key_of

_REFUSALS = (NotDelivered, PermissionError, ClientError, BotoCoreError, ValueError)


class KinesisPublisher:
    """See `ingest.publisher.Publisher`; refused records are sent again for five minutes.

    Parameters
    ----------
    stream : str
        Which stream; it must be there.
    region, endpoint_url : str, optional
        As of `transforms.io.aws.client`.
    """

    def __init__(
        self, stream: str, region: str | None = None, endpoint_url: str | None = None
    ) -> None:
        self._put = PutRecords(lambda: aws.client("kinesis", endpoint_url, region), stream)

    def send(self, payload: bytes, key: str | None = None) -> None:
        """Take a message; without a key it goes to any shard."""
        # an empty key is none for Kinesis
        shard_key = partition_key_of(key) if key else f"{random.getrandbits(64):x}"  # noqa: S311
        self._try(lambda: self._put.add(shard_key, payload))

    def flush(self) -> None:
        """Send the rest."""
        self._try(self._put.send)

    def close(self) -> None:
        """Forget what has not been sent."""
        self._put.clear()

    def _try(self, call: Callable[[], Any]) -> None:
        try:
            call()
        except _REFUSALS as error:
            self._put.clear()
            passes = error.may_pass if isinstance(error, NotDelivered) else aws.is_passing(error)
            raise NotPublished(str(error), may_pass=passes) from error
