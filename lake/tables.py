"""The lake's tables, as their readers know them: columns, the day a row belongs to, row order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from transforms import schema

PARTITION = "date"
"""The one partition column: text, ``YYYY-MM-DD``, read from the folder's name."""


class LakeError(Exception):
    """Something a reader of the lake asked for cannot be done; the text says what to do."""


@dataclass(frozen=True)
class Table:
    """One table of the lake.

    Attributes
    ----------
    name : str
        Its folder.
    record : pyarrow.Schema
        The JSON record it is flattened from.
    day_of : str
        Column whose first ten characters are the partition.
    order : tuple of str
        Columns that put a day's rows into one order.
    """

    name: str
    record: pa.Schema
    day_of: str
    order: tuple[str, ...]

    def columns(self, dimensions: Sequence[str]) -> pa.Schema:
        """The Parquet schema for a job with these dimensions."""
        return schema.flat(self.record, dimensions)

    def dimension_columns(self, names: Sequence[str]) -> list[str]:
        """Of a Parquet schema's column ``names``, those that hold dimensions."""
        known = {name.lower() for name in self.record.names} | {PARTITION}
        return [name for name in names if name.lower() not in known]


TABLES = {
    table.name: table
    for table in (
        Table(
            "results",
            schema.RESULT,
            "detectionPeriodStartTime",
            ("detectorName", "timeseriesId", "detectionPeriodStartTime", "resultId"),
        ),
        Table(
            "late",
            schema.LATE,
            "eventTime",
            ("detectorName", "timeseriesId", "eventTime", "recordId", "measureValue"),
        ),
        Table("dead_letters", schema.DEAD_LETTER, "time", ("source", "position", "detectorName")),
    )
}
