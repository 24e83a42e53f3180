"""How far a split of a topic was read, as bytes that every later version can read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson
from apache_beam.coders import Coder
from apache_beam.io.unbounded_source import CheckpointMark

_VERSION = 1


class Reached(NamedTuple):
    """How far one partition was read.

    Attributes
    ----------
    offset : int
        The next one to read; -2 is the first that is still there.
    newest : int or None
        The newest event time read, microseconds since 1970.
    """

    offset: int
    newest: int | None


@dataclass
class KafkaMark(CheckpointMark):
    """How far a split was read.

    Parameters
    ----------
    partitions : dict of int to Reached, or None
        Each partition of the split; None while it is not yet known where to start.
    watermark : int or None
        Where the watermark stood, microseconds since 1970.
    commit : callable, optional
        Told of the mark when the runner has made it durable. Not in the bytes.
    """

    partitions: dict[int, Reached] | None
    watermark: int | None
    commit: Callable[[KafkaMark], None] | None = field(default=None, compare=False)

    def finalize_checkpoint(self) -> None:
        """Commit the offsets to the consumer group, for whoever watches its lag."""
        if self.commit is not None:
            self.commit(self)


class KafkaMarkCoder(Coder):
    """`KafkaMark` as JSON: version, watermark, and a row a partition in their order."""

    def encode(self, mark: KafkaMark) -> bytes:
        """Bytes of a mark."""
        rows = None
        if mark.partitions is not None:
            rows = [[number, *reached] for number, reached in sorted(mark.partitions.items())]
        return orjson.dumps({"version": _VERSION, "watermark": mark.watermark, "partitions": rows})

    def decode(self, encoded: bytes) -> KafkaMark:
        """The mark that `encode` wrote."""
        read = orjson.loads(encoded)
        if read["version"] != _VERSION:
            raise ValueError(
                f"checkpoint mark of version {read['version']}, this is for version {_VERSION}:"
                " resume with the version of Tidewatch that wrote the savepoint, or a later one"
            )
        rows = read["partitions"]
        partitions = None
        if rows is not None:
            partitions = {number: Reached(offset, newest) for number, offset, newest in rows}
        return KafkaMark(partitions, read["watermark"])

    def is_deterministic(self) -> bool:
        """Equal marks have equal bytes."""
        return True

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))
