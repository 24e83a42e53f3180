"""The job file: what is read, which series are watched and how, and where results go.

A job file is YAML, checked as a whole before anything starts: `load_job` names every mistake by
its place, its value and what is allowed. Rules between keys are checked where the keys they
concern are right by themselves. Importing and checking costs no Beam.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from pipeline.job_detector import Detector
from pipeline.job_errors import JobFileError, Mistake, describe, mistakes_of, rule_broken
from pipeline.job_section import Section, Text, Texts, repeated
from pipeline.job_yaml import read_yaml

SOURCE_KINDS = ("files",)
"""Keys of `Source` of which exactly one is given: it says where records come from."""


class Source(Section):
    """Where records come from."""

    files: Texts = Field(
        default_factory=tuple,  # no default in the schema: it is the only kind, so it is needed
        description="Paths or globs, at least one, local or of any Beam file system "
        "(gs://, s3://, hdfs://)",
    )
    format: Literal["json", "csv", "number", "parquet"] = Field(
        description="A JSON object a line; CSV with a header; a bare number a line; Parquet rows"
    )
    history: Texts = Field(
        default=(),
        description="Paths or globs of the same format, learnt first, in one event-time order; "
        "they raise no alerts",
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Source:
        given = [kind for kind in SOURCE_KINDS if getattr(self, kind)]
        if len(given) != 1:
            named = ", ".join(given) or "none"
            raise ValueError(f"needs one of: {', '.join(SOURCE_KINDS)}; got {named}")
        return self


class Results(Section):
    """A result a row."""

    path: Text = Field(description="Folder of the result files, local or of any Beam file system")
    format: Literal["stack", "left_discords"] = Field(
        default="stack",
        description="Layout of a result; left_discords only if every model is LeftDiscord",
    )


class Sink(Section):
    """A place to write to."""

    path: Text = Field(description="Path, local or of any Beam file system")


class Sinks(Section):
    """Where results go."""

    results: Results = Field(description="A JSON result a row")
    lake: Sink | None = Field(
        default=None, description="Parquet of the results, in folders date=YYYY-MM-DD"
    )
    alerts: Sink | None = Field(default=None, description="A JSON line an alert or recovery")
    dead_letters: Sink | None = Field(
        default=None,
        description="Records that cannot be used, and why; default `<results path>-dead-letters`",
    )
    late: Sink | None = Field(
        default=None,
        description="Records that came after their period was closed; "
        "default `<results path>-late`",
    )
    balance: Sink | None = Field(
        default=None,
        description="One JSON file that says what became of the records; "
        "default `<results path>-balance.json`",
    )

    @model_validator(mode="after")
    def _apart(self) -> Sinks:
        paths = self.paths
        names, again = list(paths), repeated(path.rstrip("/") for path in paths.values())
        if again:
            taken = [names[i] for i, _ in again]
            raise rule_broken(
                *(((n, "path"), f"{describe(paths[n])} is another sink's path") for n in taken)
            )
        return self

    @property
    def dead_letters_path(self) -> str:
        """Path of the dead letters, given or default."""
        return self._path_or_default(self.dead_letters, "-dead-letters")

    @property
    def late_path(self) -> str:
        """Path of the late records, given or default."""
        return self._path_or_default(self.late, "-late")

    @property
    def balance_path(self) -> str:
        """Path of the balance, given or default."""
        return self._path_or_default(self.balance, "-balance.json")

    @property
    def paths(self) -> dict[str, str]:
        """Every sink's path, defaults among them; sinks that are off are left out."""
        paths = {
            "results": self.results.path,
            "lake": self.lake.path if self.lake else "",
            "alerts": self.alerts.path if self.alerts else "",
            "dead_letters": self.dead_letters_path,
            "late": self.late_path,
            "balance": self.balance_path,
        }
        return {name: path for name, path in paths.items() if path}

    def _path_or_default(self, sink: Sink | None, suffix: str) -> str:
        return sink.path if sink else self.results.path.rstrip("/") + suffix


