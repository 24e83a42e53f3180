import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.datasets import DatasetError, data_folder, load

SERIES = "series_id,n,train_end,anomaly_rows,recording\nb/2,3,1,1,tape\na,2,,0,\n"
WINDOWS = (
    "series_id,first_row,last_row,first_timestamp,last_timestamp\nb/2,2,2,12,12\nb/2,0,0,0,0\n"
)


def write(folder, series=SERIES, windows=WINDOWS, names=("a", "b/2", "a", "b/2", "b/2")):
    table = pa.table(
        {
            "series_id": pa.array(names).dictionary_encode(),
            "timestamp": pa.array([100, 10, 99, 11, 12], pa.int64()),
            "value": pa.array([1.0, 2.0, None, 4.5, 5.0], pa.float32()),
            "is_anomaly": pa.array([0, 1, 0, 0, 1], pa.int8()),
        }
    )
    pq.write_table(table, folder / "toy.parquet", row_group_size=2)
    (folder / "toy_series.csv").write_text(series)
    (folder / "toy_windows.csv").write_text(windows)
    return folder


def test_a_set_is_read_in_the_order_of_its_list(tmp_path):
    second, first = load(write(tmp_path), "toy")
    assert (second.series_id, first.series_id) == ("b/2", "a")
    assert second.times.tolist() == [10_000_000, 11_000_000, 12_000_000]
    assert second.values.tolist() == [2.0, 4.5, 5.0]
    assert second.windows == ((0, 0), (2, 2))
    assert second.labels.tolist() == [True, False, True]
    assert (second.train_end, second.recording) == (1, "tape")
    assert first.times.tolist() == [100_000_000, 99_000_000]  # the stream's order, not the clock's
    assert first.values[0] == 1.0
    assert np.isnan(first.values[1])
    assert (first.windows, first.train_end, first.recording) == ((), None, None)
    assert (first.times.dtype, first.values.dtype) == (np.int64, np.float64)


def test_a_series_is_frozen(tmp_path):
    one = load(write(tmp_path), "toy")[0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.train_end = 5


def test_optional_columns_may_be_absent(tmp_path):
    one = load(write(tmp_path, series="series_id,n\nb/2,3\n"), "toy")[0]
    assert (one.train_end, one.recording) == (None, None)


def test_missing_files_are_named(tmp_path):
    write(tmp_path)
    (tmp_path / "toy_windows.csv").unlink()
    with pytest.raises(DatasetError, match=r"needs toy\.parquet.* missing: toy_windows\.csv$"):
        load(tmp_path, "toy")


@pytest.mark.parametrize(
    ("series", "windows", "message"),
    [
        ("series_id,n\na,3\n", "series_id,first_row,last_row\n", "has 2 rows, listed with 3"),
        ("series_id,n\nc,3\n", "series_id,first_row,last_row\n", "'c' is listed but has no rows"),
        ("series_id,n\na,2\n", WINDOWS, r"names unlisted series: \['b/2'\]"),
        ("series_id,n\na,2\n", "series_id,first_row,last_row\na,1,2\n", "1..2 must lie in 0..1"),
        ("series_id,n\na,2\n", "series_id,first_row,last_row\na,1,0\n", "1..0 must lie in 0..1"),
        ("series_id\na\n", WINDOWS, r"toy_series\.csv needs .* missing: \['n'\]"),
        (SERIES, "series_id,first\n", r"toy_windows\.csv needs .* missing: \['first_row', 'last_r"),
    ],
)
def test_a_set_that_contradicts_itself_is_refused(tmp_path, series, windows, message):
    write(tmp_path, series, windows)
    with pytest.raises(DatasetError, match=message):
        load(tmp_path, "toy")


def test_a_parquet_file_without_the_columns_is_refused(tmp_path):
    write(tmp_path)
    pq.write_table(pa.table({"series_id": ["a"], "value": [1.0]}), tmp_path / "toy.parquet")
    with pytest.raises(DatasetError, match=r"toy\.parquet needs .* missing: \['timestamp'\]"):
        load(tmp_path, "toy")


def test_the_folder_is_the_one_named_else_the_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("TIDEWATCH_DATA", str(tmp_path))
    assert data_folder(None) == tmp_path
    (tmp_path / "other").mkdir()
    assert data_folder(str(tmp_path / "other")) == tmp_path / "other"


def test_no_folder_says_what_is_expected(tmp_path, monkeypatch):
    monkeypatch.delenv("TIDEWATCH_DATA", raising=False)
    with pytest.raises(DatasetError, match="give --data DIR or set TIDEWATCH_DATA .*parquet"):
        data_folder(None)
    with pytest.raises(DatasetError, match="nowhere' does not exist"):
        data_folder(str(tmp_path / "nowhere"))
