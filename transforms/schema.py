"""The result record: its fields, in order, with their types. The one source of truth.

The first fourteen fields are the AnomalyDetection Stack's, by name and format. JSON results are
written from this schema, the lake's Parquet columns and table definitions are derived from it.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

DIMENSION = pa.struct([("name", pa.string()), ("value", pa.string())])
MEMBER = pa.struct([("name", pa.string()), ("share", pa.float64())])


def _field(name: str, kind: pa.DataType, meaning: str, nullable: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable, {"description": meaning})


RESULT = pa.schema(
    [
        _field("detectorName", pa.string(), "name of the detector in the job"),
        _field("measure", pa.string(), "the measured field"),
        _field("timeseriesId", pa.string(), "SHA-256 of the canonical measure and dimensions"),
        _field(
            "anomalyDecisionThreshold",
            pa.float64(),
            "score above which a row is an anomaly, 0-100; null where another rule decides",
            nullable=True,
        ),
        _field("dimensionList", pa.list_(DIMENSION), "name and value of each dimension"),
        _field("aggregatedMeasureValue", pa.float64(), "the period's value"),
        _field("anomalyScore", pa.float64(), "0-100, higher is stranger; 0.0 while LEARNING"),
        _field("detectionPeriodStartTime", pa.string(), "YYYY-MM-DD HH:MM:SS[.ffffff], UTC"),
        _field("detectionPeriodEndTime", pa.string(), "as the start; equal to it for points"),
        _field("processedDataPoints", pa.int64(), "points the series' model has learnt"),
        _field("anomalyConfidenceScore", pa.float64(), "0-100: data quality times maturity"),
        _field("anomalyDecision", pa.int64(), "1: an anomaly, 0: none"),
        _field("modelStage", pa.string(), "LEARNING or INFERENCE"),
        _field("expectedValue", pa.float64(), "what was expected; null at first", nullable=True),
        _field("expectedLower", pa.float64(), "lower end of the expected band", nullable=True),
        _field("expectedUpper", pa.float64(), "upper end of the expected band", nullable=True),
        _field("rawScore", pa.float64(), "the detector's own score; null while warming", True),
        _field(
            "surprise",
            pa.float64(),
            "one row in 10**surprise of this series scores so high; null while LEARNING",
            nullable=True,
        ),
        _field(
            "attribution",
            pa.list_(pa.float64()),
            "share of the score each of the last values bears, newest last; for candidates",
            nullable=True,
        ),
        _field(
            "attributionHigh",
            pa.list_(pa.float64()),
            "random cut forest: the part of each share that is due to values that were too high",
            nullable=True,
        ),
        _field(
            "members",
            pa.list_(MEMBER),
            "ensemble: share of the score that each member gave, the largest first; for candidates",
            nullable=True,
        ),
        _field(
            "explanation",
            pa.string(),
            "ensemble: the score in a sentence; for candidates",
            nullable=True,
        ),
        _field(
            "nearestNeighbour",
            pa.int64(),
            "left discord: processedDataPoints where the subsequence most like it ended",
            nullable=True,
        ),
        _field(
            "nearestNeighbourTime",
            pa.string(),
            "start of that row's period, YYYY-MM-DD HH:MM:SS[.ffffff], UTC",
            nullable=True,
        ),
        _field(
            "decisionReason",
            pa.string(),
            "why a high score was held back or raised no alert",
            nullable=True,
        ),
        _field("imputed", pa.bool_(), "whether a gap policy filled the period in"),
        _field("resultId", pa.string(), "names detector, series, model parameters and period"),
    ]
)

LATE = pa.schema(
    [
        _field("detectorName", pa.string(), "name of the detector in the job"),
        _field("measure", pa.string(), "the measured field"),
        _field("timeseriesId", pa.string(), "SHA-256 of the canonical measure and dimensions"),
        _field("dimensionList", pa.list_(DIMENSION), "name and value of each dimension"),
        _field("eventTime", pa.string(), "YYYY-MM-DD HH:MM:SS[.ffffff], UTC"),
        _field("measureValue", pa.float64(), "the record's value"),
        _field("recordId", pa.int64(), "the record's 64-bit ID; 0 where the job names none"),
        _field("closedUntil", pa.string(), "event time up to which periods were closed already"),
    ]
)

DEAD_LETTER = pa.schema(
    [
        _field("reason", pa.string(), "what is wrong, in words"),
        _field("step", pa.string(), "the step that refused the record"),
        _field("detectorName", pa.string(), "the detector it failed for; null: for all", True),
        _field("source", pa.string(), "what it was read from"),
        _field("position", pa.int64(), "its position there, from 0"),
        _field("time", pa.string(), "its source's time, YYYY-MM-DD HH:MM:SS[.ffffff], UTC"),
        _field("payload", pa.string(), "the record byte for byte, in base64"),
    ]
)

ALERT = pa.schema(
    [
        _field("event", pa.string(), "alert or recovery"),
        _field("alertId", pa.string(), "resultId of the row that opened the alert"),
        _field("detectorName", pa.string(), "name of the detector in the job"),
        _field("measure", pa.string(), "the measured field"),
        _field("timeseriesId", pa.string(), "SHA-256 of the canonical measure and dimensions"),
        _field("dimensionList", pa.list_(DIMENSION), "name and value of each dimension"),
        _field("since", pa.string(), "start of the period that opened the alert"),
        _field("time", pa.string(), "start of the period of this event"),
        _field("aggregatedMeasureValue", pa.float64(), "that period's value"),
        _field("expectedValue", pa.float64(), "what was expected of it", nullable=True),
        _field("expectedLower", pa.float64(), "lower end of the expected band", nullable=True),
        _field("expectedUpper", pa.float64(), "upper end of the expected band", nullable=True),
        _field("anomalyScore", pa.float64(), "that period's score, 0-100"),
        _field("peakScore", pa.float64(), "highest score of the alert so far, 0-100"),
        _field(
            "surprise",
            pa.float64(),
            "one row in 10**surprise of this series scores so high; null while LEARNING",
            nullable=True,
        ),
        _field("explanation", pa.string(), "ensemble: the score in a sentence", nullable=True),
        _field("resultId", pa.string(), "the period's result"),
        _field("mutedBy", pa.string(), "the feedback rule that keeps it quiet", nullable=True),
    ]
)

UNDELIVERED = pa.schema(
    [
        _field("status", pa.string(), "waiting, given_up, partly, or delivered after all"),
        _field("channel", pa.string(), "name of the channel in the job"),
        _field("reason", pa.string(), "what the channel said last, in words"),
        _field("deliveryId", pa.string(), "names channel, alert and event"),
        _field("alertId", pa.string(), "the alert"),
        _field("event", pa.string(), "alert or recovery"),
        _field("alert", pa.string(), "the alert's record as JSON text"),
    ]
)

FEEDBACK = pa.schema(
    [
        _field("ruleId", pa.string(), "names the rule; a later record of the ID replaces it"),
        _field("kind", pa.string(), "not_an_anomaly, expected or withdrawn"),
        _field("detectorName", pa.string(), "the detector whose alerts it is about"),
        _field("timeseriesId", pa.string(), "the series; null: all of the detector", True),
        _field("validFrom", pa.string(), "event time from which alerts are kept quiet"),
        _field("validUntil", pa.string(), "event time before which they are"),
        _field("mostScore", pa.float64(), "only scores up to this, 0-100; null: any", True),
        _field("alertId", pa.string(), "the anomaly that it was said of", nullable=True),
        _field("note", pa.string(), "why, for people", nullable=True),
        _field("made", pa.string(), "when it was said"),
    ]
)


def dimension_columns(record: pa.Schema, names: Sequence[str]) -> dict[str, str]:
    """Lake column of each dimension: its name, ``dimension_`` before it where that is taken.

    Names that differ in case alone count as one: Glue, Athena and DuckDB see it so.
    """
    taken = {name.lower() for name in record.names} | {"date"}
    columns: dict[str, str] = {}
    for name in names:
        column = name
        while column.lower() in taken:
            column = f"dimension_{column}"
        taken.add(column.lower())
        columns[name] = column
    return columns


def flat(record: pa.Schema, names: Sequence[str]) -> pa.Schema:
    """The lake's schema of ``record``: flattened, ``dimensionList`` replaced by a column each."""
    fields: list[pa.Field] = []
    for field in record:
        if field.name == "dimensionList":
            columns = dimension_columns(record, names)
            fields += [
                _field(columns[name], pa.string(), f"dimension {name}", nullable=True)
                for name in names
            ]
        else:
            fields.append(field)
    return pa.schema(fields)