class Job(Section):
    """A whole job file."""

    job: Text = Field(
        pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$",
        max_length=63,
        description="Name of the job: lower-case letters, digits and -, starting with a letter, "
        "not ending in -, at most 63",
    )
    source: Source = Field(description="Where records come from")
    detectors: Annotated[tuple[Detector, ...], Field(strict=False)] = Field(
        min_length=1, description="What is watched; at least one"
    )
    sinks: Sinks = Field(description="Where results go")

    @field_validator("detectors")
    @classmethod
    def _detectors_fit(
        cls, detectors: tuple[Detector, ...], info: ValidationInfo
    ) -> tuple[Detector, ...]:
        mistakes: list[Mistake] = [
            ((i, "name"), f"{describe(name)} is another detector's name; names must be unique")
            for i, name in repeated(detector.name for detector in detectors)
        ]
        if source := info.data.get("source"):
            against = _against_numbers if source.format == "number" else _against_fields
            for i, detector in enumerate(detectors):
                mistakes += [((i, *place), sentence) for place, sentence in against(detector)]
        if mistakes:
            raise rule_broken(*mistakes)
        return detectors

    @field_validator("sinks")
    @classmethod
    def _layout_fits(cls, sinks: Sinks, info: ValidationInfo) -> Sinks:
        types = {model.type for each in info.data.get("detectors", ()) for model in each.models}
        if sinks.results.format == "left_discords" and types - {"LeftDiscord"}:
            others = ", ".join(sorted(types - {"LeftDiscord"}))
            sentence = f"'left_discords' needs models of type LeftDiscord, but there is {others}"
            raise rule_broken((("results", "format"), sentence + "; write stack"))
        return sinks


def _against_fields(detector: Detector) -> list[Mistake]:
    """What a detector lacks for records that have fields."""
    mistakes: list[Mistake] = []
    if "measure" not in detector.model_fields_set:
        mistakes.append((("measure",), "missing; the field with the value"))
    if detector.event_time.format != "counter" and detector.event_time.field is None:
        sentence = "missing; the field with the event time, unless format is counter"
        mistakes.append((("event_time", "field"), sentence))
    return mistakes


def _against_numbers(detector: Detector) -> list[Mistake]:
    """What a detector asks of fields that bare numbers do not have."""
    mistakes: list[Mistake] = []
    if detector.event_time.format != "counter":
        sentence = f"'{detector.event_time.format}' needs a field, which format number has not"
        mistakes.append((("event_time", "format"), sentence + "; write counter"))
    for key in ("dimensions", "record_id"):
        if getattr(detector, key):
            mistakes.append(((key,), "names fields, which format number has not; remove it"))
    return mistakes


def load_job(path: str | Path) -> Job:
    """The job that the file at ``path`` describes.

    Raises
    ------
    JobFileError
        With every mistake in the file, one line each.
    """
    file = Path(path)
    data, mistakes = read_yaml(file)
    job = None
    try:
        job = Job.model_validate(data)
    except ValidationError as error:
        said = {place for place, _ in mistakes}
        mistakes += [each for each in mistakes_of(error, job_schema()) if each[0] not in said]
    if mistakes or job is None:
        raise JobFileError(str(path), mistakes)
    return job


class _FileSchema(GenerateJsonSchema):
    """A key that may be absent may not be null: the file has no null. No titles: keys say it."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def nullable_schema(self, schema: Any) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: Any) -> JsonSchemaValue:
        if "default" in schema and schema["default"] is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)


def job_schema() -> dict[str, Any]:
    """The JSON Schema of a job file, for editors; `load_job` checks more than it can say."""
    schema = Job.model_json_schema(schema_generator=_FileSchema)
    schema["$defs"]["Source"]["oneOf"] = [{"required": [kind]} for kind in SOURCE_KINDS]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
