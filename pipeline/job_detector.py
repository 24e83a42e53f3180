"""The ``detectors`` of a job file: which series are watched, how, and what is flagged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from pipeline.durations import format_duration
from pipeline.job_errors import Mistake, describe, not_among, rule_broken
from pipeline.job_flagging import (
    AlertsPerWeek,
    ModelSection,
    Rules,
    SeasonalitySection,
    Threshold,
    ThresholdSection,
)
from pipeline.job_section import (
    Duration,
    PositiveDuration,
    Section,
    Text,
    TextOrTexts,
    Texts,
    TimeZone,
    repeated,
    written,
)

DEFAULT_THRESHOLD = 70.0
MOST_FILLED_PERIODS = 5_000_000
"""Longest gap that is filled in: one silent series must not fill the memory."""


def _usual_threshold(detector: Mapping[str, Any]) -> float | ThresholdSection | None:
    """None beside alerts_per_week; for a left discord what its tail calls for."""
    if detector.get("alerts_per_week") is not None:
        return None
    model = detector.get("model")
    if model is not None and model.type == "LeftDiscord":
        return ThresholdSection(type="Spot")
    return DEFAULT_THRESHOLD


class EventTime(Section):
    """Where a record says when it happened."""

    field: Text | None = Field(
        default=None,
        description="Field with the event time; not with format counter, which needs none. "
        "Default of a live source: the time that Kafka or Kinesis gave the record",
    )
    format: Literal["iso8601", "unix_s", "unix_ms", "unix_us", "counter"] = Field(
        default="iso8601",
        description="ISO 8601 text; seconds, milliseconds or microseconds since 1970; or counter, "
        "the record's position in its source times step",
    )
    step: PositiveDuration = written(
        "1s",
        "Duration > 0, only with format counter: record k happens at k times step",
    )
    time_zone: TimeZone = Field(
        default="UTC",
        description="IANA time zone of ISO 8601 text that has no offset",
    )
    order: Literal["event_time", "position"] = Field(
        default="event_time",
        description="position takes the rows in the order of the files, for clocks that repeat or "
        "step back: only from files, without aggregation and with gaps.policy ignore",
    )

    @model_validator(mode="after")
    def _belongs_to_format(self) -> EventTime:
        mistakes: list[Mistake] = []
        if self.format == "counter" and self.field is not None:
            sentence = "is not read with format counter; remove field or choose another format"
            mistakes.append((("field",), f"{describe(self.field)} {sentence}"))
        for key, format_ in (("step", "counter"), ("time_zone", "iso8601")):
            if key in self.model_fields_set and self.format != format_:
                sentence = f"only with format {format_}, but format is {self.format}"
                mistakes.append(((key,), sentence))
        if mistakes:
            raise rule_broken(*mistakes)
        return self


class Aggregation(Section):
    """Points of a period into one."""

    function: Literal["sum", "mean", "min", "max", "count", "last", "median"] = Field(
        description="What becomes of the values of a period"
    )
    period: PositiveDuration = Field(
        description="Length of a period, a duration > 0; periods start at multiples of it"
    )


class Gaps(Section):
    """What stands in for a period without points."""

    policy: Literal["ignore", "zero", "previous", "fixed"] = Field(
        default="ignore",
        description="Nothing, 0, the value of the period before, or value; "
        "all but ignore need aggregation",
    )
    value: float | None = Field(
        default=None,
        description="Number, in the measure's unit; needed with policy fixed, and only there",
    )

    @model_validator(mode="after")
    def _value_belongs_to_fixed(self) -> Gaps:
        if self.policy == "fixed" and self.value is None:
            raise rule_broken((("value",), "missing; policy fixed needs a number"))
        if self.policy != "fixed" and self.value is not None:
            sentence = f"only with policy fixed, but policy is {self.policy}"
            raise rule_broken((("value",), sentence))
        return self


class Override(Section):
    """Other settings for some series."""

    match: dict[str, TextOrTexts] = Field(
        min_length=1,
        description="Dimension to its value, or to a list of values; all that are named must fit",
    )
    model: ModelSection | None = Field(default=None, description="Replaces the detector's model")
    seasonality: SeasonalitySection | None = Field(
        default=None, description="Replaces the detector's seasonality"
    )
    threshold: Threshold | None = Field(
        default=None, description="Number 0 to 100 or {type, config}; replaces the flagging"
    )
    alerts_per_week: AlertsPerWeek | None = Field(
        default=None, description="Alerts a week and series, > 0; replaces the flagging"
    )
    gaps: Gaps | None = Field(default=None, description="Replaces the detector's gaps")
    rules: Rules | None = Field(
        default=None, description="Rules that differ; what is not named stays as in the detector"
    )

    @model_validator(mode="after")
    def _says_something(self) -> Override:
        if self.threshold is not None and self.alerts_per_week is not None:
            raise ValueError(EITHER_FLAGGING)
        if self.model_fields_set == {"match"}:
            changes = [key for key in type(self).model_fields if key != "match"]
            raise ValueError(f"changes nothing; give at least one of: {', '.join(changes)}")
        return self

    def matches(self, dimensions: Mapping[str, str]) -> bool:
        """Whether the series of these ``dimensions`` is meant."""
        return all(dimensions.get(key) in values for key, values in self.match.items())


EITHER_FLAGGING = "threshold and alerts_per_week exclude each other; give one of them"


class Detector(Section):
    """One measure of the source, watched in each of its series."""

    name: Text = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        max_length=100,
        description="Unique name: letters, digits, _ . -, starting with a letter or digit, "
        "at most 100",
    )
    measure: Text = Field(
        default="value",
        description="Field with the value; needed unless the source's format is number, "
        "where it only gives the name",
    )
    dimensions: Texts = Field(
        default=(),
        description="Fields whose values name the series; none makes one series",
    )
    event_time: EventTime = Field(default_factory=EventTime, description="When a record happened")
    aggregation: Aggregation | None = Field(
        default=None, description="Without it, points are scored as they come"
    )
    allowed_disorder: Duration = written(
        "0s",
        "Duration: how far behind the newest record of a live source another may come and still "
        "count; files are read whole, so that none of theirs is late",
    )
    record_id: Text | None = Field(
        default=None,
        description="Field with an ID: of records with the same event time and ID, one counts",
    )
    gaps: Gaps = Field(default_factory=Gaps, description="Periods without points")
    model: ModelSection = Field(
        default_factory=lambda: ModelSection(type="Ensemble"),
        description="What scores: {type, config}; an Ensemble with its defaults",
        json_schema_extra={"default": {"type": "Ensemble"}},
    )
    seasonality: SeasonalitySection | None = Field(
        default=None,
        description="What is usual at a time of the day or week is taken off the values before "
        "they are scored; without it, the model sees the values themselves",
    )
    alerts_per_week: AlertsPerWeek | None = Field(
        default=None,
        description="Alerts a week and series that the threshold is set for, > 0; "
        "in place of threshold",
    )
    threshold: Threshold | None = Field(
        default_factory=lambda data: _usual_threshold(data),
        description="Number 0 to 100: rows whose anomalyScore is above it are flagged; "
        "or {type, config} of a threshold on the raw score; in place of alerts_per_week. "
        "For a LeftDiscord the default is {type: Spot}",
        json_schema_extra={"default": DEFAULT_THRESHOLD},
    )
    rules: Rules = Field(default_factory=Rules, description="From flagged rows to alerts")
    ttl: PositiveDuration = written(
        "30d",
        "Duration, at least the aggregation's period: a series silent for longer starts anew",
    )
    overrides: Annotated[tuple[Override, ...], Field(strict=False)] = Field(
        default=(), description="Other settings for some series; the first match wins"
    )

    @field_validator("dimensions")
    @classmethod
    def _named_once(cls, dimensions: tuple[str, ...]) -> tuple[str, ...]:
        if again := repeated(dimensions):
            raise rule_broken(*(((i,), f"{describe(d)} is given twice") for i, d in again))
        return dimensions

    @field_validator("aggregation")
    @classmethod
    def _keeps_order(
        cls, aggregation: Aggregation | None, info: ValidationInfo
    ) -> Aggregation | None:
        event_time = info.data.get("event_time")
        if aggregation and event_time and event_time.order == "position":
            raise ValueError("cannot go with event_time.order position; remove one of them")
        return aggregation

    @field_validator("gaps")
    @classmethod
    def _gaps_need_periods(cls, gaps: Gaps, info: ValidationInfo) -> Gaps:
        if mistake := _gaps_mistake(gaps, info.data):
            raise rule_broken((("policy",), mistake))
        return gaps

    @field_validator("threshold")
    @classmethod
    def _one_flagging(cls, threshold: Any, info: ValidationInfo) -> Any:
        if threshold is not None and info.data.get("alerts_per_week") is not None:
            raise ValueError(EITHER_FLAGGING)
        return threshold

    @field_validator("ttl")
    @classmethod
    def _outlives_period(cls, ttl: int, info: ValidationInfo) -> int:
        aggregation = info.data.get("aggregation")
        if aggregation and ttl < aggregation.period:
            raise ValueError(
                f"must be at least the aggregation's period {format_duration(aggregation.period)}, "
                f"got {format_duration(ttl)}"
            )
        return ttl

    @field_validator("ttl")
    @classmethod
    def _gaps_fit_in_memory(cls, ttl: int, info: ValidationInfo) -> int:
        aggregation, gaps = info.data.get("aggregation"), info.data.get("gaps")
        if aggregation and gaps and gaps.policy != "ignore":
            periods = ttl // aggregation.period
            if periods > MOST_FILLED_PERIODS:
                raise ValueError(
                    f"{format_duration(ttl)} holds {periods} periods of "
                    f"{format_duration(aggregation.period)}, and gaps.policy {gaps.policy} fills "
                    f"in each; write a duration of at most {MOST_FILLED_PERIODS} periods"
                )
        return ttl

    @field_validator("overrides")
    @classmethod
    def _overrides_fit(
        cls, overrides: tuple[Override, ...], info: ValidationInfo
    ) -> tuple[Override, ...]:
        dimensions = info.data.get("dimensions")
        mistakes: list[Mistake] = []
        for i, override in enumerate(overrides):
            if dimensions is not None:
                mistakes += [
                    ((i, "match"), _unknown_dimension(key, dimensions))
                    for key in override.match
                    if key not in dimensions
                ]
            if override.gaps and (mistake := _gaps_mistake(override.gaps, info.data)):
                mistakes.append(((i, "gaps", "policy"), mistake))
        if mistakes:
            raise rule_broken(*mistakes)
        return overrides

    def for_series(self, dimensions: Mapping[str, str]) -> Detector:
        """Return the detector as it is for one series: the first override that matches is applied.

        Parameters
        ----------
        dimensions : mapping of dimension to its value
            What names the series.

        Returns
        -------
        Detector
            Without overrides.
        """
        found = next((each for each in self.overrides if each.matches(dimensions)), None)
        return self.with_override(found) if found else self.model_copy(update={"overrides": ()})

    def with_override(self, override: Override) -> Detector:
        """Return the detector with ``override`` applied, and without overrides."""
        named = override.model_fields_set - {"match", "rules"}
        changes: dict[str, Any] = {key: getattr(override, key) for key in named}
        if "threshold" in named or "alerts_per_week" in named:
            changes["threshold"] = override.threshold
            changes["alerts_per_week"] = override.alerts_per_week
        if override.rules is not None:
            rules = {key: getattr(override.rules, key) for key in override.rules.model_fields_set}
            changes["rules"] = self.rules.model_copy(update=rules)
        return self.model_copy(update=changes | {"overrides": ()})

    @property
    def models(self) -> tuple[ModelSection, ...]:
        """Every model that a series may get."""
        return (self.model, *(each.model for each in self.overrides if each.model))


def _gaps_mistake(gaps: Gaps, detector: Mapping[str, Any]) -> str:
    # a key that is wrong itself is not in `detector`
    if gaps.policy == "ignore" or detector.get("aggregation", True):
        return ""
    return f"'{gaps.policy}' needs aggregation, as only periods can be missing; or write ignore"


def _unknown_dimension(key: str, dimensions: tuple[str, ...]) -> str:
    if not dimensions:
        return f"unknown dimension {describe(key)}; the detector has no dimensions"
    return f"unknown dimension {describe(key)}; {not_among(key, dimensions)}"
