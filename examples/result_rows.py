"""Result rows, in whatever table they come, as columns of numbers; and columns as chart data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Columns = dict[str, NDArray[Any]]
Rows = Any
"""A pyarrow table, a pandas data frame, or a sequence of mappings from field to value."""


def table_of(rows: Rows, fields: Sequence[str]) -> pa.Table:
    """``rows`` as a table that has ``fields`` and at least one row.

    Raises
    ------
    ValueError
        If it has none, or lacks one of the fields.
    """
    if isinstance(rows, pa.Table):
        table = rows
    elif hasattr(rows, "iloc"):  # pandas, which need not be installed
        table = pa.Table.from_pandas(rows, preserve_index=False)
    else:
        table = pa.Table.from_pylist(list(rows))
    if table.num_rows == 0:
        raise ValueError("rows must hold at least 1 result, got 0")
    missing = [name for name in fields if name not in table.column_names]
    if missing:
        raise ValueError(f"rows must have the fields {', '.join(fields)}; got none of {missing}")
    return table


def numbers(table: pa.Table, field: str) -> NDArray[np.float64]:
    """Read a column as float64[n]; NaN where the field is missing."""
    column = table[field].combine_chunks().cast(pa.float64()).fill_null(math.nan)
    return np.array(column.to_numpy(zero_copy_only=False), np.float64)


def instants(table: pa.Table, field: str) -> NDArray[np.int64]:
    """Read a column of times, or of texts that hold times, as int64[n] milliseconds."""
    return np.array([milliseconds(time) for time in table[field].to_pylist()], np.int64)


def milliseconds(time: datetime | str) -> int:
    """Milliseconds since 1970; a time without a zone is UTC, as the results' times are."""
    instant = datetime.fromisoformat(time) if isinstance(time, str) else time
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    return round(instant.timestamp() * 1000)


def ascending(columns: Columns, by: str) -> Columns:
    """Order the columns by column ``by``."""
    order = np.argsort(columns[by], kind="stable")
    return {name: column[order] for name, column in columns.items()}


def chart_data(
    columns: Mapping[str, NDArray[Any]], kept: NDArray[np.int64]
) -> list[dict[str, Any]]:
    """Rows ``kept`` for an inline data set: six significant digits, None for NaN."""
    lists = [[plain(value) for value in column[kept].tolist()] for column in columns.values()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]


def plain(value: Any) -> Any:
    """Shorten a number to six significant digits, NaN to None; leave all else as it is."""
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    rounded = float(f"{value:.6g}")
    return int(rounded) if rounded.is_integer() else rounded
