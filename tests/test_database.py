"""Connections to PostgreSQL: what is set, and which errors are worth another try."""

from __future__ import annotations

from types import SimpleNamespace

import psycopg
import pytest
from psycopg import errors

from ingest import database
from ingest.config import Postgres


@pytest.fixture
def asked(monkeypatch):
    """Arguments of each connection that is asked for."""
    given = []

    def connect(text, **arguments):
        given.append({"connection": text, **arguments})
        return SimpleNamespace()

    monkeypatch.setattr(psycopg, "connect", connect)
    for name in ("PGHOST", "PGPORT", "PGUSER"):
        monkeypatch.delenv(name, raising=False)
    return given


def source(connection="", **more):
    return Postgres(connection=connection, table="t", id="i", time="t", **more)


def test_a_server_that_vanished_is_missed_unless_the_file_says_otherwise(asked):
    made = database.connect(source("keepalives_idle=7"), "shop")
    (given,) = asked
    assert "keepalives_idle" not in given
    assert (given["connect_timeout"], given["keepalives_count"]) == (10, 3)
    assert given["application_name"] == "tidewatch ingest shop"
    assert made.prepare_threshold is None
    assert made.isolation_level == psycopg.IsolationLevel.REPEATABLE_READ


def test_rds_is_given_a_token_made_here(asked, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id-of-a-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    database.connect(source("host=db.example user=reader", rds_iam_region="eu-west-1"), "shop")
    (given,) = asked
    assert given["password"].startswith("db.example:5432/?Action=connect&DBUser=reader&")
    assert "eu-west-1%2Frds-db" in given["password"]
    assert given["sslmode"] == "require"
    with pytest.raises(ValueError, match=r"postgres.connection: lacks user=, which rds_iam_region"):
        database.connect(source("host=db.example", rds_iam_region="eu-west-1"), "shop")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (psycopg.OperationalError("connection refused"), True),
        (psycopg.OperationalError("FATAL: the database system is starting up"), True),
        (psycopg.OperationalError("FATAL: password authentication failed for user"), False),
        (psycopg.OperationalError('FATAL: database "x" does not exist'), False),
        (errors.AdminShutdown("terminating"), True),
        (errors.SerializationFailure("could not serialize"), True),
        (errors.ReadOnlySqlTransaction("cannot execute UPDATE"), True),
        (errors.UndefinedColumn("no such column"), False),
        (errors.InsufficientPrivilege("permission denied"), False),
        (ValueError("other"), False),
    ],
)
def test_which_errors_pass(error, expected):
    assert database.passes(error) is expected
