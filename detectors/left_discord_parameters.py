"""Parameters of the left discord, and what they are where a job leaves them open."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

MOST_CONTEXT = 100_000

LEVEL_LENGTH = 16
LEVEL_FLOOR = 3.0
SHAPE_FLOOR = 0.3
SHORTEST_DIFFERENCES = 8
PERIOD_POINTS = 1000
LEVEL_POINTS = 150
"""First learning part where the sequence length is the period, and of the level score."""

SHAPE_CONTEXT = 20_000
LEVEL_CONTEXT = 5_000


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

    @classmethod
    def translate(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """``config`` with the names of AWS LeftDiscords replaced by those here.

        ``sequenceLength`` is ``sequence_length``; ``initializationPeriods``, counted in sequence
        lengths as there, becomes ``learning_points``.

        Raises
        ------
        ValueError
            A name of both kinds for one thing; periods that are no number, or have no length.
        """
        ours = dict(config)
        for theirs, name in (
            ("sequenceLength", "sequence_length"),
            ("initializationPeriods", "learning_points"),
        ):
            if theirs in ours and name in ours:
                raise ValueError(f"{theirs} and {name} mean the same: give one of them")
        if "sequenceLength" in ours:
            ours["sequence_length"] = ours.pop("sequenceLength")
        if "initializationPeriods" in ours:
            periods = ours.pop("initializationPeriods")
            if type(periods) is not int or periods < 2:
                raise ValueError(
                    f"initializationPeriods must be a whole number >= 2, got {periods!r}"
                )
            length = ours.get("sequence_length", "auto")
            if type(length) is not int:
                raise ValueError(
                    "initializationPeriods counts sequence lengths: give sequenceLength a number, "
                    f"got {length!r}"
                )
            ours["learning_points"] = periods * length
        return ours

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
