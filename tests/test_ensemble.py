"""The ensemble as a whole: fusion, cuts, restores, alerts on series without anomalies, words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from generators import DAY, EVENTS, GENERATORS, START, WEEK, times_of
from naive_ensemble import WEIGHTS, fused

from detectors import _ensemble_kernels as kernels
from detectors.calibration import CANDIDATE_DECADES, DECADES_AT_70
from detectors.ensemble import ALERT, Ensemble, EnsembleParameters
from detectors.model import ModelSpec, Scores, SeriesModel
from transforms.aggregate import rows_of_points
from transforms.decide import AlertState, Rules, decide
from transforms.order import Points

SMALL = EnsembleParameters(context=64, number_of_trees=20, sample_size=32)
COLUMNS = ("raw", "score", "decades", "surprise", "expected", "lower", "upper", "neighbour")
ROWS = 1800
"""More than the 1,030 after which the shape speaks, and more than six days."""


def course(rows: int = ROWS) -> np.ndarray:
    """Days of 5 minutes with a few events, and holes."""
    values = GENERATORS["seasonal"](rows, 3)
    values[[400, 1300, 1301, 1700]] += 400.0
    values[1500:1560] = values[1500]
    values[[7, 500, 501, 1200]] = np.nan
    return values


def model(parameters: EnsembleParameters = SMALL, state: bytes | None = None) -> SeriesModel:
    return SeriesModel(ModelSpec("Ensemble", parameters), 5, state)


def parts_of(one: Scores) -> tuple[object, ...]:
    return (one.members, one.explanations, {row: a.tolist() for row, a in one.attribution.items()})


# The same however it is cut


@pytest.mark.parametrize("clock", [True, False])
@pytest.mark.parametrize("cuts", [[1], [1029, 1031, 1100], list(range(0, ROWS, 97))])
def test_no_cut_and_no_reload_shows(clock: bool, cuts: list[int]) -> None:
    times = times_of(ROWS)
    whole = model().score_and_learn(course(), times if clock else None)
    found, parts, one = [], [], model()
    for rows in np.split(np.arange(ROWS), cuts):
        one = model(state=one.to_bytes())
        scores = one.score_and_learn(course()[rows], times[rows] if clock else None)
        found.append(scores)
        first = int(rows[0]) if len(rows) else 0
        parts += [(first + row, text) for row, text in scores.explanations.items()]
    for name in COLUMNS:
        joined = np.concatenate([getattr(scores, name) for scores in found])
        np.testing.assert_array_equal(joined, getattr(whole, name), err_msg=name)
    assert dict(parts) == whole.explanations


def test_score_one_is_what_a_block_gives() -> None:
    times, values = times_of(ROWS), course()
    one = model()
    one.score_and_learn(values[:1290], times[:1290])
    ahead = []
    for row in range(1290, 1310):
        before = one.to_bytes()
        ahead.append(one.detector.score_one(values[row], int(times[row])))
        assert one.to_bytes() == before
        one.score_and_learn(values[row : row + 1], times[row : row + 1])
    whole = model().score_and_learn(values, times)
    np.testing.assert_array_equal(ahead, whole.raw[1290:1310])


@pytest.mark.parametrize("clock", [True, False])
def test_scale_changes_no_bit(clock: bool) -> None:
    times = times_of(ROWS) if clock else None
    usual = model().score_and_learn(course(), times)
    for power in (-500, -70, 400):
        scaled = model().score_and_learn(course() * 2.0**power, times)
        np.testing.assert_array_equal(scaled.raw, usual.raw)
        assert scaled.members == usual.members


def test_shift_changes_hardly_anything() -> None:
    usual = model().score_and_learn(course(), times_of(ROWS))
    shifted = model().score_and_learn(-3.0 * course() + 1000.0, times_of(ROWS))
    mirrored = model().score_and_learn(-course(), times_of(ROWS))
    np.testing.assert_allclose(shifted.raw, mirrored.raw, atol=1e-3)
    # but for the forest, whose rounding is not symmetric
    assert np.quantile(np.abs(mirrored.raw - usual.raw)[30:][~np.isnan(usual.raw[30:])], 0.5) < 0.3


# Fusion


@pytest.mark.parametrize("has_clock", [True, False])
@pytest.mark.parametrize("learnt", [29, 30, 200, 100_000])
def test_the_fusion_is_its_twin(has_clock: bool, learnt: int) -> None:
    rng = np.random.default_rng(learnt)
    light = kernels.new_light(1)
    light.head[0] = learnt + 1
    for _ in range(50):
        decades = rng.exponential(1.5, (1, len(kernels.MEMBERS)))
        raw, given = np.empty(1), np.empty(decades.shape)
        kernels.fuse(light, decades, has_clock, given, raw)
        by_name = dict(zip(kernels.MEMBERS, decades[0].tolist(), strict=True))
        score, shares = fused(by_name, learnt, has_clock)
        assert raw[0] == pytest.approx(score, nan_ok=True)
        assert dict(zip(kernels.MEMBERS, given[0].tolist(), strict=True)) == pytest.approx(shares)


def test_the_twin_knows_every_member() -> None:
    assert (*WEIGHTS, "shape") == kernels.MEMBERS
    assert tuple(WEIGHTS.values()) == tuple(kernels.WEIGHTS)


def test_a_score_of_70_is_the_alerts_raw_score() -> None:
    found = model().score_and_learn(course(), times_of(ROWS))
    judged = ~np.isnan(found.raw)
    assert ((found.score > 70) == (found.decades > DECADES_AT_70))[judged].all()
    above = found.raw[judged] > ALERT * (1 + 1e-12)
    assert (found.score[judged] >= 70)[above].all() and above.any()


def test_smoothing_is_a_mean_of_the_last_scores() -> None:
    usual = model().score_and_learn(course(), times_of(ROWS)).raw
    smooth = model(replace(SMALL, smoothing=4)).score_and_learn(course(), times_of(ROWS)).raw
    present = usual[~np.isnan(usual)]
    means = [present[max(0, i - 3) : i + 1].mean() for i in range(len(present))]
    np.testing.assert_allclose(smooth[~np.isnan(smooth)], means, rtol=1e-12)


def test_quick_members_speak_before_the_slow_ones() -> None:
    values = np.random.default_rng(0).standard_normal(100)
    values[90] = 60.0
    found = model().score_and_learn(values, times_of(100))
    assert np.isnan(found.raw[:30]).all() and not np.isnan(found.raw[30:]).any()
    assert int(np.nanargmax(found.raw)) == 90 and found.score[90] > 60
    assert {"record", "jump"} <= set(found.members[90]) and "shape" not in found.members[90]


def test_without_a_clock_the_day_is_silent() -> None:
    with_clock, no_times, told = (
        model(parameters).score_and_learn(course(), times)
        for parameters, times in (
            (SMALL, times_of(ROWS)),
            (SMALL, None),
            (replace(SMALL, clock=False), times_of(ROWS)),
        )
    )
    np.testing.assert_array_equal(no_times.raw, told.raw)
    days = {"day_profile", "record_of_residual"}
    assert not any(days & set(shares) for shares in told.members.values())
    assert any(days & set(shares) for shares in with_clock.members.values())


# What results say


def test_candidates_are_explained_and_no_others() -> None:
    found = model().score_and_learn(course(), times_of(ROWS))
    candidates = set(np.flatnonzero(found.decades >= CANDIDATE_DECADES).tolist())
    assert candidates == set(found.members) == set(found.explanations) == set(found.attribution)
    for shares in found.members.values():
        assert sum(shares.values()) == pytest.approx(1.0)
        assert list(shares.values()) == sorted(shares.values(), reverse=True)


def test_a_spike_is_told_in_words_and_the_band_is_that_of_the_hour() -> None:
    found = model().score_and_learn(course(), times_of(ROWS))
    text = found.explanations[1300]
    assert "usual at this hour" in text and ("than ever" in text or "a step of" in text)
    low, high = (float(part) for part in text.rsplit(": ", 1)[1].split(" to "))
    assert found.lower[1300] == pytest.approx(low, rel=1e-3, abs=0.1)
    assert found.upper[1300] == pytest.approx(high, rel=1e-3, abs=0.1)
    usual = (high + low) / 2
    assert usual < course()[1300] - 200.0


def test_a_strange_shape_is_told_by_the_shape() -> None:
    rows = np.arange(3000)
    values = np.sin(rows * 2 * np.pi / 50) + 0.02 * np.random.default_rng(1).standard_normal(3000)
    values[2500:2550] = np.sin(rows[2500:2550] * 2 * np.pi / 25)  # within the usual range
    found = model(replace(SMALL, context=1000)).score_and_learn(values)
    row = int(np.nanargmax(found.raw[1100:])) + 1100
    assert 2500 <= row < 2600 and next(iter(found.members[row])) == "shape"
    assert "take a course unlike any before" in found.explanations[row]
    assert found.neighbour[row] > 0 and len(found.attribution[row]) > 10


# Series without anomalies


def alerts_of(found: Scores, times: np.ndarray, **rules: object) -> list[int]:
    none = np.zeros(len(times), np.int64)
    rows = rows_of_points(Points(times, none * 1.0, none, none.astype(bool)))
    ids = [str(row) for row in range(len(times))]
    events = decide(rows, found, ids, Rules(**rules), AlertState()).events  # type: ignore[arg-type]
    return [event.row for event in events if event.kind == "alert"]


WEEKS = 8
SEEDS = 2
BUDGET = 3.0


@pytest.mark.parametrize("clock", [True, False])
@pytest.mark.parametrize("name", GENERATORS)
def test_nothing_injected_alerts_once_a_week_at_most(name: str, clock: bool) -> None:
    times, alerts, within = times_of(WEEKS * WEEK), 0, 0
    for seed in range(SEEDS):
        values = GENERATORS[name](len(times), seed)
        found = model(EnsembleParameters()).score_and_learn(values, times if clock else None)
        alerts += len(alerts_of(found, times))
        within += len(alerts_of(found, times, threshold=None, alerts_per_week=BUDGET))
    assert alerts <= WEEKS * SEEDS
    if name == "constant":
        assert within == 0
    else:
        assert 0.5 <= within / (BUDGET * WEEKS * SEEDS) <= 2.0


@pytest.mark.parametrize("clock", [True, False])
@pytest.mark.parametrize("kind", EVENTS)
@pytest.mark.parametrize("name", GENERATORS)
def test_an_injected_event_is_found(name: str, kind: str, clock: bool) -> None:
    rows = 2 * WEEK
    row = rows - DAY
    values, times = GENERATORS[name](rows, 7), times_of(rows)
    EVENTS[kind](values, row)
    found = model(EnsembleParameters()).score_and_learn(values, times if clock else None)
    alerts = alerts_of(found, times)
    assert any(row <= alert < row + 24 for alert in alerts), alerts
    assert row <= int(np.nanargmax(found.raw[WEEK:])) + WEEK < row + DAY // 2


def test_generators_start_at_a_midnight() -> None:
    assert START % 86_400 == 0


# Parameters


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"context": 63}, "context must be >= 64, got 63"),
        ({"context": 200_000}, "context must be 1 to 100000, got 200000"),
        ({"smoothing": 0}, "smoothing must be 1 to 1000, got 0"),
        ({"time_zone": "Mars"}, "time_zone must be an IANA name"),
        ({"number_of_trees": 0}, "number_of_trees must be >= 1, got 0"),
    ],
)
def test_wrong_parameters_say_what_is_allowed(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EnsembleParameters(**given)  # type: ignore[arg-type]


def test_an_infinity_is_refused() -> None:
    with pytest.raises(ValueError, match="values must be finite or NaN, got inf at row 3"):
        model().score_and_learn(np.array([1.0, 2.0, 3.0, np.inf]))


def test_the_light_members_are_small() -> None:
    own = Ensemble(SMALL, 1)
    parts = own._forest.state_bytes + own._level.state_bytes + own._shape.state_bytes  # noqa: SLF001
    assert own.state_bytes - parts < 30_000
