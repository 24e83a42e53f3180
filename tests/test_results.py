"""Results as JSON lines: the stack's fields, valid JSON, numbers that come back bit for bit."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.model import Scores
from transforms import schema
from transforms.aggregate import Rows
from transforms.decide import Event
from transforms.records import Series
from transforms.results import alert_line, left_discords_lines, result_ids, result_lines

STACK = [  # as the AnomalyDetection Stack writes them
    "detectorName",
    "measure",
    "timeseriesId",
    "anomalyDecisionThreshold",
    "dimensionList",
    "aggregatedMeasureValue",
    "anomalyScore",
    "detectionPeriodStartTime",
    "detectionPeriodEndTime",
    "processedDataPoints",
    "anomalyConfidenceScore",
    "anomalyDecision",
    "modelStage",
    "expectedValue",
]
MINUTE = 60_000_000
START = 1_724_938_500_000_000
SERIES = Series("canvas", "quantity", (("product_name", "item-A"),))
MODEL = b"m" * 16


def rows_of(values, period=MINUTE):
    n = len(values)
    starts = START + MINUTE * np.arange(n)
    return Rows(
        starts,
        starts if period == 0 else starts + period,
        np.array(values, np.float64),
        np.zeros(n, np.int64),
        np.arange(n) % 2 == 1,
        np.zeros(n, np.bool_),
    )


def scores_of(n, learning=0):
    """Scores of n rows, the first ``learning`` of them before the model could judge."""
    numbers = np.linspace(1, 99, n) / 3
    unknown = np.where(np.arange(n) < learning, np.nan, numbers)
    return Scores(
        raw=unknown,
        learning=np.arange(n) < learning,
        score=numbers,
        decades=numbers,
        surprise=numbers,
        expected=unknown,
        lower=unknown - 1,
        upper=unknown + 1,
        confidence=numbers,
        points=np.arange(1, n + 1),
        flagged=None,
        attribution={n - 1: np.array([0.25, 0.75])} if n > learning else {},
        neighbour=np.arange(n),
        high={n - 1: np.array([0.25, 0.5])} if n > learning else {},
        neighbour_times={row: int(rows_of(np.zeros(n)).starts[0]) for row in range(1, n)},
    )


def lines_of(values, learning=0, series=SERIES, threshold=70.0, reasons=None, period=MINUTE):
    rows, scores = rows_of(values, period), scores_of(len(values), learning)
    decided = scores.score > 20
    ids = result_ids(series, MODEL, rows)
    return result_lines(series, rows, scores, decided, reasons or {}, threshold, ids)


def test_the_first_fields_are_the_stacks_and_all_are_the_schemas():
    assert schema.RESULT.names[:14] == STACK
    for line in lines_of([1.0, 2.0, 3.0], learning=1):
        assert list(json.loads(line)) == schema.RESULT.names


def test_members_and_explanation_of_a_candidate():
    found = replace(
        scores_of(2, 0), members={1: {"record": 0.75, "jump": 0.25}}, explanations={1: 'a "step"'}
    )
    rows = rows_of(np.zeros(2))
    ids = result_ids(SERIES, MODEL, rows)
    lines = result_lines(SERIES, rows, found, np.zeros(2, bool), {}, 70.0, ids)
    first, second = (json.loads(line) for line in lines)
    assert (first["members"], first["explanation"]) == (None, None)
    assert second["members"] == [
        {"name": "record", "share": 0.75},
        {"name": "jump", "share": 0.25},
    ]
    assert second["explanation"] == 'a "step"'


def test_a_row():
    line = lines_of([14.0, 15.5], reasons={1: "quiet period"})[1]
    assert json.loads(line) == {
        "detectorName": "canvas",
        "measure": "quantity",
        "timeseriesId": SERIES.id,
        "anomalyDecisionThreshold": 70.0,
        "dimensionList": [{"name": "product_name", "value": "item-A"}],
        "aggregatedMeasureValue": 15.5,
        "anomalyScore": 33.0,
        "detectionPeriodStartTime": "2024-08-29 13:36:00",
        "detectionPeriodEndTime": "2024-08-29 13:37:00",
        "processedDataPoints": 2,
        "anomalyConfidenceScore": 33.0,
        "anomalyDecision": 1,
        "modelStage": "INFERENCE",
        "expectedValue": 33.0,
        "expectedLower": 32.0,
        "expectedUpper": 34.0,
        "rawScore": 33.0,
        "surprise": 33.0,
        "attribution": [0.25, 0.75],
        "attributionHigh": [0.25, 0.5],
        "members": None,
        "explanation": None,
        "nearestNeighbour": 1,
        "nearestNeighbourTime": "2024-08-29 13:35:00",
        "decisionReason": "quiet period",
        "imputed": True,
        "resultId": result_ids(SERIES, MODEL, rows_of([14.0, 15.5]))[1],
    }


def test_shares_of_a_row_with_a_time_gap_are_one():
    scores = replace(scores_of(2), attribution={1: np.array([[0.1, 0.2], [0.3, 0.4]])})
    rows = rows_of([1.0, 2.0])
    ids = result_ids(SERIES, MODEL, rows)
    line = result_lines(SERIES, rows, scores, scores.score > 20, {}, 70.0, ids)[1]
    assert json.loads(line)["attribution"] == [0.3, 0.7]


def test_while_learning_the_score_is_0_and_what_is_unknown_is_null():
    learning, judged = map(json.loads, lines_of([1.0, 2.0], learning=1))
    assert learning["modelStage"] == "LEARNING"
    assert learning["anomalyScore"] == 0.0
    unknown = ("expectedValue", "expectedLower", "expectedUpper", "rawScore", "surprise")
    assert [learning[name] for name in unknown] == [None] * 5
    assert judged["modelStage"] == "INFERENCE"
    assert None not in [judged[name] for name in unknown]


def test_types_are_those_of_the_schema():
    for field in schema.RESULT:
        value = json.loads(lines_of([1.0, 2.0])[1])[field.name]
        kind = {"string": str, "double": float, "int64": int, "bool": bool}.get(
            str(field.type), list
        )
        assert (value is None and field.nullable) or type(value) is kind, field.name


def test_fields_that_may_not_be_null_never_are():
    for line in map(json.loads, lines_of([0.0], learning=1, threshold=None)):
        null = {name for name, value in line.items() if value is None}
        assert null <= {field.name for field in schema.RESULT if field.nullable}


FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(FINITE, min_size=1, max_size=5))
def test_numbers_come_back_bit_for_bit(values):
    found = [json.loads(line)["aggregatedMeasureValue"] for line in lines_of(values)]
    assert np.array(found).tobytes() == np.array(values).tobytes()


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(TEXT, TEXT, st.dictionaries(TEXT, TEXT, max_size=3), TEXT)
def test_no_text_breaks_a_line(detector, measure, dimensions, reason):
    series = Series(detector, measure, tuple(dimensions.items()))
    (line,) = lines_of([1.0], series=series, reasons={0: reason})
    assert b"\n" not in line
    record = json.loads(line)
    assert list(record) == schema.RESULT.names
    assert (record["detectorName"], record["measure"]) == (detector, measure)
    assert {pair["name"]: pair["value"] for pair in record["dimensionList"]} == dimensions
    assert record["decisionReason"] == reason


def test_points_start_and_end_at_once_with_their_fraction():
    rows = rows_of([1.0])
    starts = rows.starts + 250_000
    rows = replace(rows, starts=starts, ends=starts)
    ids = result_ids(SERIES, MODEL, rows)
    (line,) = result_lines(SERIES, rows, scores_of(1), np.zeros(1, bool), {}, None, ids)
    record = json.loads(line)
    assert record["detectionPeriodStartTime"] == "2024-08-29 13:35:00.250000"
    assert record["detectionPeriodEndTime"] == record["detectionPeriodStartTime"]
    assert record["anomalyDecisionThreshold"] is None


def test_no_rows_are_no_lines():
    assert lines_of([]) == []


def test_a_result_id_is_one_of_detector_series_period_and_model():
    rows = rows_of([1.0, 2.0, 3.0])
    ids = result_ids(SERIES, MODEL, rows)
    assert result_ids(SERIES, MODEL, rows.part(1, 3)) == ids[1:], "no cut of the stream shows"
    assert result_ids(SERIES, MODEL, replace(rows, values=rows.values + 1)) == ids
    others = [
        result_ids(replace(SERIES, detector="other"), MODEL, rows),
        result_ids(replace(SERIES, dimensions=()), MODEL, rows),
        result_ids(SERIES, b"n" * 16, rows),
        result_ids(SERIES, MODEL, replace(rows, ends=rows.ends + 1)),
        result_ids(SERIES, MODEL, replace(rows, identities=rows.identities + 1)),
    ]
    every = {each for some in (ids, *others) for each in some}
    assert len(every) == 3 * 6
    assert all(re.fullmatch(r"[0-9a-f]{32}(-[0-9a-f]+)?", each) for each in every)


def test_left_discords_records():
    distance = np.array([math.nan, 0.1, 2.5])
    decided = np.array([False, False, True])
    lines = left_discords_lines(rows_of([1.0, 2.0, 3.5]), scores_of(3, 1), decided, distance)
    assert [json.loads(line) for line in lines] == [
        {"index": 1, "input": 1.0, "mp": 0.0, "anomalyTag": "INITIALISING"},
        {"index": 2, "input": 2.0, "mp": 0.1, "anomalyTag": "IS_NOT_ANOMALY"},
        {"index": 3, "input": 3.5, "mp": 2.5, "anomalyTag": "IS_ANOMALY"},
    ]
    assert list(json.loads(lines[0])) == ["index", "input", "mp", "anomalyTag"]


@pytest.mark.parametrize("kind", ["alert", "recovery"])
@pytest.mark.parametrize("learning", [0, 2])
def test_an_alert_has_the_fields_of_its_schema(kind, learning):
    rows = rows_of([1.0, 2.0])
    ids = result_ids(SERIES, MODEL, rows)
    event = Event(kind, 1, "opened", START, 99.5)
    record = json.loads(alert_line(SERIES, rows, scores_of(2, learning), event, ids))
    assert list(record) == schema.ALERT.names
    assert (record["event"], record["alertId"], record["resultId"]) == (kind, "opened", ids[1])
    assert (record["since"], record["time"]) == ("2024-08-29 13:35:00", "2024-08-29 13:36:00")
    assert record["expectedValue"] == (None if learning else 33.0)
    assert (record["aggregatedMeasureValue"], record["peakScore"]) == (2.0, 99.5)
