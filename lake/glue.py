"""The lake's tables in the AWS Glue Data Catalog, from the one schema; no crawler.

Partitions are projected: Athena computes the days' folders from the table's own definition, so a
new day is seen at once and nothing has to be registered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import boto3
import pyarrow as pa
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from lake.tables import PARTITION, TABLES, LakeError, Table

ATTEMPTS = 5
"""Times a call is made before its error is reported; botocore waits longer each time."""
DAYS_AHEAD = 2
"""Days after today that are projected: an event time may be a day ahead of the clock."""
_FORMATS = "org.apache.hadoop.hive.ql.io.parquet"
_TYPES = {
    pa.string(): "string",
    pa.float64(): "double",
    pa.int64(): "bigint",
    pa.bool_(): "boolean",
}
_ACTIONS = "glue:GetDatabase, CreateDatabase, GetTable, CreateTable and UpdateTable"


def client() -> Any:
    """Make a Glue client; credentials, region and endpoint are found as AWS's tools find them."""
    return boto3.client(
        "glue", config=Config(retries={"mode": "standard", "total_max_attempts": ATTEMPTS})
    )


def table_input(
    table: Table, dimensions: Sequence[str], location: str, first_date: str
) -> dict[str, Any]:
    """Glue's ``TableInput`` for one table.

    Parameters
    ----------
    table : Table
        One of `lake.tables.TABLES`.
    dimensions : sequence of str
        The job's dimensions; each is a column. Athena's names are lower case throughout.
    location : str
        The lake's folder, ``s3://bucket/folder``.
    first_date : str
        ``YYYY-MM-DD`` of the first day that is looked for.
    """
    folder = f"{location.rstrip('/')}/{table.name}"
    return {
        "Name": table.name,
        "TableType": "EXTERNAL_TABLE",
        "PartitionKeys": [{"Name": PARTITION, "Type": "string", "Comment": "YYYY-MM-DD, UTC"}],
        "Parameters": {
            "EXTERNAL": "TRUE",
            "classification": "parquet",
            "projection.enabled": "true",
            f"projection.{PARTITION}.type": "date",
            f"projection.{PARTITION}.format": "yyyy-MM-dd",
            f"projection.{PARTITION}.range": f"{first_date},NOW+{DAYS_AHEAD}DAYS",
            "storage.location.template": f"{folder}/{PARTITION}=${{{PARTITION}}}",
        },
        "StorageDescriptor": {
            "Columns": [_column(field) for field in table.columns(dimensions)],
            "Location": f"{folder}/",
            "InputFormat": f"{_FORMATS}.MapredParquetInputFormat",
            "OutputFormat": f"{_FORMATS}.MapredParquetOutputFormat",
            "SerdeInfo": {"SerializationLibrary": f"{_FORMATS}.serde.ParquetHiveSerDe"},
        },
    }


def _type(kind: pa.DataType) -> str:
    """Hive's name of a column's type."""
    if pa.types.is_list(kind):
        return f"array<{_type(kind.value_type)}>"
    if pa.types.is_struct(kind):
        return f"struct<{','.join(f'{each.name}:{_type(each.type)}' for each in kind)}>"
    return _TYPES[kind]


def _column(field: pa.Field) -> dict[str, str]:
    comment = (field.metadata or {}).get(b"description", b"").decode()
    return {"Name": field.name.lower(), "Type": _type(field.type), "Comment": comment}


def put_tables(
    glue: Any, database: str, location: str, dimensions: Sequence[str], first_date: str
) -> dict[str, str]:
    """Create the database and its tables, or bring them up to date; repeatable.

    Returns
    -------
    dict of str to str
        Table and what happened to it: ``created``, ``updated: ...`` or ``unchanged``.

    Raises
    ------
    LakeError
        If a change would do more than add columns, or Glue refuses. Every table is checked before
        the first one is written.
    """
    try:
        wanted = {
            name: table_input(table, dimensions, location, first_date)
            for name, table in TABLES.items()
        }
        has_database = _found(glue.get_database, Name=database)
        existing = {
            name: _found(glue.get_table, DatabaseName=database, Name=name) if has_database else None
            for name in wanted
        }
        merged = {
            name: _merged(each["Table"], wanted[name]) for name, each in existing.items() if each
        }
        if not has_database:
            _create_database(glue, database)
        return {
            name: _put(glue, database, existing[name], merged.get(name, wanted[name]))
            for name in wanted
        }
    except ClientError as error:
        raise LakeError(_refusal(database, error)) from error
    except BotoCoreError as error:
        raise LakeError(f"cannot reach Glue: {error}") from error


def _found(call: Any, **names: str) -> Any:
    try:
        return call(**names)
    except ClientError as error:
        if error.response["Error"]["Code"] == "EntityNotFoundException":
            return None
        raise


def _create_database(glue: Any, database: str) -> None:
    description = "Results of Tidewatch, anomaly detection in time series"
    try:
        glue.create_database(DatabaseInput={"Name": database, "Description": description})
    except ClientError as error:
        if error.response["Error"]["Code"] != "AlreadyExistsException":  # made a moment ago
            raise


def _put(glue: Any, database: str, existing: Any, wanted: dict[str, Any]) -> str:
    if existing is None:
        glue.create_table(DatabaseName=database, TableInput=wanted)
        return "created"
    table = existing["Table"]
    changes = _changes(table, wanted)
    if not changes:
        return "unchanged"
    version = {"VersionId": table["VersionId"]} if table.get("VersionId") else {}
    glue.update_table(DatabaseName=database, TableInput=wanted, **version)
    return f"updated: {', '.join(changes)}"


def _merged(existing: Mapping[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """``wanted`` with the existing columns first, in their order, and new ones after them.

    Raises
    ------
    LakeError
        If a column would change its type or vanish.
    """
    old = {column["Name"]: column for column in existing["StorageDescriptor"]["Columns"]}
    new = {column["Name"]: column for column in wanted["StorageDescriptor"]["Columns"]}
    mistakes = [
        f"{name} is {column['Type']} and would be {new[name]['Type']}"
        if name in new
        else f"{name} would vanish"
        for name, column in old.items()
        if new.get(name, {}).get("Type") != column["Type"]
    ]
    if mistakes:
        raise LakeError(
            f"table {existing['Name']}: columns may only be added, but {'; '.join(mistakes)}. "
            "Name every dimension the table has (--dimension), or choose another database"
        )
    columns = [new[name] for name in [*old, *(name for name in new if name not in old)]]
    return {**wanted, "StorageDescriptor": {**wanted["StorageDescriptor"], "Columns": columns}}


def _changes(existing: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    old, new = existing["StorageDescriptor"], wanted["StorageDescriptor"]
    known = {column["Name"] for column in old["Columns"]}
    changes = [
        f"column {column['Name']} added" for column in new["Columns"] if column["Name"] not in known
    ]
    if old["Location"] != new["Location"]:
        changes.append(f"location is now {new['Location']}")
    parameters = existing.get("Parameters", {})
    changes += [
        f"{name} is now {value}"
        for name, value in wanted["Parameters"].items()
        if parameters.get(name) != value
    ]
    return changes


def _refusal(database: str, error: ClientError) -> str:
    code, text = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    call = f"Glue's {error.operation_name} in database {database}"
    if code in ("AccessDeniedException", "AccessDenied", "UnrecognizedClientException"):
        return f"{call} was denied; the role or user needs {_ACTIONS} ({text})"
    if "Throttl" in code or error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
        return f"{call} failed in {ATTEMPTS} attempts: {code} {text}; run the command again"
    return f"{call} failed: {code} {text}"
