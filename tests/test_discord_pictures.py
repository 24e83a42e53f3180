"""The pictures of the left discord are drawn from reports alone."""

from __future__ import annotations

import json
import struct

from benchmarks import discord_pictures
from benchmarks.discord_accuracy import DIFFERENCES, VARIANTS


def test_draws_every_picture(tmp_path) -> None:
    lines = [
        {"variant": name, "accuracy": 0.5, "rows_per_cpu_second": 60_000 + 1000 * k}
        for k, name in enumerate([*VARIANTS, DIFFERENCES, "|difference|"])
    ]
    limits = [
        {"threshold": f"Spot, risk {risk}", "recall": risk, "false_per_10000_training_rows": risk}
        for risk in (0.4, 0.8)
    ]
    forest = {"detector": "RandomCutForest", "quiet_rows": 0, "ucr": {"accuracy": 0.2}}
    roads = [
        {"context": m, "way": way, "points_per_second": 10_000}
        for m in (1024, 10048)
        for way in ("this kernel, blocks of 256", "MASS", "one thread (wall time)")
    ]
    reports = {
        "accuracy": {"series": 104, "ingredients": lines, "thresholds": limits},
        "forest": {"results": [forest, {**forest, "quiet_rows": 100}]},
        "roads": {"roads": roads},
    }
    for name, report in reports.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(report))
    files = [str(tmp_path / f"{name}.json") for name in reports]
    assert discord_pictures.main([*files, str(tmp_path)]) == 0
    names = ("ingredients", "thresholds", "contexts", "roads")
    for name in names:
        png = (tmp_path / f"left_discord_{name}.png").read_bytes()
        width, height = struct.unpack(">II", png[16:24])
        assert png[1:4] == b"PNG" and width > 500 and height > 200
    way = json.dumps(discord_pictures.roads(reports["roads"]).to_dict())
    assert "MASS" in way and "one thread" not in way
