"""Messages from files and generators: JSON lines as they are, CSV and numbers as JSON objects."""

from __future__ import annotations

import csv
import datetime as dt
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from ingest.publisher import Message

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
"""A number in JSON; 007 is text."""
FORMATS = ("csv", "jsonl")


class NoMessages(ValueError):
    """A file cannot be read; the text says which, where and why."""


def lines_of(path: Path, form: str) -> Iterator[bytes]:
    """The file's records as JSON, one a line of JSON or a row of CSV; empty lines are left out.

    Lines of JSON are not looked at: what is broken is sent broken. In CSV, what looks like a number
    of JSON becomes one, an empty field null.

    Raises
    ------
    NoMessages
        The file cannot be read, or a CSV row has another number of fields than the header.
    """
    try:
        if form == "csv":
            yield from _rows(path)
        else:
            with path.open("rb") as file:
                yield from filter(None, (line.rstrip(b"\r\n") for line in file))
    except OSError as error:
        raise NoMessages(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise NoMessages(f"{path}: is not UTF-8 text (byte {error.start})") from error


def _rows(path: Path) -> Iterator[bytes]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        names = next(reader, [])
        for row in reader:
            if not row:
                continue
            if len(row) != len(names):
                raise NoMessages(
                    f"{path}, line {reader.line_num}: has {len(row)} fields, the header "
                    f"{len(names)}"
                )
            yield orjson.dumps(dict(zip(names, map(_value, row), strict=True)))


def _value(text: str) -> Any:
    if not text:
        return None
    # as it is written: no digit is lost or gained
    return orjson.Fragment(text) if _NUMBER.fullmatch(text) else text


def messages(
    lines: Iterable[bytes],
    key: str | None = None,
    stamp: str | None = None,
    now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
) -> Iterator[Message]:
    """Messages with keys and time stamps.

    Parameters
    ----------
    lines : iterable of bytes
        JSON.
    key : str, optional
        Field whose value is the message's key.
    stamp : str, optional
        Field that gets the present time, when the message is asked for.
    now : callable, optional
        The present time.
    """
    for line in lines:
        if key is None and stamp is None:
            yield Message(line)
            continue
        record = _record(line)
        if record is None:
            yield Message(line)
            continue
        found = record.get(key) if key else None
        if stamp:
            record[stamp] = now()
            line = orjson.dumps(record, option=orjson.OPT_UTC_Z)
        yield Message(line, None if found is None else str(found))


def _record(line: bytes) -> dict[str, Any] | None:
    """The object of a line; None for what is none, which is sent as it is."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return record if isinstance(record, dict) else None
