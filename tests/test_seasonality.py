from __future__ import annotations

import datetime as dt
import zoneinfo

import numpy as np
import pytest

from detectors.left_discord import LeftDiscordParameters
from detectors.model import ModelSpec, SeriesModel
from detectors.random_cut_forest import RandomCutForestParameters
from detectors.seasonality import SLOTS, Seasonality

MICROSECONDS = 1_000_000
STEP = 900
MONDAY = int(dt.datetime(2024, 1, 1, tzinfo=dt.UTC).timestamp())
SMALL = RandomCutForestParameters(
    shingle_size=5, number_of_trees=20, sample_size=32, time_decay=0.05
)


def times(days: int) -> np.ndarray:
    return (MONDAY + np.arange(days * 86_400 // STEP) * STEP) * MICROSECONDS


def office(at: np.ndarray, seed: int = 0) -> np.ndarray:
    """High from 8 to 18 h of UTC, but not on weekends; noise."""
    seconds = at // MICROSECONDS
    hour, weekday = seconds // 3600 % 24, (seconds // 86_400 + 3) % 7
    busy = (hour >= 8) & (hour < 18) & (weekday < 5)
    return 10.0 * busy + np.random.default_rng(seed).standard_normal(len(at))


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/New_York"])
@pytest.mark.parametrize("season", SLOTS)
def test_slots_are_those_of_the_clock_on_the_wall(season, zone):
    random = np.random.default_rng(1)
    at = random.integers(MONDAY, MONDAY + 366 * 86_400, 400) * MICROSECONDS
    found = Seasonality(season, zone).slot_of(at)
    for moment, slot in zip(at, found, strict=True):
        local = dt.datetime.fromtimestamp(int(moment) // MICROSECONDS, zoneinfo.ZoneInfo(zone))
        expected = {
            "hour_parity": local.hour % 2,
            "hour_of_day": local.hour,
            "day_of_week": local.weekday(),
            "hour_of_week": local.weekday() * 24 + local.hour,
        }[season]
        assert slot == expected


def test_the_profile_is_learnt_and_knows_only_the_past():
    at = times(28)
    values = office(at)
    season = Seasonality("hour_of_week")
    levels = season.levels(season.new_state(), values, at)
    late = slice(14 * 96, None)
    clean = office(at) - np.random.default_rng(0).standard_normal(len(at))
    assert np.abs(levels - clean)[late].mean() < 0.7
    changed = values.copy()
    changed[2000:] += 100.0
    again = season.levels(season.new_state(), changed, at)
    assert np.array_equal(levels[:2001], again[:2001], equal_nan=True)
    assert np.isnan(levels[: 7 * 96]).all() and not np.isnan(levels[7 * 96 :]).any()


def test_one_anomaly_moves_the_profile_little():
    at = times(28)
    values = office(at)
    season = Seasonality("hour_of_day")
    plain = season.levels(season.new_state(), values, at)
    values[1500] += 1e6
    struck = season.levels(season.new_state(), values, at)
    assert np.nanmax(np.abs(struck - plain)) < 10.0


def model(season: Seasonality | None, parameters=SMALL, kind="RandomCutForest") -> SeriesModel:
    return SeriesModel(ModelSpec(kind, parameters, seasonality=season), 1)


def test_a_night_time_level_at_noon_is_an_anomaly_and_monday_morning_is_none():
    at = times(63)
    values = office(at)
    noon = 57 * 96 + 48  # a Tuesday
    values[noon : noon + 4] -= 10.0
    season = Seasonality("hour_of_week")
    found = model(season, RandomCutForestParameters()).score_and_learn(values, at)
    assert found.score[noon : noon + 4].max() >= 70.0
    assert found.expected[noon] == pytest.approx(10.0, abs=3.0)
    mondays = [day * 96 + 32 + i for day in (49, 56) for i in range(4)]
    assert found.score[mondays].max() < 70.0


@pytest.mark.parametrize(
    "kind, parameters",
    [("RandomCutForest", SMALL), ("LeftDiscord", LeftDiscordParameters(20, 128))],
)
def test_no_cut_and_no_reload_shows(kind, parameters):
    at, season = times(14), Seasonality("hour_of_day", "Europe/Berlin")
    values = office(at)
    values[[100, 700]] = np.nan
    whole = model(season, parameters, kind)
    one = whole.score_and_learn(values, at)
    parts, columns = model(season, parameters, kind), []
    for part in np.split(np.arange(len(at)), [1, 400, 401, 1000]):
        columns.append(parts.score_and_learn(values[part], at[part]))
        parts = SeriesModel(parts.spec, 0, parts.to_bytes())
    for name in ("raw", "decades", "expected", "lower"):
        other = np.concatenate([getattr(c, name) for c in columns])
        np.testing.assert_array_equal(getattr(one, name), other)
    assert whole.to_bytes() == parts.to_bytes()


def test_a_season_makes_another_model_and_needs_times():
    plain, daily = model(None).spec, model(Seasonality("hour_of_day")).spec
    assert plain.hash != daily.hash != model(Seasonality("hour_of_day", "Asia/Tokyo")).spec.hash
    with pytest.raises(ValueError, match="^times must be given with a seasonality, got None$"):
        SeriesModel(daily, 1).score_and_learn(np.zeros(3))


@pytest.mark.parametrize(
    "wrong, message",
    [
        (("month",), "season must be one of hour_parity, .*, got 'month'"),
        (("hour_of_day", "Berlin"), "time_zone must be an IANA name .*, got 'Berlin'"),
    ],
)
def test_a_wrong_season_says_what_is_allowed(wrong, message):
    with pytest.raises(ValueError, match=message):
        Seasonality(*wrong)
