"""The lake through DuckDB: its tables as views over the objects of the days that are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
from sqlglot import exp

from lake.named_queries import Parameters, render, tables_of
from lake.store import Store, StoredObject, store_error
from lake.tables import PARTITION, TABLES, LakeError

_Result = TypeVar("_Result")
_FROM_PARQUET = (
    "FROM read_parquet({}, hive_partitioning = true, "
    f"hive_types = {{{{'{PARTITION}': VARCHAR}}}}, union_by_name = true)"
)
_VANISHED_ATTEMPTS = 3
"""Times a query is made whose objects were compacted or deleted while it ran."""


@dataclass(frozen=True)
class Days:
    """The objects of some tables and days, as they were listed at one moment."""

    objects: dict[str, list[StoredObject]]

    def fingerprint(self) -> tuple[StoredObject, ...]:
        """Equal for two listings if the same objects were there."""
        return tuple(each for found in self.objects.values() for each in found)


class Lake:
    """Reads a lake on a local disk or on S3.

    Parameters
    ----------
    location : str
        A local folder or ``s3://bucket/folder``. It need not exist yet: its tables are then empty.

    Raises
    ------
    LakeError
        If ``location`` is neither; from the methods, if the store refuses or a file is damaged.

    Notes
    -----
    A local lake is read by DuckDB itself. One on S3 is read through Arrow's datasets, as DuckDB's
    own S3 client is an extension that it downloads when it is first used. Both read only the
    objects of the days asked for, and of these only the columns and row groups a query needs.
    """

    def __init__(self, location: str) -> None:
        self.store = Store(location)

    def listing(
        self, first_date: str = "", last_date: str = "9", tables: Sequence[str] = tuple(TABLES)
    ) -> Days:
        """List the objects of some days, both included."""
        return Days({name: self.store.objects(name, first_date, last_date) for name in tables})

    def dates(self, table: str = "results") -> tuple[str, str] | None:
        """First and last day that a table has rows of; None if it is empty."""
        found = [each.date for each in self.store.objects(table)]
        return (min(found), max(found)) if found else None

    def dimensions(self, table: str = "results") -> list[str]:
        """Dimension columns of a table, as its oldest and newest objects have them."""
        return self._dimensions_of(table, self.store.objects(table))

    def query(self, name: str, parameters: Parameters | None = None) -> pa.Table:
        """Rows of a named query.

        Parameters
        ----------
        name : str
            One of `lake.named_queries.names`.
        parameters : Parameters, optional
            What it is asked about; by default everything.
        """
        asked = parameters or Parameters()
        tables = tables_of(name)

        def run() -> pa.Table:
            days = self.listing(asked.from_time[:10], asked.to_time[:10], tables)
            dimensions = self._dimensions_of("results", days.objects.get("results", []))
            return self._run(render(name, asked, dimensions), days)

        return _while_objects_vanish(run)

    def sql(self, statement: str, first_date: str = "", last_date: str = "9") -> pa.Table:
        """Rows of a statement in DuckDB's dialect over ``results``, ``late``, ``dead_letters``."""
        return _while_objects_vanish(
            lambda: self._run(statement, self.listing(first_date, last_date))
        )

    def _run(self, statement: str, days: Days) -> pa.Table:
        try:
            with (
                self._clear(),
                duckdb.connect(config={"autoinstall_known_extensions": False}) as connection,
            ):
                for name, objects in days.objects.items():
                    self._view(connection, name, objects)
                return connection.sql(statement).to_arrow_table()
        except LakeError as error:
            if self._has_changed(days):  # an object was put anew between two reads of its parts
                raise FileNotFoundError(str(error)) from error
            raise

    def _has_changed(self, days: Days) -> bool:
        listed = {name: found for name, found in days.objects.items() if found}
        return any(
            self.store.objects(name, found[0].date, found[-1].date) != found
            for name, found in listed.items()
        )

    @contextmanager
    def _clear(self) -> Iterator[None]:
        """Turn what DuckDB and Arrow say into a sentence; let through what has vanished."""
        try:
            yield
        except FileNotFoundError:
            raise
        except duckdb.Error as error:
            if "No files found" in str(error) or "No such file" in str(error):
                raise FileNotFoundError(str(error)) from error
            raise LakeError(f"DuckDB cannot read {self.store.location}: {error}") from error
        except (OSError, pa.ArrowInvalid) as error:
            raise LakeError(store_error("read", self.store.location, error)) from error

    def _view(
        self, connection: duckdb.DuckDBPyConnection, name: str, objects: Sequence[StoredObject]
    ) -> None:
        known = TABLES[name].columns([]).append(pa.field(PARTITION, pa.string()))
        if not objects:
            connection.register(name, known.empty_table())
        elif self.store.is_s3:
            connection.register(name, self._dataset(name, objects, known))
        else:
            paths = exp.convert([self.store.path(each.key) for each in objects]).sql("duckdb")
            read = connection.sql(_FROM_PARQUET.format(paths))
            if set(known.names) <= set(read.columns):
                read.create_view(name)
            else:  # objects of a version that had fewer fields: they are null there
                connection.register(f"{name}_columns", known.empty_table())
                read.create_view(f"{name}_objects")
                connection.sql(
                    f"FROM {name}_objects UNION ALL BY NAME FROM {name}_columns"
                ).create_view(name)

    def _dataset(self, name: str, objects: Sequence[StoredObject], known: pa.Schema) -> ds.Dataset:
        factory = ds.FileSystemDatasetFactory(
            self.store.files,
            [self.store.path(each.key) for each in objects],
            ds.ParquetFileFormat(),
            ds.FileSystemFactoryOptions(
                partition_base_dir=self.store.path(name),
                partitioning=ds.partitioning(pa.schema([(PARTITION, pa.string())]), flavor="hive"),
            ),
        )
        columns = factory.inspect(promote_options="permissive", fragments=None)
        return factory.finish(pa.unify_schemas([columns, known]))

    def _dimensions_of(self, table: str, objects: Sequence[StoredObject]) -> list[str]:
        names: dict[str, None] = {}
        for each in {objects[0], objects[-1]} if objects else ():
            path = self.store.path(each.key)
            with self._clear():
                fragment = ds.ParquetFileFormat().make_fragment(path, self.store.files)
                names |= dict.fromkeys(fragment.physical_schema.names)
        return sorted(TABLES[table].dimension_columns(list(names)))


def _while_objects_vanish(run: Callable[[], _Result]) -> _Result:
    """Run, and again with a new listing if an object was gone before it was read."""
    for _ in range(_VANISHED_ATTEMPTS - 1):
        try:
            return run()
        except FileNotFoundError:
            continue
    try:
        return run()
    except FileNotFoundError as error:
        raise LakeError(f"objects of the lake vanish while they are read: {error}") from error
