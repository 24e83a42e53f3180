"""``python -m pipeline.verify RUN_A RUN_B``: whether two runs gave the same results.

Sinks are at least once, so each run is first de-duplicated by ``resultId``; then every field of
every result must be the same, bit for bit. A run may have any number of rows: DuckDB sorts and
joins them, on disk where they do not fit into memory.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from apache_beam.io.filesystem import BeamIOError

from pipeline.job import load_job
from pipeline.job_errors import JobFileError
from pipeline.runs import NoRun, Row, canonical, rows_of
from transforms import schema
from transforms.io.files import DamagedFile
from transforms.records import MICROSECONDS, text_times

EQUAL, DIFFERENT, WRONG_USE = 0, 1, 2
DECISION = frozenset({"anomalyDecision", "anomalyDecisionThreshold", "decisionReason"})
"""Fields that a changed threshold number or rule may change; all others stay the same, bit for
bit."""
MEMORY = "1GB"
_ROWS_AN_INSERT = 20_000
_ROWS = pa.schema(
    [("run", pa.int8()), ("id", pa.string()), ("time", pa.string()), ("row", pa.string())]
)


@dataclass
class Comparison:
    """What differs between two runs, A and B, with the first of each kind by period and ID.

    Attributes
    ----------
    rows : list of int
        Rows of A and of B, repetitions among them.
    results : list of int
        Distinct results of A and of B.
    unlike : list of (int, str)
        Results that come several times and not always the same, in A and in B; the first's ID.
    missing : list of (int, str)
        Results that are in the other run only, of A and of B; the first's ID.
    fields : dict of str to (int, str, object, object)
        By field that differs: in how many results, the first's ID, its values in A and in B.
    """

    rows: list[int] = field(default_factory=list)
    results: list[int] = field(default_factory=list)
    unlike: list[tuple[int, str]] = field(default_factory=list)
    missing: list[tuple[int, str]] = field(default_factory=list)
    fields: dict[str, tuple[int, str, Any, Any]] = field(default_factory=dict)

    @property
    def are_equal(self) -> bool:
        """Whether nothing differs."""
        found = [number for number, _ in (*self.unlike, *self.missing)]
        return not any(found) and not self.fields


def compare(
    a: Iterable[Row],
    b: Iterable[Row],
    ignored: frozenset[str] = frozenset(),
    until: str | None = None,
) -> Comparison:
    """Compare two runs.

    Parameters
    ----------
    a, b : iterable of dict
        Results with ``resultId``, in any order.
    ignored : frozenset of str
        Fields that may differ.
    until : str, optional
        ``YYYY-MM-DD HH:MM:SS`` in UTC: leave out periods that end later.
    """
    import duckdb

    with tempfile.TemporaryDirectory() as folder:
        settings: dict[str, Any] = {"memory_limit": MEMORY, "temp_directory": folder}
        with duckdb.connect(str(Path(folder) / "rows.duckdb"), config=settings) as database:
            database.execute("CREATE TABLE rows (run TINYINT, id TEXT, time TEXT, row TEXT)")
            for run, rows in enumerate((a, b)):
                for part in _tables(run, rows, ignored, until):
                    database.register("part", part)
                    database.execute("INSERT INTO rows SELECT * FROM part")
                    database.unregister("part")
            return _compared(database)


def _tables(
    run: int, rows: Iterable[Row], ignored: frozenset[str], until: str | None
) -> Iterator[pa.Table]:
    kept = (row for row in rows if until is None or row["detectionPeriodEndTime"] <= until)
    while part := list(islice(kept, _ROWS_AN_INSERT)):
        columns = [
            [run] * len(part),
            [row["resultId"] for row in part],
            [row["detectionPeriodStartTime"] for row in part],
            [canonical(row, ignored) for row in part],
        ]
        yield pa.table(columns, schema=_ROWS)


def _compared(database: Any) -> Comparison:
    found = Comparison()
    database.execute(
        "CREATE TABLE results AS SELECT run, id, min(time) AS time, min(row) AS row, "
        "min(row) <> max(row) AS unlike, count(*) AS number FROM rows GROUP BY run, id"
    )
    for run in (0, 1):
        total = "SELECT coalesce(sum(number), 0)::BIGINT, count(*) FROM results WHERE run = ?"
        rows, results = database.execute(total, [run]).fetchone()
        found.rows.append(rows)
        found.results.append(results)
        found.unlike.append(_first(database, "results WHERE run = ? AND unlike", [run]))
        missing = "results AS r WHERE run = ? AND NOT EXISTS "
        missing += "(FROM results AS o WHERE o.run = ? AND o.id = r.id)"
        found.missing.append(_first(database, missing, [1 - run, run]))
    database.execute(
        "SELECT a.id, a.row, b.row FROM results AS a JOIN results AS b ON a.id = b.id "
        "WHERE a.run = 0 AND b.run = 1 AND a.row <> b.row ORDER BY a.time, a.id"
    )
    while differing := database.fetchmany(_ROWS_AN_INSERT):
        for identity, a, b in differing:
            _count_fields(found.fields, identity, orjson.loads(a), orjson.loads(b))
    return found


def _first(database: Any, which: str, parameters: list[int]) -> tuple[int, str]:
    """How many results there are of a kind, and the ID of the first."""
    number = database.execute(f"SELECT count(*) FROM {which}", parameters).fetchone()[0]  # noqa: S608
    first = f"SELECT id FROM {which} ORDER BY time, id LIMIT 1"  # noqa: S608
    return number, database.execute(first, parameters).fetchone()[0] if number else ""


def _count_fields(
    fields: dict[str, tuple[int, str, Any, Any]], identity: str, a: Row, b: Row
) -> None:
    for name in sorted(a.keys() | b.keys()):
        values = a.get(name, _ABSENT), b.get(name, _ABSENT)
        if name in a and name in b and orjson.dumps(values[0]) == orjson.dumps(values[1]):
            continue
        number, *first = fields.get(name, (0, identity, *values))
        fields[name] = (number + 1, *first)


_ABSENT = "(absent)"


def report(found: Comparison, names: tuple[str, str]) -> Iterator[str]:
    """Lines for a person."""
    for name, rows, results in zip(names, found.rows, found.results, strict=True):
        yield f"{name}: {results:,} results in {rows:,} rows"
    for name, (number, first) in zip(names, found.unlike, strict=True):
        if number:
            yield f"unlike repetitions in {name}: {number:,}, the first is {first}"
    for name, (number, first) in zip(names, found.missing, strict=True):
        if number:
            yield f"missing in {name}: {number:,}, the first is {first}"
    for field_name, (number, first, a, b) in found.fields.items():
        yield f"{field_name} differs in {number:,}, the first is {first}: {a!r} and {b!r}"
    yield "equal, bit for bit" if found.are_equal else "not equal"


def main(arguments: list[str]) -> int:
    """Compare two runs; 0 equal, 1 not, 2 wrong use."""
    try:
        known = _parser().parse_args(arguments)
        ignored = _ignored(known.ignore)
        until = _until(known.until)
        job = load_job(known.job) if known.job else None
        found = compare(rows_of(known.run_a, job), rows_of(known.run_b, job), ignored, until)
        if not any(found.rows):
            raise NoRun("both runs are empty")
    except ImportError as error:
        print(f"{error}; pip install 'tidewatch[verify]'", file=sys.stderr)
        return WRONG_USE
    except (NoRun, JobFileError, DamagedFile, BeamIOError) as error:
        print(error, file=sys.stderr)
        return WRONG_USE
    for line in report(found, (known.run_a, known.run_b)):
        print(line)
    return EQUAL if found.are_equal else DIFFERENT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.verify",
        description="Say whether two runs' results are equal after de-duplication by resultId.",
        epilog="A run is a results folder, a lake, a .jsonl or .parquet file, or "
        "kafka://HOST:PORT/TOPIC. Exit codes: 0 equal, 1 not equal, 2 wrong use.",
        allow_abbrev=False,
    )
    parser.add_argument("run_a", metavar="RUN_A")
    parser.add_argument("run_b", metavar="RUN_B")
    parser.add_argument(
        "--ignore",
        default="",
        metavar="FIELD,...",
        help="fields that may differ; decision stands for " + ", ".join(sorted(DECISION)),
    )
    parser.add_argument(
        "--until",
        metavar="TIME",
        help="leave out periods that end later, as a live run has not closed its last ones yet",
    )
    parser.add_argument(
        "--job", metavar="JOB.yaml", help="a job file whose kafka section opens the brokers"
    )
    return parser


def _ignored(text: str) -> frozenset[str]:
    words = {word.strip() for word in text.split(",") if word.strip()}
    named = words - {"decision"}
    allowed = {*schema.RESULT.names} - {"resultId", "dimensionList"}
    if unknown := sorted(named - allowed):
        raise NoRun(
            f"--ignore: {unknown[0]!r} is not allowed; allowed: decision, "
            + ", ".join(name for name in schema.RESULT.names if name in allowed)
        )
    return frozenset(named | (DECISION if "decision" in words else set()))


def _until(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise NoRun(f"--until: {text!r} is not a time; write 2026-01-31T00:00:00Z") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return text_times(np.array([round(moment.timestamp() * MICROSECONDS)]))[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
