"""The live lake: objects are sets that only grow, whatever is repeated, cut or restarted."""

from __future__ import annotations

import json

import apache_beam as beam
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing import test_pipeline, test_stream
from apache_beam.utils.timestamp import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms import schema
from transforms.io.lake_live import GRACE, GrowingTable, Layout, WriteLakeLive, bucket_of, due_time
from transforms.io.objects import Changed, LocalStore
from transforms.io.parquet import WriteLake

MINUTE = 60_000_000
DAY = "2024-08-29"
MIDNIGHT = 1_724_889_600_000_000
ORDER = ("detectorName", "timeseriesId", "eventTime", "recordId", "measureValue")


def late_line(number, series="s", micros=MIDNIGHT):
    minutes, seconds = divmod((micros - MIDNIGHT) // 1_000_000, 60)
    return json.dumps(
        {
            "detectorName": "d",
            "measure": "m",
            "timeseriesId": series,
            "dimensionList": [{"name": "product", "value": "A"}],
            "eventTime": f"{DAY} {minutes // 60:02}:{minutes % 60:02}:{seconds:02}",
            "measureValue": float(number),
            "recordId": number,
            "closedUntil": f"{DAY} 23:00:00",
        }
    ).encode()


def write_live(path, rows=1000, shards=1, bucket=10 * MINUTE, every=None):
    when = ("eventTime", bucket, every or bucket)
    return WriteLakeLive(str(path), "late", schema.LATE, ["product"], ORDER, *when, shards, rows)


def growing(path, rows=4, store=None):
    table = schema.LATE
    return GrowingTable(store or LocalStore(), str(path), table, ("product",), ORDER, rows)


def lake(folder):
    """Record IDs by object."""
    return {
        str(path.relative_to(folder)): pq.ParquetFile(path).read()["recordId"].to_pylist()
        for path in sorted(folder.rglob("*.parquet"))
    }


def ids(folder):
    return sorted(number for numbers in lake(folder).values() for number in numbers)


class Stream:
    """Lines and watermarks, in minutes of the day."""

    def __init__(self):
        self._stream = test_stream.TestStream()

    def lines(self, at, *lines):
        stamp = Timestamp(micros=MIDNIGHT + int(at * MINUTE))
        elements = [beam.window.TimestampedValue(line, stamp) for line in lines]
        self._stream = self._stream.add_elements(elements)
        return self

    def watermark(self, at):
        self._stream = self._stream.advance_watermark_to(
            Timestamp(micros=MIDNIGHT + int(at * MINUTE))
        )
        return self

    def run(self, write, end=True):
        if end:
            self._stream = self._stream.advance_watermark_to_infinity()
        with test_pipeline.TestPipeline(options=PipelineOptions([], streaming=True)) as pipeline:
            pipeline | self._stream | write | beam.Map(remember)
        written, WRITTEN[:] = list(WRITTEN), []
        return [path.rpartition("/")[2] for path in written]


WRITTEN = []
"""Paths in the order they were written; the runner works in this process."""


def remember(path):
    WRITTEN.append(path)


def test_a_bucket_is_written_once_when_event_time_has_passed_it(tmp_path):
    stream = Stream().watermark(0)
    stream.lines(1, late_line(1, micros=MIDNIGHT + MINUTE) + b"\n" + late_line(2))
    stream.lines(9, late_line(3, micros=MIDNIGHT + 9 * MINUTE)).watermark(20)
    stream.lines(21, late_line(4, micros=MIDNIGHT + 21 * MINUTE))
    names = ["000000-600s-00of01-00000.parquet", "002000-600s-00of01-00000.parquet"]
    assert stream.run(write_live(tmp_path)) == names
    folder = f"late/date={DAY}"
    assert lake(tmp_path) == {f"{folder}/{names[0]}": [2, 1, 3], f"{folder}/{names[1]}": [4]}


def test_a_bucket_grows_while_it_lasts_where_the_job_says_so(tmp_path):
    stream = Stream().watermark(0)
    stream.lines(1, late_line(1)).lines(1.5, late_line(2)).watermark(3)
    stream.lines(4, late_line(3)).watermark(30)
    assert len(stream.run(write_live(tmp_path, every=2 * MINUTE))) == 2
    assert list(lake(tmp_path).values()) == [[1, 2, 3]]


def test_flushes_divide_the_bucket(tmp_path):
    with pytest.raises(ValueError, match="flush_every must divide the bucket, 600000000, got 7"):
        write_live(tmp_path, every=7)


def test_what_comes_after_its_buckets_flush_is_added_to_it(tmp_path):
    stream = Stream().watermark(0).lines(1, late_line(1)).watermark(11)
    stream.lines(12, late_line(2)).lines(14, late_line(3)).watermark(25)
    stream.lines(26, late_line(4)).watermark(2 * 24 * 60).lines(2 * 24 * 60, late_line(5))
    # minutes 12 and 14 wait for one flush
    assert len(stream.run(write_live(tmp_path))) == 4
    assert list(lake(tmp_path).values()) == [[1, 2, 3, 4, 5]]


def test_a_repeat_adds_nothing(tmp_path):
    stream = Stream().watermark(0).lines(1, late_line(1), late_line(2)).watermark(11)
    stream.lines(12, late_line(2), late_line(1), late_line(1))
    assert len(stream.run(write_live(tmp_path))) == 1
    assert ids(tmp_path) == [1, 2]


def test_a_shard_holds_whole_series(tmp_path):
    lines = [late_line(n, series=f"series {n % 7}") for n in range(70)]
    Stream().lines(1, *lines).run(write_live(tmp_path, shards=3))
    found = lake(tmp_path)
    assert len(found) == 3
    assert ids(tmp_path) == list(range(70))
    of_series = [{number % 7 for number in numbers} for numbers in found.values()]
    assert sum(map(len, of_series)) == 7


def test_dead_letters_without_a_detector_are_told_apart_and_written_once(tmp_path):
    def letter(position):
        line = {
            "reason": "not JSON",
            "step": "parse",
            "detectorName": None,
            "source": "stream",
            "position": position,
            "time": f"{DAY} 00:00:00",
            "payload": "",
        }
        return json.dumps(line).encode()

    order = ("source", "position", "detectorName")
    write = WriteLakeLive(
        str(tmp_path), "dead", schema.DEAD_LETTER, [], order, "time", MINUTE, MINUTE, 1, 10
    )
    Stream().watermark(0).lines(1, letter(1), letter(2)).watermark(30).lines(31, letter(2)).run(
        write
    )
    (path,) = tmp_path.rglob("*.parquet")
    assert pq.ParquetFile(path).read()["position"].to_pylist() == [1, 2]


def test_bounded_input_gives_the_rows_of_the_bounded_writer(tmp_path):
    lines = [late_line(n, f"s{n % 3}", MIDNIGHT + n * MINUTE) for n in range(100)]
    for write, dated in [(write_live(tmp_path / "live", shards=2), False), (None, True)]:
        with beam.Pipeline(runner=FnApiRunner()) as pipeline:
            rows = pipeline | beam.Create(lines)
            if dated:
                write = WriteLake(
                    str(tmp_path / "bounded"), "late", schema.LATE, ["product"], ORDER
                )
                rows = rows | beam.Map(lambda line: (DAY, line))
            rows | write
    both = [
        [pq.ParquetFile(path).read() for path in sorted((tmp_path / lake).rglob("*.parquet"))]
        for lake in ("live", "bounded")
    ]
    live, bounded = (
        sorted((row for table in tables for row in table.to_pylist()), key=str) for tables in both
    )
    assert live == bounded
    assert both[0][0].schema.equals(both[1][0].schema, check_metadata=True)
    assert len(both[0]) > 10


def test_rows_beyond_the_limit_go_into_further_parts(tmp_path):
    table = growing(tmp_path)
    assert len(table.add("date=x/s", [late_line(n) for n in range(6)])) == 2
    assert lake(tmp_path) == {
        "date=x/s-00000.parquet": [0, 1, 2, 3],
        "date=x/s-00001.parquet": [4, 5],
    }
    assert len(table.add("date=x/s", [late_line(n) for n in range(4, 12)])) == 2
    assert list(lake(tmp_path).values()) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


def test_another_limit_changes_no_row(tmp_path):
    for rows, numbers in [(4, range(6)), (100, range(9)), (2, range(12)), (3, range(14))]:
        growing(tmp_path, rows).add("date=x/s", [late_line(n) for n in numbers])
    assert ids(tmp_path) == list(range(14))


def test_other_columns_go_into_a_part_of_their_own(tmp_path):
    growing(tmp_path, 100).add("date=x/s", [late_line(1)])
    wider = GrowingTable(LocalStore(), str(tmp_path), schema.LATE, ("product", "shop"), ORDER, 100)
    wider.add("date=x/s", [late_line(1), late_line(2)])
    assert list(lake(tmp_path).values()) == [[1], [2]]


class Dying(LocalStore):
    """Dies after some puts."""

    def __init__(self, puts):
        object.__setattr__(self, "puts", puts)

    def replace(self, path, data, known):
        if not self.puts:
            raise RuntimeError("killed")
        object.__setattr__(self, "puts", self.puts - 1)
        super().replace(path, data, known)


@settings(deadline=None, max_examples=40)
@given(
    cuts=st.lists(st.lists(st.integers(0, 30), max_size=12), max_size=5),
    deaths=st.lists(st.integers(0, 3), max_size=5),
    rows=st.lists(st.integers(1, 5), min_size=1),
)
def test_any_cut_crash_and_repeat_ends_in_the_same_set(tmp_path_factory, cuts, deaths, rows):
    folder = tmp_path_factory.mktemp("lake")
    for i, cut in enumerate(cuts):
        lines = [late_line(n) for n in cut]
        if not lines:
            continue
        limit = rows[i % len(rows)]
        if i < len(deaths):
            try:
                growing(folder, limit, Dying(deaths[i])).add("date=x/s", lines)
            except RuntimeError:
                pass
        growing(folder, limit).add("date=x/s", lines)
    assert ids(folder) == sorted({n for cut in cuts for n in cut})


class Overtaken(LocalStore):
    """Another worker adds row 1 between this one's reading and writing."""

    def replace(self, path, data, known):
        if known is None and not lake_has(path):
            growing(path.partition("/date=")[0]).add("date=x/s", [late_line(1)])
            raise Changed(path)
        super().replace(path, data, known)


def lake_has(path):
    return LocalStore().read(path) is not None


def test_a_worker_that_was_overtaken_looks_again(tmp_path):
    growing(tmp_path, store=Overtaken()).add("date=x/s", [late_line(2)])
    assert ids(tmp_path) == [1, 2]


def test_layouts_never_meet():
    at = f"{DAY} 13:47:59.5"
    stems = {Layout(b * MINUTE, s).stem(at, 0) for b in (1, 5, 10) for s in (1, 2)}
    assert len(stems) == 6
    stem = Layout(5 * MINUTE, 2).stem(at, 0)
    assert stem.startswith(f"date={DAY}/134500-300s-0")
    assert bucket_of(stem) == (MIDNIGHT + 825 * MINUTE, MIDNIGHT + 830 * MINUTE)


@given(
    st.integers(0, 86_399), st.sampled_from([1, 7200, 600, 86_400]), st.integers(-(10**12), 10**12)
)
def test_due_times_are_aligned_and_never_before_the_row(second, seconds, offset):
    time = f"{DAY} {second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
    stem = Layout(seconds * 1_000_000, 1).stem(time, 0)
    start, end = bucket_of(stem)
    assert start <= MIDNIGHT + second * 1_000_000 < end
    due = due_time(stem, end + offset, end - start)
    assert due >= max(end + offset, end + GRACE)
    assert (due - end - GRACE) % (end - start) == 0
    assert due == end + GRACE or due - (end + offset) < end - start


@given(st.integers(-200, 300), st.sampled_from([1, 10, 60]))
def test_while_its_bucket_lasts_a_row_waits_for_the_next_flush(seconds, minutes):
    stem = Layout(60 * MINUTE, 1).stem(f"{DAY} 01:07:00", 0)
    (start, end), every = bucket_of(stem), minutes * MINUTE
    now = start + seconds * 30_000_000
    due = due_time(stem, now, every)
    assert due >= max(now, start + every + GRACE)
    if now <= end + GRACE:
        assert due <= max(now + every, start + every + GRACE)
        assert due <= end + GRACE
        assert (due - start - GRACE) % every == 0
    else:
        assert due == due_time(stem, now, end - start)


@pytest.mark.parametrize(
    ("bucket", "shards", "message"),
    [
        (7 * MINUTE, 1, "divide a day, in microseconds, got 420000000"),
        (500_000, 1, "whole seconds"),
        (0, 1, "whole seconds"),
        (MINUTE, 0, "shards must be from 1 to 99, got 0"),
    ],
)
def test_a_wrong_layout_is_named(bucket, shards, message):
    with pytest.raises(ValueError, match=message):
        Layout(bucket, shards)


def test_a_wrong_writer_is_named(tmp_path):
    with pytest.raises(ValueError, match="rows must be >= 1, got 0"):
        write_live(tmp_path, rows=0)
    with pytest.raises(ValueError, match="time_field must be one of .* got 'x'"):
        WriteLakeLive(str(tmp_path), "t", schema.LATE, [], ORDER, "x", MINUTE, MINUTE, 1, 1)
