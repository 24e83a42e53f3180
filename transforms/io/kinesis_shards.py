"""A Kinesis stream, its shards and their records: requests, and what their answers mean."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from transforms.io import aws
from transforms.watermark import EventTimes

MOST_RECORDS = 10_000
"""Of one answer; Kinesis allows no more."""
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)


class ReadFailed(RuntimeError):
    """A stream cannot be read on; trying again does not help."""


@dataclass(frozen=True)
class KinesisStream:
    """Where a stream is. Credentials are the worker's own, from AWS's default chain.

    Parameters
    ----------
    name : str
        The stream's name.
    region : str or None
        Its AWS region; None: that of the environment or profile.
    endpoint_url : str or None
        None: what ``AWS_ENDPOINT_URL`` says, else AWS.
    """

    name: str
    region: str | None = None
    endpoint_url: str | None = None

    def client(self) -> Any:
        """The process's client; it may be shared between threads."""
        return aws.client("kinesis", self.endpoint_url, self.region)


@dataclass(frozen=True)
class KinesisSettings:
    """What a reader needs to know; see `transforms.io.kinesis.ReadKinesis`."""

    stream: KinesisStream
    start: str | int
    times: EventTimes
    allowed_disorder: int
    idle_after: int


class Shard(NamedTuple):
    """A shard as the stream lists it; ``parents`` were split or merged into it."""

    id: str
    parents: tuple[str, ...]

    @property
    def number(self) -> int:
        """Its number in the stream: ``shardId-000000000007`` has 7."""
        return shard_number(self.id)


def shard_number(shard: str) -> int:
    """The number in a shard's ID."""
    return int(shard.rpartition("-")[2])


class Answer(NamedTuple):
    """What came of a request for a shard's records.

    Attributes
    ----------
    records : list of dict
        As boto3 has them, in order.
    iterator : str or None
        Where to go on; None: a closed shard was read to its very end.
    is_caught_up : bool
        Whether there is nothing behind these records.
    """

    records: list[dict[str, Any]]
    iterator: str | None
    is_caught_up: bool


def list_shards(stream: KinesisStream) -> dict[str, Shard]:
    """All shards that still have records, and the open ones, by ID."""
    found: dict[str, Shard] = {}
    more: dict[str, str] = {"StreamName": stream.name}
    while more:
        answer = stream.client().list_shards(**more)
        for each in answer["Shards"]:
            parents = (each.get("ParentShardId"), each.get("AdjacentParentShardId"))
            found[each["ShardId"]] = Shard(each["ShardId"], tuple(p for p in parents if p))
        token = answer.get("NextToken")
        more = {"NextToken": token} if token else {}
    return found


def shard_iterator(stream: KinesisStream, shard: str, after: str | None, since: int | None) -> str:
    """Where to begin: after a sequence number, else at a time, else at the oldest record.

    Parameters
    ----------
    stream : KinesisStream
        Which stream.
    shard : str
        Which shard.
    after : str or None
        Sequence number of the last record that was read.
    since : int or None
        Microseconds since 1970, by the clock of Kinesis.
    """
    where: dict[str, Any] = {"ShardIteratorType": "TRIM_HORIZON"}
    if after is not None:
        where = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": after}
    elif since is not None:
        time = _EPOCH + since * _MICROSECOND
        where = {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": time}
    answer = stream.client().get_shard_iterator(StreamName=stream.name, ShardId=shard, **where)
    return str(answer["ShardIterator"])


def get_records(
    stream: KinesisStream, shard: str, iterator: str | None, after: str | None, since: int | None
) -> Answer:
    """The next records; without an iterator, or when it has expired, by a new one.

    Iterators live for five minutes, and a reader may wait longer for its runner.
    """
    for begin in (iterator, None):
        known = begin or shard_iterator(stream, shard, after, since)
        try:
            answer = stream.client().get_records(ShardIterator=known, Limit=MOST_RECORDS)
        except Exception as error:
            if begin is not None and aws.code_of(error) == "ExpiredIteratorException":
                continue
            raise
        is_caught_up = not answer.get("MillisBehindLatest")
        return Answer(answer["Records"], answer.get("NextShardIterator"), is_caught_up)
    raise AssertionError("not reached")


def arrival(record: dict[str, Any]) -> int:
    """When Kinesis took the record, microseconds since 1970."""
    return (record["ApproximateArrivalTimestamp"] - _EPOCH) // _MICROSECOND


def passes(error: BaseException, stream: KinesisStream, action: str) -> bool:
    """Whether an error of ``action`` may be over soon.

    Raises
    ------
    ReadFailed
        It is not: the stream is not there, or the credentials do not allow it.
    """
    if aws.is_passing(error):
        return True
    advice = "see the message"
    if aws.is_denied(error):
        advice = f"allow kinesis:{action} to the worker's credentials"
    elif aws.code_of(error) == "ResourceNotFoundException":
        advice = "name a stream that is there, and its region"
    raise ReadFailed(f"kinesis:{action} on stream {stream.name!r}: {error}; {advice}") from error


def in_order(shards: Iterable[Shard]) -> list[Shard]:
    """Shards by their number: parents come before their children."""
    return sorted(shards, key=lambda shard: shard.number)
