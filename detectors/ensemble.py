"""Ensemble: several cheap members, each surprised in its own way, joined into one score."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from detectors import _ensemble_kernels as kernels
from detectors._ensemble_kernels import FOREST, MEMBERS, SHAPE
from detectors.band import BAND_WIDTH
from detectors.base import Arrays, Detector, Floats, Integers, RawScores
from detectors.calibration import CANDIDATE_DECADES, DECADES_AT_70, Calibration
from detectors.day_profile import slots_of
from detectors.explanation import Facts, sentence
from detectors.left_discord import LeftDiscord, LeftDiscordParameters
from detectors.random_cut_forest import RandomCutForest, RandomCutForestParameters
from detectors.seasonality import Seasonality

SHINGLE = 8
ALERT = 10.5
"""The raw score that makes a score of 70, the usual threshold."""

SHAPE_LEAST_EXCESS = 0.1
"""Least mean excess of the shape's tail. Far out its decades then grow as the distance does, and
the strangest row stays the strangest however the calibration moves on."""

MOST_SMOOTHING = 1000

PLAINEST_FIRST = np.array(
    [
        kernels.RECORD,
        kernels.RECORD_OF_RESIDUAL,
        kernels.DAY,
        kernels.JUMP,
        kernels.RECORD_OF_MEAN,
        kernels.VOLATILITY,
        kernels.LEVEL,
        FOREST,
        SHAPE,
    ]
)
"""Of members that gave the same, which a person understands best."""


@dataclass(frozen=True)
class EnsembleParameters:
    """Parameters of `Ensemble`.

    Parameters
    ----------
    context : int
        Retained subsequences that the shape compares with, 64 to 100,000. How well odd shapes are
        found depends on it most; so do time and memory.
    number_of_trees : int
        Of the forest, 1 to 1,000.
    sample_size : int
        Points that each of its trees keeps, 2 to 32,767.
    clock : bool
        Whether event times are a clock, so that times of the day and the week may mean something.
        False for a simulation's or a counter's.
    time_zone : str
        IANA name of the clock on the wall that days begin by.
    smoothing : int
        The score is the mean over so many rows, 1 to 1,000. 1 tells events at once; a few more
        suit who wants the whole range of an anomaly high.
    """

    context: int = 10_000
    number_of_trees: int = 50
    sample_size: int = 256
    clock: bool = True
    time_zone: str = "UTC"
    smoothing: int = 1

    def __post_init__(self) -> None:
        if self.context < 64:
            raise ValueError(f"context must be >= 64, got {self.context}")
        if not 1 <= self.smoothing <= MOST_SMOOTHING:
            raise ValueError(f"smoothing must be 1 to {MOST_SMOOTHING}, got {self.smoothing}")
        Seasonality("hour_of_day", self.time_zone)  # says what a time zone must be
        _ = self.forest, self.shape  # and these what trees and subsequences must be

    @property
    def forest(self) -> RandomCutForestParameters:
        """Of the member forest."""
        return RandomCutForestParameters(
            SHINGLE, number_of_trees=self.number_of_trees, sample_size=self.sample_size
        )

    @property
    def shape(self) -> LeftDiscordParameters:
        """Of the member shape."""
        return LeftDiscordParameters(context=self.context)

    @property
    def level(self) -> LeftDiscordParameters:
        """Of the member level."""
        usual = LeftDiscordParameters(score="level").retained
        return LeftDiscordParameters(context=min(self.context, usual), score="level")


class Ensemble(Detector):
    """Nine members, each causal, in decades of surprise, joined into one score.

    ========================= ====================================================================
    member                    is surprised by
    ========================= ====================================================================
    `forest`                  the last 8 values together (`RandomCutForest`)
    `volatility`              the last 10 steps being larger or smaller than usual
    `jump`                    a large step
    `record`                  a value outside all before
    `record_of_mean`          the same of the mean of the last 10 values
    `day_profile`             a value unusual at this time of the day, or week
    `record_of_residual`      the distance to what is usual then being outside all before
    `level`                   a value, or 16 values, unlike all before (`LeftDiscord`)
    `shape`                   a stretch of about one period unlike all before (`LeftDiscord`)
    ========================= ====================================================================

    The score is ``max(sum of weight * min(decades, 6), 6 * (decades of shape - 1.5))``: the first
    eight must agree, for one tail alone is worth 6 at most; the shape, which knows more of a series
    than any, may speak alone. Members that have no data yet give 0. Without a clock, the
    day's members are silent: the sum is stretched by 1.2, and the shape's slope is 14.

    A raw score of 10.5 makes the score 70, the usual threshold. It is no sum of independent
    surprises, and 10 are not ten decades: about one row in 300 of the corpora it was made with has
    it, anomalies included. ``decades`` are the raw score on that scale; ``surprise`` is calibrated.

    NaN for the first 30 values. The quick members speak from then on, the forest after 114,
    the level after 180, the shape after 1,030, the day profile after a day, and its week after
    one. A missing value (NaN) is passed over.

    Scale and shift of the series change no score, but for rounding.

    Cost and memory are those of its forest and its two left discords, and 25 kB.

    Parameters
    ----------
    parameters : EnsembleParameters
        See there.
    seed : int
        0 <= seed < 2**63; of the forest.

    Notes
    -----
    The sum of decades is Fisher's ("Statistical Methods for Research Workers", 1925), but of
    capped members, and not taken for a p-value, as the members depend on each other.

    Examples
    --------
    >>> import numpy as np
    >>> from detectors.calibration import Calibration
    >>> values = np.sin(np.arange(600) / 5.0)
    >>> values[500] = 3.0
    >>> ensemble = Ensemble(EnsembleParameters(context=128), seed=7)
    >>> scores = ensemble.score_and_learn(values, Calibration(*ensemble.raw_range))
    >>> int(np.nanargmax(scores.raw)), next(iter(scores.members[500]))
    (500, 'record')
    """

    Parameters: ClassVar[type[Any]] = EnsembleParameters
    STATE_VERSION: ClassVar[int] = 1
    raw_range = (0.0, 40.0)
    uses_times = True

    def __init__(self, parameters: EnsembleParameters, seed: int) -> None:
        self.parameters = parameters
        self._forest = RandomCutForest(parameters.forest, seed)
        self._level = LeftDiscord(parameters.level, seed)
        self._shape = LeftDiscord(parameters.shape, seed)
        self.reach = self._shape.reach
        self._light = kernels.new_light(parameters.smoothing)
        # each for its member's candidates; the forest's decades in the sum are the light pass's
        self._of_forest = Calibration(*self._forest.raw_range)
        self._of_level = Calibration(*self._level.raw_range)
        self._of_shape = Calibration(*self._shape.raw_range, SHAPE_LEAST_EXCESS)

    def score_one(self, value: float, time: int | None = None) -> float:
        """Raw score of ``value`` as the next point, NaN while warming; changes nothing.

        ``time`` is its event time in microseconds; without one there is no clock.
        """
        if math.isnan(value):
            return math.nan
        decades = np.zeros((1, len(MEMBERS)))
        for k, (member, calibration) in enumerate(self._discords()):
            copy = Calibration(0.0, 1.0)
            copy.state[:] = calibration.state
            decades[:, kernels.LEVEL + k] = copy.decades(np.array([member.score_one(value)]))
        light = kernels.Light(*(array.copy() for array in self._light))
        times = None if time is None else np.array([time], np.int64)
        forest = np.array([self._forest.score_one(value)])
        return float(self._join(light, np.array([value]), times, forest, decades)[0][0])

    def learn_one(self, value: float, time: int | None = None) -> None:
        """Take ``value`` in; NaN (missing) is passed over."""
        times = None if time is None else np.array([time], np.int64)
        self.score_and_learn(np.array([value]), Calibration(*self.raw_range), times)

    def score_and_learn(
        self, values: Floats, calibration: Calibration, times: Integers | None = None
    ) -> RawScores:
        """Score each row with all before it, then learn it.

        Parameters
        ----------
        values : float64[n]
            Points in stream order; NaN means missing.
        calibration : Calibration
            Counts the scores; the decades are the ensemble's own.
        times : int64[n], optional
            Event times, microseconds since 1970; without them there is no clock.

        Raises
        ------
        ValueError
            A value is infinite.
        """
        scores = RawScores.empty(values.shape[0])
        rows = np.flatnonzero(~np.isnan(values))
        present = np.array(values[rows], np.float64)
        decades, found = self._discord_decades(present)
        clock = None if times is None else times[rows]
        raw, given, facts = self._join(self._light, present, clock, found[2].raw, decades)
        calibration.decades(raw)
        scores.raw[rows] = raw
        scores.decades[rows] = np.nan_to_num(raw) * (DECADES_AT_70 / ALERT)
        for i in np.flatnonzero(scores.decades[rows] >= CANDIDATE_DECADES).tolist():
            _Explained(i, present[i], given[i], Facts(*facts[i].tolist())).tell(
                int(rows[i]), scores, found[1], found[2]
            )
        return scores

    def member_decades(self, values: Floats, times: Integers | None = None) -> Floats:
        """What each member says of each row, float64[n, 9], before any weight; learns the rows.

        ``values`` (float64[n]) holds no NaN. Columns as `MEMBERS`.
        """
        decades, found = self._discord_decades(values)
        self._join(self._light, values, times, found[2].raw, decades)
        return decades

    def _discord_decades(self, values: Floats) -> tuple[Floats, list[RawScores]]:
        """Decades with two columns filled, and what level, shape and forest found."""
        decades = np.zeros((len(values), len(MEMBERS)))
        found = [m.score_and_learn(values, c) for m, c in self._discords()]
        decades[:, kernels.LEVEL], decades[:, SHAPE] = found[0].decades, found[1].decades
        return decades, [*found, self._forest.score_and_learn(values, self._of_forest)]

    def _join(
        self,
        light: kernels.Light,
        values: Floats,
        times: Integers | None,
        forest: Floats,
        decades: Floats,
    ) -> tuple[Floats, Floats, Floats]:
        """Raw scores (float64[n]), what members gave (float64[n, 9]), facts (float64[n, 11])."""
        has_clock = times is not None and self.parameters.clock
        slots = np.empty(0, np.int64)
        if has_clock and times is not None:
            slots = slots_of(times, self.parameters.time_zone)
        raw, given = np.empty(len(values)), np.empty(decades.shape)
        facts = np.zeros((len(values), kernels.FACTS))
        kernels.light_members(light, values, slots, forest, decades, facts)
        kernels.fuse(light, decades, has_clock, given, raw)
        return raw, given, facts

    def _discords(self) -> tuple[tuple[LeftDiscord, Calibration], ...]:
        return (self._level, self._of_level), (self._shape, self._of_shape)

    def _parts(self) -> dict[str, Detector]:
        return {"forest": self._forest, "level": self._level, "shape": self._shape}

    def _cells(self) -> Arrays:
        """All but the detectors' own states; written in place."""
        return {
            **{f"light.{name}": array for name, array in self._light._asdict().items()},
            "of_forest": self._of_forest.state,
            "of_level": self._of_level.state,
            "of_shape": self._of_shape.state,
        }

    def to_arrays(self) -> Arrays:
        """The whole state, lossless, as named arrays (views)."""
        arrays = self._cells()
        for part, detector in self._parts().items():
            arrays |= {f"{part}.{name}": array for name, array in detector.to_arrays().items()}
        return arrays

    @classmethod
    def from_arrays(
        cls, parameters: EnsembleParameters, arrays: Mapping[str, NDArray[Any]]
    ) -> Ensemble:
        """The ensemble that `to_arrays` described; copies what it will write to."""

        def part(prefix: str) -> Arrays:
            start = len(prefix) + 1
            return {k[start:]: array for k, array in arrays.items() if k.startswith(f"{prefix}.")}

        ensemble = cls(parameters, seed=0)
        ensemble._forest = RandomCutForest.from_arrays(parameters.forest, part("forest"))
        ensemble._level = LeftDiscord.from_arrays(parameters.level, part("level"))
        ensemble._shape = LeftDiscord.from_arrays(parameters.shape, part("shape"))
        for name, cells in ensemble._cells().items():
            cells[:] = arrays[name]
        return ensemble

    @property
    def state_bytes(self) -> int:
        """Memory of the live detector, in bytes."""
        own = sum(cells.nbytes for cells in self._cells().values())
        return own + sum(detector.state_bytes for detector in self._parts().values())


