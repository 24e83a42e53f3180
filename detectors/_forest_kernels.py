"""What a forest does with a row of a stream: score, judge, explain, learn.

The kernels that `detectors.random_cut_forest` calls; `_forest_layout` describes the arrays.

From a raw score to decades of surprise
---------------------------------------
1. The raw score's decades against the series' own past (`detectors.calibration`).
2. An anomaly stays in the shingle for as many rows as that is long, and each of them scores high.
   So the decades are weighted by ``onset ** ONSET_POWER``, onset being the share of the score that
   the newest row bears itself.
3. A candidate (`CANDIDATE_DECADES`) is judged again with the anomalies in its shingle replaced by
   what was expected instead of them. If little is left, it is an `ECHO`, and left with at most
   `ECHO_DECADES`: too few for an alert, but more than a usual row has.
4. A candidate that is nevertheless close to what was expected (`NEAR_EXPECTED`), or goes on with
   others of its like (`DRIFT`), is held back where the parameters ask for it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors._forest_imputation import expect, expect_in_hand, mark_newest
from detectors._forest_layout import OPENING, Floats, Forest, Index, kernel
from detectors._forest_sample import learn
from detectors._forest_score import attribute, score, score_in_hand
from detectors.calibration import CANDIDATE_DECADES, add_score, tail_decades

ONSET_POWER = 0.1
"""How much an anomaly's first row is to outdo the rows after it. Measured at shingle size 8: on NAB
with the quiet period 0 makes 51, 0.05 55, 0.1 59, 0.15 60, 0.33 60; WSD's VUS-PR is 0.42 at 0.1,
0.40 at 0.15 and below 0.38 from 0.2 on."""

ECHO_DECADES = 3.0
"""What is left of an echo: a score of 67. An anomaly that lasts is made of such rows: taken down to
what is left of them once they are corrected, WSD's VUS-PR falls from 0.40 to 0.30 (and NAB's score
does not move, for its quiet period holds echoes back anyway)."""

HELD_BACK_DECADES = 1.7
"""What is left of a candidate that is held back: 1 row in 50."""
DRIFT_DEVIATIONS = 2.0
LEAST_DRIFT_DEVIATION = 1e-3
"""Smallest deviation of a run, in units of the measure's scale."""

NOT_SUPPRESSED, ECHO, NEAR_EXPECTED, DRIFT = range(4)
SKIP, PREVIOUS, FOREST = range(3)


@kernel
def _weighted(forest: Forest, calibration: Floats, raw: float) -> float:
    """Decades of ``raw``, weighted by what the newest row bears of it."""
    decades = tail_decades(calibration, raw)
    if not decades > 0.0:
        return 0.0
    return decades * math.pow(min(forest.hand[0].onset / raw, 1.0), ONSET_POWER)


@kernel
def _correct(forest: Forest) -> bool:
    """Replace the anomalies before the newest row of the point in hand; False: there are none."""
    hand = forest.hand[0]
    shingle, measures = forest.corrections.shape
    clock = forest.head[0].clock
    found = False
    for back in range(1, shingle):
        row = (clock - back) % shingle
        if back > clock or math.isnan(forest.corrections[row, 0]):
            continue
        found = True
        for j in range(measures):
            hand.value[(shingle - 1 - back) * measures + j] = forest.corrections[row, j]
    return found


@kernel
def _is_near(point: Floats, expected: Floats, limits: Floats) -> bool:
    """Whether each value is within the absolute or relative limit of what was expected."""
    for j in range(point.shape[0]):
        if not abs(point[j] - expected[j]) <= max(limits[0], limits[1] * abs(expected[j])):
            return False
    return limits[0] > 0.0 or limits[1] > 0.0


@kernel
def _goes_on(run: Floats, measures: NDArray[Any], point: Floats, least: float) -> bool:
    """Count a candidate into the run of candidates; whether the run has become the normal.

    ``run`` (float64[1 + 2 m]) holds the rows of the run, and each measure's mean and sum of squared
    deviations over it, in units of the measure's scale.
    """
    drifts = least > 0.0 and run[0] >= least
    count = run[0] + 1.0
    for j in range(point.shape[0]):
        scale = measures[j].scale
        unit = (point[j] - measures[j].centre) / scale if scale > 0.0 else 0.0
        off = unit - run[1 + 2 * j]
        deviation = max(math.sqrt(run[2 + 2 * j] / max(run[0] - 1.0, 1.0)), LEAST_DRIFT_DEVIATION)
        drifts = drifts and abs(off) <= DRIFT_DEVIATIONS * deviation
        run[1 + 2 * j] += off / count
        run[2 + 2 * j] += off * (unit - run[1 + 2 * j])
    run[0] = count
    return drifts


