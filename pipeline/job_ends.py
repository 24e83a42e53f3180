"""The ends of a job: where records come from and where results go."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from pipeline.job_errors import Mistake, describe, rule_broken
from pipeline.job_notify import Notify
from pipeline.job_section import (
    Duration,
    PositiveDuration,
    Section,
    Text,
    Texts,
    exactly_one,
    repeated,
    written,
)

SOURCE_KINDS = ("files", "kafka", "kinesis")
"""Keys of `Source` of which exactly one is given: it says where records come from."""
SINK_KINDS = ("path", "kafka", "kinesis")
"""Keys of a sink of JSON lines of which exactly one is given."""
END_WORDS = {"path": "path", "kafka": "topic", "kinesis": "stream"}
"""What each kind of end is called by."""
MICROSECONDS = 1_000_000


def _start(value: object) -> str | int:
    if value in ("earliest", "latest"):
        return str(value)
    try:
        if not isinstance(value, str):
            raise ValueError
        moment = dt.datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(
            f"{describe(value)} is not allowed; write earliest, latest, or a time such as "
            "2026-01-31T00:00:00Z"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return round(moment.timestamp() * MICROSECONDS)


Start = Annotated[str | int, BeforeValidator(_start), WithJsonSchema({"type": "string"})]
"""``earliest``, ``latest`` or microseconds since 1970; ISO 8601 in the file."""

Topic = Annotated[Text, Field(pattern=r"^[A-Za-z0-9._-]+$", max_length=249)]
Stream = Annotated[Text, Field(pattern=r"^[A-Za-z0-9._-]+$", max_length=128)]


class Live(Section):
    """What all endless sources have."""

    start: Start = written(
        "earliest",
        "Where a new job begins: earliest, latest, or a time such as 2026-01-31T00:00:00Z; one "
        "that goes on from a savepoint goes on where it was",
    )
    idle_after: Duration = written(
        "30s",
        "How long the whole topic or stream is quiet before event time goes on with the clock; "
        "a partition or shard that has nothing to read holds up no other anyhow",
    )
    splits: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Readers side by side, 1 to 1000; default what the runner wants, of Kafka at "
        "most 4, of Kinesis one. Fixed with the first start",
    )


class KafkaSource(Live):
    """A Kafka topic to read."""

    topic: Topic = Field(description="Topic: letters, digits, . _ -")
    group: Text | None = Field(
        default=None,
        description="Consumer group to commit offsets to, for monitoring; default the job's name",
    )


class KinesisSource(Live):
    """A Kinesis stream to read."""

    stream: Stream = Field(description="Stream: letters, digits, . _ -")


class Source(Section):
    """Where records come from."""

    files: Texts = Field(
        default_factory=tuple,  # no default in the schema: one of the kinds is needed
        description="Paths or globs, at least one, local or of any Beam file system "
        "(gs://, s3://, hdfs://)",
    )
    kafka: KafkaSource | None = Field(default=None, description="A Kafka topic, read live")
    kinesis: KinesisSource | None = Field(default=None, description="A Kinesis stream, read live")
    format: Literal["json", "csv", "number", "parquet"] = Field(
        description="A JSON object a line; CSV with a header; a bare number a line; Parquet rows; "
        "a live source has json"
    )
    history: Texts = Field(
        default=(),
        description="Paths or globs of files of the same format, learnt first, in one event-time "
        "order; they raise no alerts",
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Source:
        exactly_one(self, SOURCE_KINDS)
        if self.is_live and self.format != "json":
            sentence = f"'{self.format}' is for files; a live source has json"
            raise rule_broken((("format",), sentence))
        return self

    @property
    def is_live(self) -> bool:
        """Whether records go on coming: Kafka or Kinesis."""
        return not self.files

    @property
    def kind(self) -> str:
        """The one of `SOURCE_KINDS` that it is."""
        return next(kind for kind in SOURCE_KINDS if getattr(self, kind))

    @property
    def name(self) -> str:
        """The topic or stream; empty for files."""
        if self.kafka:
            return self.kafka.topic
        return self.kinesis.stream if self.kinesis else ""


class KafkaSink(Section):
    """A Kafka topic to write."""

    topic: Topic = Field(description="Topic: letters, digits, . _ -")


class KinesisSink(Section):
    """A Kinesis stream to write."""

    stream: Stream = Field(description="Stream: letters, digits, . _ -")


class Sink(Section):
    """A place for JSON lines."""

    path: Text | None = Field(
        default=None, description="Folder of files, local or of any Beam file system"
    )
    kafka: KafkaSink | None = Field(default=None, description="A Kafka topic")
    kinesis: KinesisSink | None = Field(default=None, description="A Kinesis stream")

    @model_validator(mode="after")
    def _one_kind(self) -> Sink:
        exactly_one(self, SINK_KINDS)
        return self

    @property
    def kind(self) -> str:
        """The one of `SINK_KINDS` that it is."""
        return next(kind for kind in SINK_KINDS if getattr(self, kind))

    @property
    def name(self) -> str:
        """The path, topic or stream."""
        if self.kafka:
            return self.kafka.topic
        return self.kinesis.stream if self.kinesis else str(self.path)

    def beside(self, suffix: str) -> Sink:
        """A sink of the same kind whose name has ``suffix`` after this one's."""
        name = self.name.rstrip("/") + suffix
        if self.kafka:
            return Sink(kafka=KafkaSink(topic=name))
        return Sink(kinesis=KinesisSink(stream=name)) if self.kinesis else Sink(path=name)


