"""Records of a Kinesis shard into batches: aggregated ones taken apart, positions counted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from transforms.io.files import BATCH_BYTES
from transforms.io.kinesis_shards import arrival, shard_number
from transforms.records import Batch

BATCH_RECORDS = 10_000
_MAGIC = b"\xf3\x89\x9a\xc2"
_DIGEST_SIZE = 16


class Reached(NamedTuple):
    """How far one shard was read.

    Attributes
    ----------
    sequence : str or None
        Sequence number of the last record; None: nothing was read yet.
    first : str or None
        Sequence number of the first record that the job read.
    payloads : int
        Payloads from the first record on.
    """

    sequence: str | None = None
    first: str | None = None
    payloads: int = 0


class Taken(NamedTuple):
    """A batch of one shard, and how far it goes."""

    shard: str
    batch: Batch
    reached: Reached


def _aggregated_record() -> Any:
    """The message of an aggregated record, as far as it is read: ``records[i].data``.

    Source: the Kinesis Producer Library's aggregation format, ``messages.proto``; the fields left
    out are partition keys, hash keys and tags. AWS's own Python package is not used: it puts its
    folder on `sys.path`, and what it cannot parse it prints and drops.
    """
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="kinesis_aggregated_record.proto")
    outer, inner = (
        file.message_type.add(name="AggregatedRecord"),
        file.message_type.add(name="Record"),
    )
    outer.field.add(
        name="records",
        number=3,
        label=field.LABEL_REPEATED,
        type=field.TYPE_MESSAGE,
        type_name="Record",
    )
    inner.field.add(name="data", number=3, label=field.LABEL_REQUIRED, type=field.TYPE_BYTES)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("AggregatedRecord"))


_AggregatedRecord = _aggregated_record()


def payloads_of(data: bytes) -> list[bytes]:
    """The payloads of one record: several if the Kinesis Producer Library put them together.

    What only looks like an aggregated record is one payload, as it is. All payloads count, also
    those whose partition key belongs to another shard: that the library sends them once more when
    shards change is a duplicate like any other.
    """
    if not data.startswith(_MAGIC):
        return [data]
    message, digest = data[len(_MAGIC) : -_DIGEST_SIZE], data[-_DIGEST_SIZE:]
    if hashlib.md5(message, usedforsecurity=False).digest() != digest:
        return [data]
    try:
        found = _AggregatedRecord.FromString(message)
    except DecodeError:
        return [data]
    return [each.data for each in found.records] if found.IsInitialized() else [data]


def batches(
    stream: str, shard: str, reached: Reached, records: Iterable[dict[str, Any]], one_time: bool
) -> list[Taken]:
    """The records as batches; the payloads of one record are never in two.

    A batch's source is ``kinesis://STREAM/SHARD@FIRST``, and positions count payloads from the
    record FIRST on, where the job began to read the shard. Sequence numbers would not do: they have
    128 bits, gaps between them, and name several payloads at once.

    Parameters
    ----------
    stream, shard : str
        Where they come from.
    reached : Reached
        How far the shard was read before.
    records : iterable of dict
        As boto3 has them, in order.
    one_time : bool
        Whether a batch may hold only one time of arrival: it is the records' event time, and then
        no result may depend on how the stream was cut.
    """
    found: list[Taken] = []
    run: list[bytes] = []
    size = time = start = 0

    def end_run() -> None:
        nonlocal run, size
        if run:
            source = f"kinesis://{stream}/{shard}@{reached.first}"
            batch = Batch(source, start, shard_number(shard), False, time, b"", run)
            found.append(Taken(shard, batch, reached))
        run, size = [], 0

    for record in records:
        arrived = arrival(record)
        if size >= BATCH_BYTES or len(run) >= BATCH_RECORDS or (one_time and arrived != time):
            end_run()
        if not run:
            time, start = arrived, reached.payloads
        payloads = payloads_of(record["Data"])
        run += payloads
        size += len(record["Data"])
        sequence = record["SequenceNumber"]
        count = reached.payloads + len(payloads)
        reached = Reached(sequence, reached.first or sequence, count)
    end_run()
    return found
