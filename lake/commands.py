"""The command line: query a lake, keep its catalogue up to date, and keep it in shape."""

from __future__ import annotations

import argparse
import os
import re
import sys
from datetime import UTC, datetime, timedelta

from lake import glue
from lake.compact import compact
from lake.named_queries import Parameters, names, purpose, render
from lake.reader import Lake
from lake.retention import cutoff, days_before, delete_days
from lake.rows import FORMATS, text_of
from lake.series_names import series_named
from lake.store import Store
from lake.tables import TABLES, LakeError

WRONG_USE = 2
_TIME = re.compile(r"(\d{4}-\d{2}-\d{2})(?:[ T](\d{2}:\d{2})(:\d{2}(?:\.\d{1,6})?)?)?Z?")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def main(arguments: list[str]) -> int:
    """Run a command; 0 done, 2 it cannot be done (standard error says why)."""
    asked = _parser().parse_args(arguments)
    try:
        asked.run(asked)
        sys.stdout.flush()
    except LakeError as error:
        print(error, file=sys.stderr)
        return WRONG_USE
    except BrokenPipeError:  # whoever read the rows has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lake", description="Read and keep the lake.", allow_abbrev=False
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_query(commands)
    listed = commands.add_parser("queries", help="list the named queries")
    listed.set_defaults(run=_queries)
    _add_glue(commands)
    compacted = commands.add_parser("compact", help="merge the small objects of past days")
    _add_lake(compacted)
    compacted.add_argument(
        "--before",
        type=_date,
        default=(datetime.now(UTC) - timedelta(days=1)).date().isoformat(),
        metavar="YYYY-MM-DD",
        help="leave this day and later ones alone (default: yesterday)",
    )
    compacted.set_defaults(run=_compact)
    retained = commands.add_parser("retain", help="delete the days that are too old")
    _add_lake(retained)
    retained.add_argument(
        "--older-than", required=True, metavar="90d", help="days (d) or weeks (w)"
    )
    retained.add_argument(
        "--delete", action="store_true", help="delete them (default: show what would be deleted)"
    )
    retained.set_defaults(run=_retain)
    return parser


def _add_lake(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lake", required=True, help="a folder or s3://bucket/folder")


def _add_query(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    query = commands.add_parser("query", help="run a named query")
    query.add_argument("name", metavar="NAME", help="see `python -m lake queries`")
    _add_lake(query)
    query.add_argument(
        "--series", default="", help="a timeseriesId, its beginning, or name=value[,name=value...]"
    )
    query.add_argument("--detector", default="", help="a detector's name")
    query.add_argument("--from", dest="from_time", type=_time, metavar="TIME", help="included, UTC")
    query.add_argument("--to", dest="to_time", type=_time, metavar="TIME", help="not included, UTC")
    query.add_argument(
        "--alerts-per-week", type=float, default=Parameters.alerts_per_week, metavar="N"
    )
    query.add_argument(
        "--recovery-after", type=int, default=Parameters.recovery_after, metavar="ROWS"
    )
    query.add_argument("--buckets", type=int, default=Parameters.buckets)
    query.add_argument("--rows", type=int, default=Parameters.rows, help="most rows of a list")
    query.add_argument("--format", choices=FORMATS, default="table")
    query.add_argument(
        "--print-sql", action="store_true", help="print the statement for Athena, run nothing"
    )
    query.set_defaults(run=_query)


def _add_glue(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    catalogue = commands.add_parser("glue", help="create or update the tables in AWS Glue")
    catalogue.add_argument("--database", required=True)
    catalogue.add_argument("--location", required=True, metavar="s3://BUCKET/FOLDER")
    catalogue.add_argument(
        "--dimension",
        action="append",
        metavar="NAME",
        help="a dimension of the job, once for each (default: as the lake's objects have them)",
    )
    catalogue.add_argument(
        "--first-date",
        type=_date,
        metavar="YYYY-MM-DD",
        help="first day to look for (default: the lake's first, or a year ago)",
    )
    catalogue.set_defaults(run=_glue)


def _date(text: str) -> str:
    if not _DATE.fullmatch(text):
        raise argparse.ArgumentTypeError(f"a date is YYYY-MM-DD, got {text!r}")
    datetime.fromisoformat(text)
    return text


def _time(text: str) -> str:
    found = _TIME.fullmatch(text)
    if not found:
        raise argparse.ArgumentTypeError(f"a time is YYYY-MM-DD[ HH:MM[:SS]], got {text!r}")
    datetime.fromisoformat(text)
    return f"{found[1]} {found[2] or '00:00'}{found[3] or ':00'}"


def _query(asked: argparse.Namespace) -> None:
    purpose(asked.name)  # a wrong name is told before anything is read
    lake = Lake(asked.lake)
    chosen = {
        name: getattr(asked, name)
        for name in ("detector", "from_time", "to_time", "alerts_per_week", "recovery_after")
        + ("buckets", "rows")
        if getattr(asked, name) is not None
    }
    parameters = Parameters(series=series_named(lake, asked.series), **chosen)
    if asked.print_sql:
        print(render(asked.name, parameters, lake.dimensions(), "athena"))
    else:
        print(text_of(lake.query(asked.name, parameters), asked.format), end="")


def _queries(_: argparse.Namespace) -> None:
    width = max(map(len, names()))
    for name in names():
        print(f"{name:<{width}}  {purpose(name)}")


def _glue(asked: argparse.Namespace) -> None:
    if not asked.location.startswith("s3://"):
        raise LakeError(f"--location must be s3://bucket/folder, got {asked.location!r}")
    dimensions, first_date = asked.dimension, asked.first_date
    if dimensions is None or first_date is None:
        lake = Lake(asked.location)
        dates = lake.dates()
        if dates is None and dimensions is None:
            raise LakeError(
                f"{asked.location} has no results yet, so the job's dimensions are unknown; name "
                "each with --dimension, or run this once the job has written"
            )
        dimensions = lake.dimensions() if dimensions is None else dimensions
        year_ago = (datetime.now(UTC) - timedelta(days=365)).date().isoformat()
        first_date = first_date or (dates[0] if dates else year_ago)
    done = glue.put_tables(glue.client(), asked.database, asked.location, dimensions, first_date)
    for name, what in done.items():
        print(f"{asked.database}.{name}: {what}")


def _compact(asked: argparse.Namespace) -> None:
    store = Store(asked.lake)
    done = [each for table in TABLES for each in compact(store, table, asked.before)]
    for each in done:
        print(
            f"{each.table} {each.date}: {each.before} objects into {each.after}, {each.rows} rows"
        )
    if not done:
        print(f"nothing to compact before {asked.before}")


def _retain(asked: argparse.Namespace) -> None:
    store = Store(asked.lake)
    first_kept = cutoff(asked.older_than, datetime.now(UTC).date())
    days = days_before(store, first_kept)
    for day in days:
        print(f"{day.table} {day.date}: {day.objects} objects, {day.bytes:,} bytes")
    if not days:
        print(f"nothing is older than {first_kept}")
    elif asked.delete:
        delete_days(store, days)
        print(f"deleted what is before {first_kept}")
    else:
        print(f"would delete what is before {first_kept}; add --delete to do it")
