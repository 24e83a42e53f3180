"""Whether a job's results are those of the core, bit for bit.

    python -m pipeline --job=examples/nab/job.yaml
    python -m benchmarks.equality --job examples/nab/job.yaml

Reads the job's source once more, gives each series' values in the order of the rows to a
`detectors.model.SeriesModel` of the same seed, and compares every figure with the results that the
job left on disk. For jobs that score rows as they stand: one Parquet source, ``order: position``,
no aggregation. A result names its row by the number of values learnt.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from detectors.model import Scores, SeriesModel
from pipeline.job import Job, load_job
from pipeline.job_errors import JobFileError
from pipeline.plan import detections_of, fields_of
from transforms.balance import differences
from transforms.io.files import match
from transforms.records import MICROSECONDS, Floats, Integers, Series, text_times

FIGURES = (
    "aggregatedMeasureValue",
    "anomalyScore",
    "rawScore",
    "surprise",
    "expectedValue",
    "expectedLower",
    "expectedUpper",
    "anomalyConfidenceScore",
)
"""Fields of a result that are compared bit for bit; null stands for NaN."""

Columns = dict[str, list[Any]]


class NotComparable(ValueError):
    """A job whose results are not one a row."""


@dataclass
class Comparison:
    """What was compared, and what differs.

    Attributes
    ----------
    series, rows : int
        Of the source.
    results : int
        Found on disk.
    differing : dict of str to int
        By field, how many rows differ; empty: all are equal.
    wrong : list of str
        Everything else that is wrong, in words.
    """

    series: int = 0
    rows: int = 0
    results: int = 0
    differing: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not self.differing and not self.wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare; 0 equal, 1 not, 2 with one message if there is nothing to compare."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.equality", description="Results of a job against the core."
    )
    parser.add_argument("--job", required=True, metavar="JOB.yaml", help="a job that has run")
    options = parser.parse_args(arguments)
    try:
        found = compare(load_job(options.job))
    except (JobFileError, NotComparable, OSError) as error:
        parser.error(str(error))
    print(f"{found.results:,} results for {found.rows:,} rows of {found.series} series")
    for name, rows in found.differing.items():
        print(f"{name} differs in {rows:,} rows")
    for sentence in found.wrong:
        print(sentence)
    if found.equal:
        print("every figure is the core's, bit for bit; every record is accounted for")
    return 0 if found.equal else 1


def compare(job: Job) -> Comparison:
    """Compare the results of ``job`` with those of the core.

    Raises
    ------
    NotComparable
        The job aggregates, reorders, or reads something else than Parquet files.
    """
    (fields,) = fields_of(job)
    detection = detections_of(job)[fields.detector]
    if job.source.format != "parquet" or not fields.by_position:
        raise NotComparable("the job must read parquet, with event_time.order position")
    if fields.time_field is None or fields.time_format != "unix_s":
        raise NotComparable("the job's event times must be unix_s")
    results = read_results(Path(job.sinks.results.name))
    found = Comparison(results=sum(len(rows["processedDataPoints"]) for rows in results.values()))
    columns = [*fields.dimensions, fields.time_field, fields.measure]
    source = pa.concat_tables(
        pq.read_table(path, columns=columns) for path in match(list(job.source.files))
    )
    for dimensions, times, values in _series_of(source, columns):
        series = Series(
            fields.detector,
            fields.measure,
            tuple(zip(fields.dimensions, dimensions, strict=True)),
        )
        found.series += 1
        found.rows += len(values)
        own = results.pop(series.id, None)
        if own is None:
            found.wrong.append(f"{dimensions} has no result")
            continue
        model = SeriesModel(detection.of(series).model, series.seed)
        _compare_series(dimensions, own, times, values, model, found)
    found.wrong += [f"series {key} is not in the source" for key in results]
    balance = json.loads(Path(job.sinks.balance_path).read_bytes())[fields.detector]
    found.wrong += [f"balance: {sentence}" for sentence in differences(balance)]
    if (balance["read"], balance["closed"]) != (found.rows, found.rows):
        found.wrong.append(f"balance: {balance['read']} read, {balance['closed']} closed")
    return found


def read_results(folder: Path) -> dict[str, Columns]:
    """The result records below ``folder`` by series ID, each field a list in the files' order."""
    names = ("processedDataPoints", "detectionPeriodStartTime", "modelStage", *FIGURES)
    by_series: dict[str, Columns] = {}
    for path in sorted(folder.glob("*.jsonl")):
        with path.open("rb") as lines:
            for line in lines:
                record = orjson.loads(line)
                own = by_series.get(record["timeseriesId"])
                if own is None:
                    own = by_series[record["timeseriesId"]] = {name: [] for name in names}
                for name in names:
                    own[name].append(record[name])
    return by_series


def _series_of(
    source: pa.Table, columns: Sequence[str]
) -> Iterator[tuple[tuple[str, ...], Integers, Floats]]:
    """Dimensions, event times in microseconds and values of each series, rows in their order."""
    *dimensions, time, measure = columns
    keys: dict[tuple[str, ...], list[int]] = {}
    texts = zip(*(source[name].to_pylist() for name in dimensions), strict=True)
    for row, key in enumerate(texts if dimensions else [()] * source.num_rows):
        keys.setdefault(key, []).append(row)
    times = source[time].to_numpy() * MICROSECONDS
    values = source[measure].to_numpy().astype(np.float64)
    for key, rows in keys.items():
        yield key, times[rows], values[rows]


def _compare_series(
    dimensions: tuple[str, ...],
    results: Columns,
    times: Integers,
    values: Floats,
    model: SeriesModel,
    found: Comparison,
) -> None:
    points = results["processedDataPoints"]
    if sorted(points) != list(range(1, len(values) + 1)):
        found.wrong.append(f"{dimensions}: {len(points)} results, not one for each row")
        return
    late = sum(after < before for before, after in pairwise(points))
    if late:
        found.wrong.append(f"{dimensions}: {late} results stand before their row's turn")
    rows = np.array(points) - 1
    scores = model.score_and_learn(values, times)
    core = _core_figures(values, scores)
    for name in FIGURES:
        _count(found, name, _bits(results[name]) != core[name].view(np.int64)[rows])
    texts = np.array(text_times(times), object)[rows]
    _count(found, "detectionPeriodStartTime", texts != results["detectionPeriodStartTime"])
    stages = np.where(scores.learning, "LEARNING", "INFERENCE").astype(object)[rows]
    _count(found, "modelStage", stages != results["modelStage"])


def _count(found: Comparison, name: str, differs: Any) -> None:
    if differs.any():
        found.differing[name] = found.differing.get(name, 0) + int(differs.sum())


def _core_figures(values: Floats, scores: Scores) -> dict[str, Floats]:
    learning = scores.learning
    columns = {
        "aggregatedMeasureValue": values,
        "anomalyScore": np.where(learning, 0.0, scores.score),
        "rawScore": scores.raw,
        "surprise": np.where(learning, np.nan, scores.surprise),
        "expectedValue": scores.expected,
        "expectedLower": scores.lower,
        "expectedUpper": scores.upper,
        "anomalyConfidenceScore": scores.confidence,
    }
    return {name: _one_nan(column) for name, column in columns.items()}


def _bits(figures: list[float | None]) -> Integers:
    return _one_nan(np.array(figures, np.float64)).view(np.int64)  # null becomes NaN


def _one_nan(column: Floats) -> Floats:
    """The same with one and the same NaN everywhere: JSON has only one null."""
    return np.where(np.isnan(column), np.nan, column)


if __name__ == "__main__":
    sys.exit(main())
