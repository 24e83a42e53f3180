"""The folder a lake lies in: on a local disk or on S3, through Arrow's file systems."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from pyarrow import fs

from lake.tables import LakeError

S3_ATTEMPTS = 5
"""Times a request to S3 is made before its error is reported; Arrow waits longer each time."""
JOURNAL = "_compacting.json"
"""Object of a day that is being compacted; see `lake.compact`. Engines skip names with ``_``."""
_DAY = re.compile(r"date=(\d{4}-\d{2}-\d{2})")


@dataclass(frozen=True, order=True)
class StoredObject:
    """One Parquet object: ``TABLE/date=DATE/NAME`` below the lake's folder.

    ``changed_ns`` is when it was last written, in nanoseconds since 1970.
    """

    table: str
    date: str
    name: str
    size: int
    changed_ns: int

    @property
    def key(self) -> str:
        """Its path below the lake's folder."""
        return f"{self.table}/date={self.date}/{self.name}"


class Store:
    """A lake's folder.

    Parameters
    ----------
    location : str
        A local folder, or ``s3://bucket/folder``. Credentials, region and endpoint are found as
        AWS's own tools find them (environment, profile, role).

    Raises
    ------
    LakeError
        If ``location`` is neither; from the methods, if the store refuses.
    """

    def __init__(self, location: str) -> None:
        self.location = location.rstrip("/")
        self.is_s3 = location.startswith("s3://")
        if self.is_s3:
            self.root = self.location.removeprefix("s3://")
            retry = fs.AwsStandardS3RetryStrategy(max_attempts=S3_ATTEMPTS)
            self.files: fs.FileSystem = fs.S3FileSystem(
                retry_strategy=retry, allow_delayed_open=True, **_endpoint()
            )
        elif "://" in location:
            raise LakeError(f"a lake is a folder or s3://bucket/folder, got {location!r}")
        else:
            self.root = self.location or "/"
            self.files = fs.LocalFileSystem()

    def path(self, key: str) -> str:
        """Path of a key in `files`."""
        return f"{self.root}/{key}"

    def objects(self, table: str, first_date: str = "", last_date: str = "9") -> list[StoredObject]:
        """The Parquet objects of a table from one day to another, both included, by name.

        Left out are objects that a compaction under way has put into another one already.
        """
        found, journals = self._listed(table, first_date, last_date)
        for key in journals:
            found = self._without_superseded(found, key)
        return found

    def all_objects(self, table: str, date: str = "") -> list[StoredObject]:
        """All Parquet objects of a table, or of one day of it, whatever a journal says."""
        return self._listed(table, date, date or "9")[0]

    def journals(self, table: str) -> list[str]:
        """Keys of the journals of a table's compactions that have not come to their end."""
        return self._listed(table, "", "9")[1]

    def _listed(
        self, table: str, first_date: str, last_date: str
    ) -> tuple[list[StoredObject], list[str]]:
        selector = fs.FileSelector(self.path(table), allow_not_found=True, recursive=True)
        with self._clear("list", table):
            infos = self.files.get_file_info(selector)
        objects, journals = [], []
        for info in infos:
            folder, _, name = info.path.rpartition("/")
            day = _DAY.fullmatch(folder.rpartition("/")[2])
            if info.type != fs.FileType.File or not day or not first_date <= day[1] <= last_date:
                continue
            if name == JOURNAL:
                journals.append(f"{table}/date={day[1]}/{name}")
            elif name.endswith(".parquet") and not name.startswith(("_", ".")):
                objects.append(
                    StoredObject(table, day[1], name, int(info.size), int(info.mtime_ns or 0))
                )
        return sorted(objects), sorted(journals)

    def _without_superseded(self, found: list[StoredObject], key: str) -> list[StoredObject]:
        try:
            journal = json.loads(self.read(key))
        except FileNotFoundError:  # that compaction came to its end just now
            return found
        names = {key.replace(JOURNAL, name) for name in journal["objects"]}
        if names <= {each.key for each in found}:
            gone = {StoredObject(**source).key for source in journal["sources"]}
        else:
            gone = names
        return [each for each in found if each.key not in gone]

    def read(self, key: str) -> bytes:
        """All bytes of an object.

        Raises
        ------
        FileNotFoundError
            If there is none.
        """
        with self._clear("read", key), self.files.open_input_stream(self.path(key)) as file:
            return bytes(file.read())

    def write(self, key: str, content: bytes) -> None:
        """Write an object whole or not at all: on S3 by its nature, on a disk by a rename."""
        path = self.path(key)
        folder, _, name = path.rpartition("/")
        with self._clear("write", key):
            if self.is_s3:
                self._put(path, content)
                return
            self.files.create_dir(folder, recursive=True)
            self._put(f"{folder}/_{name}.part", content)
            self.files.move(f"{folder}/_{name}.part", path)

    def _put(self, path: str, content: bytes) -> None:
        with self.files.open_output_stream(path) as file:
            file.write(content)

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; one that is gone already is no error."""
        for key in keys:
            try:
                with self._clear("delete", key):
                    self.files.delete_file(self.path(key))
            except FileNotFoundError:
                continue

    def delete_folder(self, key: str) -> None:
        """Delete a folder and all in it."""
        with self._clear("delete", key):
            self.files.delete_dir(self.path(key))

    @contextmanager
    def _clear(self, action: str, key: str) -> Iterator[None]:
        """Turn what Arrow says into a sentence on what was tried, and on what."""
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise LakeError(store_error(action, f"{self.location}/{key}", error)) from error


def _endpoint() -> dict[str, str]:
    """Where S3 is, if the environment says so, as for boto3; Arrow does not look there itself."""
    url = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if not url:
        return {}
    scheme, _, host = url.rstrip("/").rpartition("://")
    return {"endpoint_override": host, "scheme": scheme or "https"}


def store_error(action: str, place: str, error: Exception) -> str:
    """Word the error that a store gave when ``action`` was tried at ``place``."""
    text = " ".join(str(error).split())
    if "ACCESS_DENIED" in text or isinstance(error, PermissionError):
        needed = {"list": "ListBucket", "write": "PutObject", "delete": "DeleteObject"}
        hint = f"the role or user needs s3:{needed.get(action, 'GetObject')} there"
        reason = f"access denied; {hint}" if place.startswith("s3://") else "access denied"
    elif "NO_SUCH_BUCKET" in text:
        reason = "there is no such bucket"
    elif "SLOW_DOWN" in text or "SERVICE_UNAVAILABLE" in text or "INTERNAL_FAILURE" in text:
        reason = f"S3 did not answer in {S3_ATTEMPTS} attempts; try again later ({text})"
    else:
        reason = text
    return f"cannot {action} {place}: {reason}"
