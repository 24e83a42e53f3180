"""Small lakes for tests: result lines as the pipeline writes them, and the objects made of them."""

from __future__ import annotations

import hashlib
import json
import random
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq

from transforms import schema
from transforms.flatten import table_of

DIMENSION = "product_name"
START = datetime(2026, 3, 2, tzinfo=UTC)
RECORDS = {"results": schema.RESULT, "late": schema.LATE, "dead_letters": schema.DEAD_LETTER}


def series_id(product):
    return hashlib.sha256(product.encode()).hexdigest()


def result(product, number, start, **fields):
    """A result record; ``fields`` replace its own."""
    shown = f"{start:%Y-%m-%d %H:%M:%S}"
    record = {
        "detectorName": "sales",
        "measure": "quantity",
        "timeseriesId": series_id(product),
        "anomalyDecisionThreshold": 70.0,
        "dimensionList": [{"name": DIMENSION, "value": product}],
        "aggregatedMeasureValue": 20.0,
        "anomalyScore": 10.0,
        "detectionPeriodStartTime": shown,
        "detectionPeriodEndTime": f"{start + timedelta(minutes=1):%Y-%m-%d %H:%M:%S}",
        "processedDataPoints": number,
        "anomalyConfidenceScore": 90.0,
        "anomalyDecision": 0,
        "modelStage": "INFERENCE",
        "expectedValue": 20.0,
        "expectedLower": 15.0,
        "expectedUpper": 25.0,
        "rawScore": 0.5,
        "surprise": 0.5,
        "attribution": None,
        "attributionHigh": None,
        "nearestNeighbour": None,
        "nearestNeighbourTime": None,
        "decisionReason": None,
        "imputed": False,
        "resultId": hashlib.md5(f"{product} {shown}".encode()).hexdigest(),
    }
    assert list(record) == schema.RESULT.names
    assert not set(fields) - set(record)
    return record | fields


def random_results(seed, products=("item-A", "item-B", "it's C"), days=3, rows_a_day=60):
    """Results of a few series with anomalies, quiet rows, warm-up and missing values."""
    rng = random.Random(seed)
    records = []
    for product in products:
        for number in range(days * rows_a_day):
            start = START + timedelta(days=number // rows_a_day, minutes=number % rows_a_day)
            learning = number < 10
            score = 0.0 if learning else round(rng.uniform(0, 100), 3)
            hit = score > 80
            fields = {
                "aggregatedMeasureValue": round(rng.gauss(20, 4), 2),
                "anomalyScore": score,
                "anomalyDecision": int(hit),
                "modelStage": "LEARNING" if learning else "INFERENCE",
                "anomalyConfidenceScore": round(rng.uniform(0, 100), 3),
                "rawScore": None if learning else score / 20,
                "attribution": [0.25, 0.75] if hit else None,
                "attributionHigh": [0.05, 0.7] if hit else None,
                "expectedValue": None if number == 0 else 20.0,
            }
            if hit and rng.random() < 0.4:
                fields["decisionReason"] = "quiet period: no stronger than the alert before"
            records.append(result(product, number + 1, start, **fields))
    return records


def late(product, event_time, **fields):
    record = {
        "detectorName": "sales",
        "measure": "quantity",
        "timeseriesId": series_id(product),
        "dimensionList": [{"name": DIMENSION, "value": product}],
        "eventTime": f"{event_time:%Y-%m-%d %H:%M:%S}",
        "measureValue": 1.0,
        "recordId": 0,
        "closedUntil": f"{event_time + timedelta(minutes=5):%Y-%m-%d %H:%M:%S}",
    }
    return record | fields


def dead_letter(position, time, detector=None):
    return {
        "reason": "not JSON",
        "step": "parse",
        "detectorName": detector,
        "source": "in.jsonl",
        "position": position,
        "time": f"{time:%Y-%m-%d %H:%M:%S}",
        "payload": "YWJj",
    }


_DAY = {"results": "detectionPeriodStartTime", "late": "eventTime", "dead_letters": "time"}


def write(lake, table, records, objects_a_day=1, prefix="part", dimensions=(DIMENSION,)):
    """Write records as ``objects_a_day`` Parquet objects a day; returns their paths."""
    days = {}
    for record in records:
        days.setdefault(record[_DAY[table]][:10], []).append(record)
    paths = []
    for day, found in days.items():
        folder = lake / table / f"date={day}"
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(min(objects_a_day, len(found))):
            lines = "\n".join(json.dumps(record) for record in found[number::objects_a_day])
            path = folder / f"{prefix}-{number:05}.parquet"
            pq.write_table(table_of(lines.encode(), RECORDS[table], dimensions), path)
            paths.append(path)
    return paths


def write_without_neighbours(folder):
    """The lake as a version wrote it that had no field nearestNeighbour."""
    for path in write(folder, "results", random_results(3, days=1)):
        rows = pq.ParquetFile(path).read()
        pq.write_table(rows.drop_columns(["nearestNeighbour", "nearestNeighbourTime"]), path)
