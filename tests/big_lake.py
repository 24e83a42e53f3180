"""A lake of many series and days, made column by column; for figures, not for meaning."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from lake_writer import DIMENSION, START, series_id

from transforms import schema

ROWS_AN_OBJECT = 500_000
COLUMNS = schema.flat(schema.RESULT, [DIMENSION])


def write_big_lake(lake, series, days, period_minutes):
    """Write the lake as the pipeline would; returns its rows."""
    rng = np.random.default_rng(0)
    named = sorted((series_id(f"item-{n:04}"), f"item-{n:04}") for n in range(series))
    rows_a_day = 24 * 60 // period_minutes
    for day in range(days):
        start = START + timedelta(days=day)
        table = _day(rng, named, start, day * rows_a_day, rows_a_day, period_minutes)
        folder = lake / "results" / f"date={start:%Y-%m-%d}"
        folder.mkdir(parents=True)
        for part, first in enumerate(range(0, table.num_rows, ROWS_AN_OBJECT)):
            path = folder / f"part-{part:05}.parquet"
            pq.write_table(table.slice(first, ROWS_AN_OBJECT), path, compression="zstd")
    return series * days * rows_a_day


def _day(rng, named, start, before, rows_a_day, period_minutes):
    size = len(named) * rows_a_day
    of = np.repeat(np.arange(len(named)), rows_a_day)
    number = np.tile(np.arange(rows_a_day), len(named))
    period = timedelta(minutes=period_minutes)
    starts = [f"{start + n * period:%Y-%m-%d %H:%M:%S}" for n in range(rows_a_day + 1)]
    expected = 20 + 10 * np.sin(number / rows_a_day * 2 * np.pi) + of % 7
    hit = rng.random(size) < 1e-4
    value = expected + rng.normal(0, 1.5, size) + 20 * hit
    score = np.where(hit, rng.uniform(72, 99, size), np.abs(rng.normal(0, 12, size)))
    columns = {
        "detectorName": _text(["big"], of * 0),
        "measure": _text(["quantity"], of * 0),
        "timeseriesId": _text([each for each, _ in named], of),
        "anomalyDecisionThreshold": np.full(size, 70.0),
        DIMENSION: _text([name for _, name in named], of),
        "aggregatedMeasureValue": value.round(2),
        "anomalyScore": score.round(2),
        "detectionPeriodStartTime": _text(starts, number),
        "detectionPeriodEndTime": _text(starts, number + 1),
        "processedDataPoints": before + number + 1,
        "anomalyConfidenceScore": (100 - 100 * np.exp(-(before + number) / 500)).round(3),
        "anomalyDecision": hit.astype(np.int64),
        "modelStage": _text(["INFERENCE"], of * 0),
        "expectedValue": expected.round(3),
        "expectedLower": (expected - 5).round(3),
        "expectedUpper": (expected + 5).round(3),
        "rawScore": (score / 20).round(4),
        "surprise": (score / 25).round(4),
        "attribution": pa.array([[0.3, 0.7] if each else None for each in hit]),
        "imputed": np.zeros(size, bool),
        "resultId": [f"{before * len(named) + n:032x}" for n in range(size)],
    }
    arrays = [
        pa.array(columns[field.name], field.type)
        if field.name in columns
        else pa.nulls(size, field.type)
        for field in COLUMNS
    ]
    return pa.table(arrays, schema=COLUMNS)


def _text(values, indices):
    return pa.DictionaryArray.from_arrays(indices.astype(np.int32), values).cast(pa.string())
