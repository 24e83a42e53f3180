"""How a detector of a job file scores and flags: model, season, threshold, rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, ValidationInfo, field_validator, model_validator

from pipeline.job_errors import rule_broken
from pipeline.job_section import Quiet, Section, TimeZone, is_number, written
from pipeline.specs import model_parameters, threshold_parameters

MODEL_CONFIG = "The detector's parameters, see docs/detectors; what is not named keeps its default"


class ModelSection(Section):
    """A detector and its parameters, in the grammar of Beam's ``Spec``."""

    type: Literal["Ensemble", "RandomCutForest", "LeftDiscord"] = Field(description="The detector")
    config: dict[str, Any] = Field(default_factory=dict, description=MODEL_CONFIG)

    @field_validator("config")
    @classmethod
    def _fits(cls, config: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if "type" in info.data:
            parameters = model_parameters(info.data["type"], config)
            if getattr(parameters, "measures", 1) != 1:
                sentence = f"must be 1, as a detector has one measure, got {parameters.measures}"
                raise rule_broken((("measures",), sentence))
        return config

    @property
    def parameters(self) -> Any:
        """The detector's frozen ``Parameters``."""
        return model_parameters(self.type, self.config)


class SeasonalitySection(Section):
    """A rhythm of the clock on the wall that the series are expected to follow."""

    season: Literal["hour_parity", "hour_of_day", "day_of_week", "hour_of_week"] = Field(
        description="Even and odd hours, hours of the day, days of the week, or hours of the week"
    )
    time_zone: TimeZone = Field(
        default="UTC", description="IANA time zone of the clock on the wall"
    )


class ThresholdSection(Section):
    """A threshold on the raw score and its parameters, in the grammar of Beam's ``Spec``."""

    type: Literal["Spot", "MeanStdDev", "Quantile", "Conformal", "Fixed"] = Field(
        description="What is learnt of the raw score: its extremes, its mean and standard "
        "deviation, its newest values (twice), or nothing"
    )
    config: dict[str, Any] = Field(
        default_factory=dict,
        description="The threshold's parameters; what is not named keeps its default",
    )

    @field_validator("config")
    @classmethod
    def _fits(cls, config: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if "type" in info.data:
            threshold_parameters(info.data["type"], config)
        return config

    @property
    def parameters(self) -> Any:
        """The threshold's frozen parameters."""
        return threshold_parameters(self.type, self.config)


def _kind_of_threshold(value: object) -> str | None:
    if isinstance(value, Mapping | ThresholdSection):
        return "<spec>"
    return "<number>" if is_number(value) else None


Threshold = Annotated[
    Annotated[float, Field(ge=0, le=100), Tag("<number>")]
    | Annotated[ThresholdSection, Tag("<spec>")],
    Discriminator(_kind_of_threshold),
]
AlertsPerWeek = Annotated[float, Field(gt=0)]


class NOfM(Section):
    """How many of the last rows must exceed."""

    n: int = Field(default=1, ge=1, le=1000, description="Rows that must exceed, 1 to m")
    m: int = Field(default=1, ge=1, le=1000, description="Rows looked at, n to 1000")

    @model_validator(mode="after")
    def _n_is_at_most_m(self) -> NOfM:
        if self.n > self.m:
            raise rule_broken((("n",), f"must be <= m, got n {self.n} and m {self.m}"))
        return self


class Rules(Section):
    """What a row over the threshold must fulfil besides, and when it is an alert."""

    direction: Literal["both", "up", "down"] = Field(
        default="both", description="Side of the expected value that is flagged"
    )
    min_absolute_deviation: float = Field(
        default=0.0,
        ge=0,
        description="Least distance from the expected value, >= 0, in the measure's unit",
    )
    min_relative_deviation: float = Field(
        default=0.0,
        ge=0,
        description="Least distance from the expected value, >= 0, as a share of its size: "
        "0.2 is 20 %",
    )
    n_of_m: NOfM = Field(
        default_factory=NOfM, description="Flag only when n of the last m rows exceed"
    )
    quiet_period: Quiet = written(
        50,
        "Rows (0 to 100000) or a duration: for so long after an alert's last flagged row "
        "only a stronger anomaly alerts again",
    )
    recovery_after: int = Field(
        default=10,
        ge=1,
        le=100_000,
        description="Rows in succession below the threshold after which an alert is over, "
        "1 to 100000",
    )