class Feedback(Section):
    """Where people's rules about alerts are: the dashboard and a command add to it."""

    path: Text | None = Field(
        default=None, description="A file of JSON lines, for jobs of files; it need not exist yet"
    )
    kafka: KafkaSink | None = Field(default=None, description="A Kafka topic, read live")
    kinesis: KinesisSink | None = Field(default=None, description="A Kinesis stream, read live")

    @model_validator(mode="after")
    def _one_kind(self) -> Feedback:
        exactly_one(self, SINK_KINDS)
        return self

    @property
    def kind(self) -> str:
        """The one of `SINK_KINDS` that it is."""
        return next(kind for kind in SINK_KINDS if getattr(self, kind))

    @property
    def name(self) -> str:
        """The path, topic or stream."""
        if self.kafka:
            return self.kafka.topic
        return self.kinesis.stream if self.kinesis else str(self.path)


class Results(Sink):
    """A result a row."""

    format: Literal["stack", "left_discords"] = Field(
        default="stack",
        description="Layout of a result; left_discords only if every model is LeftDiscord",
    )


class Lake(Section):
    """The lake."""

    path: Text = Field(description="Folder of the lake, local or of any Beam file system")
    bucket: PositiveDuration = written(
        "10m",
        "Duration of event time that an object of a live job holds, a part of a day; "
        "files make an object a day",
    )
    flush_every: PositiveDuration | None = Field(
        default=None,
        description="Duration of event time after which a live job's rows are there to be read, a "
        "part of the bucket, whose object is put anew each time; default the bucket",
    )
    shards: int = Field(
        default=1,
        ge=1,
        le=99,
        description="Objects a bucket that a live job writes side by side, 1 to 99",
    )

    @model_validator(mode="after")
    def _is_part_of_a_day(self) -> Lake:
        if 86_400 * MICROSECONDS % self.bucket or self.bucket % MICROSECONDS:
            sentence = "must be whole seconds that divide a day, such as 1m, 10m, 1h"
            raise rule_broken((("bucket",), sentence))
        if self.flush_every and self.bucket % self.flush_every:
            raise rule_broken((("flush_every",), "must divide the bucket, such as 1m of 1h"))
        return self


class Balance(Section):
    """The balance's file."""

    path: Text = Field(description="File, local or of any Beam file system")


class Deliveries(Section):
    """The record of delivered notifications."""

    path: Text = Field(description="Folder, local or of any Beam file system")


