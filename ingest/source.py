"""Whether a source can be read as the file says, before anything is published."""

from __future__ import annotations

from typing import Any

from psycopg import Connection, ProgrammingError, errors

from ingest.config import Postgres
from ingest.database import one_line
from ingest.statements import Statements
from pipeline.job_errors import JobFileError, Mistake, describe, not_among

_XID8 = 5069
"""PostgreSQL's number of the type xid8."""
_FIRST_VERSION = 130_000


def examine(connection: Connection[Any], postgres: Postgres, file: str) -> Statements:
    """The statements that read the source, with all its columns if none are named.

    Parameters
    ----------
    connection : Connection
        To the database, outside of a transaction.
    postgres : Postgres
        The source.
    file : str
        Where it was written, for the messages.

    Raises
    ------
    JobFileError
        The server or the source cannot be read so; one line each.
    """
    if sentence := _server(connection):
        raise JobFileError(file, [(("postgres",), sentence)])
    asked = Statements(postgres, postgres.columns)
    word = "table" if postgres.table else "query"
    try:
        types = {
            column.name: column.type_code
            for column in connection.execute(asked.probe()).description or ()
        }
    except ProgrammingError as error:
        hint = "; GRANT SELECT on it" if isinstance(error, errors.InsufficientPrivilege) else ""
        raise JobFileError(file, [(("postgres", word), one_line(error) + hint)]) from error
    mistakes = _columns(postgres, types)
    if not mistakes and connection.execute(asked.without_xid()).fetchone():
        sentence = (
            f"rows have no {describe(postgres.xid)}, and no mark would ever find them; set it to "
            "DEFAULT where it IS NULL, and make the column NOT NULL"
        )
        mistakes.append((("postgres", "xid"), sentence))
    if mistakes:
        raise JobFileError(file, mistakes)
    published = postgres.columns or tuple(name for name in types if name != postgres.xid)
    return Statements(postgres, published)


def _server(connection: Connection[Any]) -> str:
    if connection.info.server_version < _FIRST_VERSION:
        found = connection.info.server_version // 10_000
        return f"the server is PostgreSQL {found}; transaction IDs of 64 bits need 13 or newer"
    row = connection.execute("SELECT pg_is_in_recovery()").fetchone()
    if row and row[0]:
        return (
            "the server is a standby, which does not know what is in progress on the primary; "
            "connect to the primary, as target_session_attrs=read-write with both hosts does"
        )
    return ""


def _columns(postgres: Postgres, types: dict[str, int]) -> list[Mistake]:
    mistakes: list[Mistake] = []
    for word in ("id", "time", "xid", "key"):
        name = getattr(postgres, word)
        if name is not None and name not in types:
            sentence = f"{describe(name)} is not a column there; {not_among(name, types)}"
            if word == "xid":
                sentence += "; --show_sql prints what adds it"
            mistakes.append((("postgres", word), sentence))
    for i, name in enumerate(postgres.columns):
        if name not in types:
            sentence = f"{describe(name)} is not a column there; {not_among(name, types)}"
            mistakes.append((("postgres", "columns", i), sentence))
    if types.get(postgres.xid, _XID8) != _XID8:
        sentence = (
            f"{describe(postgres.xid)} is not of type xid8; make it so, with DEFAULT "
            "pg_current_xact_id(); --show_sql prints the statement"
        )
        mistakes.append((("postgres", "xid"), sentence))
    return mistakes
