"""The ensemble's light members beside their naive twins, and what each is for."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime

import numpy as np
import pytest
from naive_day_profile import day_profiles
from naive_jump import jumps
from naive_record import records
from naive_volatility import volatilities

from detectors import day_profile, jump, record, volatility

RNG = np.random.default_rng(4)
ROWS = 400
SERIES = {
    "noise": RNG.standard_normal(ROWS),
    "spikes": np.where(RNG.random(ROWS) < 0.02, 40.0, RNG.standard_normal(ROWS)),
    "constant": np.full(ROWS, 0.7),
    "constant, then noise": np.r_[np.full(200, 0.7), 0.7 + RNG.standard_normal(200)],
    "two values": RNG.choice([1.0, 2.0], ROWS),
    "ramp": np.arange(ROWS) * 0.1,
    "tiny": 1e-150 * RNG.standard_normal(ROWS),
    "huge": 1e150 * RNG.standard_normal(ROWS),
}
every_series = pytest.mark.parametrize("name", SERIES)


def run_jump(values):
    state = np.zeros(jump.CELLS)
    return [jump.jump(state, value) for value in values.tolist()]


def run_volatility(values):
    state = np.zeros(volatility.CELLS)
    return [volatility.volatility(state, value) for value in values.tolist()]


def run_record(values, warm_rows=20):
    state = np.zeros(record.CELLS)
    return [record.record(state, value, warm_rows) for value in values.tolist()]


def run_day_profile(values, slots):
    state = day_profile.new_state()
    pairs = zip(values.tolist(), slots.tolist(), strict=True)
    return [day_profile.day_profile(state, value, slot) for value, slot in pairs]


@every_series
def test_jump_is_its_twin(name):
    np.testing.assert_allclose(run_jump(SERIES[name]), jumps(SERIES[name].tolist()), rtol=1e-9)


@every_series
def test_volatility_is_its_twin(name):
    twin = volatilities(SERIES[name].tolist())
    np.testing.assert_allclose(run_volatility(SERIES[name]), twin, rtol=1e-9, atol=1e-12)


@every_series
def test_record_is_its_twin(name):
    twin = records(SERIES[name].tolist(), 20)
    np.testing.assert_allclose(run_record(SERIES[name]), twin, rtol=1e-9)


def test_a_range_is_of_one_or_two_epochs():
    values = np.r_[100.0, RNG.uniform(0.0, 1.0, 45_000)]
    values[[39_999, 40_001]] = 50.0
    found = np.array(run_record(values))
    assert found[39_999].tolist() == [0.0, 0.0, 39_999.0]
    assert found[40_000, 2] == 20_000
    # the other 50 is in the range, the 100 no more
    assert found[40_001, 1] == 0.0
    assert np.array(run_record(np.r_[values[:39_999], 0.5, values[40_000:]]))[40_001, 1] == 1.0


@every_series
def test_scale_changes_no_bit_and_shift_hardly_any(name):
    for run in (run_jump, run_volatility, run_record):
        usual = run(SERIES[name])
        for power in (-300, -40, 300):
            assert run(SERIES[name] * 2.0**power) == usual
    if name not in ("tiny", "huge"):
        for run in (run_jump, run_volatility, run_record):
            shifted = run(3.0 * SERIES[name] + 17.0)
            np.testing.assert_allclose(shifted, run(SERIES[name]), rtol=1e-6, atol=1e-6)


def test_scale_and_shift_leave_the_profile_as_it_was():
    values, slots = days()
    values[300] += 50.0
    usual = np.array(run_day_profile(values, slots))
    for power in (-300, 300):
        scaled = np.array(run_day_profile(values * 2.0**power, slots))
        np.testing.assert_array_equal(scaled[:, [0, 3]], usual[:, [0, 3]])
        np.testing.assert_array_equal(scaled[:, 1:3], usual[:, 1:3] * 2.0**power)
    shifted = np.array(run_day_profile(3.0 * values + 17.0, slots))
    np.testing.assert_allclose(shifted[:, [0, 3]], usual[:, [0, 3]], rtol=1e-6, atol=1e-6)


def days(weeks=4):
    """Hourly rows with noise, weekends at half the height: values and slots of the week."""
    hour = np.arange(weeks * 168)
    height = np.where(hour // 24 % 7 >= 5, 5.0, 10.0)
    values = height * np.sin(np.pi * (hour % 24) / 24) + 0.1 * RNG.standard_normal(len(hour))
    return values, (hour % 168) * 4


@pytest.mark.parametrize("weeks", [2, 6])
def test_day_profile_is_its_twin(weeks):
    values, slots = days(weeks)
    values[300] += 50.0
    found, twin = run_day_profile(values, slots), day_profiles(values.tolist(), slots.tolist())
    for ours, theirs in zip(found, twin, strict=True):
        residual = np.nan if theirs[1] is None else theirs[1]
        assert ours == pytest.approx((theirs[0], residual, theirs[2], theirs[3]), nan_ok=True)


def test_the_week_speaks_where_the_data_show_one():
    values, slots = days(8)
    assert run_day_profile(values, slots)[-1][3] == 1.0
    flat = np.sin(np.pi * (np.arange(len(values)) % 24) / 24) + 0.1 * RNG.standard_normal(
        len(values)
    )
    assert run_day_profile(flat, slots)[-1][3] == 0.0


def test_a_constant_day_has_no_residual():
    found = run_day_profile(np.full(500, 0.7), np.arange(500) % 672)
    assert {one[1] for one in found[96:]} == {0.0} and not any(one[0] for one in found)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kolkata"])
def test_slots_are_those_of_the_clock_on_the_wall(zone):
    moments = np.arange(1_711_800_000, 1_711_980_000, 450, dtype=np.int64)  # over a clock change
    told = day_profile.slots_of(moments * 1_000_000, zone)
    for second, slot in zip(moments.tolist(), told.tolist(), strict=True):
        wall = datetime.fromtimestamp(second, UTC).astimezone(zoneinfo.ZoneInfo(zone))
        assert slot == wall.weekday() * 96 + wall.hour * 4 + wall.minute // 15


def test_a_record_moves_the_range_by_its_width_at_most():
    values = np.r_[RNG.uniform(0.0, 1.0, 200), 1e6, RNG.uniform(0.0, 1.0, 50), 5.0]
    found = run_record(values)
    assert found[200][0] > 4.0 and found[-1][0] > 4.0
