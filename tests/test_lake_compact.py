"""Compaction: the same rows in fewer objects, whatever is killed and whoever reads meanwhile."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest
from lake_writer import DIMENSION, START, late, random_results, result, write

from lake import compact as compaction
from lake.compact import Compacted, compact
from lake.reader import Lake
from lake.store import JOURNAL, Store
from lake.tables import TABLES

BEFORE = "2026-03-04"
ALL_ROWS = "SELECT * FROM results ORDER BY ALL"


def rows_of(folder):
    return Lake(str(folder)).sql(ALL_ROWS).to_pylist()


def names_of(folder, day):
    return sorted(path.name for path in (folder / f"results/date={day}").iterdir())


@pytest.fixture
def folder(tmp_path):
    results = random_results(5, days=4)
    write(tmp_path, "results", results, objects_a_day=4)
    twice = result("item-A", 1, START)
    write(tmp_path, "results", [twice, twice], prefix="repeat")  # rows stay, even equal ones
    return tmp_path


def run(folder, table="results"):
    return list(compact(Store(str(folder)), table, BEFORE))


def test_rows_stay_and_objects_become_few(folder):
    before = rows_of(folder)
    done = run(folder)
    assert done == [
        Compacted("results", "2026-03-02", 5, 1, 182),
        Compacted("results", "2026-03-03", 4, 1, 180),
    ]
    assert rows_of(folder) == before
    assert len(names_of(folder, "2026-03-02")) == 1
    assert len(names_of(folder, "2026-03-04")) == 4


def test_a_repeat_does_nothing(folder):
    run(folder)
    before = names_of(folder, "2026-03-02")
    assert run(folder) == []
    assert names_of(folder, "2026-03-02") == before


def test_names_depend_on_the_sources_alone(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    for path in folder.rglob("*.parquet"):
        copy = other / path.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    run(folder)
    run(other)
    for day in ("2026-03-02", "2026-03-03"):
        assert names_of(folder, day) == names_of(other, day)
        for name in names_of(folder, day):
            key = f"results/date={day}/{name}"
            assert (folder / key).read_bytes() == (other / key).read_bytes()


def test_late_objects_of_a_compacted_day_are_merged_too(folder):
    run(folder)
    write(folder, "results", random_results(6, ["item-Z"], days=1), prefix="later")
    before = rows_of(folder)
    assert run(folder) == [Compacted("results", "2026-03-02", 2, 1, 242)]
    assert rows_of(folder) == before


def test_rows_are_sorted_and_grouped_for_readers(folder, monkeypatch):
    monkeypatch.setattr(compaction, "ROWS_AN_OBJECT", 100)
    monkeypatch.setattr(compaction, "ROWS_A_GROUP", 30)
    before = rows_of(folder)
    assert run(folder)[0].after == 2
    assert rows_of(folder) == before
    paths = sorted((folder / "results/date=2026-03-02").iterdir())
    rows = [row for path in paths for row in pq.read_table(path).to_pylist()]
    keys = [tuple(row[name] for name in TABLES["results"].order) for row in rows]
    assert keys == sorted(keys)
    assert pq.ParquetFile(paths[0]).metadata.num_row_groups == 4


def test_large_days_are_merged_in_runs(folder, monkeypatch):
    sizes = [each.size for each in Store(str(folder)).objects("results", last_date="2026-03-02")]
    monkeypatch.setattr(compaction, "BYTES_AT_ONCE", max(sizes) * 2)
    before = rows_of(folder)
    done = [each.before for each in run(folder) if each.date == "2026-03-02"]
    assert len(done) >= 2
    assert 4 <= sum(done) <= 5
    assert rows_of(folder) == before
    run(folder)
    assert rows_of(folder) == before


def test_added_columns_are_kept(folder):
    new = result("item-N", 1, START)
    new["dimensionList"].append({"name": "shop", "value": "north"})
    write(folder, "results", [new], prefix="wide", dimensions=(DIMENSION, "shop"))
    before = rows_of(folder)
    run(folder)
    assert rows_of(folder) == before
    assert sum(row["shop"] == "north" for row in before) == 1


def test_late_records_that_look_alike_all_stay(tmp_path):
    records = [late("item-A", START)] * 3
    write(tmp_path, "late", records, objects_a_day=3)
    assert run(tmp_path, "late") == [Compacted("late", "2026-03-02", 3, 1, 3)]


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("steps", range(14))
@pytest.mark.parametrize("parts", [1, 2])
def test_a_crash_after_any_step_changes_no_row(folder, monkeypatch, steps, parts):
    monkeypatch.setattr(compaction, "ROWS_AN_OBJECT", 182 if parts == 1 else 91)
    before = rows_of(folder)
    left = [steps]

    def counted(operation):
        def call(store, *asked):
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            operation(store, *asked)
            assert rows_of(folder) == before  # a reader, at every step

        return call

    with monkeypatch.context() as patch:
        original = Store.delete
        one_by_one = counted(lambda store, key: original(store, [key]))
        patch.setattr(Store, "write", counted(Store.write))
        patch.setattr(
            Store, "delete", lambda store, keys: [one_by_one(store, key) for key in keys] and None
        )
        try:
            run(folder)
        except Killed:
            pass
    assert rows_of(folder) == before
    run(folder)
    assert rows_of(folder) == before
    for day in ("2026-03-02", "2026-03-03"):
        assert JOURNAL not in names_of(folder, day)
        assert len(names_of(folder, day)) <= parts
        assert all(name.startswith("compact-") for name in names_of(folder, day))


def test_an_object_written_anew_meanwhile_is_not_deleted(folder, monkeypatch):
    store = Store(str(folder))
    finish = compaction._finish
    again = random_results(9, ["item-Q"], days=1)

    def rewritten(*asked):
        write(folder, "results", again, prefix="part")
        finish(*asked)

    monkeypatch.setattr(compaction, "_finish", rewritten)
    next(compact(store, "results", "2026-03-03"))
    ids = {row["resultId"] for row in rows_of(folder)}
    assert {record["resultId"] for record in again} <= ids


def test_nothing_is_written_over_a_running_day(folder):
    assert list(compact(Store(str(folder)), "results", "2026-03-02")) == []
