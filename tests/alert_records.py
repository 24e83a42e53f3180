"""Alerts and recoveries as the stream has them, for tests of what is done with them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import orjson

START = dt.datetime(2026, 3, 2, 18, 11, tzinfo=dt.UTC)


def alert(number: int = 0, **changes: Any) -> dict[str, Any]:
    """Alert ``number``: an hour after the one before, of item-A, item-B and so on."""
    item = "ABCDEFGHIJ"[number % 10]
    time = f"{START + dt.timedelta(hours=number):%Y-%m-%d %H:%M:%S}"
    return {
        "event": "alert",
        "alertId": f"a{number:031x}",
        "detectorName": "sales",
        "measure": "quantity",
        "timeseriesId": f"{number % 10:064x}",
        "dimensionList": [{"name": "product_name", "value": f"item-{item}"}],
        "since": time,
        "time": time,
        "aggregatedMeasureValue": 42.0 + number,
        "expectedValue": 19.00000002861023,
        "expectedLower": 11.148197599265966,
        "expectedUpper": 26.851802457954495,
        "anomalyScore": 93.71229114864653,
        "peakScore": 93.71229114864653,
        "surprise": 7.316859170278626,
        "explanation": "higher than ever in 3,000 values",
        "resultId": f"a{number:031x}",
        "mutedBy": None,
    } | changes


def recovery(number: int = 0, **changes: Any) -> dict[str, Any]:
    """The end of alert ``number``, twelve minutes after it."""
    time = f"{START + dt.timedelta(hours=number, minutes=12):%Y-%m-%d %H:%M:%S}"
    own = {
        "event": "recovery",
        "time": time,
        "aggregatedMeasureValue": 20.0,
        "anomalyScore": 3.7,
        "surprise": 0.1,
        "explanation": None,
        "resultId": f"b{number:031x}",
    }
    return alert(number, **(own | changes))


def line(record: dict[str, Any]) -> bytes:
    """The record as it moves between steps."""
    return orjson.dumps(record)
