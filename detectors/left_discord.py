"""Left discord: how far the newest subsequence is from the nearest one of the recent past."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from detectors._level_kernels import OWN_PAST_CELLS, nearest_values, own_past
from detectors.base import Arrays, Detector, Floats, Integers, RawScores
from detectors.calibration import CANDIDATE_DECADES, Calibration
from detectors.left_profile import LeftProfile, Pair
from detectors.period import find_period

MOST_CONTEXT = 100_000
LARGEST_SCALED = 2.0**400
"""Scaled points are cut here: no product of n squares of them overflows."""

LEVEL_LENGTH = 16
LEVEL_FLOOR = 3.0
SHAPE_FLOOR = 0.3
SHORTEST_DIFFERENCES = 8
PERIOD_POINTS = 1000
LEVEL_POINTS = 150
SHAPE_CONTEXT = 20_000
LEVEL_CONTEXT = 5_000
"""First learning part where the sequence length is the period, and of the level score."""

LEAST_DEVIATION = 0.06
"""Added to the deviation of the level's own past, in standard deviations of the series."""

DRIFT_OF_PERIOD = math.log(1.2)
DRIFT_OF_SCALE = math.log(1.5)
"""Profiles are made anew where what is learnt again differs by more."""


@dataclass(frozen=True)
class LeftDiscordParameters:
    """Parameters of `LeftDiscord`.

    Parameters
    ----------
    sequence_length : int or "auto"
        Points a subsequence, n, at least 4. auto: one period of the series, learnt from it and
        learnt again as it goes on (see `LeftDiscord`); 16 for the score ``level``.
    context : int, optional
        Retained subsequences that the newest is compared with, m, 1 to 100,000; rounded up to a
        multiple of 64. How well discords are found depends on it most, up to some 20,000; so do
        time and memory. Default 20,000, for the score ``level`` 5,000.
    normalize : bool
        True: subsequences are compared by shape, each less its mean and divided by its softened
        standard deviation. False: plain Euclidean distance, level and amplitude included.
    floor : float, optional
        Soft floor e of a subsequence's standard deviation, in standard deviations of the learning
        part: a subsequence is divided by sqrt(sd^2 + e^2), so that the noise of a nearly flat one
        is not blown up. 0 is the usual z-normalisation; a large one tends to the plain distance
        of the centred subsequences. Default 0.3, for the score ``level`` 3. Without effect on the
        plain distance.
    learning_points : int, optional
        Points of the learning part, which are not scored; at least ``2 * sequence_length``.
        Default: ``4 * sequence_length``, 1,000 with auto, 150 for the score ``level``.
    differences : bool, optional
        Compare subsequences of the series' differences too. Default: where shapes are compared.
    difference_floor : float
        ``floor`` of the differences, in their own standard deviations.
    score : "shape" or "level"
        shape: subsequences unlike all before. level: values and bursts unlike all before.
    """

    sequence_length: int | Literal["auto"] = "auto"
    context: int | None = None
    normalize: bool = True
    floor: float | None = None
    learning_points: int | None = None
    differences: bool | None = None
    difference_floor: float = 1.0
    score: Literal["shape", "level"] = "shape"

    def __post_init__(self) -> None:
        if isinstance(self.sequence_length, str):
            if self.sequence_length != "auto":
                raise ValueError(
                    f"sequence_length must be auto or a number, got {self.sequence_length!r}"
                )
        elif self.sequence_length < 4:
            raise ValueError(f"sequence_length must be >= 4, got {self.sequence_length}")
        if not 1 <= self.retained <= MOST_CONTEXT:
            raise ValueError(f"context must be 1 to {MOST_CONTEXT}, got {self.context}")
        for name, floor in (("floor", self.floor), ("difference_floor", self.difference_floor)):
            if floor is not None and not 0.0 <= floor < math.inf:
                raise ValueError(f"{name} must be >= 0 and finite, got {floor}")
        if self.score not in ("shape", "level"):
            raise ValueError(f"score must be shape or level, got {self.score!r}")
        if self.differences and not self.normalize:
            raise ValueError("differences goes with normalize True, got False")
        if self.differences and self.score == "level":
            raise ValueError("differences goes with score shape, got level")
        least = 2 * (self.fixed_length or SHORTEST_DIFFERENCES)
        if self.learning_points is not None and self.learning_points < least:
            raise ValueError(
                f"learning_points must be >= 2 * sequence_length = {least}, "
                f"got {self.learning_points}"
            )

    @property
    def retained(self) -> int:
        """The context, m before it is rounded up."""
        if self.context is None:
            return LEVEL_CONTEXT if self.score == "level" else SHAPE_CONTEXT
        return self.context

    @property
    def fixed_length(self) -> int | None:
        """The sequence length, where it is not learnt."""
        if self.sequence_length != "auto":
            return int(self.sequence_length)
        return LEVEL_LENGTH if self.score == "level" else None

    @property
    def first_learning_points(self) -> int:
        """Points of the first learning part."""
        if self.learning_points is not None:
            return self.learning_points
        if self.sequence_length != "auto":
            return 4 * int(self.sequence_length)
        return LEVEL_POINTS if self.score == "level" else PERIOD_POINTS

    @property
    def with_differences(self) -> bool:
        """Whether differences are compared too."""
        if self.differences is None:
            return self.normalize and self.score == "shape"
        return self.differences

    @property
    def value_floor(self) -> float:
        """The soft floor of the values' subsequences."""
        if self.floor is None:
            return LEVEL_FLOOR if self.score == "level" else SHAPE_FLOOR
        return self.floor


