"""Left discord: how far the newest subsequence is from the nearest one of the recent past."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from detectors._discord_kernels import (
    LANES,
    MEAN,
    RESTART,
    ROWS,
    H,
    W,
    mark_restarts,
    nearest_candidate,
    score_queries,
    window_statistics,
)
from detectors.base import Arrays, Detector, Floats, Integers, RawScores
from detectors.calibration import CANDIDATE_DECADES, Calibration

MOST_CONTEXT = 100_000
LARGEST_SCALED = 2.0**400
"""Scaled points are cut here: no product of n squares of them overflows."""

_LEAST_CHUNK = 512


@dataclass(frozen=True)
class LeftDiscordParameters:
    """Parameters of `LeftDiscord`.

    Parameters
    ----------
    sequence_length : int
        Points a subsequence, n, at least 4; about one period of the series is best.
    context : int
        Retained subsequences that the newest is compared with, m, 1 to 100,000; rounded up to a
        multiple of 64. How well discords are found depends on it most: several tens of periods.
    normalize : bool
        True: subsequences are compared by shape, each less its mean and divided by its softened
        standard deviation. False: plain Euclidean distance, level and amplitude included.
    floor : float
        Soft floor e of a subsequence's standard deviation, in standard deviations of the learning
        part: a subsequence is divided by sqrt(sd^2 + e^2), so that the noise of a nearly flat one
        is not blown up. 0 is the usual z-normalisation; a large one tends to the plain distance
        of the centred subsequences. Without effect on the plain distance.
    learning_points : int, optional
        Points that the series' standard deviation is taken from, then frozen; also the warm-up.
        At least ``2 * sequence_length``; default ``4 * sequence_length``.
    """

    sequence_length: int = 64
    context: int = 1024
    normalize: bool = True
    floor: float = 0.3
    learning_points: int | None = None

    def __post_init__(self) -> None:
        n = self.sequence_length
        if n < 4:
            raise ValueError(f"sequence_length must be >= 4, got {n}")
        if not 1 <= self.context <= MOST_CONTEXT:
            raise ValueError(f"context must be 1 to {MOST_CONTEXT}, got {self.context}")
        if not 0.0 <= self.floor < math.inf:
            raise ValueError(f"floor must be >= 0 and finite, got {self.floor}")
        if self.learning_points is not None and self.learning_points < 2 * n:
            raise ValueError(
                f"learning_points must be >= 2 * sequence_length = {2 * n}, "
                f"got {self.learning_points}"
            )


@dataclass
class _Scale:
    """What the learning part fixed: points are kept as ``value * 2**-exponent``.

    ``unit`` is the learning part's standard deviation so scaled (where it has none, the magnitude
    of its points), ``floor_energy`` is n e^2.
    """

    exponent: int
    unit: float
    floor_energy: float

    def down(self, values: Floats) -> Floats:
        with np.errstate(over="ignore", under="ignore"):
            scaled = np.ldexp(values, -self.exponent)
        return np.clip(scaled, -LARGEST_SCALED, LARGEST_SCALED)

    def up(self, scaled: float) -> float:
        with np.errstate(over="ignore", under="ignore"):
            value = float(np.ldexp(scaled, self.exponent))
        largest = float(np.finfo(np.float64).max)
        return min(max(value, -largest), largest)


class LeftDiscord(Detector):
    """Distance from the newest subsequence to its nearest neighbour in the recent past.

    The newest subsequence, the last n points, is compared with the m latest ones that ended
    before it began (with those there are, while they are fewer); a subsequence unlike all of them
    is a discord (Yeh et al. 2016, Matrix Profile I, doi:10.1109/ICDM.2016.0179; as a stream of
    left discords: Lu et al. 2022, DAMP, doi:10.1145/3534678.3539271). Every score is exact, O(m +
    n) a point; see `detectors._discord_kernels` for how, and for what costs more: after a value
    that dwarfs what follows by 1,000 or more (without a floor also where subsequences turn
    constant), O(m n) once, and O(n) a point while it is within the context.

    The raw score is ``D / sqrt(n)``, with D the left matrix profile, of the two subsequences each
    less its mean and divided by sqrt(sd^2 + e^2): 0 the same shape, 1 no more alike than to a flat
    line, at most 2. It does not change when the series is shifted or scaled. With
    ``normalize=False`` it is ``log1p(D / (sqrt(n) * s))``, s the standard deviation of the
    learning part, so free of the series' unit too. `distance` gives D back.

    NaN for the first ``learning_points`` points. A missing value (NaN) is passed over: the series
    is taken as if it were not there. After k missing ones the score is of the n latest points.

    Parameters
    ----------
    parameters : LeftDiscordParameters
        See there.
    seed : int
        Unused: nothing here is random.

    Notes
    -----
    Deviations from the matrix profile: the exclusion zone is n, so that no candidate shares a
    point with the query; the soft floor e, without which the noise of nearly flat subsequences
    gives the largest discords; a bounded past. From DAMP: no best-so-far pruning, whose scores
    other than the largest mean nothing, and no look-ahead.

    A constant learning part has no standard deviation: e is then 0, and s the magnitude of the
    constant (1 for zero). Points beyond 1e120 learning standard deviations are taken as that far,
    and without a floor subsequences of less than 1e-140 of it as constant. Infinities are refused.

    Memory: 64 bytes for each of the m + 2n retained points and of a chunk of 512 (of an eighth of
    m + 2n or of ``learning_points``, if one of these is more), and 8 for each of m. Saved: 8 bytes
    for each of 2m + 2n.

    Examples
    --------
    >>> import numpy as np
    >>> from detectors.calibration import Calibration
    >>> values = np.sin(np.arange(600) * 2 * np.pi / 20)
    >>> values[500:510] = 0.0
    >>> detector = LeftDiscord(LeftDiscordParameters(sequence_length=20), seed=1)
    >>> scores = detector.score_and_learn(values, Calibration(*detector.raw_range))
    >>> int(np.nanargmax(scores.raw)) in range(500, 530)
    True
    """

    Parameters = LeftDiscordParameters
    STATE_VERSION: ClassVar[int] = 1

    def __init__(self, parameters: LeftDiscordParameters, seed: int) -> None:
        del seed
        n = parameters.sequence_length
        self.parameters = parameters
        self.raw_range = (0.0, 2.0) if parameters.normalize else (0.0, 4.0)
        self.learning_points = parameters.learning_points or 4 * n
        self._n = n
        self._m = -(-parameters.context // LANES) * LANES
        self._span = self._m + 2 * n
        self._chunk = max(_LEAST_CHUNK, self._span // 8)
        capacity = self._span + max(self._chunk, self.learning_points)
        # what lies before the series is kept as points too, but never speaks: H is +inf there
        self._x = np.zeros(capacity)
        self._windows = np.zeros((ROWS, capacity))
        self._windows[H, : self._span] = np.inf
        self._windows[RESTART, : self._span] = -1.0
        self._length = self._span
        self._points = 0
        self._carried = np.zeros(self._m)
        self._peak = np.zeros(1)
        self._scale: _Scale | None = None

    @property
    def _base(self) -> int:
        """Absolute index of the point at position 0 of the buffers."""
        return self._points - self._length

    def score_one(self, value: float) -> float:
        """Raw score of ``value`` as the next point, NaN while warming; changes nothing."""
        if self._scale is None or math.isnan(value):
            return math.nan
        carried, peak = self._carried.copy(), self._peak.copy()
        raw, _ = self._advance(self._scale.down(_finite([value])))
        # what else was written lies behind the last point, where nothing is read
        self._carried, self._peak = carried, peak
        self._length -= 1
        self._points -= 1
        return float(raw[0])

    def learn_one(self, value: float) -> None:
        """Take ``value`` in; NaN (missing) is passed over."""
        if not math.isnan(value):
            self._absorb(_finite([value]))

    def score_and_learn(self, values: Floats, calibration: Calibration) -> RawScores:
        """Score each row with all before it, then learn it.

        Parameters
        ----------
        values : float64[rows]
            Points in stream order; NaN means missing.
        calibration : Calibration
            The raw score's calibration.

        Returns
        -------
        RawScores
            ``neighbour`` counts points, missing ones left out. ``expected`` is the neighbour's
            last point, brought to the scale and mean of the newest subsequence as its first
            n - 1 points have them (plain: as it is). ``attribution`` has n shares a row: of the
            squared difference from the neighbour.

        Raises
        ------
        ValueError
            A value is infinite.
        """
        values = _finite(values)
        scores = RawScores.empty(values.shape[0])
        for start in range(0, values.shape[0], self._chunk):
            self._score_chunk(values[start : start + self._chunk], start, scores, calibration)
        return scores

    def distance(self, raw: Floats) -> Floats:
        """The left matrix profile D of raw scores; float64, of the shape of ``raw``.

        Of normalised subsequences a pure number, 0 to 2 sqrt(n); of plain ones in the unit of the
        values. NaN where ``raw`` is, and for all while warming.
        """
        if self._scale is None:
            return np.full_like(raw, np.nan)
        if self.parameters.normalize:
            return raw * math.sqrt(self._n)
        return np.expm1(raw) * math.sqrt(self._n) * self._scale.up(self._scale.unit)

    def to_arrays(self) -> Arrays:
        """The whole state, lossless, as named arrays (views into the detector)."""
        scale = self._scale or _Scale(0, math.nan, math.nan)
        kept = min(self._points, self._length if self._scale is None else self._span)
        oldest, windows = self._length - kept, self._length - self._n + 1
        absolute = np.arange(oldest, max(windows, oldest)) + self._base
        marks = self._windows[RESTART, oldest : oldest + absolute.shape[0]]
        return {
            "counts": np.array([self._points, scale.exponent], np.int64),
            "scales": np.array([scale.unit, scale.floor_energy, self._peak[0]]),
            "points": self._x[oldest : self._length],
            "carried": self._carried,
            "restarts": absolute[marks == absolute],
        }

    @classmethod
    def from_arrays(
        cls, parameters: LeftDiscordParameters, arrays: Mapping[str, NDArray[Any]]
    ) -> LeftDiscord:
        """The detector that `to_arrays` described; copies what it will write to."""
        detector = cls(parameters, seed=0)
        points = arrays["points"]
        kept = points.shape[0]
        unit, floor_energy, peak = (float(value) for value in arrays["scales"])
        detector._points = int(arrays["counts"][0])
        if math.isnan(unit):
            detector._length += kept
            detector._x[detector._span : detector._length] = points
            return detector
        detector._scale = _Scale(int(arrays["counts"][1]), unit, floor_energy)
        detector._carried[:] = arrays["carried"]
        detector._peak[0] = peak
        detector._x[detector._span - kept : detector._span] = points
        detector._restore_windows(detector._span - kept, arrays["restarts"])
        return detector

    @property
    def state_bytes(self) -> int:
        """Memory of the live detector, in bytes."""
        return self._x.nbytes + self._windows.nbytes + self._carried.nbytes

    def _score_chunk(
        self, values: Floats, start: int, scores: RawScores, calibration: Calibration
    ) -> None:
        rows = np.flatnonzero(~np.isnan(values))
        raw = scores.raw[start : start + values.shape[0]]
        raw[rows], lanes = self._absorb(values[rows])
        decades = calibration.decades(raw)
        scores.decades[start : start + values.shape[0]] = decades
        newest = self._length - self._n
        for index in np.flatnonzero(decades[rows] >= CANDIDATE_DECADES):
            query = newest - (rows.shape[0] - 1 - int(index))
            self._explain(query, int(lanes[index]), start + int(rows[index]), scores)

    def _absorb(self, values: Floats) -> tuple[Floats, Integers]:
        """Learn at most a chunk of present values: their raw scores and their neighbours' lanes."""
        raw = np.full(values.shape[0], np.nan)
        lanes = np.zeros(values.shape[0], np.int64)
        taken = 0
        if self._scale is None:
            taken = min(values.shape[0], self.learning_points - self._points)
            self._x[self._length : self._length + taken] = values[:taken]
            self._length += taken
            self._points += taken
            if self._points == self.learning_points:
                self._finish_learning()
        if self._scale is not None and taken < values.shape[0]:
            raw[taken:], lanes[taken:] = self._advance(self._scale.down(values[taken:]))
        return raw, lanes

    def _finish_learning(self) -> None:
        """Fix the scale and make the windows of the learning part."""
        learnt = self._x[self._span : self._length]
        exponent, deviation, unit = _scale_of_values(learnt)
        floor = self.parameters.floor * deviation
        self._scale = _Scale(exponent, unit, self._n * floor * floor)
        learnt[:] = self._scale.down(learnt)
        self._fill_windows(self._span, self._length - self._n + 1)

    def _advance(self, scaled: Floats) -> tuple[Floats, Integers]:
        """Append at most a chunk of scaled points and score the windows that they complete."""
        assert self._scale is not None  # noqa: S101
        rows = scaled.shape[0]
        if self._length + rows > self._x.shape[0]:
            self._drop_oldest()
        self._x[self._length : self._length + rows] = scaled
        first = self._length - self._n + 1
        self._length += rows
        self._points += rows
        self._fill_windows(first, first + rows)
        raw, lanes = np.empty(rows), np.empty(rows, np.int64)
        score_queries(
            self._x, self._windows, self._carried, first, first + rows, self._n, self._base,
            self.parameters.normalize, self._scale.unit, raw, lanes,
        )  # fmt: skip
        return raw, lanes

    def _drop_oldest(self) -> None:
        surplus = self._length - self._span
        self._x[: self._span] = self._x[surplus : self._length]
        self._windows[:, : self._span] = self._windows[:, surplus : self._length]
        self._length = self._span

    def _fill_windows(self, first: int, last: int) -> None:
        energy = self._window_energies(first, last)
        first_query = self.learning_points - self._n + 1
        mark_restarts(self._windows, energy, first, self._base, first_query, self._peak)

    def _window_energies(self, first: int, last: int) -> Floats:
        assert self._scale is not None  # noqa: S101
        return window_statistics(
            self._x, self._windows, first, last, self._n, self._scale.floor_energy,
            self.parameters.normalize,
        )  # fmt: skip

    def _restore_windows(self, first: int, restarts: Integers) -> None:
        """Make the windows of the retained points, from position ``first`` on, once more."""
        # of the very first one only the mean is ever read, and only its neighbour reads it
        first = max(first, 1)
        last = self._length - self._n + 1
        self._window_energies(first, last)
        marks = np.full(last, -1.0)
        marks[restarts - self._base] = restarts
        self._windows[RESTART, :last] = np.maximum.accumulate(marks)
        self._windows[H, restarts - self._base] = np.inf

    def _explain(self, query: int, lane: int, row: int, scores: RawScores) -> None:
        """Neighbour, expected value and attribution of one row."""
        assert self._scale is not None  # noqa: S101
        n, x, windows = self._n, self._x, self._windows
        nearest = nearest_candidate(
            x, windows, query, lane, self._m, n, self._base, self.parameters.normalize
        )
        ours, theirs = x[query : query + n], x[nearest : nearest + n]
        scores.neighbour[row] = query - nearest
        if self.parameters.normalize:
            expected = _continued(ours, theirs, self._scale.floor_energy * (n - 1) / n)
            ours = ((ours - ours[0]) - windows[MEAN, query]) * windows[W, query]
            theirs = ((theirs - theirs[0]) - windows[MEAN, nearest]) * windows[W, nearest]
        else:
            expected = float(theirs[-1])
        scores.expected[row] = self._scale.up(expected)
        squares = (ours - theirs) ** 2
        total = float(squares.sum())
        scores.attribution[row] = squares / total if total > 0.0 else np.full(n, 1.0 / n)


