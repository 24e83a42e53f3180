"""The Numenta Anomaly Benchmark's series as one keyed stream in a Parquet file.

The data is not part of this repository. Give the folder that holds it: a clone of the NAB
repository (``data/<group>/<name>.csv`` with columns ``timestamp,value``), or a folder with a
``nab.parquet`` (columns ``series_id``, ``timestamp`` in Unix seconds, ``value``)::

    python -m examples.nab.prepare --data path/to/NAB --output out/nab

The rows keep the order of the files: some series repeat or step back in time (a clock put back),
and the benchmark counts rows, not instants.

Source: Lavin and Ahmad 2015, doi:10.1109/ICMLA.2015.141.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

FILE_NAME = "nab-series.parquet"
SCHEMA = pa.schema(
    [
        pa.field("series_id", pa.string(), nullable=False),
        pa.field("timestamp", pa.int64(), nullable=False),
        pa.field("value", pa.float64(), nullable=False),
    ]
)


def read_series(data: Path) -> pa.Table:
    """All series of a NAB folder.

    Parameters
    ----------
    data : Path
        The NAB repository, or a folder with a ``nab.parquet``.

    Returns
    -------
    pyarrow.Table
        ``series_id`` (string, ``group/name``), ``timestamp`` (int64, Unix seconds, UTC) and
        ``value`` (float64); series one after the other, rows in stream order.

    Raises
    ------
    FileNotFoundError
        If the folder holds neither.
    ValueError
        If a column is missing, or a field is empty or of another type.
    """
    parquet = data / "nab.parquet"
    if parquet.is_file():
        return _to_schema(pq.read_table(parquet), parquet)
    files = sorted((data / "data").glob("*/*.csv"))
    if not files:
        raise FileNotFoundError(f"{data} must hold nab.parquet or data/<group>/<name>.csv")
    return pa.concat_tables([_read_csv(path) for path in files])


def write_series(output: Path, series: pa.Table) -> Path:
    """Write ``nab-series.parquet`` into ``output`` and return its path."""
    output.mkdir(parents=True, exist_ok=True)
    path = output / FILE_NAME
    pq.write_table(series, path)
    return path


def _read_csv(path: Path) -> pa.Table:
    types = {"timestamp": pa.timestamp("us"), "value": pa.float64()}
    try:
        table = pa_csv.read_csv(path, convert_options=pa_csv.ConvertOptions(column_types=types))
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: {error}") from error
    series_id = pa.array([f"{path.parent.name}/{path.stem}"] * table.num_rows, pa.string())
    if "timestamp" in table.column_names:
        seconds = pc.floor_temporal(table["timestamp"], unit="second").cast(pa.timestamp("s"))
        table = table.set_column(
            table.column_names.index("timestamp"), "timestamp", seconds.cast(pa.int64())
        )
    return _to_schema(table.append_column("series_id", series_id), path)


def _to_schema(table: pa.Table, path: Path) -> pa.Table:
    missing = [name for name in SCHEMA.names if name not in table.column_names]
    if missing:
        raise ValueError(f"{path} must have the columns {SCHEMA.names}, without {missing}")
    for name in SCHEMA.names:
        if table[name].null_count:
            raise ValueError(f"{path}: {name} must not be empty, {table[name].null_count} rows are")
    try:
        return table.select(SCHEMA.names).cast(SCHEMA)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"{path}: {error}") from error


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the series of a NAB folder as one Parquet file."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.nab.prepare",
        description="Write the Numenta Anomaly Benchmark's series as one Parquet file.",
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with NAB's data")
    parser.add_argument("--output", type=Path, default=Path("out/nab"), help="folder")
    options = parser.parse_args(arguments)
    try:
        series = read_series(options.data)
    except (FileNotFoundError, ValueError) as error:
        parser.error(str(error))
    path = write_series(options.output, series)
    count = pc.count_distinct(series["series_id"]).as_py()
    print(f"{path}: {series.num_rows:,} rows of {count} series")


if __name__ == "__main__":
    main()
