"""Speed of the left profile, beside a naive Java loop, stumpy's stumpi and the machine's limit.

    python -m benchmarks.discord --json

Everything is timed in CPU seconds of one thread, in several rounds, the best of each counting:
other work on the machine only ever makes a round slower. The profile and the limit take turns; so
do, after them, the profile in blocks of `COMPARED_BLOCK` and its peers. A *lag* is one subsequence
compared with one other. The limit is what the measured rate of fused multiply-adds allows at
`INSTRUCTIONS` of them a lag.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numba import get_num_threads, njit, set_num_threads, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.machine import machine
from detectors.left_discord import LeftDiscordParameters
from detectors.left_profile import LeftProfile, tiles
from detectors.model import ModelSpec, SeriesModel

Floats = NDArray[np.float64]

CONTEXTS = (1_000, 10_000, 100_000)
LENGTHS = (50, 100, 200)
BLOCKS = (1, 8, 64, 256, 1024)
COMPARED_BLOCK = 256
INSTRUCTIONS = 4
"""Vector instructions that a lag takes at the least: two multiply-adds, a multiply, a maximum."""

FLOOR = 0.3
LAGS_A_ROUND = 40_000_000
MOST_CALLS = 2_000
ROUNDS = 5
LANES, CHAINS = 8, 16
JAVA = Path(__file__).parent / "java" / "NaiveLeftDiscord.java"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.discord", description="Speed of the left discord."
    )
    parser.add_argument("--contexts", type=int, nargs="+", default=CONTEXTS, metavar="M")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, metavar="N")
    parser.add_argument("--blocks", type=int, nargs="+", default=BLOCKS, metavar="B")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--no-peers", action="store_true", help="without Java and stumpy")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    options = parser.parse_args(arguments)
    report = measure(options)
    if options.json:
        print(json.dumps(report))
    else:
        _print(report)
    return 0


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Every figure, as the object that ``--json`` prints."""
    limit = 0.0
    profiles: dict[tuple[int, int, int], float] = {}
    for _ in range(options.rounds):  # in turn, so that a slow minute of the machine hits all
        limit = max(limit, multiply_adds_a_second())
        for m in options.contexts:
            for n in options.lengths:
                for block in options.blocks:
                    key = (m, n, block)
                    profiles[key] = max(profiles.get(key, 0.0), points_a_second(*key))
    lag_limit = limit / INSTRUCTIONS
    pairs = [(m, n) for m in options.contexts for n in options.lengths]
    peers = [] if options.no_peers else _peers(pairs, options.rounds)
    return {
        "machine": machine(),
        "load_average": list(os.getloadavg()),
        "multiply_adds_per_second": limit,
        "lags_per_second_limit": lag_limit,
        "profile": [
            {
                "context": m,
                "length": n,
                "block": block,
                "points_per_second": round(rate),
                "lags_per_second": round(rate * tiles(m)),
                "share_of_limit": round(rate * tiles(m) / lag_limit, 4),
            }
            for (m, n, block), rate in profiles.items()
        ],
        "compared_block": COMPARED_BLOCK,
        "peers": peers,
        "pipeline": [model_costs(m, 100, options.rounds) for m in options.contexts],
        "state": [state_costs(m, n) for m, n in pairs],
    }


def series(rows: int) -> Floats:
    """A wave with noise."""
    noise = np.random.default_rng(1).normal(size=rows)
    wave: Floats = np.sin(np.arange(rows) / 16.0) + 0.1 * noise
    return wave


