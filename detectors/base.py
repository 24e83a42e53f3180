"""What every detector is: scores with the past, then learns; its state is plain arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from detectors.calibration import Calibration

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class RawScores:
    """A block's outcome before it becomes a 0-100 score; one entry a row, in the order given.

    Attributes
    ----------
    raw : float64[n]
        The detector's own score, higher = stranger; NaN while warming and for a missing value.
    decades : float64[n]
        Decades of surprise of ``raw`` (see `detectors.calibration`); 0 while warming. A detector
        may weight them down where it knows more than the raw score says, never up. An ensemble,
        whose members are calibrated, gives its own.
    expected : float64[n] or float64[n, m]
        What the detector itself would have expected, in the unit of the values; NaN where it
        does not say (it speaks for candidates only, ``decades >= CANDIDATE_DECADES``). One column
        a measure for a detector of more than one.
    attribution : dict of row -> float64[d]
        For candidates: the share of the score that each of the last ``d`` values bears, oldest
        first, the newest last; the shares of a row sum to 1. float64[d, m] for a detector of
        more than one measure.
    neighbour : int64[n]
        Left discord only: how many points before the row its nearest neighbour ended; 0 elsewhere.
    high : dict of row -> float64[d]
        The part of ``attribution`` that is due to values being higher than what they are told from;
        the rest is due to lower ones. Only from detectors that know.
    reasons : dict of row -> str
        Why the decades of a row that would have been a candidate were lowered.
    half_width : dict of row -> float
        For candidates: half width of the band around ``expected``, in the unit of the values, where
        the detector knows better than the model around it.
    members : dict of row -> dict of member -> float
        For candidates of an ensemble: share of the score that each member gave, the largest first;
        the shares of a row sum to 1.
    explanations : dict of row -> str
        For candidates: the score in a sentence.
    """

    raw: Floats
    decades: Floats
    expected: Floats
    attribution: dict[int, Floats]
    neighbour: Integers
    high: dict[int, Floats] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)
    half_width: dict[int, float] = field(default_factory=dict)
    members: dict[int, dict[str, float]] = field(default_factory=dict)
    explanations: dict[int, str] = field(default_factory=dict)

    @classmethod
    def empty(cls, rows: int, measures: int = 1) -> RawScores:
        """All-warming scores for ``rows`` rows, to be filled in place."""
        return cls(
            raw=np.full(rows, np.nan),
            decades=np.zeros(rows),
            expected=np.full(rows if measures == 1 else (rows, measures), np.nan),
            attribution={},
            neighbour=np.zeros(rows, np.int64),
        )


class Detector(ABC):
    """One series' detector.

    A subclass names its frozen parameter dataclass in ``Parameters`` (checked once, in its
    ``__post_init__``, with messages that carry the values), the ``raw_range`` that its raw score
    is calibrated over, and ``STATE_VERSION``, raised whenever the meaning of its arrays changes.

    Two detectors of equal parameters and seed that saw the same values are equal bit for bit,
    however the values were cut into calls and however often they went through
    `to_arrays` / `from_arrays`.
    """

    Parameters: ClassVar[type[Any]]
    STATE_VERSION: ClassVar[int]
    raw_range: tuple[float, float]
    measures: int = 1
    """Values a row; of more than one, values are float64[n, m]."""
    uses_times: bool = False
    """Whether `score_and_learn` takes the rows' event times, as ``times``."""
    reach: int = 0
    """Most points that `RawScores.neighbour` may lie before its row; 0: it never says."""

    @abstractmethod
    def __init__(self, parameters: Any, seed: int) -> None:
        """A fresh detector; ``seed`` (0 <= seed < 2**63) is its only source of randomness."""

    @abstractmethod
    def score_one(self, value: float) -> float:
        """Raw score of ``value`` as the next point, NaN while warming; changes nothing."""

    @abstractmethod
    def learn_one(self, value: float) -> None:
        """Take ``value`` in; NaN (missing) is passed over."""

    @abstractmethod
    def score_and_learn(self, values: Floats, calibration: Calibration) -> RawScores:
        """Score each row with all before it, then learn it.

        Parameters
        ----------
        values : float64[n]
            Points in stream order; NaN means missing, infinities are not allowed.
        calibration : Calibration
            The raw score's calibration; asked for each row's decades before the row's own raw
            score is added to it.
        """

    @abstractmethod
    def to_arrays(self) -> Arrays:
        """The whole state, lossless, as named arrays (views are allowed)."""

    @classmethod
    @abstractmethod
    def from_arrays(cls, parameters: Any, arrays: Mapping[str, NDArray[Any]]) -> Detector:
        """The detector that `to_arrays` described; copies what it will write to."""

    def distance(self, raw: Floats) -> Floats:
        """The raw scores (float64[n]) in the unit the detector's literature gives them."""
        return raw

    @property
    @abstractmethod
    def state_bytes(self) -> int:
        """Memory of the live detector, in bytes."""
