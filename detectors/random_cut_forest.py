"""Random cut forest: how early would random cuts part the next point from a sample of the past."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from detectors import _forest_kernels as kernels
from detectors._forest_imputation import forecast
from detectors._forest_layout import OPENING, new_forest
from detectors._forest_score import score
from detectors._forest_snapshot import (
    bits_for,
    packed_cuts,
    packed_integers,
    read_trees,
    unpacked_cuts,
    unpacked_integers,
    write_trees,
)
from detectors._forest_transform import TRANSFORMS
from detectors.base import Arrays, Detector, Floats, Integers, RawScores
from detectors.calibration import Calibration
from detectors.explanation import sentence_of_shingle
from detectors.forest_parameters import MISSING, RandomCutForestParameters, check_integer

__all__ = ["Neighbour", "RandomCutForest", "RandomCutForestParameters"]

REASONS = (
    "",
    "echo: nothing strange once the anomaly in the shingle is corrected",
    "near the expected value",
    "drift: goes on with the rows before",
)
"""Why a candidate was held back, by the kernels' codes."""
USUAL_OUTPUT_AFTER = 64
MICROSECONDS = 1_000_000
NO_TIME = -(2**63)

_BLOCK_ROWS = 1_024  # bounds the memory for attributions


@dataclass(frozen=True)
class Neighbour:
    """A point of the past that the next one would end beside.

    Attributes
    ----------
    distance : float
        L1 distance between the shingles, in the unit that the trees see.
    rows_before : int
        How many rows before the next one it ended.
    share : float
        Of the trees, 0..1.
    """

    distance: float
    rows_before: int
    share: float