@dataclass
class _Learnt:
    """What the learning part taught: points are kept as ``value * 2**-exponent``.

    ``deviation`` and ``step`` are the standard deviations of the scaled points and of their
    differences; ``unit`` is the deviation, or the points' magnitude where there is none.
    """

    length: int
    exponent: int
    deviation: float
    step: float
    unit: float

    def down(self, values: Floats) -> Floats:
        with np.errstate(over="ignore", under="ignore"):
            scaled = np.ldexp(values, -self.exponent)
        return np.clip(scaled, -LARGEST_SCALED, LARGEST_SCALED)

    def up(self, scaled: Floats | float) -> Floats:
        with np.errstate(over="ignore", under="ignore"):
            values = np.ldexp(scaled, self.exponent)
        largest = float(np.finfo(np.float64).max)
        return np.clip(values, -largest, largest)

    def differs(self, other: _Learnt) -> bool:
        """Whether profiles made for one would be wrong for the other."""
        if abs(math.log(self.length / other.length)) > DRIFT_OF_PERIOD:
            return True
        shift = (other.exponent - self.exponent) * math.log(2.0)
        pairs = ((self.deviation, other.deviation), (self.step, other.step))
        return any(
            (ours > 0.0) != (theirs > 0.0)
            or (ours > 0.0 and abs(math.log(theirs / ours) + shift) > DRIFT_OF_SCALE)
            for ours, theirs in pairs
        )