def _finite(values: Any) -> Floats:
    values = np.asarray(values, np.float64)
    infinite = np.isinf(values)
    if infinite.any():
        row = int(infinite.argmax())
        raise ValueError(f"values must be finite or NaN, got {values[row]} at row {row}")
    return values


def _scale_of_values(values: Floats) -> tuple[int, float, float]:
    """Exponent, deviation and unit of `_Scale` for the learning part ``values``, float64[rows].

    Deviation and unit are the same, 0.5 to 1, but where all values are equal: 0 and 0.5 to 1.
    """
    magnitude, exponent = math.frexp(float(np.abs(values).max()))
    inner = np.ldexp(values, -exponent)  # at most 1, so squares neither overflow nor vanish
    inner -= inner[0]
    mean = math.fsum(inner) / len(inner)
    variance = math.fsum((inner - mean) ** 2) / len(inner)
    if variance == 0.0:
        return exponent, 0.0, magnitude or 1.0
    deviation, shift = math.frexp(math.sqrt(variance))
    return exponent + shift, deviation, deviation


def _continued(ours: Floats, theirs: Floats, floor_energy: float) -> float:
    """Where ``ours`` would end, were it to go on from its first n - 1 points as ``theirs`` did."""
    body, model = ours[:-1] - ours[0], theirs[:-1] - theirs[0]
    body_energy = float(((body - body.mean()) ** 2).sum()) + floor_energy
    model_energy = float(((model - model.mean()) ** 2).sum()) + floor_energy
    ratio = math.sqrt(body_energy / model_energy) if model_energy > 0.0 else 1.0
    last = float(theirs[-1] - theirs[0]) - float(model.mean())
    return float(ours[0]) + float(body.mean()) + last * ratio
