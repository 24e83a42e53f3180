"""Lines into a Kinesis stream: many a request, each record's fate read, the refused sent again."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from typing import Any

import apache_beam as beam

from transforms.io import aws
from transforms.io.kinesis_shards import KinesisStream

_LOGGER = logging.getLogger(__name__)
MOST_RECORDS = 500
MOST_BYTES = 5 << 20
"""Of a request, partition keys included."""
MOST_RECORD_BYTES = 1 << 20
_MOST_KEY = 256
_PASSING = frozenset({"ProvisionedThroughputExceededException", "InternalFailure"})


class NotDelivered(RuntimeError):
    """The stream did not take some records; the bundle must be done again."""

    def __init__(self, message: str, may_pass: bool = False) -> None:
        super().__init__(message)
        self.may_pass = may_pass


def _may_pass(error: BaseException) -> bool:
    return error.may_pass if isinstance(error, NotDelivered) else aws.is_passing(error)


RETRYING = aws.retrying(_LOGGER, _may_pass)


class WriteKinesisFn(beam.DoFn):
    """(key, JSON lines) into one record a line; see `transforms.io.kinesis.WriteKinesis`.

    Parameters
    ----------
    stream : KinesisStream
        Where to.
    """

    def __init__(self, stream: KinesisStream) -> None:
        self._stream = stream
        self._records: list[dict[str, Any]] = []
        self._size = 0

    def start_bundle(self) -> None:
        """Forget what a failed bundle left."""
        self._records, self._size = [], 0

    def process(self, element: tuple[str, bytes]) -> None:
        """Gather the lines; send what makes a full request."""
        key, lines = element
        partition_key = partition_key_of(key)
        for line in lines.split(b"\n"):
            if line:
                self._add(partition_key, line)

    def _add(self, key: str, line: bytes) -> None:
        size = len(line) + len(key.encode())
        if size > MOST_RECORD_BYTES:
            raise ValueError(
                f"a record and its key must be <= {MOST_RECORD_BYTES} bytes, got {size}"
            )
        if len(self._records) == MOST_RECORDS or self._size + size > MOST_BYTES:
            self._send()
        self._records.append({"Data": line, "PartitionKey": key})
        self._size += size

    def finish_bundle(self) -> None:
        """Send the rest; the bundle is done when the stream has taken each record."""
        if self._records:
            self._send()

    def _send(self) -> None:
        left, total = self._records, len(self._records)
        self._records, self._size = [], 0

        def put() -> None:
            nonlocal left
            answer = self._stream.client().put_records(StreamName=self._stream.name, Records=left)
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
                    f"kinesis:PutRecords is denied on stream {self._stream.name!r}: {error}; "
                    "allow it to the worker's credentials"
                ) from error
            raise

    def _not_delivered(self, fates: list[dict[str, Any]], total: int) -> NotDelivered:
        codes = Counter(fate["ErrorCode"] for fate in fates)
        return NotDelivered(
            f"{len(fates)} of {total} records were refused by stream {self._stream.name!r}: "
            f"{dict(codes)}, such as {fates[0].get('ErrorMessage')!r}",
            may_pass=codes.keys() <= _PASSING,
        )


def partition_key_of(key: str) -> str:
    """The key, or a hash of one that is too long for Kinesis."""
    return key if len(key) <= _MOST_KEY else hashlib.sha256(key.encode()).hexdigest()
