"""Marks of the end of bounded input: one a series of the detectors that fill gaps."""

from __future__ import annotations

import apache_beam as beam
import numpy as np
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from transforms.records import Block, Series, decode_block, encode_block
from transforms.silence import MarkInputEnd

A, B = Series("fills", "m", (("p", "A"),)), Series("fills", "m", (("p", "B"),))
OTHER = Series("other", "m", ())


def element(series, *times):
    zeros = np.zeros(len(times), np.int64)
    return series.key, encode_block(Block(series, np.array(times), zeros * 1.0, zeros))


def marks_of(elements, expected):
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        blocks = pipeline | beam.Create(elements).with_output_types(tuple[str, bytes])
        found = blocks | MarkInputEnd(frozenset(["fills"])) | beam.Map(_facts)
        assert_that(found, equal_to(expected))


def _facts(marked):
    key, data = marked
    block = decode_block(data)
    return key, block.series.id, len(block.times), block.until


def test_each_series_is_told_once_how_far_its_detector_reaches():
    marks_of(
        [element(A, 5, 1), element(B, 9, 3), element(A, 2), element(OTHER, 100)],
        [(A.key, A.id, 0, 9), (B.key, B.id, 0, 9)],
    )


def test_no_input_has_no_marks():
    marks_of([], [])


def test_a_detector_that_fills_nothing_has_no_marks():
    marks_of([element(OTHER, 1)], [])
