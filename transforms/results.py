"""Scored rows as JSON lines: the stack's result record, and LeftDiscords' record.

A block's columns are formatted whole and joined row by row: the fields and their order are
`transforms.schema.RESULT`'s. No field holds a wall-clock time, so the same input gives the same
bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from itertools import repeat
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from detectors.model import Scores
from transforms import schema
from transforms.aggregate import Rows
from transforms.decide import Event
from transforms.records import Series, dimension_list, text_times

_LABELS = [
    (name, (b"," if position else b"") + orjson.dumps(name) + b":")
    for position, name in enumerate(schema.RESULT.names)
]
"""The fields in their order, each with what stands before its value."""

Column = bytes | list[bytes]
"""JSON values of a block's rows: one a row, or one for all."""


def result_ids(series: Series, model_hash: bytes, rows: Rows) -> list[str]:
    """Each row's ID: detector, series, model parameters and period length hashed, then the start.

    16 hex digits each; rows of one start are told apart by their identity after a hyphen.
    """
    if not len(rows):
        return []
    length = int(rows.ends[0] - rows.starts[0])
    text = b"\0".join((series.key.encode(), model_hash, str(length).encode()))
    head = hashlib.blake2b(text, digest_size=8).hexdigest()
    starts = rows.starts.astype(">i8").tobytes().hex()
    ids = [head + starts[i : i + 16] for i in range(0, len(starts), 16)]
    for row in rows.identities.nonzero()[0].tolist():
        ids[row] += f"-{rows.identities[row]:x}"
    return ids


def _numbers(column: NDArray[Any]) -> list[bytes]:
    """A column of numbers as JSON; NaN and infinities become null."""
    text = orjson.dumps(np.ascontiguousarray(column), option=orjson.OPT_SERIALIZE_NUMPY)
    return text[1:-1].split(b",") if len(column) else []


def _texts(texts: list[str]) -> list[bytes]:
    """Texts that need no escapes, as JSON."""
    return ('"' + '"\n"'.join(texts) + '"').encode().split(b"\n") if texts else []


def _choice(rows: NDArray[np.bool_], yes: bytes, no: bytes) -> Column:
    if rows.all() or not rows.any():
        return yes if rows.any() else no
    return [yes if row else no for row in rows.tolist()]


def _texts_of(times: dict[int, int]) -> dict[int, str]:
    if not times:
        return {}
    texts = text_times(np.array(list(times.values()), np.int64))
    return dict(zip(times, texts, strict=True))


def _sparse(rows: int, found: dict[int, Any]) -> Column:
    if not found:
        return b"null"
    column = [b"null"] * rows
    for row, value in found.items():
        column[row] = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    return column


def _by_row(shares: dict[int, NDArray[np.float64]]) -> dict[int, NDArray[np.float64]]:
    """Shares (float64[d], or float64[d, m] of more than one column) as one a row, rounded."""
    return {row: np.round(share.reshape(len(share), -1).sum(1), 6) for row, share in shares.items()}