class LeftDiscord(Detector):
    """Distance from the newest subsequence to its nearest neighbour in the recent past.

    The newest subsequence, the last n points, is compared with the m latest ones that ended
    before it began (with those there are, while they are fewer); a subsequence unlike all of them
    is a discord (Yeh et al. 2016, Matrix Profile I, doi:10.1109/ICDM.2016.0179; as a stream of
    left discords: Lu et al. 2022, DAMP, doi:10.1145/3534678.3539271). Every distance is exact,
    O(m + n) a point; see `detectors._discord_kernels` for how, and for what costs more: after a
    value that dwarfs what follows by 1,000 or more (without a floor also where subsequences turn
    constant), O(m n) once, and O(n) a point while it is within the context.

    *Shape*, the usual score, is ``sqrt((A^2 + B^2) / 2)``: A of the values' subsequences of n
    points, B of the differences' of n / 2 (8 at least). Each is ``D / sqrt(n)``, with D the left
    matrix profile, of two subsequences each less its mean and divided by sqrt(sd^2 + e^2): 0 the
    same shape, 1 no more alike than to a flat line, at most 2. It does not change when the series
    is shifted or scaled. ``differences=False`` leaves A alone; ``normalize=False`` gives
    ``log1p(D / (sqrt(n) * s))`` of plain values, s the standard deviation of the learning part.
    `distance` gives D back.

    *Level* is for series without a recurring shape: ``log1p(max(a, 0) + max(b, 0))``, a the
    distance of the last 16 points less their mean to the nearest such 16, b that of the newest
    value to the nearest value; each in standard deviations above the mean of its own past.

    With a sequence length of auto, n is the smallest strong peak of the autocorrelation
    (`detectors.period`) of the first 1,000 points, and learnt again, with the scale, from all
    retained points, at 2,000, 4,000, ... and then every m points. Where period or scale moved by
    more than 1.2 or 1.5 times, the profiles go on with the new ones, over the same past.

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

    Memory: 80 bytes for each of m a profile (`detectors.left_profile`): 3.4 MB with the usual
    context. Saved: 16 bytes for each of m a profile.

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
    STATE_VERSION: ClassVar[int] = 2

    def __init__(self, parameters: LeftDiscordParameters, seed: int) -> None:
        del seed
        self.parameters = parameters
        self.raw_range = _raw_range(parameters)
        self.learning_points = parameters.first_learning_points
        self._points = 0
        self._due = self.learning_points
        self._learning = np.empty(self.learning_points)
        self._learnt: _Learnt | None = None
        self._values: LeftProfile | None = None
        self._differences: LeftProfile | None = None
        self._own_past = np.zeros((2 if parameters.score == "level" else 0, OWN_PAST_CELLS))

    def score_one(self, value: float) -> float:
        """Raw score of ``value`` as the next point, NaN while warming; changes nothing."""
        if self._values is None or self._learnt is None or math.isnan(value):
            return math.nan
        scaled = self._learnt.down(_finite([value]))
        raw = np.array([self._values.peek(float(scaled[0]))])
        if self._differences is not None:
            step = float(scaled[0] - self._values.points[-1])
            raw = _rms(raw, np.array([self._differences.peek(step)]))
        if self.parameters.score == "level":
            nearest = nearest_values(np.r_[self._values.points, scaled], 1, self._values.m)
            raw = self._level(raw, nearest, self._own_past.copy())
        return float(raw[0])

    def learn_one(self, value: float) -> None:
        """Take ``value`` in; NaN (missing) is passed over."""
        if not math.isnan(value):
            self._absorb(_finite([value]))
            self._learn_again()

    def score_and_learn(self, values: Floats, calibration: Calibration) -> RawScores:
        """Score each row with all before it, then learn it.

        Parameters
        ----------
        values : float64[n]
            Points in stream order; NaN means missing.
        calibration : Calibration
            See `Detector.score_and_learn`.

        Raises
        ------
        ValueError
            A value is infinite.
        """
        values = _finite(values)
        scores = RawScores.empty(values.shape[0])
        present = np.flatnonzero(~np.isnan(values))
        start = 0
        while start < len(present):
            rows = present[start : start + self._most_rows]
            raw, lanes = self._absorb(values[rows])
            decades = calibration.decades(raw)
            scores.raw[rows] = raw
            scores.decades[rows] = decades
            for k in np.flatnonzero(decades >= CANDIDATE_DECADES).tolist():
                self._explain(len(rows) - 1 - k, lanes[:, k], int(rows[k]), scores)
            self._learn_again()
            start += len(rows)
        return scores

    def distance(self, raw: Floats) -> Floats:
        """The left matrix profile D of raw scores; float64, of the shape of ``raw``.

        Of normalised subsequences a pure number, 0 to 2 sqrt(n) (with differences, the root mean
        square of both; where the length is learnt, per point: 0 to 2); of plain ones in the unit
        of the values. NaN where ``raw`` is, and for all while warming. The score ``level`` is no
        distance and given as it is.
        """
        if self._learnt is None:
            return np.full_like(raw, np.nan)
        root = math.sqrt(self._learnt.length)
        if not self.parameters.normalize:
            return np.expm1(raw) * root * float(self._learnt.up(self._learnt.unit))
        fixed = self.parameters.sequence_length != "auto" and self.parameters.score == "shape"
        return raw * root if fixed else raw

    def to_arrays(self) -> Arrays:
        """The whole state, lossless, as named arrays (views into the detector)."""
        learnt = self._learnt or _Learnt(0, 0, 0.0, 0.0, 0.0)
        counts = [self._points, self._due, learnt.length, learnt.exponent]
        arrays: Arrays = {
            "counts": np.array(counts, np.int64),
            "scales": np.array([learnt.deviation, learnt.step, learnt.unit]),
        }
        if self._learnt is None:
            arrays["learning"] = self._learning[: self._points]
        for name, profile in self._profiles().items():
            arrays |= {f"{name}.{key}": array for key, array in profile.to_arrays().items()}
        if self.parameters.score == "level":
            arrays["own_past"] = self._own_past
        return arrays

    @classmethod
    def from_arrays(
        cls, parameters: LeftDiscordParameters, arrays: Mapping[str, NDArray[Any]]
    ) -> LeftDiscord:
        """The detector that `to_arrays` described; copies what it will write to."""
        detector = cls(parameters, seed=0)
        points, due, length, exponent = (int(count) for count in arrays["counts"])
        detector._points, detector._due = points, due
        if "own_past" in arrays:
            detector._own_past[:] = arrays["own_past"]
        if not length:
            detector._learning[:points] = arrays["learning"]
            return detector
        detector._learning = np.empty(0)
        deviation, step, unit = (float(scale) for scale in arrays["scales"])
        detector._learnt = _Learnt(length, exponent, deviation, step, unit)

        def profile(name: str, n: int) -> LeftProfile:
            part = {key: arrays[f"{name}.{key}"] for key in PROFILE_ARRAYS}
            return LeftProfile.from_arrays(n, parameters.retained, parameters.normalize, part)

        detector._values = profile("values", length)
        if parameters.with_differences:
            detector._differences = profile("differences", _difference_length(length))
        return detector

    @property
    def state_bytes(self) -> int:
        """Memory of the live detector, in bytes."""
        profiles = sum(profile.state_bytes for profile in self._profiles().values())
        return profiles + self._learning.nbytes + self._own_past.nbytes

    @property
    def sequence_length(self) -> int | None:
        """Points a subsequence; None before they are learnt."""
        fixed = self.parameters.fixed_length
        return fixed if self._learnt is None else self._learnt.length

    def _profiles(self) -> dict[str, LeftProfile]:
        named = {"values": self._values, "differences": self._differences}
        return {name: profile for name, profile in named.items() if profile is not None}

    @property
    def _most_rows(self) -> int:
        """Points that may be absorbed at once: none may be learnt past what is due."""
        rows = self._due - self._points
        return min([rows, *(profile.chunk for profile in self._profiles().values())])

    def _absorb(self, values: Floats) -> tuple[Floats, Integers]:
        """Learn at most `_most_rows` present values: raw scores and the profiles' lanes [2, n]."""
        raw = np.full(values.shape[0], np.nan)
        lanes = np.zeros((2, values.shape[0]), np.int64)
        first = self._points
        self._points += values.shape[0]
        if self._values is None or self._learnt is None:
            self._learning[first : self._points] = values
            return raw, lanes
        scaled = self._learnt.down(values)
        last = self._values.points[-1]
        raw, lanes[0] = self._values.extend(scaled)
        if self._differences is not None:
            steps, lanes[1] = self._differences.extend(np.diff(scaled, prepend=last))
            raw = _rms(raw, steps)
        if self.parameters.score == "level":
            m, rows = self._values.m, len(values)
            nearest = nearest_values(self._values.newest(m + rows), rows, m)
            raw = self._level(raw, nearest, self._own_past)
        return raw, lanes

    def _level(self, burst: Floats, nearest: Floats, past: Floats) -> Floats:
        """The level score of profile and nearest value; moves ``past`` on."""
        assert self._learnt is not None  # noqa: S101
        least = LEAST_DEVIATION * self._learnt.unit
        if self.parameters.normalize:
            burst = burst * self._learnt.unit * math.hypot(self.parameters.value_floor, 1.0)
        else:
            burst = np.expm1(burst) * self._learnt.unit
        return np.log1p(own_past(past[0], burst, least) + own_past(past[1], nearest, least))

    def _learn_again(self) -> None:
        """Learn period and scale where that is due, and make the profiles that they call for."""
        if self._points < self._due:
            return
        if self._values is None or self._learnt is None:
            values = self._learning
        else:
            values = self._learnt.up(self._values.points)
        learnt = self._learn(values)
        if self._learnt is None or self._learnt.differs(learnt):
            self._make_profiles(learnt, values)
        self._due = self._next_due()

    def _next_due(self) -> int:
        if self.parameters.sequence_length != "auto":
            return 2**62
        return self._points + min(self._points, self.parameters.retained)

    def _learn(self, values: Floats) -> _Learnt:
        exponent, deviation, unit = _scale_of_values(values)
        scaled = np.ldexp(values, -exponent)
        length = self.parameters.fixed_length or find_period(scaled)
        step = float(np.diff(scaled, prepend=scaled[0]).std())
        return _Learnt(max(length, 4), exponent, deviation, step, unit)

    def _make_profiles(self, learnt: _Learnt, values: Floats) -> None:
        p = self.parameters
        scaled = learnt.down(values)
        if self._learnt is not None:  # their own past is kept in the unit of the points
            shift = self._learnt.exponent - learnt.exponent
            with np.errstate(over="ignore", under="ignore"):
                moved = np.ldexp(self._own_past[:, 1:], (shift, 2 * shift))
            self._own_past[:, 1:] = np.minimum(moved, (LARGEST_SCALED, LARGEST_SCALED**2))
        self._learnt = learnt
        self._learning = np.empty(0)
        self._values = LeftProfile(
            learnt.length, p.retained, scaled, p.value_floor * learnt.deviation, learnt.unit,
            p.normalize,
        )  # fmt: skip
        if p.with_differences:
            self._differences = LeftProfile(
                _difference_length(learnt.length), p.retained, np.diff(scaled, prepend=scaled[0]),
                p.difference_floor * learnt.step, learnt.unit, normalize=True,
            )  # fmt: skip

    def _explain(self, back: int, lanes: Integers, row: int, scores: RawScores) -> None:
        """Neighbour, expected value and attribution of the row ``back`` points ago."""
        assert self._learnt is not None and self._values is not None  # noqa: S101
        pair = self._values.pair(back, int(lanes[0]))
        scores.neighbour[row] = pair.distance
        scores.expected[row] = float(self._learnt.up(pair.expected))
        shares = pair.squares / len(pair.squares)
        if self._differences is not None:
            steps: Pair = self._differences.pair(back, int(lanes[1]))
            common = min(len(shares), len(steps.squares))
            shares[-common:] += steps.squares[-common:] / len(steps.squares)
        total = float(shares.sum())
        even = np.full(len(shares), 1.0 / len(shares))
        scores.attribution[row] = shares / total if total > 0.0 else even


PROFILE_ARRAYS = ("counts", "scales", "points", "carried", "restarts")


def _raw_range(parameters: LeftDiscordParameters) -> tuple[float, float]:
    if parameters.score == "level":
        return (0.0, 8.0)
    return (0.0, 2.0) if parameters.normalize else (0.0, 4.0)


def _difference_length(length: int) -> int:
    return max(length // 2, SHORTEST_DIFFERENCES)


def _rms(left: Floats, right: Floats) -> Floats:
    root: Floats = np.sqrt((left * left + right * right) / 2.0)
    return root


def _finite(values: Any) -> Floats:
    values = np.asarray(values, np.float64)
    infinite = np.isinf(values)
    if infinite.any():
        row = int(infinite.argmax())
        raise ValueError(f"values must be finite or NaN, got {values[row]} at row {row}")
    return values


def _scale_of_values(values: Floats) -> tuple[int, float, float]:
    """Exponent, deviation and unit of `_Learnt` for the learning part ``values``, float64[rows].

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
