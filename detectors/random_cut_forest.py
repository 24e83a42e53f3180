"""Random cut forest: how early would random cuts part the next point from a sample of the past."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from detectors import _forest_kernels as kernels
from detectors.base import Arrays, Detector, Floats, RawScores
from detectors.calibration import Calibration

MOST_SHINGLE = 128
MOST_TREES = 1_000
MOST_SAMPLES = 32_767  # node ids are 16 bits wide

_BLOCK_ROWS = 1_024  # bounds the memory for attributions


@dataclass(frozen=True)
class RandomCutForestParameters:
    """What makes a forest.

    Attributes
    ----------
    shingle_size : int
        How many consecutive values make a point, 1..128.
    number_of_trees : int
        1..1000; scores vary less from seed to seed with more.
    sample_size : int
        Points that each tree keeps, 2..32767.
    time_decay : float, optional
        Rate in (0, 1] at which a point's chance to stay in a sample falls, per value learnt;
        the mean age of a sample is about 1 / time_decay. Default 1 / (10 * sample_size).
    output_after : int, optional
        Points learnt before the first score, >= 1. Default sample_size // 4.
    """

    shingle_size: int = 8
    number_of_trees: int = 50
    sample_size: int = 256
    time_decay: float | None = None
    output_after: int | None = None

    def __post_init__(self) -> None:
        _check_integer("shingle_size", self.shingle_size, 1, MOST_SHINGLE)
        _check_integer("number_of_trees", self.number_of_trees, 1, MOST_TREES)
        _check_integer("sample_size", self.sample_size, 2, MOST_SAMPLES)
        if self.time_decay is not None and not 0.0 < self.time_decay <= 1.0:
            raise ValueError(f"time_decay must be > 0 and <= 1, got {self.time_decay}")
        if self.output_after is not None:
            _check_integer("output_after", self.output_after, 1, None)


def _check_integer(name: str, value: int, least: int, most: int | None) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be >= {least}, got {value}")
    if most is not None and value > most:
        raise ValueError(f"{name} must be <= {most}, got {value}")


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
    all about 20 us a point at the defaults. Memory: about T * S * (8 D + 28) bytes, 1.2 MB at
    the defaults; saved state T * S * 13 bytes and 4 bytes a ring row, 0.2 MB.

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
    STATE_VERSION: ClassVar[int] = 1
    raw_range = (0.0, 8.0)

    def __init__(self, parameters: RandomCutForestParameters, seed: int) -> None:
        if not 0 <= seed < 2**63:
            raise ValueError(f"seed must be >= 0 and < 2**63, got {seed}")
        samples = parameters.sample_size
        decay, after = parameters.time_decay, parameters.output_after
        self._parameters = parameters
        self._forest = kernels.new_forest(
            shingle_size=parameters.shingle_size,
            trees=parameters.number_of_trees,
            sample_size=samples,
            time_decay=1.0 / (10 * samples) if decay is None else decay,
            output_after=max(1, samples // 4) if after is None else after,
            seed=seed,
        )

    def score_one(self, value: float) -> float:
        """Raw score of ``value`` as the next point, NaN while warming; changes nothing."""
        return float(kernels.score(self._forest, float(value)))

    def learn_one(self, value: float) -> None:
        """Take ``value`` in; NaN (missing) is passed over."""
        kernels.learn(self._forest, float(value))

    def score_and_learn(self, values: Floats, calibration: Calibration) -> RawScores:
        """Score each row with all before it, then learn it; see `Detector.score_and_learn`."""
        values = np.array(values, np.float64)  # a read-only block would compile anew
        scores = RawScores.empty(values.shape[0])
        for start in range(0, values.shape[0], _BLOCK_ROWS):
            self._score_block(values, calibration, scores, slice(start, start + _BLOCK_ROWS))
        return scores

    def _score_block(
        self, values: Floats, calibration: Calibration, scores: RawScores, block: slice
    ) -> None:
        values = values[block]
        rows = np.empty(values.shape[0], np.int64)
        shares = np.empty((values.shape[0], self._parameters.shingle_size))
        candidates = kernels.score_and_learn(
            self._forest,
            values,
            calibration.state,
            scores.raw[block],
            scores.decades[block],
            scores.expected[block],
            rows,
            shares,
        )
        for i in range(candidates):
            scores.attribution[block.start + int(rows[i])] = shares[i].copy()

    def to_arrays(self) -> Arrays:
        """The whole state, lossless: what boxes and links can be rebuilt from is left out."""
        forest = self._forest
        trees, samples = forest.trees["leaves"].shape
        shapes = np.empty(2 * trees * samples, np.uint8)
        cuts = np.empty(trees * samples, np.float32)
        dimensions = np.empty(trees * samples, np.uint8)
        ages = np.empty(trees * samples, np.uint16)
        ranks = np.empty((trees, samples), np.uint16)
        nodes, leaves = kernels.write_trees(forest, shapes, cuts, dimensions, ages, ranks)
        head = forest.head[0]
        in_use = np.arange(samples) < forest.trees["samples"][:, None]
        # as far back as the oldest point in a tree, but never less than the shingle being filled
        rows = max(int(ages[:leaves].max(initial=0)), self._parameters.shingle_size)
        rows = min(rows, int(head["clock"]))
        return {
            "random_state": forest.head["random_state"].copy(),
            "clock": forest.head["clock"].copy(),
            "rebased_at": forest.head["rebased_at"].copy(),
            "scaling": np.array([head["centre"], head["scale"]]),
            "opening": forest.opening[: head["opened"] % kernels.OPENING].copy(),
            "ring": forest.ring[self._ring_rows(rows)],
            "next_accept": forest.trees["next_accept"].copy(),
            "samples": forest.trees["samples"].copy(),
            "weights": forest.trees["weights"][in_use],
            "ranks": ranks[in_use].astype(_smallest_unsigned(samples)),
            "shapes": np.packbits(shapes[: nodes + leaves]),
            "cuts": cuts[:nodes],
            "dimensions": dimensions[:nodes],
            "ages": ages[:leaves],
        }

    @classmethod
    def from_arrays(
        cls, parameters: RandomCutForestParameters, arrays: Mapping[str, NDArray[Any]]
    ) -> RandomCutForest:
        """The forest that `to_arrays` described."""
        self = cls(parameters, seed=0)
        forest = self._forest
        head = forest.head[0]
        for name in ("random_state", "clock", "rebased_at"):
            head[name] = arrays[name][0]
        head["centre"], head["scale"] = arrays["scaling"]
        opening = arrays["opening"]
        head["opened"] = kernels.OPENING if head["clock"] > 0 else opening.shape[0]
        forest.opening[: opening.shape[0]] = opening
        ring = arrays["ring"]
        forest.ring[self._ring_rows(ring.shape[0])] = ring
        forest.ring[-parameters.shingle_size :] = forest.ring[: parameters.shingle_size]
        forest.trees["next_accept"] = arrays["next_accept"]
        kernels.read_trees(
            forest,
            np.unpackbits(arrays["shapes"]),
            np.array(arrays["cuts"]),
            np.array(arrays["dimensions"]),
            np.array(arrays["ages"]),
            arrays["samples"].astype(np.int64),
            np.array(arrays["weights"]),
            arrays["ranks"].astype(np.uint16),
        )
        return self

    def _ring_rows(self, count: int) -> NDArray[np.int64]:
        """Rows of the ring that hold the last ``count`` values, oldest first."""
        rows = self._forest.ring.shape[0] - self._parameters.shingle_size
        clock = int(self._forest.head["clock"][0])
        return np.arange(clock - count, clock) % rows

    @property
    def state_bytes(self) -> int:
        """Memory of the live detector, in bytes."""
        return sum(array.nbytes for array in self._forest)


def _smallest_unsigned(count: int) -> type[Any]:
    """Type for the integers below ``count``."""
    return np.uint8 if count <= 256 else np.uint16
