"""One series' whole model: a detector, its calibration, an expectation, and all of it as bytes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors import band
from detectors.base import Detector, Floats, Integers
from detectors.calibration import WARM_ROWS, Calibration, score_of
from detectors.ensemble import Ensemble
from detectors.left_discord import LeftDiscord
from detectors.random_cut_forest import RandomCutForest
from detectors.recent_times import UNKNOWN, RecentTimes
from detectors.seasonality import Seasonality
from detectors.state import pack, parameters_hash, unpack
from detectors.thresholds import Threshold, make_threshold

DETECTORS: dict[str, type[Detector]] = {
    "RandomCutForest": RandomCutForest,
    "LeftDiscord": LeftDiscord,
    "Ensemble": Ensemble,
}
"""Detectors by the name a job file gives them."""

STATE_VERSION = 1
MOST_SURPRISING = 16.0
"""Decades up to which the past of the decades is counted bin by bin."""
MATURITY_POINTS = 768.0
"""Points after which confidence reaches 1 - 1/e: three times the forest's usual sample."""
_TIMES = "model.times"
QUALITY_MEMORY = 1000.0
"""Rows over which the share of imputed rows is taken."""


@dataclass(frozen=True)
class ModelSpec:
    """What a model is made of; equal specs make equal models.

    Parameters
    ----------
    kind : str
        A name in `DETECTORS`.
    parameters : object
        The detector's frozen parameters.
    threshold : object, optional
        Parameters of a threshold on the raw score (`detectors.thresholds`); none: the decision is
        taken on the 0-100 score.
    seasonality : Seasonality, optional
        What is taken off the values before the detector sees them; needs event times.
    """

    kind: str
    parameters: Any
    threshold: Any = None
    seasonality: Seasonality | None = None
    hash: bytes = field(init=False)

    def __post_init__(self) -> None:
        if self.kind not in DETECTORS:
            raise ValueError(f"kind must be one of {', '.join(DETECTORS)}, got {self.kind!r}")
        detector = DETECTORS[self.kind]
        owner = parameters_hash(self.kind, detector.STATE_VERSION, self.parameters)
        if self.threshold is not None:
            owner += parameters_hash(type(self.threshold).__name__, 1, self.threshold)
        if self.seasonality is not None:
            owner += parameters_hash("Seasonality", 1, self.seasonality)
        owner = hashlib.blake2b(owner + bytes([STATE_VERSION]), digest_size=16).digest()
        object.__setattr__(self, "hash", owner)


@dataclass(frozen=True)
class Scores:
    """A block's outcome; every array has one entry a row.

    Attributes
    ----------
    raw : float64[n]
        The detector's own score; NaN while it warms and for a missing value.
    learning : bool[n]
        Whether the row came before the model could judge: score 0, no decision.
    score : float64[n]
        0-100, `detectors.calibration.score_of` the decades.
    decades : float64[n]
        Decades of surprise of the raw score.
    surprise : float64[n]
        Decades of surprise of ``decades`` itself: 10**-surprise of this series' rows look so.
    expected, lower, upper : float64[n], or float64[n, m] of a detector of m measures
        Expected value and band, in the unit of the values; NaN before the first value.
    confidence : float64[n]
        0-100: data quality times maturity, see `SeriesModel`.
    points : int64[n]
        Values learnt, this row's included.
    flagged : bool[n] or None
        What the threshold on the raw score says, where the model has one.
    attribution : dict of row -> float64[d]
        As in `detectors.base.RawScores`.
    neighbour : int64[n]
        As in `detectors.base.RawScores`.
    neighbour_times : dict of row -> int
        Event time of that neighbour's row, microseconds since 1970, where the times are known.
    high : dict of row -> float64[d]
        As in `detectors.base.RawScores`.
    reasons : dict of row -> str
        Why the detector held a row back; as in `detectors.base.RawScores`.
    members : dict of row -> dict of member -> float
        As in `detectors.base.RawScores`.
    explanations : dict of row -> str
        As in `detectors.base.RawScores`.
    """

    raw: Floats
    learning: NDArray[np.bool_]
    score: Floats
    decades: Floats
    surprise: Floats
    expected: Floats
    lower: Floats
    upper: Floats
    confidence: Floats
    points: Integers
    flagged: NDArray[np.bool_] | None
    attribution: dict[int, Floats]
    neighbour: Integers
    high: dict[int, Floats] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)
    members: dict[int, dict[str, float]] = field(default_factory=dict)
    explanations: dict[int, str] = field(default_factory=dict)
    neighbour_times: dict[int, int] = field(default_factory=dict)


