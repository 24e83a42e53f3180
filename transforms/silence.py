"""How far bounded input reaches, told to every series, so that a silent one is filled in to there.

A live stream's watermark says how far time has come; that of bounded input jumps from its start to
infinity. Where a gap policy fills, each series is given a mark: the newest event time of the whole
input, by the field that its detector takes for the event time. Nothing is filled in after it.
"""

from __future__ import annotations

from typing import Any

import apache_beam as beam

from transforms.records import Block, Series, decode_block, encode_block


class MarkInputEnd(beam.PTransform):
    """Blocks into marks, one a series, to be given to the stateful step beside the blocks.

    Parameters
    ----------
    detectors : frozenset of str
        Those whose gap policy fills.
    """

    def __init__(self, detectors: frozenset[str]) -> None:
        super().__init__()
        self._detectors = detectors

    def expand(self, blocks: Any) -> Any:
        """Newest event time of each detector, and each series once."""
        ends = blocks | "Reach" >> beam.Map(_reach).with_output_types(tuple[str, int])
        newest = ends | "Newest" >> beam.CombinePerKey(max)
        return (
            blocks
            | "SeriesOf" >> beam.FlatMap(_series, self._detectors).with_output_types(bytes)
            | "Once" >> beam.Distinct()
            | "Mark"
            >> beam.Map(_mark, beam.pvalue.AsDict(newest)).with_output_types(tuple[str, bytes])
        )


def _reach(element: tuple[str, bytes]) -> tuple[str, int]:
    block = decode_block(element[1])
    return block.series.detector, int(block.times.max())


def _series(element: tuple[str, bytes], detectors: frozenset[str]) -> list[bytes]:
    series = decode_block(element[1]).series
    return [series.to_bytes()] if series.detector in detectors else []


def _mark(text: bytes, newest: dict[str, int]) -> tuple[str, bytes]:
    series = Series.from_bytes(text)
    return series.key, encode_block(Block.mark(series, newest[series.detector]))
