"""The stateful step over `TestStream`: watermarks, late data, silence, time to live."""

from __future__ import annotations

import json
from collections import Counter

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing import test_pipeline, test_stream
from apache_beam.utils.timestamp import Timestamp
from series_harness import FOREST, MINUTE, bounded

from transforms import detect
from transforms.aggregate import Aggregation, Gaps
from transforms.decide import Rules
from transforms.detect import DetectFn, Settings
from transforms.detection import Detection, SeriesSettings
from transforms.live_models import LIVE_MODELS
from transforms.records import Block, Series, encode_block

A = Series("d", "units", (("item", "A"),))
B = Series("d", "units", (("item", "B"),))
RULES = Rules(threshold=60.0, quiet_rows=5, recovery_after=3)


def detection(policy="ignore", **more):
    settings = SeriesSettings(FOREST, RULES, Gaps(policy))
    return Detection(settings, Aggregation("sum", MINUTE), **more)


FOUND = {}
"""What the pipeline gave; it runs in this process. Not by `assert_that`: on this runner the
grouping inside drops what a timer emits at the very end of the input."""


class Keep:
    def __init__(self, name):
        self._name = name

    def __call__(self, element):
        FOUND.setdefault(self._name, []).append(element)


class Stream:
    """Builds a TestStream of blocks and runs the step over it."""

    def __init__(self) -> None:
        self._stream = test_stream.TestStream()

    def points(self, series, minutes, values):
        times = (np.asarray(minutes, np.float64) * MINUTE).astype(np.int64)
        block = Block(series, times, np.asarray(values, np.float64), np.zeros(len(times), np.int64))
        stamped = beam.window.TimestampedValue(
            (series.key, encode_block(block)), Timestamp(micros=int(times.min()))
        )
        self._stream = self._stream.add_elements([stamped])
        return self

    def watermark(self, minutes):
        self._stream = self._stream.advance_watermark_to(Timestamp(micros=int(minutes * MINUTE)))
        return self

    def end(self):
        self._stream = self._stream.advance_watermark_to_infinity()
        return self

    def run(self, what, every=MINUTE):
        LIVE_MODELS.clear()
        FOUND.clear()
        with test_pipeline.TestPipeline(options=PipelineOptions([], streaming=True)) as pipeline:
            out = (
                pipeline
                | self._stream
                | beam.Map(lambda x: x).with_output_types(tuple[str, bytes])
                | beam.ParDo(DetectFn({"d": what}, Settings(every, snapshot_rows=7))).with_outputs(
                    detect.ALERTS, detect.LATE, detect.TALLY, detect.LEFT_DISCORDS, main="results"
                )
            )
            out.results | "results" >> beam.Map(Keep("results"))
            out[detect.ALERTS] | "alerts" >> beam.Map(Keep("alerts"))
            out[detect.LATE] | "late" >> beam.Map(Keep("late"))
            out[detect.TALLY] | "tally" >> beam.Map(Keep("tally"))
        rows = [
            json.loads(line)
            for _, _, lines in FOUND.get("results", [])
            for line in lines.split(b"\n")
        ]
        tally = Counter()
        for _, counter, number in FOUND.get("tally", []):
            tally[counter] += number
        return rows, [json.loads(x) for x in FOUND.get("alerts", [])], FOUND.get("late", []), tally


def of(series, rows):
    mine = [row for row in rows if row["timeseriesId"] == series.id]
    return sorted(mine, key=lambda row: row["detectionPeriodStartTime"])


def values_of(seed, rows):
    return np.round(np.random.default_rng(seed).normal(10, 1, rows), 3)


@pytest.fixture(scope="module")
def whole():
    return bounded(detection(), np.arange(40) * MINUTE, values_of(1, 40)).results


def test_two_series_interleaved_score_as_each_alone(whole):
    stream = Stream()
    for start in range(0, 40, 4):
        minutes = np.arange(start, start + 4)
        stream.points(A, minutes, values_of(1, 40)[minutes])
        stream.points(B, minutes, values_of(2, 40)[minutes])
        stream.watermark(start + 3)
    rows, _, late, tally = stream.end().run(detection())
    assert of(A, rows) == whole
    assert len(of(B, rows)) == 40
    assert not late
    assert tally["used"] == tally["closed"] == 80


def test_disorder_within_the_watermark_changes_nothing(whole):
    order = np.argsort(np.arange(40) + np.random.default_rng(3).uniform(0, 6, 40))
    stream = Stream()
    for seen, part in enumerate(np.split(order, 8)):
        stream.points(A, part, values_of(1, 40)[part])
        stream.watermark(max(0, int(order[: 5 * seen + 5].max()) - 6))
    rows, _, late, _ = stream.end().run(detection(), every=5 * MINUTE)
    assert of(A, rows) == whole
    assert not late


def test_late_data_go_out_late_and_records_are_conserved(whole):
    stream = Stream().points(A, np.arange(30), values_of(1, 40)[:30]).watermark(30)
    stream.points(A, [4.5, 12.25], [50.0, 60.0]).watermark(31)
    stream.points(A, np.arange(30, 40), values_of(1, 40)[30:])
    rows, _, late, tally = stream.end().run(detection())
    assert of(A, rows) == whole
    assert sorted(json.loads(line)["measureValue"] for line in late) == [50.0, 60.0]
    assert (tally["used"], tally["late"], tally["duplicate"]) == (40, 2, 0)


def test_a_watermark_that_jumps_closes_all_periods_in_order(whole):
    stream = Stream().points(A, np.arange(40)[::-1], values_of(1, 40)[::-1]).watermark(5000)
    rows, _, late, _ = stream.end().run(detection())
    assert of(A, rows) == whole
    assert not late


def test_a_silent_series_is_found_while_another_goes_on_and_not_filled_past_the_drain():
    values = np.round(np.random.default_rng(5).normal(20, 0.5, 300), 3)
    stream = Stream().points(A, np.arange(200), values[:200])
    for start in range(0, 300, 20):
        minutes = np.arange(start, start + 20)
        stream.points(B, minutes, values[minutes]).watermark(start + 20)
    rows, alerts, _, tally = stream.end().run(detection("zero"))
    silent = of(A, rows)
    assert len(silent) == 300
    assert [row["aggregatedMeasureValue"] for row in silent[200:]] == [0.0] * 100
    assert all(row["imputed"] for row in silent[200:])
    assert "1970-01-01 03:20:00" in {a["time"] for a in alerts if a["timeseriesId"] == A.id}
    assert len(of(B, rows)) == 300
    assert tally["imputed"] == 100


def test_after_the_time_to_live_a_series_starts_anew():
    what = detection(ttl=30 * MINUTE)
    minutes = np.r_[np.arange(40), np.arange(200, 240)]
    times, values = minutes * MINUTE, values_of(7, 80)
    stream = Stream().points(A, minutes[:40], values[:40]).watermark(150)
    stream.points(A, minutes[40:], values[40:])
    rows, _, _, _ = stream.end().run(what)
    assert of(A, rows) == bounded(what, times, values).results
    assert [row["processedDataPoints"] for row in of(A, rows)].count(1) == 2
