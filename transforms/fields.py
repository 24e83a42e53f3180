"""Where a detector finds what in a record, and what it takes to read it."""

from __future__ import annotations

import csv
import datetime as dt
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import orjson

from transforms.records import MICROSECONDS, NO_ID, Batch, record_id

MOST_VALUE = 1e150
"""Values beyond this are refused: their squares would leave the range of float64."""
FUTURE_MICROS = 86_400 * MICROSECONDS
"""An event time so far ahead of the clock is refused: it would close periods yet to come."""
LAST_MICROS = 253_402_300_799 * MICROSECONDS
"""9999-12-31 23:59:59, the last event time that a counter may reach: it knows no clock."""
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_EPOCH_UTC = _EPOCH.replace(tzinfo=None)
_MOST_UNIX = 1e18
_INTEGER = re.compile(r"\s*[+-]?[0-9]+\s*")
_POSITION_BITS = 40


class Unusable(ValueError):
    """Why a record cannot be used."""


@dataclass(frozen=True)
class Fields:
    """Where one detector finds what in a record.

    Parameters
    ----------
    detector : str
        Its name.
    measure : str
        Field of the value; also the measure's name.
    dimensions : tuple of str
        Fields that name the series.
    time_field : str or None
        Field of the event time; None: the broker's time. Not read with ``counter``.
    time_format : str
        ``iso8601``, ``unix_s``, ``unix_ms``, ``unix_us`` or ``counter``.
    time_zone : str
        Zone of ISO 8601 texts without an offset.
    step : int
        ``counter`` only: microseconds between two positions.
    record_id : str or None
        Field of the record's ID.
    by_position : bool
        Keep the record's position in place of an ID.
    """

    detector: str
    measure: str
    dimensions: tuple[str, ...] = ()
    time_field: str | None = None
    time_format: str = "iso8601"
    time_zone: str = "UTC"
    step: int = MICROSECONDS
    record_id: str | None = None
    by_position: bool = False


Record = dict[str, Any]
Decode = Callable[[bytes], Record]


def _json_record(payload: bytes) -> Record:
    try:
        record = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise Unusable(f"not JSON: {error}") from error
    if not isinstance(record, dict):
        raise Unusable(f"not a JSON object but {_shown(record)}")
    return record


def _cells(line: bytes, encoding: str = "utf-8") -> list[str]:
    return next(csv.reader([line.decode(encoding)], strict=True), [])


def _csv_decoder(header: bytes) -> Decode:
    try:
        names = _cells(header, "utf-8-sig")
    except (UnicodeDecodeError, csv.Error) as error:
        return _refuse_all(f"the header is not a CSV line in UTF-8: {error}")

    def decode(payload: bytes) -> Record:
        try:
            cells = _cells(payload)
        except (UnicodeDecodeError, csv.Error) as error:
            raise Unusable(f"not a CSV line in UTF-8: {error}") from error
        if len(cells) != len(names):
            raise Unusable(f"{len(cells)} cells, the header has {len(names)}")
        return dict(zip(names, cells, strict=True))

    return decode


def _refuse_all(reason: str) -> Decode:
    def decode(_: bytes) -> Record:
        raise Unusable(reason)

    return decode


def _number_decoder(measures: Iterable[str]) -> Decode:
    names = tuple(measures)

    def decode(payload: bytes) -> Record:
        try:
            return dict.fromkeys(names, payload.decode())
        except UnicodeDecodeError as error:
            raise Unusable(f"not a number in UTF-8: {error}") from error

    return decode


def decoder(payload_format: str, header: bytes, measures: Iterable[str]) -> Decode:
    """What turns one payload into a record of fields, or raises `Unusable`.

    Parameters
    ----------
    payload_format : str
        ``json``, ``csv`` or ``number``.
    header : bytes
        ``csv`` only: the line that names the columns.
    measures : iterable of str
        ``number`` only: the names that the one number goes by.
    """
    if payload_format == "csv":
        return _csv_decoder(header)
    if payload_format == "number":
        return _number_decoder(measures)
    return _json_record


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _number(text: str) -> float:
    """The number that ``text`` is; ValueError for what only Python takes for one."""
    if "_" in text or not text.isascii():
        raise ValueError(text)
    return float(text)


def _value(record: Record, field: str) -> float:
    value = record.get(field)
    if type(value) is float and -MOST_VALUE <= value <= MOST_VALUE:
        return value
    if value is None:
        raise Unusable(f"field {field!r} is missing" if field not in record else f"{field} is null")
    if isinstance(value, str):
        try:
            value = _number(value)
        except ValueError:
            raise Unusable(f"{field} is not a number: {_shown(value)}") from None
    elif type(value) is not int and type(value) is not float:
        raise Unusable(f"{field} is not a number: {_shown(value)}")
    if not math.isfinite(value):
        raise Unusable(f"{field} is not finite: {value}")
    if not -MOST_VALUE <= value <= MOST_VALUE:
        raise Unusable(f"{field} is beyond +-{MOST_VALUE:g}: {_shown(value)}")
    return float(value)