class Sinks(Section):
    """Where results go."""

    results: Results = Field(description="A JSON result a row")
    lake: Lake | None = Field(
        default=None, description="Parquet of the results, in folders date=YYYY-MM-DD"
    )
    alerts: Sink | None = Field(default=None, description="A JSON line an alert or recovery")
    dead_letters: Sink | None = Field(
        default=None,
        description="Records that cannot be used, and why; "
        "default the results' path, topic or stream, with -dead-letters after it",
    )
    late: Sink | None = Field(
        default=None,
        description="Records that came after their period was closed; "
        "default the results' path, topic or stream, with -late after it",
    )
    balance: Balance | None = Field(
        default=None,
        description="One JSON file that says what became of the records of a bounded run; "
        "default `<results path>-balance.json`, where the results have a path",
    )
    notify: Notify | None = Field(default=None, description="Who is told of alerts and recoveries")
    deliveries: Deliveries | None = Field(
        default=None,
        description="Which notifications were delivered, so that none is sent again after a crash; "
        "default the path of lake, alerts or results, the first that has one, with -deliveries "
        "after it",
    )
    undelivered: Sink | None = Field(
        default=None,
        description="Notifications that could not be delivered, and why; "
        "default the results' path, topic or stream, with -undelivered after it",
    )

    @model_validator(mode="after")
    def _told(self) -> Sinks:
        mistakes: list[Mistake] = [
            ((name,), "is about notifications, and there is no sinks.notify")
            for name in ("deliveries", "undelivered")
            if getattr(self, name) and not self.notify
        ]
        if self.notify and not self.deliveries_path:
            sentence = (
                "missing; name a folder, deliveries: {path: ...}, as neither lake, alerts nor "
                "results has a path to put it beside"
            )
            mistakes.append((("deliveries",), sentence))
        if mistakes:
            raise rule_broken(*mistakes)
        return self

    @model_validator(mode="after")
    def _apart(self) -> Sinks:
        mistakes: list[Mistake] = []
        paths = self.paths
        names = list(paths)
        for i, path in repeated(path.rstrip("/") for path in paths.values()):
            place = (names[i], "path")
            mistakes.append((place, f"{describe(paths[names[i]] or path)} is another sink's path"))
        for kind in ("kafka", "kinesis"):
            word = END_WORDS[kind]
            ends = {name: sink.name for name, sink in self.lines.items() if sink.kind == kind}
            names = list(ends)
            for i, end in repeated(ends.values()):
                mistakes.append(((names[i], kind, word), f"'{end}' is another sink's {word}"))
        if mistakes:
            raise rule_broken(*mistakes)
        return self

    @property
    def lines(self) -> dict[str, Sink]:
        """Every sink of JSON lines by name, defaults among them; one that is off is left out."""
        found: dict[str, Sink] = {"results": self.results}
        if self.alerts:
            found["alerts"] = self.alerts
        found["dead_letters"] = self.dead_letters or self.results.beside("-dead-letters")
        found["late"] = self.late or self.results.beside("-late")
        if self.notify:
            found["undelivered"] = self.undelivered or self.results.beside("-undelivered")
        return found

    @property
    def balance_path(self) -> str:
        """Path of the balance, given or default; empty where there is none."""
        if self.balance:
            return self.balance.path
        return self.results.beside("-balance.json").name if self.results.path else ""

    @property
    def deliveries_path(self) -> str:
        """Folder of the record of deliveries, given or default; empty where there is none."""
        if self.deliveries or not self.notify:
            return self.deliveries.path if self.deliveries else ""
        named = (self.lake, self.alerts, self.results)
        paths = [sink.path for sink in named if sink and sink.path]
        return f"{paths[0].rstrip('/')}-deliveries" if paths else ""

    @property
    def paths(self) -> dict[str, str]:
        """Path of every sink that has one, defaults among them."""
        lines = {name: sink.path or "" for name, sink in self.lines.items()}
        paths = {
            "results": lines.pop("results"),
            "lake": self.lake.path if self.lake else "",
            **lines,
            "balance": self.balance_path,
            "deliveries": self.deliveries_path,
        }
        return {name: path for name, path in paths.items() if path}
