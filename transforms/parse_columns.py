"""The quick way through a batch in which nothing is wrong: all payloads at once, column by column.

Each function gives None as soon as anything is out of the ordinary. The caller then goes record by
record, which says what is wrong with which; where nothing is, both ways give the same blocks.
"""

from __future__ import annotations

import secrets
import threading
from typing import Any, NamedTuple

import numpy as np
import orjson

from transforms.fields import LAST_MICROS, UNITS, micros_of
from transforms.records import Floats, Integers, record_id

Record = dict[str, Any]

_MARK = secrets.token_hex(16)
_BETWEEN = b',\n"' + _MARK.encode() + b'",\n'
"""Stands between two payloads. A payload that is cut off, or holds more than one value, can neither
hide nor make one: a JSON text has no raw line end, and nobody knows this process's mark."""


class Columns(NamedTuple):
    """Points of several series as they were read.

    Attributes
    ----------
    times : int64[n]
        Event times, microseconds since 1970.
    values : float64[n]
        Measured values.
    ids : int64[n]
        Record IDs; zeros without a field of one.
    names : list of tuple of (str or int)
        Each point's dimensions.
    """

    times: Integers
    values: Floats
    ids: Integers
    names: list[tuple[Any, ...]]


_KEPT_RECORDS = 40_000
_kept: dict[int, tuple[list[bytes], list[Record] | None]] = {}
_kept_lock = threading.Lock()


def json_records(payloads: list[bytes], keep: bool = False) -> list[Record] | None:
    """The JSON objects that ``payloads`` are, read in one go.

    Parameters
    ----------
    payloads : list of bytes
        One text each.
    keep : bool, optional
        Whether the answer is kept for the next time that this very list is asked for: a live source
        looks for the newest event time of what is parsed next. It is kept for one time, and only
        the last `_KEPT_RECORDS` are.
    """
    with _kept_lock:
        kept = _kept.pop(id(payloads), None)
    records = _json_records(payloads) if kept is None else kept[1]
    if keep:
        with _kept_lock:
            _kept[id(payloads)] = payloads, records
            while len(_kept) > 1 and sum(len(each) for each, _ in _kept.values()) > _KEPT_RECORDS:
                del _kept[next(iter(_kept))]
    return records


def _json_records(payloads: list[bytes]) -> list[Record] | None:
    try:
        read = orjson.loads(b"[" + _BETWEEN.join(payloads) + b"]")
    except orjson.JSONDecodeError:
        return None
    records = read[::2]
    whole = len(read) == 2 * len(payloads) - 1 and all(mark == _MARK for mark in read[1::2])
    return records if whole and set(map(type, records)) == {dict} else None


def times_of(column: list[Any], time_format: str, time_zone: str) -> Integers:
    """Event times, microseconds since 1970, of values of one type.

    Raises
    ------
    ValueError, OverflowError
        If a value is no event time.
    """
    if time_format in UNITS and type(column[0]) is int:
        times, most = np.array(column, np.int64), LAST_MICROS // UNITS[time_format]
        if times.min() < -most or times.max() > most:
            raise ValueError
        return times * UNITS[time_format]
    # series often share their times, so that there are few to read
    known = {text: micros_of(text, time_format, time_zone) for text in set(column)}
    return np.array([known[text] for text in column], np.int64)


def columns(
    records: list[Record],
    value_field: str,
    most_value: float,
    time_field: str,
    time_format: str,
    time_zone: str,
    id_field: str | None,
    dimension_fields: tuple[str, ...],
) -> Columns | None:
    """The fields of ``records``, one column each.

    Parameters
    ----------
    records : list of dict
        At least one.
    value_field, time_field, id_field, dimension_fields : str
        Where to find what.
    most_value : float
        Greatest absolute value that is allowed.
    time_format, time_zone : str
        How event times are written; see `transforms.fields.Fields`.
    """
    try:
        values = _of_one_type([r[value_field] for r in records], (float, int), mixed=True)
        texts = _of_one_type([r[time_field] for r in records], (str, int, float))
        times = times_of(texts, time_format, time_zone)
        ids = np.zeros(len(records), np.int64)
        if id_field is not None:
            found = _of_one_type([r[id_field] for r in records], (int, str))
            ids = np.array([record_id(each) for each in found], np.int64)
        names = [
            _of_one_type([r[field] for r in records], (str, int)) for field in dimension_fields
        ]
        measured = np.array(values, np.float64)
    except (KeyError, ValueError, OverflowError):
        return None
    if not (np.abs(measured) <= most_value).all():  # nor is NaN
        return None
    each = list(zip(*names, strict=True)) if names else [()] * len(records)
    return Columns(times, measured, ids, each)


def _of_one_type(column: list[Any], allowed: tuple[type, ...], mixed: bool = False) -> list[Any]:
    # equal values of two types, such as 1, 1.0 and true, would be taken for one another
    types = set(map(type, column))
    if not types.issubset(allowed) or (len(types) > 1 and not mixed):
        raise ValueError
    return column


def by_series(found: Columns) -> list[tuple[tuple[Any, ...], Integers]]:
    """Each series' dimensions, and its rows in the order read."""
    codes: dict[tuple[Any, ...], int] = {}
    numbers = np.array([codes.setdefault(name, len(codes)) for name in found.names], np.int64)
    order = np.argsort(numbers, kind="stable")
    bounds = np.searchsorted(numbers[order], np.arange(len(codes) + 1))
    return [(name, order[bounds[k] : bounds[k + 1]]) for name, k in codes.items()]
