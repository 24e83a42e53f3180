"""The ways that were not taken do find what they should, so that their speeds mean something."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import discord, discord_roads
from benchmarks.discord import series
from benchmarks.discord_roads import Windows, damp, early_stop, mass_left
from detectors.left_profile import LeftProfile

M, N, ROWS = 2048, discord_roads.LENGTH, 3000


@pytest.fixture(scope="module")
def exact() -> np.ndarray:
    values = odd_series()
    profile = LeftProfile(N, M, values[: M + 2 * N], 0.0, 1.0, normalize=True)
    return np.concatenate(
        [profile.extend(part)[0] for part in np.array_split(values[M + 2 * N :], 20)]
    )


def odd_series() -> np.ndarray:
    values = series(M + 2 * N + ROWS)
    values[-500:-480] += np.linspace(0.0, 3.0, 20)
    return values


FIRST = M + 2 * N - N + 1


def test_mass_is_exact(exact: np.ndarray) -> None:
    windows = Windows.of(odd_series(), N)
    found = [mass_left(windows, FIRST + k, M) for k in range(0, ROWS, 97)]
    np.testing.assert_allclose(found, exact[::97], rtol=1e-9)


@pytest.mark.parametrize("quantile", [0.5, 0.99])
def test_early_stopping_flags_what_is_farther(exact: np.ndarray, quantile: float) -> None:
    limit = float(np.quantile(exact, quantile))
    flags = early_stop(Windows.of(odd_series(), N), FIRST, M, limit)
    clear = np.abs(exact - limit) > 1e-9
    np.testing.assert_array_equal(flags[clear], exact[clear] > limit)


def test_damp_finds_the_discord_and_prunes_the_rest(exact: np.ndarray) -> None:
    windows = Windows.of(odd_series(), N)
    for ahead in (0, 4 * N):
        scores, searched = damp(windows, FIRST, M, ahead)
        assert scores.argmax() == exact.argmax()
        assert scores.max() == pytest.approx(exact.max())
        assert searched < ROWS
        if not ahead:  # the first 16 n are searched whole
            np.testing.assert_allclose(scores[: 16 * N], exact[: 16 * N], rtol=1e-7)


def test_the_report_is_one_json_object(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr(discord, "LAGS_A_ROUND", 1)
    monkeypatch.setattr(discord_roads, "THREAD_LAGS", 1)
    arguments = ["--contexts", "100", "--rows", "300", "--rounds", "1"]
    assert discord_roads.main([*arguments, "--json"]) == 0
    report = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert {line["context"] for line in report["roads"]} == {128}
    assert all(line["points_per_second"] > 0 for line in report["roads"])
    ways = {line["way"] for line in report["roads"]}
    assert len(ways) == len(report["roads"]) >= 12
    for measure in ("wall", "CPU"):
        assert f"two threads, half the context each ({measure} time)" in ways
    assert discord_roads.main(arguments) == 0
    assert "MASS" in capsys.readouterr().out