@dataclass(frozen=True)
class _Explained:
    """A candidate: its place among the present rows, its value, what members gave, and facts."""

    row: int
    value: float
    given: Floats
    facts: Facts

    def tell(self, row: int, scores: RawScores, shape: RawScores, forest: RawScores) -> None:
        """Fill in what the row at ``row`` of ``scores`` is to say."""
        order = PLAINEST_FIRST[np.argsort(-self.given[PLAINEST_FIRST], kind="stable")]
        total = float(self.given.sum())
        shares = {MEMBERS[k]: float(self.given[k]) / total for k in order if self.given[k] > 0.0}
        leader = int(order[0])
        scores.members[row] = shares
        scores.expected[row], half_width = self._expected(leader, shape, forest)
        if not math.isnan(half_width):
            scores.half_width[row] = half_width
        scores.attribution[row] = self._attribution(leader, shape, forest)
        if leader == SHAPE:
            scores.neighbour[row] = shape.neighbour[self.row]
        usual = self.value - self.facts.residual
        band = (usual - self._half_width, usual + self._half_width)
        # not the length as it is by now: it may have been learnt again in this block
        length = len(shape.attribution.get(self.row, ()))
        scores.explanations[row] = sentence(shares, self.facts, kernels.MEAN_ROWS, length, band)

    @property
    def _half_width(self) -> float:
        return BAND_WIDTH * self.facts.usual

    def _expected(self, leader: int, shape: RawScores, forest: RawScores) -> tuple[float, float]:
        """Of the member that leads, where it says so; else of the time of day; else of late."""
        for member, scores in ((SHAPE, shape), (FOREST, forest)):
            if leader == member and not math.isnan(scores.expected[self.row]):
                return float(scores.expected[self.row]), math.nan
        if not math.isnan(self.facts.residual):
            return self.value - self.facts.residual, self._half_width
        return self.facts.recent, math.nan

    def _attribution(self, leader: int, shape: RawScores, forest: RawScores) -> Floats:
        for member, scores in ((SHAPE, shape), (FOREST, forest)):
            if leader == member and self.row in scores.attribution:
                return scores.attribution[self.row]
        if leader in (kernels.RECORD_OF_MEAN, kernels.VOLATILITY):
            return np.full(kernels.MEAN_ROWS, 1.0 / kernels.MEAN_ROWS)
        return np.ones(1)
