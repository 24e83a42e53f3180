"""The discord's benchmark runs and reports what it says; nothing here is timed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import discord


def test_the_report_is_one_json_object(capsys, monkeypatch):
    monkeypatch.setattr(discord, "LAGS_A_ROUND", 1)
    monkeypatch.setattr(discord, "multiply_adds_a_second", lambda: 4e9)
    arguments = ["--contexts", "100", "--lengths", "20", "--blocks", "1", "8", "--rounds", "1"]
    assert discord.main([*arguments, "--no-peers", "--json"]) == 0
    report = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert report["lags_per_second_limit"] == 1e9
    assert [line["block"] for line in report["profile"]] == [1, 8]
    for line in report["profile"]:  # 100 is rounded up to 128
        assert line["lags_per_second"] == pytest.approx(128 * line["points_per_second"], rel=0.01)
        assert line["share_of_limit"] == pytest.approx(line["lags_per_second"] / 1e9, abs=1e-3)
    assert report["state"][0]["saved_bytes"] > 8 * 2 * 128
    assert discord.main([*arguments, "--no-peers"]) == 0
    assert "share of limit" in capsys.readouterr().out


def test_peers_take_turns_with_the_blocks_of_256(capsys, monkeypatch):
    turns = []

    def profile(m, n, block):
        turns.append(("profile", n, block))
        return 1000.0 * n

    def java(folder, m, n):
        turns.append(("java", n))
        return 10.0 + len(turns)

    monkeypatch.setattr(discord, "points_a_second", profile)
    monkeypatch.setattr(discord, "_java", java)
    monkeypatch.setattr(discord, "_stumpi", lambda m, n: (lambda: 8.0) if n == 20 else None)
    monkeypatch.setattr(discord.shutil, "which", lambda name: name)
    monkeypatch.setattr(discord.subprocess, "run", lambda command, check: None)
    lines = discord._peers([(100, 20), (100, 40)], 2)  # noqa: SLF001
    assert turns == [
        *[("profile", 20, 256), ("java", 20)] * 2,
        *[("profile", 40, 256), ("java", 40)] * 2,
    ]
    assert [line["java_points_per_second"] for line in lines] == [14.0, 18.0]  # the best round
    assert [line["times_java"] for line in lines] == [1428.6, 2222.2]
    assert [line["times_stumpi"] for line in lines] == [2500.0, None]


def test_multiply_adds_are_counted():
    assert discord.multiply_adds_a_second(rounds=1000) > 1e6
    cells = np.full((2 + discord.CHAINS) * discord.LANES, 0.5)
    discord._spin(cells, 3)  # noqa: SLF001
    assert cells[-1] == 0.5 * (0.5 * (0.5 * 0.5 + 0.5) + 0.5) + 0.5
    assert (cells[: 2 * discord.LANES] == 0.5).all()
