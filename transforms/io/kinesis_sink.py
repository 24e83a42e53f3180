"""Lines into a Kinesis stream: a record a line, sent before a bundle is done."""

from __future__ import annotations

import apache_beam as beam

from transforms.io.kinesis_put import PutRecords, partition_key_of
from transforms.io.kinesis_shards import KinesisStream


class WriteKinesisFn(beam.DoFn):
    """(key, JSON lines) into one record a line; see `transforms.io.kinesis.WriteKinesis`.

    Parameters
    ----------
    stream : KinesisStream
        Where to.
    """

    def __init__(self, stream: KinesisStream) -> None:
        self._put = PutRecords(stream.client, stream.name)

    def start_bundle(self) -> None:
        """Forget what a failed bundle left."""
        self._put.clear()

    def process(self, element: tuple[str, bytes]) -> None:
        """Gather the lines; send what makes a full request."""
        key, lines = element
        partition_key = partition_key_of(key)
        for line in lines.split(b"\n"):
            if line:
                self._put.add(partition_key, line)

    def finish_bundle(self) -> None:
        """Send the rest; the bundle is done when the stream has taken each record."""
        self._put.send()