def _dimension(record: Record, field: str) -> str:
    value = record.get(field)
    if value is None:
        raise Unusable(f"dimension {field!r} is missing")
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return orjson.dumps(value).decode()
    raise Unusable(f"dimension {field} is neither text nor a number: {_shown(value)}")


def iso_micros(text: object, zone: ZoneInfo | None) -> int:
    """Microseconds since 1970 of ISO 8601 text; ``zone`` (None: UTC) is for one without offset."""
    if not isinstance(text, str):
        raise Unusable(f"event time is not ISO 8601 text: {_shown(text)}")
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise Unusable(f"event time is not ISO 8601: {_shown(text)}") from None
    if moment.tzinfo is None and zone is not None:
        moment = moment.replace(tzinfo=zone)
    since = moment - (_EPOCH_UTC if moment.tzinfo is None else _EPOCH)
    return (since.days * 86_400 + since.seconds) * MICROSECONDS + since.microseconds


def unix_micros(value: object, unit: int) -> int:
    """Microseconds since 1970 of a number, or its text, in units of ``unit`` microseconds."""
    if isinstance(value, str):
        try:
            # an integer of microseconds since 1970 has more digits than a float keeps
            value = int(value) if _INTEGER.fullmatch(value) else _number(value)
        except ValueError:
            raise Unusable(f"event time is not a number: {_shown(value)}") from None
    if type(value) is not int and type(value) is not float:
        raise Unusable(f"event time is not a number: {_shown(value)}")
    if not abs(value) <= _MOST_UNIX:  # nor is NaN
        raise Unusable(f"event time is not within +-{_MOST_UNIX:g}: {_shown(value)}")
    return round(value * unit)


UNITS = {"unix_s": MICROSECONDS, "unix_ms": 1000, "unix_us": 1}


@lru_cache(maxsize=64)
def zone_of(name: str) -> ZoneInfo | None:
    """The time zone of that name; None for UTC."""
    return None if name == "UTC" else ZoneInfo(name)


def micros_of(value: object, time_format: str, time_zone: str) -> int:
    """Microseconds since 1970 of an event time as `Fields` say it is written, or `Unusable`."""
    if time_format == "iso8601":
        return iso_micros(value, zone_of(time_zone))
    return unix_micros(value, UNITS[time_format])


def _event_time(record: Record, fields: Fields, position: int, broker_time: int) -> int:
    if fields.time_format == "counter":
        return position * fields.step
    if fields.time_field is None:
        return broker_time
    value = record.get(fields.time_field)
    if value is None:
        raise Unusable(f"event time field {fields.time_field!r} is missing")
    return micros_of(value, fields.time_format, fields.time_zone)


def _checked_time(micros: int, fields: Fields, now: int) -> int:
    if micros < 0:
        raise Unusable(f"event time is before 1970: {micros // MICROSECONDS} seconds since 1970")
    if fields.time_format == "counter":
        if micros > LAST_MICROS:
            raise Unusable("event time is after the year 9999: the position times step")
    elif micros > now + FUTURE_MICROS:
        raise Unusable(
            "event time is more than a day in the future: "
            f"{micros // MICROSECONDS} seconds since 1970"
        )
    return micros


class Point(NamedTuple):
    """What a detector reads from one record.

    Attributes
    ----------
    time : int
        Event time, microseconds since 1970.
    value : float
        Measured value, finite.
    id : int
        Record ID, or place among all records where the job orders by position; 0 without.
    names : tuple of str
        Values of the dimensions.
    """

    time: int
    value: float
    id: int
    names: tuple[str, ...]


def read_point(record: Record, batch: Batch, i: int, fields: Fields, now: int) -> Point:
    """The point that the batch's ``i``-th record is to a detector, or `Unusable`."""
    position = batch.first_position + i
    value = _value(record, fields.measure)
    micros = _checked_time(_event_time(record, fields, position, batch.time), fields, now)
    identity = int(NO_ID)
    if fields.by_position:
        identity = place_of(batch, position)
    elif fields.record_id is not None:
        identity = record_id(_id_of(record, fields.record_id))
    return Point(micros, value, identity, tuple([_dimension(record, d) for d in fields.dimensions]))


def place_of(batch: Batch, position: int) -> int:
    """A record's place among all records of the job: by source, then by position there."""
    return (batch.ordinal << _POSITION_BITS) + position


def _id_of(record: Record, field: str) -> object:
    value = record.get(field)
    if value is None:
        raise Unusable(f"record ID {field!r} is missing")
    return value
