"""A connection to the database that is read: how it is made, and which errors pass."""

from __future__ import annotations

import os
import re
from typing import Any

import psycopg
from psycopg import Connection, IsolationLevel, errors
from psycopg.conninfo import conninfo_to_dict

from ingest.config import Postgres

_PATIENCE: dict[str, str | int] = {
    "connect_timeout": 10,
    # a server that vanished without a word is missed after a minute
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
_LASTING = re.compile(r"authentication failed|no password supplied|does not exist|pg_hba\.conf")
_SETTINGS = (
    "SET LOCAL TimeZone = 'UTC'",
    # if we vanish without a word, the server lets go of our snapshot and of the mark
    "SET LOCAL idle_in_transaction_session_timeout = '15min'",
    "SET LOCAL tcp_keepalives_idle = 30",
    "SET LOCAL tcp_keepalives_interval = 10",
    "SET LOCAL tcp_keepalives_count = 3",
)


def connect(postgres: Postgres, name: str) -> Connection[Any]:
    """A connection whose transactions see one snapshot each; outside of one it commits at once.

    Parameters
    ----------
    postgres : Postgres
        How to get in.
    name : str
        Shown to the administrator, as ``tidewatch ingest NAME``.

    Raises
    ------
    psycopg.OperationalError
        Nobody answers, or the server does not let us in.
    """
    given = conninfo_to_dict(postgres.connection)
    own: dict[str, Any] = {word: value for word, value in _PATIENCE.items() if word not in given}
    own.setdefault("application_name", f"tidewatch ingest {name}")
    if postgres.rds_iam_region:
        own |= {"password": _rds_token(given, postgres.rds_iam_region), "sslmode": "require"}
        own |= {word: given[word] for word in ("sslmode",) if word in given}
    connection: Connection[Any] = psycopg.connect(postgres.connection, autocommit=True, **own)
    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    connection.prepare_threshold = None  # a pooler may give each transaction another session
    return connection


def set_up(connection: Connection[Any]) -> None:
    """Settings of the transaction that has just begun; none of them takes a snapshot."""
    for setting in _SETTINGS:
        connection.execute(setting)


def passes(error: BaseException) -> bool:
    """Whether an error of the database may be over soon."""
    if isinstance(error, errors.ReadOnlySqlTransaction):
        return True  # a failover: the name leads to the new primary soon
    if not isinstance(error, psycopg.OperationalError):
        return False
    return error.sqlstate is not None or not _LASTING.search(str(error))


def one_line(error: BaseException) -> str:
    """An error's text for a log or a message."""
    return " ".join(str(error).split())


def _rds_token(given: dict[str, Any], region: str) -> str:
    """A password for a quarter of an hour; made here, from AWS's default credentials."""
    from transforms.io import aws

    known = {
        "host": given.get("host") or os.environ.get("PGHOST"),
        "user": given.get("user") or os.environ.get("PGUSER"),
    }
    for word, value in known.items():
        if not value:
            raise ValueError(f"postgres.connection: lacks {word}=, which rds_iam_region needs")
    port = int(given.get("port") or os.environ.get("PGPORT") or 5432)
    token = aws.client("rds", region=region).generate_db_auth_token(
        DBHostname=known["host"], Port=port, DBUsername=known["user"], Region=region
    )
    return str(token)