class SeriesModel:
    """The model of one series.

    Confidence is ``100 * q * (1 - exp(-n / MATURITY_POINTS))`` with n the values learnt and q the
    share of rows that were measured, not imputed, over the last `QUALITY_MEMORY` rows.

    Parameters
    ----------
    spec : ModelSpec
        What to make.
    seed : int
        Source of all randomness, 0 <= seed < 2**63; a state brings its own.
    state : bytes, optional
        What `to_bytes` gave.

    Raises
    ------
    detectors.state.StateError
        ``state`` is damaged, or of a model with another spec.
    """

    def __init__(self, spec: ModelSpec, seed: int, state: bytes | None = None) -> None:
        arrays = None if state is None else unpack(spec.hash, state)
        kind = DETECTORS[spec.kind]
        self.spec = spec
        self.detector: Detector = (
            kind(spec.parameters, seed)
            if arrays is None
            else kind.from_arrays(spec.parameters, arrays)
        )
        self._calibration = Calibration(*self.detector.raw_range)
        self._surprise = Calibration(0.0, MOST_SURPRISING, smallest_excess=0.1)
        self._band = np.zeros(self.detector.measures * band.CELLS)
        self._season: Floats | None = (
            None if spec.seasonality is None else spec.seasonality.new_state()
        )
        self._progress = np.array([0.0, 1.0, 0.0])  # values learnt, quality, rows consumed
        self._threshold: Threshold | None = (
            None if spec.threshold is None else make_threshold(spec.threshold)
        )
        self._times = RecentTimes(self.detector.reach) if self.detector.reach else None
        if arrays is not None:
            for name, cells in self._cells().items():
                cells[:] = arrays[name]
            if _TIMES in arrays:
                self._times = RecentTimes.from_array(self.detector.reach, arrays[_TIMES])

    def _cells(self) -> dict[str, Floats]:
        """Everything but the detector's own state; written in place."""
        cells = {
            "model.calibration": self._calibration.state,
            "model.surprise": self._surprise.state,
            "model.band": self._band,
            "model.progress": self._progress,
        }
        if self._threshold is not None:
            cells["model.threshold"] = self._threshold.state
        if self._season is not None:
            cells["model.season"] = self._season
        return cells

    def score_and_learn(
        self,
        values: Floats,
        times: Integers | None = None,
        imputed: NDArray[np.bool_] | None = None,
    ) -> Scores:
        """Score each row with all before it, then learn it.

        Parameters
        ----------
        values : float64[n], or float64[n, m] for a detector of m measures
            In stream order; NaN means missing.
        times : int64[n], optional
            Event times, microseconds since 1970; needed by models that know the clock.
        imputed : bool[n], optional
            Rows that a gap policy filled in.
        """
        values = np.ascontiguousarray(values, np.float64)
        level = self._usual(values, times)
        values = values - level if self._season is not None else values
        before = self._calibration.state[2]
        clock: dict[str, Any] = {"times": times} if self.detector.uses_times else {}
        found = self.detector.score_and_learn(values, self._calibration, **clock)
        warming = np.isnan(found.raw)
        if before >= WARM_ROWS:
            learning = warming
        else:
            judged = (~warming).cumsum() - ~warming
            learning = warming | (before + judged < WARM_ROWS)
        # what a detector says before its scores are calibrated is no judgement yet
        decades = np.where(learning, 0.0, found.decades)
        smoothed, half_width = self._expect(values)
        expected = np.where(np.isnan(found.expected), smoothed, found.expected) + level
        for row, width in found.half_width.items():
            half_width[row] = width
        confidence, points = self._mature(values, imputed)
        return Scores(
            raw=found.raw,
            learning=learning,
            score=score_of(decades),
            decades=decades,
            surprise=self._surprise.decades(np.where(learning, np.nan, decades)),
            expected=expected,
            lower=expected - half_width,
            upper=expected + half_width,
            confidence=confidence,
            points=points,
            flagged=None if self._threshold is None else self._threshold.flag(found.raw),
            attribution=found.attribution,
            neighbour=found.neighbour,
            high=found.high,
            reasons=found.reasons,
            members=found.members,
            explanations=found.explanations,
            neighbour_times=self._neighbour_times(values, times, found.neighbour),
        )

    def _neighbour_times(
        self, values: Floats, times: Integers | None, neighbour: Integers
    ) -> dict[int, int]:
        """Event time of each row's nearest neighbour; learns the rows' own."""
        if self._times is None:
            return {}
        missing = np.isnan(values)
        if times is None:
            times = np.full(len(values), UNKNOWN)
        rows = neighbour.nonzero()[0]
        points = np.cumsum(~missing)[rows] - 1
        found = self._times.take(times[~missing], points, neighbour[rows])
        pairs = zip(rows.tolist(), found.tolist(), strict=True)
        return {row: time for row, time in pairs if time != UNKNOWN}

    def _usual(self, values: Floats, times: Integers | None) -> Floats | float:
        """What the season makes usual at each row; 0 without a season."""
        if self._season is None or self.spec.seasonality is None:
            return 0.0
        if times is None:
            raise ValueError("times must be given with a seasonality, got None")
        if values.ndim != 1:
            raise ValueError(f"a seasonality needs one measure, got {values.shape[1]}")
        return self.spec.seasonality.levels(self._season, values, times)

    def _expect(self, values: Floats) -> tuple[Floats, Floats]:
        """Level and half width of the band, in the shape of the values."""
        level, half_width = np.empty((2, *values.shape))
        if values.ndim == 1:
            band.expect(self._band, values, level, half_width)
            return level, half_width
        for j in range(values.shape[1]):
            columns = np.empty((2, values.shape[0]))
            cells = self._band[j * band.CELLS : (j + 1) * band.CELLS]
            band.expect(cells, values[:, j].copy(), *columns)
            level[:, j], half_width[:, j] = columns
        return level, half_width

    def _mature(self, values: Floats, imputed: NDArray[np.bool_] | None) -> tuple[Floats, Integers]:
        missing = np.isnan(values if values.ndim == 1 else values.sum(axis=1))
        points = int(self._progress[0]) + np.cumsum(~missing)
        measured = np.ones(values.shape[0]) if imputed is None else (~imputed).astype(np.float64)
        quality = np.empty(values.shape[0])
        level = self._progress[1]
        if level == 1.0 and measured.all():
            quality[:] = 1.0
        else:
            for i, share in enumerate(measured):
                level += (share - level) / QUALITY_MEMORY
                quality[i] = level
        if values.shape[0]:
            self._progress[:] = points[-1], quality[-1], self._progress[2] + values.shape[0]
        return 100.0 * quality * -np.expm1(-points / MATURITY_POINTS), points

    @property
    def rows(self) -> int:
        """Rows consumed, missing ones included."""
        return int(self._progress[2])

    @property
    def state_bytes(self) -> int:
        """Memory of the live model, in bytes."""
        times = 0 if self._times is None else self._times.nbytes
        cells = sum(cells.nbytes for cells in self._cells().values())
        return self.detector.state_bytes + cells + times

    def to_bytes(self) -> bytes:
        """The whole model, lossless; a model made with it as ``state`` goes on from here."""
        arrays = {**self._cells(), **self.detector.to_arrays()}
        if self._times is not None and self._times.any_known:
            arrays[_TIMES] = self._times.to_array()
        return pack(self.spec.hash, arrays)
