"""The quick way through a batch in which nothing is wrong: all payloads at once, column by column.

Each function gives None as soon as anything is out of the ordinary. The caller then goes record by
record, which says what is wrong with which; where nothing is, both ways give the same blocks.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import orjson

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


_LAST = threading.local()


def json_records(payloads: list[bytes]) -> list[Record] | None:
    """The JSON objects that ``payloads`` are, read in one go.

    The last answer is kept for each thread: a live source looks for the newest event time of the
    batch that is parsed next.
    """
    if getattr(_LAST, "payloads", None) is not payloads:
        _LAST.payloads, _LAST.records = payloads, _json_records(payloads)
    records: list[Record] | None = _LAST.records
    return records


def _json_records(payloads: list[bytes]) -> list[Record] | None:
    try:
        read = orjson.loads(b"[" + _BETWEEN.join(payloads) + b"]")
    except orjson.JSONDecodeError:
        return None
    records = read[::2]
    whole = len(read) == 2 * len(payloads) - 1 and all(mark == _MARK for mark in read[1::2])
    return records if whole and set(map(type, records)) == {dict} else None


def columns(
    records: list[Record],
    value_field: str,
    most_value: float,
    micros_of: Callable[[Any], int],
    time_field: str,
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
    micros_of : callable
        An event time in microseconds since 1970; ValueError where it has none.
    """
    try:
        values = _of_one_type([r[value_field] for r in records], (float, int), mixed=True)
        texts = _of_one_type([r[time_field] for r in records], (str, int, float))
        # series often share their times, so that there are few to read
        known = {text: micros_of(text) for text in set(texts)}
        times = np.array([known[text] for text in texts], np.int64)
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
