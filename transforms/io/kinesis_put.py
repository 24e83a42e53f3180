"""Records into a Kinesis stream: many a request, each one's fate read, the refused sent again."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

from transforms.io import aws

_LOGGER = logging.getLogger(__name__)
MOST_RECORDS = 500
MOST_BYTES = 5 << 20
"""Of a request, partition keys included."""
MOST_RECORD_BYTES = 1 << 20
_MOST_KEY = 256
_PASSING = frozenset({"ProvisionedThroughputExceededException", "InternalFailure"})


class NotDelivered(RuntimeError):
    """The stream did not take some records; they must be sent again."""

    def __init__(self, message: str, may_pass: bool = False) -> None:
        super().__init__(message)
        self.may_pass = may_pass


def _may_pass(error: BaseException) -> bool:
    return error.may_pass if isinstance(error, NotDelivered) else aws.is_passing(error)


RETRYING = aws.retrying(_LOGGER, _may_pass)


class PutRecords:
    """Gathers records and sends what makes a full request.

    Parameters
    ----------
    client : callable
        Gives the client; called for each request.
    stream : str
        The stream's name.
    """

    def __init__(self, client: Callable[[], Any], stream: str) -> None:
        self._client = client
        self._stream = stream
        self._records: list[dict[str, Any]] = []
        self._size = 0

    def clear(self) -> None:
        """Forget what was gathered and not sent."""
        self._records, self._size = [], 0

    def add(self, partition_key: str, data: bytes) -> None:
        """Gather one record.

        Raises
        ------
        ValueError
            If it is larger than Kinesis allows.
        NotDelivered, PermissionError, ClientError, BotoCoreError
            As `send`, if a request is full.
        """
        size = len(data) + len(partition_key.encode())
        if size > MOST_RECORD_BYTES:
            raise ValueError(
                f"a record and its key must be <= {MOST_RECORD_BYTES} bytes, got {size}"
            )
        if len(self._records) == MOST_RECORDS or self._size + size > MOST_BYTES:
            self.send()
        self._records.append({"Data": data, "PartitionKey": partition_key})
        self._size += size

    def send(self) -> None:
        """Send what was gathered; returns when the stream has taken each record.

        Raises
        ------
        NotDelivered
            The stream refused some, for minutes.
        PermissionError
            The credentials may not write.
        ClientError, BotoCoreError
            The service or the network failed, for minutes if it may pass.
        """
        if not self._records:
            return
        left, total = self._records, len(self._records)
        self._records, self._size = [], 0

        def put() -> None:
            nonlocal left
            answer = self._client().put_records(StreamName=self._stream, Records=left)
            refused = [
                (record, fate)
                for record, fate in zip(left, answer["Records"], strict=True)
                if fate.get("ErrorCode")
            ]
            left = [record for record, _ in refused]
            if refused:
                raise self._not_delivered([fate for _, fate in refused], total)

        try:
            RETRYING(put)
        except Exception as error:
            if aws.is_denied(error):
                raise PermissionError(
                    f"kinesis:PutRecords is denied on stream {self._stream!r}: {error}; "
                    "allow it to the worker's credentials"
                ) from error
            raise

    def _not_delivered(self, fates: list[dict[str, Any]], total: int) -> NotDelivered:
        codes = Counter(fate["ErrorCode"] for fate in fates)
        return NotDelivered(
            f"{len(fates)} of {total} records were refused by stream {self._stream!r}: "
            f"{dict(codes)}, such as {fates[0].get('ErrorMessage')!r}",
            may_pass=codes.keys() <= _PASSING,
        )


def partition_key_of(key: str) -> str:
    """The key, or a hash of one that is too long for Kinesis."""
    return key if len(key) <= _MOST_KEY else hashlib.sha256(key.encode()).hexdigest()