@kernel
def _judge(
    forest: Forest,
    calibration: Floats,
    limits: Floats,
    run: Floats,
    point: Floats,
    decades: float,
    high: Floats,
    low: Floats,
    expected: Floats,
    correction: NDArray[np.float32],
) -> tuple[float, Index]:
    """Explain the candidate in hand; its decades when all is said, and why they are lower now."""
    attribute(forest, high, low)
    reason = NOT_SUPPRESSED
    if _correct(forest):
        corrected = _weighted(forest, calibration, score_in_hand(forest))
        if corrected < decades:
            decades = min(decades, max(corrected, ECHO_DECADES))
            reason = ECHO if corrected < CANDIDATE_DECADES else NOT_SUPPRESSED
    mark_newest(forest)
    expect_in_hand(forest, expected, correction)
    if reason == NOT_SUPPRESSED and _is_near(point, expected, limits):
        reason = NEAR_EXPECTED
    if _goes_on(run, forest.measures, point, limits[2]) and reason == NOT_SUPPRESSED:
        reason = DRIFT
    if reason == NEAR_EXPECTED or reason == DRIFT:
        decades = min(decades, HELD_BACK_DECADES)
    return decades, reason


@kernel
def _fill_in(forest: Forest, row: Floats, missing: Index) -> bool:
    """Replace the NaN of a row (float64[m]), if that can be done yet."""
    head = forest.head[0]
    if missing == SKIP or head.opened < OPENING:
        return False
    if missing == FOREST:
        filled = np.empty(row.shape[0])
        expect(forest, row, filled, np.empty(row.shape[0], np.float32))
        for j in range(row.shape[0]):
            if math.isnan(row[j]):
                row[j] = filled[j]
    for j in range(row.shape[0]):
        if math.isnan(row[j]):
            measure = forest.measures[j]
            row[j] = measure.centre + measure.previous * measure.scale
    return True


@kernel
def _is_half_measured(imputed: NDArray[np.uint8]) -> bool:
    count = 0
    for flag in imputed:
        count += flag
    return 2 * count < imputed.shape[0]


@kernel
def take(forest: Forest, imputed: NDArray[np.uint8], point: Floats, missing: Index) -> None:
    """Learn a row (float64[m]); one with NaN is passed over or filled in, as ``missing`` says.

    A shingle is sampled only if less than half of its rows (``imputed``, uint8[H], by clock) were
    filled in.
    """
    lacking = False
    for value in point:
        lacking = lacking or math.isnan(value)
    row = point
    if lacking:
        row = point.copy()
        if not _fill_in(forest, row, missing):
            return
    imputed[forest.head[0].clock % imputed.shape[0]] = lacking
    learn(forest, row, _is_half_measured(imputed))


@kernel
def score_and_learn(
    forest: Forest,
    imputed: NDArray[np.uint8],
    run: Floats,
    limits: Floats,
    missing: Index,
    values: Floats,
    calibration: Floats,
    raw: Floats,
    decades: Floats,
    expected: Floats,
    rows: NDArray[np.int64],
    reasons: NDArray[np.int64],
    high: Floats,
    low: Floats,
) -> int:
    """Score each row with all before it, then learn it; returns the number of candidates.

    Parameters
    ----------
    forest : Forest
    imputed : uint8[H]
        See `take`.
    run : float64[1 + 2 m]
        See `_goes_on`.
    limits : float64[3]
        What is near the expected, absolute and relative; the rows after which a run is a drift.
    missing : int
        `SKIP`, `PREVIOUS` or `FOREST`.
    values : float64[n, m]
    calibration : float64[CELLS]
        State of the raw score's calibration.
    raw, decades : float64[n]
        Filled; see `detectors.base.RawScores`.
    expected : float64[n, m]
        Filled, NaN where there is no candidate.
    rows, reasons : int64[n]
        The candidates' row numbers and why they are held back, in the first entries.
    high, low : float64[n, D]
        Their attributions, in the first rows.
    """
    candidates = 0
    correction = np.empty(values.shape[1], np.float32)
    for i in range(values.shape[0]):
        raw[i] = score(forest, values[i])
        decades[i] = _weighted(forest, calibration, raw[i])
        for j in range(values.shape[1]):
            expected[i, j] = np.nan
        candidate = decades[i] >= CANDIDATE_DECADES
        if candidate:
            rows[candidates] = i
            decades[i], reasons[candidates] = _judge(
                forest,
                calibration,
                limits,
                run,
                values[i],
                decades[i],
                high[candidates],
                low[candidates],
                expected[i],
                correction,
            )
            candidates += 1
        elif not math.isnan(raw[i]):
            for k in range(run.shape[0]):
                run[k] = 0.0
        add_score(calibration, raw[i])
        row = forest.head[0].clock % forest.corrections.shape[0]
        take(forest, imputed, values[i], missing)
        if candidate:
            for j in range(values.shape[1]):
                forest.corrections[row, j] = correction[j]
    return candidates
