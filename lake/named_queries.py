"""Named queries: one ``.sql`` file each, in Trino's dialect, for Athena and DuckDB alike.

A file holds one statement in the grammar of Athena (Trino), with two kinds of marks:

- ``:name`` stands for a parameter (`Parameters`), and becomes a literal;
- a select item with ``:dimensions`` in it stands for one item a dimension of the job.

The first lines, which start with ``--``, say what the query answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import sqlglot
from sqlglot import exp

from lake.tables import LakeError

FOLDER = Path(__file__).parent / "queries"
DIALECTS = ("duckdb", "athena")
EARLIEST, LATEST = "0001-01-01 00:00:00", "9999-12-31 23:59:59"
_DIMENSIONS = "dimensions"


@dataclass(frozen=True)
class Parameters:
    """What a named query may be asked about; a query uses those it names.

    Attributes
    ----------
    series : str
        A ``timeseriesId``; empty: all.
    detector : str
        A ``detectorName``; empty: all.
    from_time, to_time : str
        ``YYYY-MM-DD HH:MM:SS``, UTC; the first included, the second not.
    alerts_per_week : float
        Alerts a series and week that are in the budget.
    recovery_after : int
        Rows without an anomaly that end an alert, as the job's ``rules.recovery_after``.
    buckets : int
        Buckets that a chart's time range is cut into.
    rows : int
        Most rows of a list.
    first_point, last_point : int
        Rows of a series by ``processedDataPoints``, both included.
    """

    series: str = ""
    detector: str = ""
    from_time: str = EARLIEST
    to_time: str = LATEST
    alerts_per_week: float = 1.0
    recovery_after: int = 10
    buckets: int = 800
    rows: int = 1000
    first_point: int = 0
    last_point: int = 2**62

    def values(self) -> dict[str, str | int | float]:
        """Every mark and its value; the partitions follow from the times."""
        dates = {"first_date": self.from_time[:10], "last_date": self.to_time[:10]}
        return {**asdict(self), **dates}


def names() -> list[str]:
    """Every named query."""
    return sorted(path.stem for path in FOLDER.glob("*.sql"))


def purpose(name: str) -> str:
    """What a query answers, in one line."""
    lines = _text(name).splitlines()
    comment = [line.removeprefix("--").strip() for line in lines if line.startswith("--")]
    return " ".join(comment)


def tables_of(name: str) -> list[str]:
    """The lake's tables that a query reads."""
    statement = _parsed(name)
    own = {cte.alias for cte in statement.find_all(exp.CTE)}
    return sorted({table.name for table in statement.find_all(exp.Table)} - own)


def render(
    name: str, parameters: Parameters, dimensions: Sequence[str] = (), dialect: str = "duckdb"
) -> str:
    """The statement of a named query for one engine.

    Parameters
    ----------
    name : str
        One of `names`.
    parameters : Parameters
        What it is asked about.
    dimensions : sequence of str
        The lake's dimension columns.
    dialect : str
        ``duckdb`` or ``athena``.

    Raises
    ------
    LakeError
        If there is no such query.
    """
    literals = {key: exp.convert(value) for key, value in parameters.values().items()}
    return fill(name, literals, dimensions).sql(dialect, pretty=True)


def fill(name: str, marks: Mapping[str, exp.Expr], dimensions: Sequence[str] = ()) -> exp.Expr:
    """A named query with each mark replaced by an expression."""
    statement = _with_dimensions(_parsed(name).copy(), dimensions)
    for mark in list(statement.find_all(exp.Placeholder)):
        mark.replace(marks[mark.name].copy())
    return statement


def _with_dimensions(statement: exp.Expr, dimensions: Sequence[str]) -> exp.Expr:
    for select in statement.find_all(exp.Select):
        items: list[exp.Expr] = []
        for item in select.expressions:
            if any(mark.name == _DIMENSIONS for mark in item.find_all(exp.Placeholder)):
                items += [_of_dimension(item, dimension) for dimension in dimensions]
            else:
                items.append(item)
        select.set("expressions", items)
    return statement


def _of_dimension(item: exp.Expr, dimension: str) -> exp.Expr:
    copy = exp.paren(item.unalias().copy())  # a mark alone could not be replaced in place
    for mark in list(copy.find_all(exp.Placeholder)):
        mark.replace(exp.column(dimension, quoted=True))
    return exp.alias_(copy.this, dimension, quoted=True)


@cache
def _parsed(name: str) -> exp.Expr:
    return sqlglot.parse_one(_text(name), read="trino")


@cache
def _text(name: str) -> str:
    path = FOLDER / f"{name}.sql"
    if path.parent != FOLDER or not path.is_file():
        raise LakeError(f"there is no query {name!r}; allowed: {', '.join(names())}")
    return path.read_text(encoding="utf-8")
