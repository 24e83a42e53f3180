"""What makes a random cut forest: its parameters, checked once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from detectors._forest_transform import TRANSFORMS

MOST_SHINGLE = 128
MOST_TREES = 1_000
MOST_SAMPLES = 32_767  # node ids are 16 bits wide
MOST_DIMENSIONS = 256
MOST_MEASURES = 32

MISSING = ("skip", "previous", "forest")


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
        Points learnt before the first score, >= 1. Default sample_size // 4, at most 64.
    transform : str, optional
        What the trees see of a value, see `detectors._forest_transform`: ``none`` the value
        itself; ``difference`` to the one before; ``subtract_mean`` the distance from a time-decayed
        mean; ``normalize`` that in time-decayed deviations; ``normalize_difference`` both.
    measures : int, optional
        Values a row, 1..32: several measures of one series, whose rows come together.
    missing : str, optional
        What becomes of NaN: ``skip`` as if the row had not been due; ``previous`` the value before
        stands in; ``forest`` what the forest expects does. Rows that are filled in get no score,
        and shingles that are half filled in are not sampled.
    time_gaps : bool, optional
        Let the time since the row before be one more dimension of a row.
    near_absolute, near_relative : float, optional
        Hold a candidate back that is within this distance of the expected value, in the unit of
        the values or as a share of the expected value's size; >= 0, 0 is never.
    drift_rows : int, optional
        Hold a candidate back after so many candidates in succession if it is within two deviations
        of their mean; >= 0, 0 is never.
    """

    shingle_size: int = 8
    number_of_trees: int = 30
    sample_size: int = 512
    time_decay: float | None = None
    output_after: int | None = None
    transform: Literal[
        "none", "difference", "subtract_mean", "normalize", "normalize_difference"
    ] = "none"
    measures: int = 1
    missing: Literal["skip", "previous", "forest"] = "skip"
    time_gaps: bool = False
    near_absolute: float = 0.0
    near_relative: float = 0.0
    drift_rows: int = 0

    def __post_init__(self) -> None:
        check_integer("shingle_size", self.shingle_size, 1, MOST_SHINGLE)
        check_integer("number_of_trees", self.number_of_trees, 1, MOST_TREES)
        check_integer("sample_size", self.sample_size, 2, MOST_SAMPLES)
        if self.time_decay is not None and not 0.0 < self.time_decay <= 1.0:
            raise ValueError(f"time_decay must be > 0 and <= 1, got {self.time_decay}")
        if self.output_after is not None:
            check_integer("output_after", self.output_after, 1, None)
        _check_choice("transform", self.transform, TRANSFORMS)
        _check_choice("missing", self.missing, MISSING)
        check_integer("measures", self.measures, 1, MOST_MEASURES)
        check_integer("drift_rows", self.drift_rows, 0, None)
        for name in ("near_absolute", "near_relative"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be >= 0 and finite, got {getattr(self, name)}")
        dimensions = self.shingle_size * self.columns
        if dimensions > MOST_DIMENSIONS:
            raise ValueError(
                f"shingle_size times measures (and 1 for time_gaps) must be <= {MOST_DIMENSIONS}, "
                f"got {self.shingle_size} * {self.columns} = {dimensions}"
            )

    @property
    def columns(self) -> int:
        """Values a row as the trees see it: the measures, and the time gap where it counts."""
        return self.measures + int(self.time_gaps)

    @property
    def column_names(self) -> tuple[str, ...]:
        """What a cell of each column is, in words; differences are of changes."""
        cell = "change" if "difference" in self.transform else "value"
        several = tuple(f"{cell} of measure {j + 1}" for j in range(self.measures))
        gap = ("time since the row before",) if self.time_gaps else ()
        return (several if self.measures > 1 else (cell,)) + gap


def _check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")


def check_integer(name: str, value: int, least: int, most: int | None) -> None:
    """Raise TypeError or ValueError unless ``value`` is an integer of ``least`` to ``most``."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be >= {least}, got {value}")
    if most is not None and value > most:
        raise ValueError(f"{name} must be <= {most}, got {value}")
