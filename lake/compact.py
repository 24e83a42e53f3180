"""Compaction: the many small objects of a day into few, sorted, with the same rows.

A day is compacted in four steps, and a crash after any of them loses and doubles nothing:

1. A journal is written: which objects are going to be replaced by which.
2. The new objects are written. Their names are made from the sources', so a repeat writes the
   same objects again.
3. The sources are deleted, each if it is still what the journal says.
4. The journal is deleted.

While a journal is there, `lake.store.Store` shows either the sources or, once all of them are
whole, the new objects. The next compaction takes up what a crash left behind.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby

import pyarrow as pa
import pyarrow.parquet as pq

from lake.store import JOURNAL, Store, StoredObject
from lake.tables import TABLES, LakeError

ROWS_AN_OBJECT = 500_000
ROWS_A_GROUP = 50_000
"""Rows of a row group: what a reader skips or reads as a whole when it looks for one series."""
BYTES_AT_ONCE = 256 << 20
"""Most compressed bytes that are merged in one go; a larger day ends as several merges."""
_PREFIX = "compact-"


@dataclass(frozen=True)
class Compacted:
    """What became of one merge: so many objects of a day are now so many."""

    table: str
    date: str
    before: int
    after: int
    rows: int


def compact(store: Store, table: str, before_date: str) -> Iterator[Compacted]:
    """Compact all days of a table before ``before_date``; yields what was done, merge by merge.

    Parameters
    ----------
    store : Store
        The lake's folder.
    table : str
        Name of the table.
    before_date : str
        ``YYYY-MM-DD``. Days from it on are left alone: the pipeline may still write their objects.

    Raises
    ------
    LakeError
        If the store refuses, or rows would be lost; what was there is there still.
    """
    for key in store.journals(table):
        if key.split("=")[1][:10] < before_date:
            _finish(store, key)
    objects = [each for each in store.objects(table) if each.date < before_date]
    for _, day in groupby(objects, key=lambda each: each.date):
        for sources in _merges(list(day)):
            yield _merge(store, sources)


def _merges(day: list[StoredObject]) -> Iterator[list[StoredObject]]:
    """Objects to merge, in runs of bounded size; runs that would gain nothing are left out."""
    run: list[StoredObject] = []
    for each in [*day, None]:
        if each is None or sum(one.size for one in run) + each.size > BYTES_AT_ONCE:
            if len(run) > 1 and not all(one.name.startswith(_PREFIX) for one in run):
                yield run
            run = []
        if each is not None:
            run.append(each)


def _merge(store: Store, sources: Sequence[StoredObject]) -> Compacted:
    table, date = TABLES[sources[0].table], sources[0].date
    folder = f"{table.name}/date={date}"
    rows = _rows_of(store, sources).sort_by([(name, "ascending") for name in table.order])
    parts = math.ceil(rows.num_rows / ROWS_AN_OBJECT)
    names = [f"{_PREFIX}{_hash(sources)}-{part:05}.parquet" for part in range(parts)]
    journal = {"objects": names, "sources": [asdict(source) for source in sources]}
    store.write(f"{folder}/{JOURNAL}", json.dumps(journal).encode())
    written = 0
    for part, name in enumerate(names):
        content = _parquet(rows.slice(part * ROWS_AN_OBJECT, ROWS_AN_OBJECT))
        store.write(f"{folder}/{name}", content)
        written += pq.ParquetFile(pa.BufferReader(content)).metadata.num_rows
    if written != rows.num_rows:
        raise LakeError(f"{folder}: {rows.num_rows} rows became {written}; nothing was deleted")
    _finish(store, f"{folder}/{JOURNAL}")
    return Compacted(table.name, date, len(sources), parts, rows.num_rows)


def _rows_of(store: Store, sources: Sequence[StoredObject]) -> pa.Table:
    tables = [pq.ParquetFile(pa.BufferReader(store.read(each.key))).read() for each in sources]
    # columns are only ever added: the newest schema, which comes last, has the most
    columns = pa.unify_schemas([each.schema for each in reversed(tables)])
    return pa.concat_tables(tables, promote_options="default").select(columns.names).cast(columns)


def _hash(sources: Sequence[StoredObject]) -> str:
    text = "\n".join(f"{source.name} {source.size}" for source in sources)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _parquet(rows: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(rows, buffer, compression="zstd", row_group_size=ROWS_A_GROUP)
    return buffer.getvalue()


def _finish(store: Store, journal_key: str) -> None:
    """Take a compaction to its end, or back to its beginning if its objects are not all there."""
    journal = json.loads(store.read(journal_key))
    folder, table = journal_key.rpartition("/")[0], journal_key.partition("/")[0]
    date = folder.rpartition("=")[2]
    there = store.all_objects(table, date)
    written = [each for each in there if each.name in journal["objects"]]
    if len(written) == len(journal["objects"]):
        sources = {StoredObject(**source) for source in journal["sources"]}
        store.delete([each.key for each in there if each in sources])
    else:
        store.delete([each.key for each in written])
    store.delete([journal_key])