class RandomCutForest(Detector):
    """Anomaly scores of a series from an ensemble of random cut trees.

    A point is a *shingle*, the last ``shingle_size`` values. Each tree holds a sample of the past
    points, the recent ones more likely, and cuts their bounding box at random, a dimension in
    proportion to its side, until every point is alone. A point far from the others would be cut
    off near the root: the raw score is the expected ``log2(sample + 1) / (depth + 1)`` of the
    place where the new point would go, averaged over the trees. About 0.6 to 0.9 is usual, above
    1.5 strange, ``log2(sample_size + 1)`` the most. Higher is stranger.

    For candidates it tells which values bear the score (`RawScores.attribution`) and what it
    expected instead of the newest (`RawScores.expected`): the median over trees of the newest
    value that makes the point least strange.

    Scale and shift: values are scaled by a median and a mean absolute deviation of the first 50
    (a constant's by its first change), fixed from then on. Scores are the same for ``a * x + b``
    up to rounding: trees keep float32, so changes below 1e-7 of a value's distance from the
    centre are lost.

    Warm-up: 50 values are awaited, then ``output_after`` points must be in; a missing value (NaN)
    is passed over as if it had not been due, and has raw score NaN.

    Cost: a score takes O(T (log S + D)), learning about ``time_decay * sample_size`` of that, in
    all about 20 us a point at the defaults. Memory: about T * S * (8 D + 28) bytes, 1.5 MB at
    the defaults; saved state T * S * 9 bytes and 4 bytes a ring row, 0.2 MB.

    Parameters
    ----------
    parameters : RandomCutForestParameters
    seed : int
        0 <= seed < 2**63.

    Notes
    -----
    S. Guha, N. Mishra, G. Roy and O. Schrijvers, "Robust Random Cut Forest Based Anomaly
    Detection on Streams", ICML 2016 (PMLR 48:2712-2721). Differences:

    - The score is the expected depth of the new point, not its co-displacement: the form of the
      authors' later open implementation, and no node needs to know its mass.
    - Trees are updated from the leaf up (same distribution: the cuts at each box are independent),
      and samples are time-decayed with the next accepted point drawn at once.
    - A point leaves at the latest after ``4 / time_decay`` values or so (65,535 at the most),
      when its place in the ring of values is needed; decay has taken 98 in 100 before.

    Examples
    --------
    >>> import numpy as np
    >>> from detectors.calibration import Calibration
    >>> wave = np.sin(np.arange(600) / 5.0)
    >>> wave[500] = 3.0
    >>> forest = RandomCutForest(RandomCutForestParameters(number_of_trees=30), seed=7)
    >>> scores = forest.score_and_learn(wave, Calibration(*forest.raw_range))
    >>> int(np.nanargmax(scores.raw)), int(scores.attribution[500].argmax())
    (500, 7)
    """

    Parameters: ClassVar[type[Any]] = RandomCutForestParameters
    STATE_VERSION: ClassVar[int] = 2
    raw_range = (0.0, 8.0)

    def __init__(self, parameters: RandomCutForestParameters, seed: int) -> None:
        if not 0 <= seed < 2**63:
            raise ValueError(f"seed must be >= 0 and < 2**63, got {seed}")
        samples = parameters.sample_size
        decay, after = parameters.time_decay, parameters.output_after
        columns = parameters.columns
        self.measures = parameters.measures
        self.uses_times = parameters.time_gaps
        self._parameters = parameters
        self._forest = new_forest(
            shingle_size=parameters.shingle_size,
            measures=columns,
            trees=parameters.number_of_trees,
            sample_size=samples,
            time_decay=1.0 / (10 * samples) if decay is None else decay,
            output_after=min(max(1, samples // 4), USUAL_OUTPUT_AFTER) if after is None else after,
            transform=TRANSFORMS.index(parameters.transform),
            seed=seed,
        )
        self._imputed = np.zeros(parameters.shingle_size, np.uint8)
        self._run = np.zeros(1 + 2 * columns)
        self._limits = np.array(
            [parameters.near_absolute, parameters.near_relative, parameters.drift_rows]
        )
        self._missing = MISSING.index(parameters.missing)
        self._last_time = np.array([NO_TIME])

    def score_one(self, value: float | Floats, time: int | None = None) -> float:
        """Raw score of ``value`` as the next point, NaN while warming; changes nothing.

        A number, or float64[m] for m measures; ``time`` (microseconds) where gaps count.
        """
        row = self._row(value, time)
        return float(score(self._forest, row))

    def learn_one(self, value: float | Floats, time: int | None = None) -> None:
        """Take ``value`` in; NaN (missing) is treated as the parameter ``missing`` says."""
        row = self._row(value, time)
        if time is not None:
            self._last_time[0] = time
        kernels.take(self._forest, self._imputed, row, self._missing)

    def _row(self, value: float | Floats, time: int | None) -> Floats:
        times = None if time is None else np.array([time], np.int64)
        return self._table(np.reshape(np.asarray(value, np.float64), (1, -1)), times)[0]

    def _table(self, values: Floats, times: Integers | None) -> Floats:
        """Values as float64[n, m], with the time gaps as the last column where they count."""
        values = np.asarray(values, np.float64)
        given = 1 if values.ndim == 1 else values.shape[1]
        if given != self._parameters.measures:
            raise ValueError(
                f"values must have {self._parameters.measures} columns, as measures says, "
                f"got {given}"
            )
        values = values.reshape(values.shape[0], given)
        if not self._parameters.time_gaps:
            return np.array(values)  # a read-only block would compile anew
        if times is None:
            raise ValueError("times must be given with time_gaps, got None")
        before = np.concatenate([self._last_time, times[:-1]])
        before = np.where(before == NO_TIME, times, before)
        return np.column_stack([values, (times - before) / MICROSECONDS])

    def score_and_learn(
        self, values: Floats, calibration: Calibration, times: Integers | None = None
    ) -> RawScores:
        """Score each row with all before it, then learn it; see `Detector.score_and_learn`.

        Parameters
        ----------
        values : float64[n], or float64[n, m] with m measures
            In stream order; NaN means missing.
        calibration : Calibration
            Of the raw score.
        times : int64[n], optional
            Event times in microseconds; needed where ``time_gaps`` is set.
        """
        table = self._table(values, times)
        if times is not None and len(times):
            self._last_time[0] = times[-1]
        scores = RawScores.empty(table.shape[0], self._parameters.measures)
        for start in range(0, table.shape[0], _BLOCK_ROWS):
            self._score_block(table, calibration, scores, slice(start, start + _BLOCK_ROWS))
        return scores

    def _score_block(
        self, table: Floats, calibration: Calibration, scores: RawScores, block: slice
    ) -> None:
        values = table[block]
        count, columns = values.shape
        rows = np.empty(count, np.int64)
        reasons = np.empty(count, np.int64)
        expected = np.empty((count, columns))
        high, low = np.empty((2, count, self._parameters.shingle_size * columns))
        candidates = kernels.score_and_learn(
            self._forest,
            self._imputed,
            self._run,
            self._limits,
            self._missing,
            values,
            calibration.state,
            scores.raw[block],
            scores.decades[block],
            expected,
            rows,
            reasons,
            high,
            low,
        )
        measures, names = self._parameters.measures, self._parameters.column_names
        scores.expected[block] = expected[:, 0] if measures == 1 else expected[:, :measures]
        for i in range(candidates):
            row = block.start + int(rows[i])
            scores.attribution[row] = self._by_position(high[i] + low[i])
            scores.high[row] = self._by_position(high[i])
            scores.explanations[row] = sentence_of_shingle(
                (high[i] + low[i]).reshape(-1, columns), high[i].reshape(-1, columns), names
            )
            if reasons[i] != kernels.NOT_SUPPRESSED:
                scores.reasons[row] = REASONS[reasons[i]]

    def _by_position(self, shares: Floats) -> Floats:
        """float64[D] as float64[H], or float64[H, m] with more than one column."""
        columns = self._parameters.columns
        return shares.copy() if columns == 1 else shares.reshape(-1, columns).copy()

    def neighbours(self, value: float | Floats, most: int = 10) -> list[Neighbour]:
        """The points that ``value``, as the next one, would end beside, the nearest first.

        At most ``most`` of the leaves that its shingle reaches; empty while warming.
        """
        forest = self._forest
        if math.isnan(score(forest, self._row(value, None))):
            return []
        head = forest.head[0]
        columns, shingle = self._parameters.columns, self._parameters.shingle_size
        cells = shingle * columns
        leaves = forest.trees["reached"] - self._parameters.sample_size
        trees = np.arange(len(leaves))
        starts = forest.trees["leaves"]["position"][trees, leaves]
        found = []
        for start, count in zip(*np.unique(starts, return_counts=True), strict=True):
            point = forest.ring[start : start + cells]
            distance = float(np.abs(point - forest.hand["value"][0]).sum())
            age = (int(head["clock"]) - int(start) // columns) % self._ring_length()
            found.append(Neighbour(distance, age - shingle + 1, count / len(trees)))
        return sorted(found, key=lambda one: (one.distance, one.rows_before))[:most]

    def forecast(self, rows: int) -> tuple[Floats, Floats, Floats]:
        """Expected values of the next ``rows`` rows, and the 10 % and 90 % quantiles over trees.

        Each float64[rows], or float64[rows, m]; NaN while warming. The quantiles tell how far the
        trees differ, not how far the future may: they are no prediction interval.
        """
        check_integer("rows", rows, 1, None)
        expected, lower, upper = np.empty((3, rows, self._parameters.columns))
        forecast(self._forest, expected, lower, upper)
        measures = self._parameters.measures
        columns = 0 if measures == 1 else slice(measures)
        return expected[:, columns], lower[:, columns], upper[:, columns]

    def to_arrays(self) -> Arrays:
        """The whole state, lossless: what boxes and links can be rebuilt from is left out."""
        forest = self._forest
        trees, samples = forest.trees["leaves"].shape
        shapes = np.empty(2 * trees * samples, np.uint8)
        cuts = np.empty(trees * samples, np.float32)
        dimensions = np.empty(trees * samples, np.uint8)
        ages = np.empty(trees * samples, np.uint16)
        ranks = np.empty((trees, samples), np.uint16)
        nodes, leaves = write_trees(forest, shapes, cuts, dimensions, ages, ranks)
        head = forest.head[0]
        in_use = np.arange(samples) < forest.trees["samples"][:, None]
        # as far back as the oldest point in a tree, but never less than the shingle being filled
        rows = max(int(ages[:leaves].max(initial=0)), self._parameters.shingle_size)
        rows = min(rows, int(head["clock"]))
        cells = self._parameters.shingle_size * self._parameters.columns
        return {
            "random_state": forest.head["random_state"].copy(),
            "clock": forest.head["clock"].copy(),
            "rebased_at": forest.head["rebased_at"].copy(),
            "rebased_rest": forest.head["rebased_rest"].copy(),
            "opened": forest.head["opened"].copy(),
            "measures": forest.measures.view(np.float64).copy(),
            "opening": forest.opening[: head["opened"] % OPENING].copy(),
            "imputed": self._imputed.copy(),
            "run": self._run.copy(),
            "last_time": self._last_time.copy(),
            "corrections": forest.corrections.copy(),
            "ring": forest.ring[self._ring_cells(rows)],
            "next_accept": forest.trees["next_accept"].copy(),
            "samples": forest.trees["samples"].copy(),
            "weights": forest.trees["weights"][in_use],
            "ranks": packed_integers(ranks[in_use], bits_for(samples - 1)),
            "shapes": np.packbits(shapes[: nodes + leaves]),
            **packed_cuts(cuts[:nodes]),
            "dimensions": packed_integers(dimensions[:nodes], bits_for(cells - 1)),
            "ages": packed_integers(ages[:leaves], bits_for(self._ring_length())),
        }

    @classmethod
    def from_arrays(
        cls, parameters: RandomCutForestParameters, arrays: Mapping[str, NDArray[Any]]
    ) -> RandomCutForest:
        """The forest that `to_arrays` described."""
        self = cls(parameters, seed=0)
        forest = self._forest
        head = forest.head[0]
        for name in ("random_state", "clock", "rebased_at", "rebased_rest", "opened"):
            head[name] = arrays[name][0]
        forest.measures.view(np.float64)[:] = arrays["measures"]
        self._imputed[:] = arrays["imputed"]
        self._run[:] = arrays["run"]
        self._last_time[:] = arrays["last_time"]
        forest.corrections[:] = arrays["corrections"]
        opening = arrays["opening"]
        forest.opening[: opening.shape[0]] = opening
        columns, samples = parameters.columns, parameters.sample_size
        ring = arrays["ring"]
        forest.ring[self._ring_cells(ring.shape[0] // columns)] = ring
        repeated = parameters.shingle_size * columns
        forest.ring[-repeated:] = forest.ring[:repeated]
        forest.trees["next_accept"] = arrays["next_accept"]
        in_trees = arrays["samples"].astype(np.int64)
        sampled, nodes = int(in_trees.sum()), int(arrays["cuts"].shape[0])
        shapes = np.unpackbits(arrays["shapes"])
        leaves = nodes + int((in_trees > 0).sum())  # a tree has one more of them than inner nodes
        read_trees(
            forest,
            shapes,
            unpacked_cuts(arrays),
            unpacked_integers(arrays["dimensions"], nodes, bits_for(repeated - 1)).astype(np.uint8),
            unpacked_integers(arrays["ages"], leaves, bits_for(self._ring_length())),
            in_trees,
            np.array(arrays["weights"]),
            unpacked_integers(arrays["ranks"], sampled, bits_for(samples - 1)),
        )
        return self

    def _ring_length(self) -> int:
        """W: how many rows the ring holds."""
        cells = self._parameters.shingle_size * self._parameters.columns
        return (self._forest.ring.shape[0] - cells) // self._parameters.columns

    def _ring_cells(self, count: int) -> NDArray[np.int64]:
        """Cells of the ring that hold the last ``count`` rows, oldest first."""
        columns = self._parameters.columns
        clock = int(self._forest.head["clock"][0])
        rows = np.arange(clock - count, clock) % self._ring_length()
        return (rows[:, None] * columns + np.arange(columns)).ravel()

    @property
    def state_bytes(self) -> int:
        """Memory of the live detector, in bytes."""
        own = (self._imputed, self._run, self._limits, self._last_time)
        return sum(array.nbytes for array in (*self._forest, *own))