def result_lines(
    series: Series,
    rows: Rows,
    scores: Scores,
    decided: NDArray[np.bool_],
    reasons: dict[int, str],
    threshold: float | None,
    ids: list[str],
) -> list[bytes]:
    """One JSON object a row, in the order of the rows, without line ends."""
    starts = _texts(text_times(rows.starts))
    points = np.array_equal(rows.starts, rows.ends)
    columns: dict[str, Column] = {
        "detectorName": orjson.dumps(series.detector),
        "measure": orjson.dumps(series.measure),
        "timeseriesId": orjson.dumps(series.id),
        "anomalyDecisionThreshold": orjson.dumps(threshold),
        "dimensionList": orjson.dumps(dimension_list(series.dimensions)),
        "aggregatedMeasureValue": _numbers(rows.values),
        "anomalyScore": _numbers(np.where(scores.learning, 0.0, scores.score)),
        "detectionPeriodStartTime": starts,
        "detectionPeriodEndTime": starts if points else _texts(text_times(rows.ends)),
        "processedDataPoints": _numbers(scores.points),
        "anomalyConfidenceScore": _numbers(scores.confidence),
        "anomalyDecision": _choice(decided, b"1", b"0"),
        "modelStage": _choice(scores.learning, b'"LEARNING"', b'"INFERENCE"'),
        "expectedValue": _numbers(scores.expected),
        "expectedLower": _numbers(scores.lower),
        "expectedUpper": _numbers(scores.upper),
        "rawScore": _numbers(scores.raw),
        "surprise": _numbers(np.where(scores.learning, np.nan, scores.surprise)),
        "attribution": _sparse(len(rows), _by_row(scores.attribution)),
        "attributionHigh": _sparse(len(rows), _by_row(scores.high)),
        "members": _sparse(
            len(rows),
            {
                row: [{"name": name, "share": round(share, 6)} for name, share in shares.items()]
                for row, shares in scores.members.items()
            },
        ),
        "explanation": _sparse(len(rows), scores.explanations),
        "nearestNeighbour": _sparse(
            len(rows),
            {
                row: int(scores.points[row] - scores.neighbour[row])
                for row in scores.neighbour.nonzero()[0].tolist()
            },
        ),
        "nearestNeighbourTime": _sparse(len(rows), _texts_of(scores.neighbour_times)),
        "decisionReason": _sparse(len(rows), reasons),
        "imputed": _choice(rows.imputed, b"true", b"false"),
        "resultId": _texts(ids),
    }
    return _objects(columns, len(rows))


def _objects(columns: dict[str, Column], rows: int) -> list[bytes]:
    """One JSON object a row, its fields in the order of the schema."""
    pieces: list[Iterable[bytes]] = []
    constant = b"{"  # all that is the same in every row, up to the next column that is not
    for name, label in _LABELS:
        constant += label
        column = columns[name]
        if isinstance(column, bytes):
            constant += column
        else:
            pieces += [repeat(constant, rows), column]
            constant = b""
    pieces.append(repeat(constant + b"}", rows))
    return [b"".join(line) for line in zip(*pieces, strict=True)]


def left_discords_lines(
    rows: Rows, scores: Scores, decided: NDArray[np.bool_], distance: NDArray[np.float64]
) -> list[bytes]:
    """The records of LeftDiscords: index (from 1), input, mp, anomalyTag.

    ``mp`` is the distance to the nearest earlier subsequence; 0.0 while there is none, as there.
    """
    tags = np.where(decided, b"IS_ANOMALY", b"IS_NOT_ANOMALY").astype(object)
    tags[scores.learning] = b"INITIALISING"
    distance = np.where(np.isnan(distance), 0.0, distance)
    columns = (_numbers(scores.points), _numbers(rows.values), _numbers(distance), tags)
    return [
        b'{"index":%b,"input":%b,"mp":%b,"anomalyTag":"%b"}' % row
        for row in zip(*columns, strict=True)
    ]


def alert_line(series: Series, rows: Rows, scores: Scores, event: Event, ids: list[str]) -> bytes:
    """An alert or a recovery as JSON."""
    row = event.row
    record = {
        "event": event.kind,
        "alertId": event.alert_id,
        "detectorName": series.detector,
        "measure": series.measure,
        "timeseriesId": series.id,
        "dimensionList": dimension_list(series.dimensions),
        "since": text_times(np.array([event.since]))[0],
        "time": text_times(rows.starts[row : row + 1])[0],
        "aggregatedMeasureValue": float(rows.values[row]),
        "expectedValue": float(scores.expected[row]),
        "expectedLower": float(scores.lower[row]),
        "expectedUpper": float(scores.upper[row]),
        "anomalyScore": float(scores.score[row]),
        "peakScore": event.peak,
        "surprise": None if scores.learning[row] else float(scores.surprise[row]),
        "explanation": scores.explanations.get(row),
        "resultId": ids[row],
        "mutedBy": None,
    }
    return orjson.dumps(record)  # which writes NaN as null
