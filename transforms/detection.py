"""One detector of the job, as the stream needs it: how points become rows, and what scores them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from detectors.model import ModelSpec, SeriesModel
from transforms.aggregate import Aggregation, Gaps
from transforms.decide import Rules
from transforms.records import MICROSECONDS, Integers, Series

DAY = 86_400_000_000
_COMPILE_ROWS, _MOST_COMPILE_ROWS = 1000, 200_000
Match = tuple[tuple[str, tuple[str, ...]], ...]
"""Dimension names with the values that are meant."""


@dataclass(frozen=True)
class SeriesSettings:
    """What a job may set for single series.

    Parameters
    ----------
    model : ModelSpec
        The model.
    rules : Rules
        The decision.
    gaps : Gaps
        The gap policy.
    """

    model: ModelSpec
    rules: Rules = Rules()
    gaps: Gaps = Gaps()


@dataclass(frozen=True)
class Detection:
    """One detector of the job, as the stream needs it.

    Parameters
    ----------
    settings : SeriesSettings
        For every series that no override matches.
    aggregation : Aggregation, optional
        None: points as they come.
    by_position : bool
        Take points in the order of their positions, whatever their event times.
    deduplicate : bool
        Count a record ID once an event time.
    ttl : int
        Silence, in microseconds of event time, after which a series starts anew.
    overrides : tuple of (match, SeriesSettings)
        ``match`` maps dimension names to allowed values; the first that matches counts.
    left_discords : bool
        Write LeftDiscords' records beside the stack's.
    """

    settings: SeriesSettings
    aggregation: Aggregation | None = None
    by_position: bool = False
    deduplicate: bool = False
    ttl: int = 30 * DAY
    overrides: tuple[tuple[Match, SeriesSettings], ...] = ()
    left_discords: bool = False

    def of(self, series: Series) -> SeriesSettings:
        """The settings of one series."""
        return _settings_of(self, series) if self.overrides else self.settings

    def ends(self, times: Integers) -> Integers:
        """Event time at which each point's row may be closed."""
        if self.aggregation is None:
            return times + 1
        period = self.aggregation.period
        return times // period * period + period

    @property
    def fills(self) -> bool:
        """Whether any series' gaps are filled."""
        every = (self.settings, *(settings for _, settings in self.overrides))
        return any(settings.gaps.fills for settings in every)

    @property
    def period(self) -> int:
        """Distance between the starts of two rows; 0 for points as they come."""
        return 0 if self.aggregation is None else self.aggregation.period

    def compile(self) -> None:
        """Run each model until it explained a candidate, so that all its kernels are compiled."""
        for settings in (self.settings, *(settings for _, settings in self.overrides)):
            # without the season, which would be awaited for a week
            _compile(replace(settings.model, seasonality=None))
            SeriesModel(settings.model, 0).score_and_learn(np.arange(2.0), np.arange(2))


def _compile(spec: ModelSpec) -> None:
    model = SeriesModel(spec, 0)
    warm = False
    for start in range(0, _MOST_COMPILE_ROWS, _COMPILE_ROWS):
        rows = np.arange(start, start + _COMPILE_ROWS)
        values = np.sin(rows / 10.0)
        values[_COMPILE_ROWS // 2] = np.nan  # missing
        if warm:  # a candidate
            values[-30:] = 4.0 * np.random.default_rng(start).normal(size=30)
        times = rows * MICROSECONDS
        scores = model.score_and_learn(values, times)
        if start and scores.attribution:  # what explains may be a member, before others are warm
            break
        warm = not np.isnan(scores.raw).all()
    restored = SeriesModel(spec, 0, model.to_bytes())
    restored.score_and_learn(values[:2], times[:2] + DAY)


@lru_cache(maxsize=4096)
def _settings_of(detection: Detection, series: Series) -> SeriesSettings:
    dimensions = dict(series.dimensions)
    for match, settings in detection.overrides:
        if all(dimensions[name] in values for name, values in match):
            return settings
    return detection.settings
