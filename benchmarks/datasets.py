"""Development sets: labelled series, read from a folder that the user names.

A set ``S`` is three files:

* ``S.parquet``: ``series_id`` (string), ``timestamp`` (int64: seconds since 1970, or row numbers
  for series without a clock), ``value`` (float or double); rows in the order of the stream;
* ``S_series.csv``: ``series_id``, ``n`` (rows) and optionally ``train_end`` (first row that may be
  anomalous) and ``recording`` (series of equal recordings are not independent);
* ``S_windows.csv``: ``series_id``, ``first_row``, ``last_row``: the labelled windows, inclusive,
  from 0.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

FOLDER_VARIABLE = "TIDEWATCH_DATA"
MICROSECONDS = 1_000_000

_FILES = ("{}.parquet", "{}_series.csv", "{}_windows.csv")
_COLUMNS = ("series_id", "timestamp", "value")

Window = tuple[int, int]


class DatasetError(ValueError):
    """A folder that does not hold the set that was asked for, or a set that contradicts itself."""


@dataclass(frozen=True, eq=False)
class Series:
    """One labelled series.

    Attributes
    ----------
    series_id : str
        Name, unique in its set.
    times : int64[n]
        Event times in microseconds since 1970, in the order of the stream, which repeats and
        gaps of the clock may break.
    values : float64[n]
        The points.
    windows : tuple of (first row, last row)
        The labelled windows in order, inclusive, from 0.
    train_end : int or None
        First row that may be anomalous, where the set says so.
    recording : str or None
        What the series was cut or copied from, where the set says so.
    """

    series_id: str
    times: NDArray[np.int64]
    values: NDArray[np.float64]
    windows: tuple[Window, ...]
    train_end: int | None
    recording: str | None

    @property
    def labels(self) -> NDArray[np.bool_]:
        """True at the rows of the windows, bool[n]."""
        labels = np.zeros(len(self.values), bool)
        for first, last in self.windows:
            labels[first : last + 1] = True
        return labels

    @property
    def has_clock(self) -> bool:
        """Whether the times are a clock's, and not row numbers."""
        return not np.array_equal(self.times, np.arange(len(self.times)) * MICROSECONDS)


def data_folder(named: str | None) -> Path:
    """The folder of the development sets: ``named``, else the one in ``TIDEWATCH_DATA``.

    Raises
    ------
    DatasetError
        Neither is given, or it is not a folder.
    """
    chosen = named or os.environ.get(FOLDER_VARIABLE)
    if not chosen:
        raise DatasetError(
            f"no data folder: give --data DIR or set {FOLDER_VARIABLE} to the folder that holds "
            f"{_expected('<set>')}"
        )
    if not Path(chosen).is_dir():
        raise DatasetError(f"data folder {chosen!r} does not exist or is not a folder")
    return Path(chosen)


def load(folder: Path, name: str) -> list[Series]:
    """The set ``name`` of ``folder``, in the order of its ``_series.csv``.

    Raises
    ------
    DatasetError
        A file or a column is missing, a series has no rows or another number of rows than
        listed, or a window lies outside its series.
    """
    missing = [file.format(name) for file in _FILES if not (folder / file.format(name)).is_file()]
    if missing:
        raise DatasetError(
            f"set {name!r} needs {_expected(name)} in {str(folder)!r}; missing: "
            + ", ".join(missing)
        )
    listed = _read_csv(folder / f"{name}_series.csv", ("series_id", "n"))
    windows = _read_windows(folder / f"{name}_windows.csv")
    points = _read_points(folder / f"{name}.parquet")
    unlisted = set(windows) - {row["series_id"] for row in listed}
    if unlisted:
        raise DatasetError(f"{name}_windows.csv names unlisted series: {sorted(unlisted)[:3]}")
    return [_series(row, points, windows) for row in listed]


def _expected(name: str) -> str:
    return ", ".join(file.format(name) for file in _FILES)


def _series(
    row: Mapping[str, str],
    points: Mapping[str, tuple[NDArray[np.int64], NDArray[np.float64]]],
    windows: Mapping[str, list[Window]],
) -> Series:
    series_id = row["series_id"]
    if series_id not in points:
        raise DatasetError(f"series {series_id!r} is listed but has no rows")
    times, values = points[series_id]
    if len(values) != int(row["n"]):
        raise DatasetError(f"series {series_id!r} has {len(values)} rows, listed with {row['n']}")
    own_windows = tuple(sorted(windows.get(series_id, [])))
    for first, last in own_windows:
        if not 0 <= first <= last < len(values):
            raise DatasetError(
                f"series {series_id!r}: window {first}..{last} must lie in 0..{len(values) - 1}"
            )
    return Series(
        series_id=series_id,
        times=times,
        values=values,
        windows=own_windows,
        train_end=int(row["train_end"]) if row.get("train_end") else None,
        recording=row.get("recording") or None,
    )


def _read_windows(path: Path) -> dict[str, list[Window]]:
    windows: dict[str, list[Window]] = {}
    for row in _read_csv(path, ("series_id", "first_row", "last_row")):
        window = (int(row["first_row"]), int(row["last_row"]))
        windows.setdefault(row["series_id"], []).append(window)
    return windows


def _read_csv(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        _check_columns(path, columns, reader.fieldnames or ())
        return list(reader)


def _read_points(path: Path) -> dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]:
    _check_columns(path, _COLUMNS, pq.read_schema(path).names)
    table = pq.read_table(path, columns=list(_COLUMNS))
    # row groups may each have a dictionary of their own: one of the whole column is built instead
    names = table["series_id"].cast(pa.string()).combine_chunks().dictionary_encode()
    times = table["timestamp"].to_numpy().astype(np.int64) * MICROSECONDS
    values = table["value"].to_numpy().astype(np.float64)
    return _split(names, times, values)


def _split(
    names: Any, times: NDArray[np.int64], values: NDArray[np.float64]
) -> dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Times and values by series, in the order of the rows."""
    codes = np.asarray(names.indices)
    order = np.argsort(codes, kind="stable")
    boundaries = np.flatnonzero(np.diff(codes[order])) + 1
    groups = np.split(order, boundaries) if len(order) else []
    labels = names.dictionary.to_pylist()
    return {labels[codes[rows[0]]]: (times[rows], values[rows]) for rows in groups}


def _check_columns(path: Path, needed: tuple[str, ...], found: Any) -> None:
    missing = [column for column in needed if column not in found]
    if missing:
        raise DatasetError(f"{path.name} needs the columns {list(needed)}; missing: {missing}")
