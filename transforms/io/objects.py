"""Objects of a lake: read whole, and put whole in one request under their final name.

A local folder, S3 through boto3, and what else Beam has file systems for. `Store.replace` names the
version that it replaces; S3 refuses it if someone else wrote the object in between, so that a
worker that was given up and still runs cannot undo what its successor wrote.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions, S3Options
from botocore.exceptions import ClientError
from tenacity import stop_after_delay

from transforms.io import aws

_LOGGER = logging.getLogger(__name__)
RETRYING = aws.retrying(_LOGGER)
_MISSING = "NoSuchKey"
_CHANGED = "PreconditionFailed"
Result = TypeVar("Result")


class Changed(Exception):
    """The object is not the version that was to be replaced."""


class Stored(NamedTuple):
    """An object as it was read.

    Attributes
    ----------
    data : bytes
        All of it.
    version : str
        Names this version of the object; empty where the store has no such names.
    """

    data: bytes
    version: str = ""


class Store(Protocol):
    """Where objects are kept."""

    def read(self, path: str) -> Stored | None:
        """The object, or None if there is none."""
        ...

    def put(self, path: str, data: bytes) -> None:
        """Write the object whole, whatever was there."""
        ...

    def replace(self, path: str, data: bytes, known: Stored | None) -> None:
        """Write the object in place of the one ``known`` (None: there was none), or `Changed`."""
        ...


def store_at(
    path: str, options: PipelineOptions, patience_seconds: int = aws.PATIENCE_SECONDS
) -> Store:
    """The store that ``path`` lies in; of the options only where S3 is, no credentials."""
    if path.startswith("s3://"):
        s3 = options.view_as(S3Options)
        return S3Store(s3.s3_endpoint_url, s3.s3_region_name, patience_seconds)
    return BeamStore() if "://" in path else LocalStore()


@dataclass(frozen=True)
class LocalStore:
    """Files of this machine; one worker at a time may write an object."""

    def read(self, path: str) -> Stored | None:
        """The file, or None."""
        try:
            with open(path, "rb") as file:
                return Stored(file.read())
        except FileNotFoundError:
            return None

    def put(self, path: str, data: bytes) -> None:
        """Write the file; a reader sees the one before or this one, never half of it."""
        folder = os.path.dirname(path)
        os.makedirs(folder, exist_ok=True)
        handle, beside = tempfile.mkstemp(prefix=".", suffix=".part", dir=folder)
        try:
            with open(handle, "wb") as file:
                file.write(data)
            os.chmod(beside, 0o644)
            os.replace(beside, path)
        except BaseException:
            os.unlink(beside)
            raise

    def replace(self, path: str, data: bytes, known: Stored | None) -> None:
        """As `put`."""
        self.put(path, data)


@dataclass(frozen=True)
class BeamStore:
    """What Beam has a file system for, ``gs://`` first of all; Beam does the retries."""

    def read(self, path: str) -> Stored | None:
        """The object, or None."""
        if not FileSystems.exists(path):
            return None
        with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            return Stored(file.read())

    def put(self, path: str, data: bytes) -> None:
        """Write the object; it is there when it is closed."""
        with FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            file.write(data)

    def replace(self, path: str, data: bytes, known: Stored | None) -> None:
        """As `put`: Beam's file systems cannot name a version."""
        self.put(path, data)


@dataclass(frozen=True)
class S3Store:
    """S3, or what speaks its protocol; credentials are the worker's own.

    A service that refuses for a while is waited for (`aws.retrying`); missing permission and a
    missing bucket fail at once.

    Parameters
    ----------
    endpoint_url : str, optional
        Without it what ``AWS_ENDPOINT_URL`` says, else AWS.
    region : str, optional
        Without it that of the environment or profile.
    patience_seconds : int
        How long the service may refuse before a call fails.
    """

    endpoint_url: str | None = None
    region: str | None = None
    patience_seconds: int = aws.PATIENCE_SECONDS

    def read(self, path: str) -> Stored | None:
        """The object, or None."""
        bucket, key = _bucket_and_key(path)

        def get() -> Stored | None:
            try:
                answer = self._s3.get_object(Bucket=bucket, Key=key)
            except ClientError as error:
                if aws.code_of(error) == _MISSING:
                    return None
                raise
            return Stored(answer["Body"].read(), answer["ETag"])

        # without s3:ListBucket S3 says "access denied" for an object that is not there
        return self._tried("s3:GetObject (and s3:ListBucket)", bucket, key, get)

    def put(self, path: str, data: bytes) -> None:
        """Write the object in one request."""
        self._put(path, data, {})

    def replace(self, path: str, data: bytes, known: Stored | None) -> None:
        """Write the object in one request, unless another has written it since it was read."""
        condition = {"IfNoneMatch": "*"} if known is None else {"IfMatch": known.version}
        try:
            self._put(path, data, condition)
        except ClientError as error:
            if aws.code_of(error) in (_CHANGED, _MISSING):
                raise Changed(path) from error
            raise

    def _put(self, path: str, data: bytes, condition: dict[str, str]) -> None:
        bucket, key = _bucket_and_key(path)
        self._tried(
            "s3:PutObject",
            bucket,
            key,
            lambda: self._s3.put_object(Bucket=bucket, Key=key, Body=data, **condition),
        )

    def _tried(self, action: str, bucket: str, key: str, call: Callable[[], Result]) -> Result:
        """What ``call`` gives, tried for a while; says what is not allowed where it is not."""
        retrying = RETRYING
        if self.patience_seconds != aws.PATIENCE_SECONDS:
            retrying = RETRYING.copy(stop=stop_after_delay(self.patience_seconds))
        try:
            return retrying(call)
        except ClientError as error:
            if aws.is_denied(error):
                raise PermissionError(
                    f"{action} is denied on bucket {bucket!r}, key {key!r}: {error}; "
                    "allow it to the worker's credentials"
                ) from error
            raise

    @property
    def _s3(self) -> Any:
        return aws.client("s3", self.endpoint_url, self.region)


def _bucket_and_key(path: str) -> tuple[str, str]:
    bucket, _, key = path.removeprefix("s3://").partition("/")
    return bucket, key
