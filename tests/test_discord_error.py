"""How far the left discord's distances are from those of extended precision, by kind of series.

Every point of a long series is scored, so that each number that is carried from query to query was
carried far and summed afresh often; some distances are then compared with the definition.
"""

from __future__ import annotations

import numpy as np
import pytest
from naive_discord import naive_distances

from detectors.calibration import Calibration
from detectors.left_discord import LeftDiscord, LeftDiscordParameters

N, M = 100, 1024
ROWS, CHECKS = 200_000, 200
SPIKES_APART = 3000

BOUNDS = {
    "wave": 1e-12,
    "offset 1e9": 1e-12,
    "flat segments": 1e-12,
    "random walk": 2e-12,
    "offset 1e9, without noise": 1e-12,  # of sums it would be the root of their rounding error
    "steps": 1e-12,
    "trend of 1,000 a point": 1e-7,
    "spikes of 1e3": 2e-11,
    "spikes of 1e6": 1e-12,
    "spikes of 1e9": 1e-12,
    "spikes of 1e12": 1e-12,
    "bursts of 1e5": 2e-12,
}
"""Largest error of a distance, 0 to 2 sqrt(n) = 20, that each kind of series may have."""


def series(kind: str, rows: int = ROWS) -> np.ndarray:
    random = np.random.default_rng(11)
    clean = np.sin(2 * np.pi * np.arange(rows) / 87.3)
    values = clean + 0.1 * random.normal(size=rows)
    match kind:
        case "offset 1e9":
            values += 1e9
        case "flat segments":
            for start in range(1000, rows, 2500):
                values[start : start + 300] = values[start]
        case "random walk":
            values = np.cumsum(random.normal(size=rows))
        case "offset 1e9, without noise":
            values = clean + 1e9
        case "steps":
            values = np.repeat(random.normal(size=rows // 250), 250)
        case "trend of 1,000 a point":
            values += 1000.0 * np.arange(rows)
        case "bursts of 1e5":
            for start in range(2000, rows, 5000):
                values[start : start + 200] *= 1e5
        case _ if kind.startswith("spikes of "):
            values[2000::SPIKES_APART] += float(kind.removeprefix("spikes of "))
    return values


def distances(values: np.ndarray, cuts: np.ndarray, m: int = M, restored: bool = False):
    """D at each row, the series cut before the rows ``cuts``; restored at every cut or not."""
    parameters = LeftDiscordParameters(N, m, floor=0.0, differences=False)
    detector = LeftDiscord(parameters, seed=0)
    calibration = Calibration(*detector.raw_range)
    found = []
    for part in np.split(values, cuts):
        if restored:
            detector = LeftDiscord.from_arrays(parameters, detector.to_arrays())
        found.append(detector.distance(detector.score_and_learn(part, calibration).raw))
    return np.concatenate(found)


def checked(rows: int) -> np.ndarray:
    """Rows of the second half, at any distance from spikes and bursts."""
    return np.unique(np.random.default_rng(5).integers(rows // 2, rows, CHECKS))


@pytest.mark.parametrize("kind", BOUNDS)
def test_error_against_extended_precision(kind: str) -> None:
    values = series(kind)
    rows = checked(len(values))
    found = distances(values, np.arange(256, len(values), 256))[rows]
    expected = naive_distances(values, N, M, rows)
    assert np.abs(found - expected).max() <= BOUNDS[kind]


@pytest.mark.parametrize("restored", [False, True])
@pytest.mark.parametrize("kind", ["wave", "flat segments", "spikes of 1e12", "bursts of 1e5"])
def test_bits_over_several_tiles_do_not_depend_on_cuts(kind: str, restored: bool) -> None:
    values = series(kind, 12_000)
    m = 1088  # two tiles of lags and a part of one
    whole = distances(values, np.array([], np.int64), m)
    cuts = np.unique(np.random.default_rng(8).integers(1, 12_000, 150))
    np.testing.assert_array_equal(distances(values, cuts, m, restored), whole)


def test_a_context_of_100000() -> None:
    m, rows = 100_000, 104_000
    values = series("flat segments", rows)
    values[[60_000, 90_000]] += 1e6
    whole = distances(values, np.array([], np.int64), m)
    some = np.array([100_500, 102_017, 103_999])
    np.testing.assert_allclose(whole[some], naive_distances(values, N, m, some), atol=1e-8, rtol=0)
    cuts = np.array([70_001, 102_000, 102_001, 102_300, 103_777])
    np.testing.assert_array_equal(distances(values, cuts, m, restored=True), whole)