def points_a_second(m: int, n: int, block: int) -> float:
    """Points a CPU second through a `LeftProfile` whose context is full."""
    calls = int(np.clip(LAGS_A_ROUND // (m * block), 4, MOST_CALLS))
    values = series(m + 2 * n + (calls + 1) * block)
    profile = LeftProfile(n, m, values[: m + 2 * n], FLOOR, 1.0, normalize=True)
    points = values[m + 2 * n :]
    block = min(block, profile.chunk)
    profile.extend(points[:block])  # the first query of all is summed directly
    start = time.thread_time()
    for call in range(calls):
        profile.extend(points[call * block : (call + 1) * block])
    return calls * block / (time.thread_time() - start)


def model_costs(m: int, n: int, rounds: int) -> dict[str, Any]:
    """Points a CPU second of one profile, and of the whole model with two; in blocks of 256."""
    parameters = LeftDiscordParameters(n, m)
    rows = 20 * 256
    values = series(4 * n + m + 2 * n + rows)
    warm, points = values[:-rows], values[-rows:]
    best = {"profile": 0.0, "model": 0.0}
    for _ in range(rounds):
        best["profile"] = max(best["profile"], points_a_second(m, n, 256))
        model = SeriesModel(ModelSpec("LeftDiscord", parameters), 1)
        model.score_and_learn(warm)
        start = time.thread_time()
        for k in range(0, rows, 256):
            model.score_and_learn(points[k : k + 256])
        best["model"] = max(best["model"], rows / (time.thread_time() - start))
    return {
        "context": m,
        "length": n,
        "profile_points_per_second": round(best["profile"]),
        "model_points_per_second": round(best["model"]),
        "share_of_model_time_in_two_profiles": round(2 * best["model"] / best["profile"], 3),
    }


def state_costs(m: int, n: int) -> dict[str, Any]:
    """Bytes of a detector with one profile, and microseconds of a snapshot and of a restore."""
    parameters = LeftDiscordParameters(n, m, differences=False)
    model = SeriesModel(ModelSpec("LeftDiscord", parameters), 1)
    model.score_and_learn(series(4 * n + m + 2 * n))
    saved = model.to_bytes()
    return {
        "context": m,
        "length": n,
        "live_bytes": model.detector.state_bytes,
        "saved_bytes": len(saved),
        "snapshot_us": _microseconds(model.to_bytes),
        "restore_us": _microseconds(lambda: SeriesModel(model.spec, 0, saved)),
    }


def _microseconds(call: Callable[[], object], repeats: int = 7) -> float:
    call()
    best = float("inf")
    for _ in range(repeats):
        start = time.thread_time()
        call()
        best = min(best, time.thread_time() - start)
    return round(best * 1e6, 1)


def _peers(pairs: Sequence[tuple[int, int]], rounds: int) -> list[dict[str, Any]]:
    """Points a CPU second of profile and peers, in turn, and how many times theirs ours is."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        if shutil.which("javac"):
            subprocess.run(["javac", "-d", folder, str(JAVA)], check=True)  # noqa: S603, S607
        for m, n in pairs:
            contestants = {
                "profile": partial(points_a_second, m, n, COMPARED_BLOCK),
                "java": partial(_java, folder, m, n) if shutil.which("javac") else None,
                "stumpi": _stumpi(m, n),
            }
            best = dict.fromkeys(contestants, 0.0)
            for _ in range(rounds):
                for name, rate in contestants.items():
                    best[name] = max(best[name], rate() if rate else 0.0)
            lines.append(_compared(m, n, best))
    return lines


def _compared(m: int, n: int, rates: Mapping[str, float]) -> dict[str, Any]:
    """One line of the report; None for a peer that is not on the machine."""
    line: dict[str, Any] = {"context": m, "length": n}
    for name, rate in rates.items():
        line[f"{name}_points_per_second"] = round(rate, 1) if rate else None
    for name in ("java", "stumpi"):
        line[f"times_{name}"] = round(rates["profile"] / rates[name], 1) if rates[name] else None
    return line


def _java(folder: str, m: int, n: int) -> float:
    rows = max(int(4e8 / (m * n)), 20)
    command = ["java", "-cp", folder, "NaiveLeftDiscord", str(m), str(n), str(rows)]
    output = subprocess.run(command, check=True, capture_output=True).stdout  # noqa: S603
    return float(output.split()[0])


def _stumpi(m: int, n: int, rows: int = 400) -> Callable[[], float] | None:
    """What times the next points of a stream that is warm; None without stumpy.

    With egress, so over the latest m subsequences as here, and in one thread: more only wait for
    each other, and their waiting is CPU time. Starting it compares all pairs of them, which is not
    timed but takes minutes at 100,000.
    """
    try:
        import stumpy
    except ImportError:
        return None
    start, points = series(m + n - 1 + rows)[: m + n - 1], series(m + n - 1 + rows)[-rows:]
    stream = stumpy.stumpi(start, n, egress=True)

    def rate() -> float:
        threads = get_num_threads()
        set_num_threads(1)
        try:
            begun = time.process_time()
            for point in points:
                stream.update(point)
            return rows / (time.process_time() - begun)
        finally:
            set_num_threads(threads)

    rate()  # compiled
    return rate


@intrinsic
def _multiply_adds(typingctx: Any, cells: Any, rounds: Any) -> Any:
    """`CHAINS` independent vectors of `LANES`, each multiplied and added to ``rounds`` times."""
    from llvmlite import ir

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(ir.DoubleType(), LANES)
        index = ir.IntType(64)
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data

        def place(k: int) -> Any:
            at = builder.gep(data, [ir.Constant(index, k * LANES)])
            return builder.bitcast(at, vector.as_pointer())

        def load(k: int) -> Any:
            value = builder.load(place(k))
            value.align = 8
            return value

        name = f"llvm.fma.v{LANES}f64"
        kind = ir.FunctionType(vector, [vector, vector, vector])
        fma = cgutils.get_or_insert_function(builder.module, kind, name)
        factor, summand = load(0), load(1)
        sums = [cgutils.alloca_once_value(builder, load(2 + k)) for k in range(CHAINS)]
        with cgutils.for_range(builder, arguments[1]):
            for one in sums:
                builder.store(builder.call(fma, [factor, builder.load(one), summand]), one)
        for k, one in enumerate(sums):
            stored = builder.store(builder.load(one), place(2 + k))
            stored.align = 8
        return context.get_dummy_value()

    return types.void(cells, types.intp), codegen


@njit(error_model="numpy")
def _spin(cells: Floats, rounds: int) -> None:
    _multiply_adds(cells, rounds)


def multiply_adds_a_second(rounds: int = 4_000_000) -> float:
    """Fused multiply-adds of float64 a CPU second, of one core."""
    cells = np.full((2 + CHAINS) * LANES, 0.5)
    _spin(cells, 10)
    start = time.thread_time()
    _spin(cells, rounds)
    return rounds * CHAINS * LANES / (time.thread_time() - start)


def _print(report: dict[str, Any]) -> None:
    console = Console(width=max(Console().width, 100))
    limit = report["lags_per_second_limit"] / 1e9
    console.print(
        f"{report['multiply_adds_per_second'] / 1e9:.1f} G multiply-adds a second: "
        f"limit {limit:.2f} G lags a second"
    )
    for name in ("profile", "peers", "pipeline", "state"):
        if not report[name]:
            continue
        table = Table(title=name, box=SIMPLE_HEAD)
        for heading in report[name][0]:
            table.add_column(heading.replace("_", " "), justify="right")
        for line in report[name]:
            table.add_row(
                *(f"{v:,}" if isinstance(v, int | float) else str(v) for v in line.values())
            )
        console.print(table)


if __name__ == "__main__":
    sys.exit(main())
