"""JSON records into rows of the lake: the same record flattened, a column a dimension."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from transforms import schema


def table_of(lines: bytes, record: pa.Schema, dimensions: Sequence[str]) -> pa.Table:
    """The rows that JSON lines hold.

    Parameters
    ----------
    lines : bytes
        JSON objects with the fields of ``record``, one a line; at least one.
    record : pyarrow.Schema
        One of `transforms.schema`.
    dimensions : sequence of str
        All dimension names of the job: the columns are the same for each of its detectors.
    """
    read = pj.read_json(
        io.BytesIO(lines),
        # a line may not be longer than a block
        pj.ReadOptions(use_threads=False, block_size=len(lines) + 1),
        pj.ParseOptions(explicit_schema=record, unexpected_field_behavior="error"),
    ).combine_chunks()
    target = schema.flat(record, dimensions)
    if "dimensionList" not in record.names:
        return read.select(target.names).cast(target)
    columns = schema.dimension_columns(record, dimensions)
    pairs = read["dimensionList"]
    by_name = {columns[name]: _dimension(pairs, name, read.num_rows) for name in dimensions}
    return pa.table([by_name[n] if n in by_name else read[n] for n in target.names], schema=target)


def _dimension(pairs: pa.ChunkedArray, name: str, rows: int) -> pa.Array:
    """Each row's value of dimension ``name``, null where its detector has none of that name."""
    flat = pc.list_flatten(pairs).combine_chunks()
    parents = pc.list_parent_indices(pairs).combine_chunks()
    here = pc.equal(pc.struct_field(flat, "name"), name)
    column = np.full(rows, None, object)
    column[parents.filter(here).to_numpy()] = (
        pc.struct_field(flat, "value").filter(here).to_numpy(zero_copy_only=False)
    )
    return pa.array(column, pa.string())
