"""Left discord: how far the newest subsequence is from the nearest one of the recent past."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from detectors._level_kernels import OWN_PAST_CELLS, nearest_values, own_past
from detectors.base import Arrays, Detector, Floats, Integers, RawScores
from detectors.calibration import CANDIDATE_DECADES, Calibration
from detectors.learning_part import LARGEST_SCALED, Learnt
from detectors.left_discord_parameters import SHORTEST_DIFFERENCES, LeftDiscordParameters
from detectors.left_profile import LeftProfile, Pair, tiles
from detectors.period import LONGEST_PERIOD

__all__ = ["LeftDiscord", "LeftDiscordParameters"]

LEAST_DEVIATION = 0.06
"""Added to the deviation of the level's own past, in standard deviations of the series."""


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
        self.reach = tiles(parameters.retained) + (parameters.fixed_length or LONGEST_PERIOD)
        self.learning_points = parameters.first_learning_points
        self._points = 0
        self._due = self.learning_points
        self._learning = np.empty(self.learning_points)
        self._learnt: Learnt | None = None
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
            raw, blocks = self._absorb(values[rows])
            decades = calibration.decades(raw)
            scores.raw[rows] = raw
            scores.decades[rows] = decades
            for k in np.flatnonzero(decades >= CANDIDATE_DECADES).tolist():
                self._explain(len(rows) - 1 - k, blocks[:, k], int(rows[k]), scores)
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
        learnt = self._learnt or Learnt(0, 0, 0.0, 0.0, 0.0)
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
        detector._learnt = Learnt(length, exponent, deviation, step, unit)

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
        """Learn at most `_most_rows` present values: raw scores and the profiles' blocks [2, n]."""
        raw = np.full(values.shape[0], np.nan)
        blocks = np.zeros((2, values.shape[0]), np.int64)
        first = self._points
        self._points += values.shape[0]
        if self._values is None or self._learnt is None:
            self._learning[first : self._points] = values
            return raw, blocks
        scaled = self._learnt.down(values)
        last = self._values.points[-1]
        raw, blocks[0] = self._values.extend(scaled)
        if self._differences is not None:
            steps, blocks[1] = self._differences.extend(np.diff(scaled, prepend=last))
            raw = _rms(raw, steps)
        if self.parameters.score == "level":
            m, rows = self._values.m, len(values)
            nearest = nearest_values(self._values.newest(m + rows), rows, m)
            raw = self._level(raw, nearest, self._own_past)
        return raw, blocks

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
        learnt = Learnt.of(values, self.parameters.fixed_length)
        if self._learnt is None or self._learnt.differs(learnt):
            self._make_profiles(learnt, values)
        self._due = self._next_due()

    def _next_due(self) -> int:
        if self.parameters.sequence_length != "auto":
            return 2**62
        return self._points + min(self._points, self.parameters.retained)

    def _make_profiles(self, learnt: Learnt, values: Floats) -> None:
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

    def _explain(self, back: int, blocks: Integers, row: int, scores: RawScores) -> None:
        """Neighbour, expected value and attribution of the row ``back`` points ago."""
        assert self._learnt is not None and self._values is not None  # noqa: S101
        pair = self._values.pair(back, int(blocks[0]))
        scores.neighbour[row] = pair.distance
        scores.expected[row] = float(self._learnt.up(pair.expected))
        shares = pair.squares / len(pair.squares)
        if self._differences is not None:
            steps: Pair = self._differences.pair(back, int(blocks[1]))
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
