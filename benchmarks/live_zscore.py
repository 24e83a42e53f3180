"""Beam's ``AnomalyDetection(ZScore)`` as a live job: the streaming benchmark's peer.

It reads the same topic through the same source as a job of ours and writes a JSON line a point
through the same sink, so that what differs is what is done with a point.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import apache_beam as beam
import orjson
from apache_beam.ml.anomaly.base import AnomalyResult
from apache_beam.ml.anomaly.detectors.zscore import ZScore
from apache_beam.ml.anomaly.transforms import AnomalyDetection
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.typehints.row_type import RowTypeConstraint

from runners import flink
from transforms.fields import Fields
from transforms.io.kafka import KafkaCluster, ReadKafka, WriteKafka
from transforms.records import Batch
from transforms.watermark import EventTimes

MICROSECONDS = 1_000_000
_ROW = RowTypeConstraint.from_fields([("value", float)])
"""Rows have a schema: without, Beam pickles each."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until cancelled."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live_zscore")
    parser.add_argument("--brokers", required=True, metavar="HOST:PORT")
    parser.add_argument("--source", required=True, metavar="TOPIC")
    parser.add_argument("--results", required=True, metavar="TOPIC")
    known, rest = parser.parse_known_args(arguments)
    options = PipelineOptions(rest)
    options.view_as(StandardOptions).streaming = True
    cluster = KafkaCluster((known.brokers,))
    fields = Fields("zscore", "value", ("series",), "event_time", "unix_us")
    times = EventTimes("json", (fields,))

    def build(pipeline: beam.Pipeline) -> None:
        (
            pipeline
            | "Read"
            >> ReadKafka(
                cluster, known.source, "zscore", "earliest", times, MICROSECONDS, 30 * MICROSECONDS
            )
            | "Parse" >> beam.FlatMap(_keyed).with_output_types(beam.typehints.Tuple[str, _ROW])
            | "Detect" >> AnomalyDetection(ZScore(features=["value"]))
            | "Format" >> beam.Map(_json_line).with_output_types(tuple[str, bytes])
            | "Write" >> WriteKafka(cluster, known.results)
        )

    flink.run(build, options)
    return 0


def _keyed(batch: tuple[object, ...]) -> list[tuple[str, beam.Row]]:
    records = map(orjson.loads, Batch(*batch).payloads)  # type: ignore[arg-type]
    return [(record["series"], beam.Row(value=float(record["value"]))) for record in records]


def _json_line(scored: tuple[str, AnomalyResult]) -> tuple[str, bytes]:
    series, result = scored
    (prediction,) = result.predictions
    return series, orjson.dumps(
        {
            "series": series,
            "value": result.example.value,
            "score": prediction.score,
            "label": prediction.label,
        }
    )


if __name__ == "__main__":
    sys.exit(main())
