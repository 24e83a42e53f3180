"""How far a share of a stream was read, as bytes that every later version can read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import orjson
from apache_beam.coders import Coder
from apache_beam.io.unbounded_source import CheckpointMark

from transforms.io.kinesis_batches import Reached

_VERSION = 1


class ShardMark(NamedTuple):
    """How far one shard was read, and the newest event time in it, microseconds since 1970."""

    reached: Reached
    newest: int | None


@dataclass(frozen=True)
class KinesisMark(CheckpointMark):
    """How far a share of a stream was read.

    Parameters
    ----------
    since : int or None
        Where a shard begins that was not read yet: a time, microseconds since 1970, or None for
        its oldest record.
    shards : dict of str to ShardMark
        Each shard that is being read.
    finished : tuple of str
        Closed shards that were read to their end.
    watermark : int or None
        Where the watermark stood, microseconds since 1970.
    """

    since: int | None
    shards: dict[str, ShardMark]
    finished: tuple[str, ...]
    watermark: int | None


class KinesisMarkCoder(Coder):
    """`KinesisMark` as JSON: version, watermark, start, finished shards, and a row a shard."""

    def encode(self, mark: KinesisMark) -> bytes:
        """Bytes of a mark."""
        rows = [[shard, *m.reached, m.newest] for shard, m in sorted(mark.shards.items())]
        return orjson.dumps(
            {
                "version": _VERSION,
                "watermark": mark.watermark,
                "since": mark.since,
                "finished": sorted(mark.finished),
                "shards": rows,
            }
        )

    def decode(self, encoded: bytes) -> KinesisMark:
        """The mark that `encode` wrote."""
        read = orjson.loads(encoded)
        if read["version"] != _VERSION:
            raise ValueError(
                f"checkpoint mark of version {read['version']}, this is for version {_VERSION}:"
                " resume with the version of Tidewatch that wrote the savepoint, or a later one"
            )
        shards = {
            shard: ShardMark(Reached(sequence, first, count), newest)
            for shard, sequence, first, count, newest in read["shards"]
        }
        return KinesisMark(read["since"], shards, tuple(read["finished"]), read["watermark"])

    def is_deterministic(self) -> bool:
        """Equal marks have equal bytes."""
        return True

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))
