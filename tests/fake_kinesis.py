"""A stream in memory that answers as Kinesis does, where `moto` does not: closed shards end, their
records stay in them, children follow, iterators expire, sequence numbers have gaps."""

from __future__ import annotations

import datetime as dt
import itertools
from concurrent.futures import Executor, Future

from botocore.exceptions import ClientError

EXPIRY_SECONDS = 300
STREAM = "stream"


def error(code, operation="GetRecords", status=400):
    answer = {"Error": {"Code": code, "Message": "injected"}}
    return ClientError(answer | {"ResponseMetadata": {"HTTPStatusCode": status}}, operation)


class Inline(Executor):
    """Runs what is submitted at once."""

    def submit(self, call, *arguments):
        done = Future()
        try:
            done.set_result(call(*arguments))
        except Exception as failure:
            done.set_exception(failure)
        return done


class Slow(Inline):
    """Runs what is submitted at once, but shows the answers later.

    After `delays` seconds, in turn, or what `of_call` says for the function's name.
    """

    def __init__(self, clock, delays):
        self._clock = clock
        self._delays = itertools.cycle(delays)
        self.of_call = {}

    def submit(self, call, *arguments):
        done = super().submit(call, *arguments)
        ready = self._clock() + self.of_call.get(call.__name__, next(self._delays))
        done.done = lambda: self._clock() >= ready
        return done


class Clock:
    """Seconds since 1970, moved by hand."""

    def __init__(self, seconds=1_700_000_000.0):
        self.seconds = seconds

    def __call__(self):
        return self.seconds

    @property
    def micros(self):
        return round(self.seconds * 1e6)


class FakeShard:
    def __init__(self, parents):
        self.parents = parents
        self.records = []
        self.is_closed = False


class FakeKinesis:
    """Client and service in one; `most` records an answer, `failures` to be raised by action."""

    def __init__(self, clock, shards=1, most=10_000):
        self.clock = clock
        self.most = most
        self.shards = {}
        self.failures = {}
        self.calls = []
        self.put = []
        self._iterators = {}
        self._sequence = 49_590_338_271_490_256_608_559_692_538_361_571_095_921_575_989_136_588_898
        for _ in range(shards):
            self._new()

    def _new(self, *parents):
        name = f"shardId-{len(self.shards):012}"
        self.shards[name] = FakeShard(parents)
        return name

    @property
    def open(self):
        return [name for name, shard in self.shards.items() if not shard.is_closed]

    def add(self, shard, *payloads):
        for data in payloads:
            self._sequence += 7
            self.shards[shard].records.append(
                {
                    "SequenceNumber": str(self._sequence),
                    "ApproximateArrivalTimestamp": dt.datetime.fromtimestamp(self.clock(), dt.UTC),
                    "Data": data,
                    "PartitionKey": "k",
                }
            )

    def split(self, shard):
        self.shards[shard].is_closed = True
        return self._new(shard), self._new(shard)

    def merge(self, one, other):
        self.shards[one].is_closed = self.shards[other].is_closed = True
        return self._new(one, other)

    def expire(self):
        """Remove the closed shards, as when their retention is over."""
        self.shards = {name: shard for name, shard in self.shards.items() if not shard.is_closed}

    def _called(self, action):
        self.calls.append(action)
        left = self.failures.get(action)
        if left:
            raise left.pop(0)

    def list_shards(self, StreamName=None, NextToken=None):
        self._called("ListShards")
        names = list(self.shards)
        start = int(NextToken or 0)
        shown = []
        for name in names[start : start + 2]:
            keys = ("ParentShardId", "AdjacentParentShardId")
            parents = dict(zip(keys, self.shards[name].parents, strict=False))
            shown.append({"ShardId": name, **parents})
        more = {"NextToken": str(start + 2)} if start + 2 < len(names) else {}
        return {"Shards": shown, **more}

    def get_shard_iterator(
        self,
        StreamName,
        ShardId,
        ShardIteratorType,
        StartingSequenceNumber=None,
        Timestamp=None,
    ):
        self._called("GetShardIterator")
        records = self.shards[ShardId].records
        at = 0
        if ShardIteratorType == "AFTER_SEQUENCE_NUMBER":
            at = sum(int(r["SequenceNumber"]) <= int(StartingSequenceNumber) for r in records)
        elif ShardIteratorType == "AT_TIMESTAMP":
            at = sum(r["ApproximateArrivalTimestamp"] < Timestamp for r in records)
        return {"ShardIterator": self._iterator(ShardId, at)}

    def _iterator(self, shard, at):
        name = f"iterator-{len(self._iterators)}"
        self._iterators[name] = shard, at, self.clock()
        return name

    def get_records(self, ShardIterator, Limit):
        self._called("GetRecords")
        name, at, made = self._iterators[ShardIterator]
        if self.clock() - made > EXPIRY_SECONDS:
            raise error("ExpiredIteratorException")
        shard = self.shards[name]
        end = min(at + min(self.most, Limit), len(shard.records))
        is_over = shard.is_closed and end == len(shard.records)
        more = {} if is_over else {"NextShardIterator": self._iterator(name, end)}
        behind = 0 if end == len(shard.records) else 1000
        return {"Records": shard.records[at:end], "MillisBehindLatest": behind, **more}

    def put_records(self, StreamName, Records):
        """`failures` holds error codes, one for each record; None takes it."""
        self.calls.append("PutRecords")
        assert len(Records) <= 500
        left = self.failures.get("PutRecords", [])
        if left and isinstance(left[0], Exception):
            raise left.pop(0)
        fates = []
        for record in Records:
            code = left.pop(0) if left else None
            if code is None:
                self.put.append((record["PartitionKey"], record["Data"]))
                fates.append({"SequenceNumber": "1", "ShardId": "shardId-000000000000"})
            else:
                fates.append({"ErrorCode": code, "ErrorMessage": "injected"})
        refused = sum("ErrorCode" in fate for fate in fates)
        return {"FailedRecordCount": refused, "Records": fates}
