"""The file that says what is read from PostgreSQL and where it goes; checked as a whole."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from pipeline.job_connections import Kafka, Kinesis, connection_missing
from pipeline.job_ends import KafkaSink, KinesisSink, Start
from pipeline.job_errors import Mistake, describe, rule_broken
from pipeline.job_file import FileSchema, load_file
from pipeline.job_section import PositiveDuration, Section, Text, Texts, repeated, written

TARGET_KINDS = ("kafka", "kinesis")
SOURCE_WORDS = ("table", "query")
_SECRETS = ("password", "sslpassword")


def _connection(text: str) -> str:
    try:
        known = conninfo_to_dict(text)
    except ProgrammingError as error:
        # what stands there may hold a password: it is not repeated
        reason = "it has an option that libpq does not know" if "option" in str(error) else ""
        raise ValueError(
            "is not a connection string of libpq; write key=value words such as "
            "host=db.example dbname=shop user=reader, or postgresql://reader@db.example/shop"
            + (f" ({reason})" if reason else "")
        ) from None
    if any(known.get(word) for word in _SECRETS):
        raise ValueError(
            "holds a password, which the file may not; remove it, and give it in the variable "
            "PGPASSWORD, in a file that passfile= or PGPASSFILE names, or in a service file"
        )
    return text


def _relation(name: str) -> str:
    parts = name.split(".")
    if len(parts) > 2 or not all(parts):  # noqa: PLR2004 - schema and table
        raise ValueError(f"{describe(name)} is not a table; write name or schema.name")
    return name


Relation = Annotated[Text, AfterValidator(_relation)]


class Postgres(Section):
    """What is read."""

    connection: Annotated[str, AfterValidator(_connection)] = Field(
        default="",
        description="Connection string of libpq, without a password; what it leaves out comes from "
        "libpq's own variables (PGHOST, PGSERVICE, ...)",
    )
    rds_iam_region: Text | None = Field(
        default=None,
        description="AWS region of an RDS or Aurora server: sign in by IAM, with the credentials "
        "of where this runs",
    )
    table: Relation | None = Field(default=None, description="Table or view: name or schema.name")
    query: Text | None = Field(
        default=None, description="A SELECT in place of a table; without ; at its end"
    )
    id: Text = Field(description="Column that tells a row from all others: the job's record_id")
    time: Text = Field(description="Column with the time of what happened")
    xid: Text = Field(
        default="xid",
        description="Column of type xid8 with the transaction that inserted the row, as "
        "DEFAULT pg_current_xact_id() gives it",
    )
    columns: Texts = Field(
        default=(),
        description="Columns that are published, id and time among them; default all but xid",
    )
    key: Text | None = Field(
        default=None, description="Column whose value is the message's key; default no key"
    )

    @field_validator("query")
    @classmethod
    def _is_one_select(cls, query: str | None) -> str | None:
        if query and query.rstrip().endswith(";"):
            raise ValueError("ends in a semicolon; write one SELECT without it")
        return query

    @model_validator(mode="after")
    def _fits(self) -> Postgres:
        given = [word for word in SOURCE_WORDS if getattr(self, word)]
        if len(given) != 1:
            named = " and ".join(given) or "none"
            raise ValueError(f"needs exactly one of: {', '.join(SOURCE_WORDS)}; got {named}")
        mistakes: list[Mistake] = [
            (("columns", i), f"{describe(name)} is named twice")
            for i, name in repeated(self.columns)
        ]
        for word in ("id", "time"):
            name = getattr(self, word)
            if self.columns and name not in self.columns:
                sentence = f"lacks {describe(name)}, which {word} names; add it"
                mistakes.append((("columns",), sentence))
        if mistakes:
            raise rule_broken(*mistakes)
        return self

    @property
    def source(self) -> str:
        """The table or query: what a mark is about."""
        return self.table or " ".join(str(self.query).split())


class Target(Section):
    """Where messages go."""

    kafka: KafkaSink | None = Field(default=None, description="A Kafka topic")
    kinesis: KinesisSink | None = Field(default=None, description="A Kinesis stream")

    @model_validator(mode="after")
    def _one_kind(self) -> Target:
        given = [kind for kind in TARGET_KINDS if getattr(self, kind)]
        if len(given) != 1:
            named = ", ".join(given) or "none"
            raise ValueError(f"needs exactly one of: {', '.join(TARGET_KINDS)}; got {named}")
        return self

    @property
    def kind(self) -> str:
        """The one of `TARGET_KINDS` that it is."""
        return next(kind for kind in TARGET_KINDS if getattr(self, kind))

    @property
    def name(self) -> str:
        """The topic or stream."""
        if self.kafka:
            return self.kafka.topic
        return self.kinesis.stream if self.kinesis else ""


class MarkPlace(Section):
    """Where the mark is kept."""

    table: Relation = Field(
        default="tidewatch_ingest",
        description="Table in the same database: name or schema.name; made if it is not there",
    )
    file: Text | None = Field(
        default=None,
        description="File on a durable disk in place of the table, for a user who may only read",
    )

    @model_validator(mode="after")
    def _one_place(self) -> MarkPlace:
        if {"table", "file"} <= self.model_fields_set:
            raise ValueError("needs at most one of: table, file; got both")
        return self


class Ends(Section):
    """Brokers, region, target: what every publisher needs."""

    kafka: Kafka | None = Field(default=None, description="The brokers of the topic")
    kinesis: Kinesis | None = Field(default=None, description="Where the stream is")
    target: Target = Field(description="Where messages go: a Kafka topic or a Kinesis stream")

    @field_validator("target")
    @classmethod
    def _target_is_reached(cls, target: Target, info: ValidationInfo) -> Target:
        if sentence := connection_missing(target.kind, info.data):
            raise rule_broken(((target.kind,), sentence))
        return target


class Ingest(Ends):
    """A whole file."""

    ingest: Text = Field(
        pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$",
        max_length=40,
        description="Name of the mark: lower-case letters, digits and -, starting with a letter, "
        "not ending in -, at most 40",
    )
    postgres: Postgres = Field(description="What is read")
    mark: MarkPlace = Field(
        default_factory=MarkPlace, description="Where is kept what was published"
    )
    start: Start = written(
        "earliest",
        "What the first run publishes: earliest is all rows, latest only those that are committed "
        "later, a time such as 2026-01-31T00:00:00Z all rows from there on",
    )
    interval: PositiveDuration = written("1m", "Duration from one look to the next, > 0")
    batch_rows: int = Field(
        default=20_000,
        ge=1,
        le=10_000_000,
        description="Rows after which the mark is moved, when their transaction is complete: "
        "1 to 10000000",
    )


@lru_cache(maxsize=1)
def config_schema() -> dict[str, Any]:
    """The JSON Schema of such a file."""
    return Ingest.model_json_schema(schema_generator=FileSchema)


def load_config(path: str | Path) -> Ingest:
    """The file at ``path``.

    Raises
    ------
    JobFileError
        With every mistake in the file, one line each.
    """
    return load_file(path, Ingest, config_schema, "such a file starts with `ingest: <name>`")
