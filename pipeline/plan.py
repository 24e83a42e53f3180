"""A job as the steps of the stream take it: plain values in place of the typed file."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from detectors.ensemble import EnsembleParameters
from detectors.model import ModelSpec
from detectors.seasonality import Seasonality
from pipeline.job import Job
from pipeline.job_detector import Detector, Override
from pipeline.job_flagging import ThresholdSection
from transforms.aggregate import Aggregation, Gaps
from transforms.decide import Rules
from transforms.detection import Detection, Match, SeriesSettings
from transforms.fields import Fields


def fields_of(job: Job) -> tuple[Fields, ...]:
    """Where each detector of the job finds what in a record."""
    return tuple(_fields(detector) for detector in job.detectors)


def _fields(detector: Detector) -> Fields:
    event_time = detector.event_time
    return Fields(
        detector=detector.name,
        measure=detector.measure,
        dimensions=detector.dimensions,
        time_field=event_time.field,
        time_format=event_time.format,
        time_zone=event_time.time_zone,
        step=event_time.step,
        record_id=detector.record_id,
        by_position=event_time.order == "position",
    )


def detections_of(job: Job) -> dict[str, Detection]:
    """Each detector of the job as the stateful step needs it, by name."""
    left_discords = job.sinks.results.format == "left_discords"
    return {detector.name: _detection(detector, left_discords) for detector in job.detectors}


def _detection(detector: Detector, left_discords: bool) -> Detection:
    how = detector.aggregation
    return Detection(
        settings=_settings(detector),
        aggregation=None if how is None else Aggregation(how.function, how.period),
        by_position=detector.event_time.order == "position",
        deduplicate=detector.record_id is not None,
        ttl=detector.ttl,
        overrides=tuple(_override(detector, each) for each in detector.overrides),
        left_discords=left_discords,
    )


def _override(detector: Detector, override: Override) -> tuple[Match, SeriesSettings]:
    match = tuple((name, tuple(values)) for name, values in override.match.items())
    return match, _settings(detector.with_override(override))


def _settings(detector: Detector) -> SeriesSettings:
    threshold = detector.threshold
    own = threshold.parameters if isinstance(threshold, ThresholdSection) else None
    return SeriesSettings(
        ModelSpec(detector.model.type, _parameters(detector), own, _season(detector)),
        _rules(detector, None if isinstance(threshold, ThresholdSection) else threshold),
        Gaps(detector.gaps.policy, detector.gaps.value or 0.0),
    )


def _parameters(detector: Detector) -> Any:
    parameters = detector.model.parameters
    if detector.event_time.format == "counter" and isinstance(parameters, EnsembleParameters):
        return replace(parameters, clock=False)  # a record's number tells no time of day
    return parameters


def _season(detector: Detector) -> Seasonality | None:
    season = detector.seasonality
    return None if season is None else Seasonality(season.season, season.time_zone)


def _rules(detector: Detector, threshold: float | None) -> Rules:
    rules = detector.rules
    return Rules(
        threshold=threshold,
        alerts_per_week=detector.alerts_per_week,
        direction=rules.direction,
        min_absolute_deviation=rules.min_absolute_deviation,
        min_relative_deviation=rules.min_relative_deviation,
        n=rules.n_of_m.n,
        m=rules.n_of_m.m,
        quiet_rows=rules.quiet_period.rows,
        quiet_time=rules.quiet_period.microseconds,
        recovery_after=rules.recovery_after,
    )
