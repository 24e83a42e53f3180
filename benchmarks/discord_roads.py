"""Ways to the left discord that were not taken, each measured beside the one that was.

    python -m benchmarks.discord_roads --json

- *early stopping*: only whether a neighbour is nearer than a fixed threshold, the lag of the
  previous query's neighbour tried first, then from the newest candidate back;
- *DAMP* (Lu et al. 2022, doi:10.1145/3534678.3539271): backwards in chunks that double, up to the
  best score so far, and a look-ahead that prunes later queries;
- *MASS*: the whole distance profile of a query by FFT, query by query;
- *two threads*: the context split, each half's lags in a thread of its own.

All on the series of `benchmarks.discord`, subsequences of 100 points, z-normalised. CPU seconds of
one thread, the best of some rounds. The threads are timed in wall seconds, which other work on the
machine makes longer, and in CPU seconds of both, which show what the split costs; one thread and
two take turns, in runs so short that some find both cores free.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.discord import points_a_second, series
from benchmarks.machine import machine
from detectors.left_profile import LeftProfile, tiles

Floats = NDArray[np.float64]

CONTEXTS = (1_000, 10_000)
LENGTH = 100
BLOCKS = (1, 64, 256, 1024)
QUANTILES = (0.9, 0.99, 0.999)
ROUNDS = 5
ROWS = 2_000
MASS_ROWS = 64
THREAD_LAGS = 60_000_000
THREAD_ROUNDS = 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.discord_roads", description="Other ways to the left discord."
    )
    parser.add_argument("--contexts", type=int, nargs="+", default=CONTEXTS, metavar="M")
    parser.add_argument("--rows", type=int, default=ROWS, help="points measured over")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    options = parser.parse_args(arguments)
    lines = [line for m in options.contexts for line in roads(m, options.rows, options.rounds)]
    report = {
        "machine": machine(),
        "load_average": list(os.getloadavg()),
        "length": LENGTH,
        "roads": lines,
    }
    if options.json:
        print(json.dumps(report))
    else:
        _print(lines)
    return 0


def roads(m: int, rows: int, rounds: int) -> list[dict[str, Any]]:
    """Points a second of every way at one context."""
    m, n = tiles(m), LENGTH
    values = series(m + 2 * n + rows)
    past, points = values[: m + 2 * n], values[m + 2 * n :]
    profile = LeftProfile(n, m, past, 0.0, 1.0, normalize=True)
    exact = np.concatenate([profile.extend(part)[0] for part in np.array_split(points, 16)])
    rates = {
        f"this kernel, blocks of {block}": max(points_a_second(m, n, block) for _ in range(rounds))
        for block in BLOCKS
    }
    windows = Windows.of(values, n)
    first = len(past) - n + 1
    for quantile in QUANTILES:
        limit = float(np.quantile(exact, quantile))
        seconds = _best(partial(early_stop, windows, first, m, limit), rounds)
        rates[f"early stopping at the {quantile} quantile"] = rows / seconds
    seconds = _best(lambda: damp(windows, first, m, 16 * n), 1)
    rates["DAMP, look-ahead of 16 n"] = rows / seconds
    mass_rows = min(rows, MASS_ROWS)
    seconds = _best(lambda: [mass_left(windows, first + k, m) for k in range(mass_rows)], rounds)
    rates["MASS"] = mass_rows / seconds
    rates |= threads(m, rounds)
    return [
        {"context": m, "way": way, "points_per_second": round(rate)} for way, rate in rates.items()
    ]


def _best(call: Callable[[], object], rounds: int) -> float:
    call()  # compiled, and what it reads is in memory
    best = math.inf
    for _ in range(rounds):
        start = time.thread_time()
        call()
        best = min(best, time.thread_time() - start)
    return best


@dataclass(frozen=True)
class Windows:
    """All subsequences of n points, as every way here needs them.

    Attributes
    ----------
    x : float64[k]
        The points.
    mean, inverse : float64[k - n + 1]
        Mean and 1 / (sqrt(n) standard deviation) of the subsequence that starts there.
    n : int
        Points a subsequence.
    """

    x: Floats
    mean: Floats
    inverse: Floats
    n: int

    @classmethod
    def of(cls, x: Floats, n: int) -> Windows:
        """Those of ``x``."""
        view = np.lib.stride_tricks.sliding_window_view(x, n)
        return cls(x, view.mean(axis=1), 1.0 / (math.sqrt(n) * view.std(axis=1)), n)


def distances(windows: Windows, i: int, first: int, last: int) -> Floats:
    """Raw scores of query i against candidates ``first <= j < last``, by FFT (MASS)."""
    n = windows.n
    points = windows.x[first : last + n - 1]
    size = 1 << (len(points) + n - 2).bit_length()
    query = windows.x[i : i + n] - windows.mean[i]
    product = np.fft.rfft(points, size) * np.conj(np.fft.rfft(query, size))
    products = np.fft.irfft(product, size)[: last - first]
    correlation = products * windows.inverse[i] * windows.inverse[first:last]
    return np.sqrt(np.maximum(2.0 - 2.0 * correlation, 0.0))


def mass_left(windows: Windows, i: int, m: int) -> float:
    """The raw score of query i against its m candidates."""
    last = i - windows.n + 1
    return float(distances(windows, i, max(last - m, 0), last).min())


def damp(windows: Windows, first: int, m: int, ahead: int) -> tuple[Floats, int]:
    """Scores of the queries from ``first`` on, as DAMP gives them, and how many are exact.

    A pruned query keeps the score before it; the first 16 n are searched whole.
    """
    n, count = windows.n, len(windows.mean)
    scores = np.zeros(count - first)
    pruned = np.zeros(count, np.bool_)
    best_so_far, exact = 0.0, 0
    for i in range(first, count):
        k = i - first
        if pruned[i]:
            scores[k] = scores[k - 1] if k else 0.0
            continue
        last = i - n + 1
        oldest = max(last - m, 0)
        size = m if k < 16 * n else 8 * n
        nearest = math.inf
        while True:
            start = max(last - size, oldest)
            nearest = min(nearest, float(distances(windows, i, start, last).min()))
            if start == oldest or nearest < best_so_far:
                break
            size *= 2
        scores[k] = nearest
        if start == oldest:
            exact += 1
            best_so_far = max(best_so_far, nearest)
        stop = min(i + n + ahead, count)
        if ahead and i + n < stop:
            pruned[i + n : stop] |= distances(windows, i, i + n, stop) < best_so_far
    return scores, exact


def early_stop(windows: Windows, first: int, m: int, limit: float) -> NDArray[np.bool_]:
    """Whether each query from ``first`` on is farther than ``limit`` from all its candidates."""
    flags = np.zeros(len(windows.mean) - first, np.bool_)
    least = 1.0 - limit * limit / 2.0
    _early_stop(windows.x, windows.mean, windows.inverse, windows.n, first, m, least, flags)
    return flags


@njit(cache=True, nogil=True, error_model="numpy")
def _early_stop(
    x: Floats,
    mean: Floats,
    inverse: Floats,
    n: int,
    first: int,
    m: int,
    least: float,
    flags: NDArray[np.bool_],
) -> None:
    lag = n
    for k in range(flags.shape[0]):
        i = first + k
        found = False
        for attempt in range(-1, m):
            one = lag if attempt < 0 else n + attempt
            j = i - one
            if j < 0:
                break
            product = 0.0
            for p in range(n):
                product += (x[i + p] - mean[i]) * x[j + p]
            if product * inverse[i] * inverse[j] >= least:
                lag, found = one, True
                break
        flags[k] = not found


def threads(m: int, rounds: int) -> dict[str, float]:
    """Points a second of one profile, and of two of half the context, a thread each.

    What a split over workers could gain at the most: theirs would exchange the least distances
    over the network, these lay them into one array.
    """
    n, block, calls = LENGTH, 256, max(4, THREAD_LAGS // (m * 256))
    values = series(m + 2 * n + block * calls)

    def run(context: int) -> Floats:
        past, points = values[: m + 2 * n], values[m + 2 * n :]
        profile = LeftProfile(n, context, past, 0.3, 1.0, normalize=True)
        parts = np.split(points, calls)
        return np.concatenate([profile.extend(part)[0] for part in parts])

    def timed(contexts: list[int]) -> tuple[float, float]:
        wall, cpu = time.perf_counter(), time.process_time()
        np.minimum.reduce(list(pool.map(run, contexts)))
        return time.perf_counter() - wall, time.process_time() - cpu

    split = {"one thread": [m], "two threads, half the context each": [m // 2, m - m // 2]}
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in split}
    with ThreadPoolExecutor(2) as pool:
        timed([m])
        for _ in range(THREAD_ROUNDS * rounds):
            for name, contexts in split.items():
                runs[name].append(timed(contexts))
    rates = {}
    for name, times in runs.items():
        wall, cpu = np.min(times, axis=0)
        rates[f"{name} (wall time)"] = block * calls / wall
        rates[f"{name} (CPU time)"] = block * calls / cpu
    return rates


def _print(lines: Sequence[dict[str, Any]]) -> None:
    table = Table(box=SIMPLE_HEAD)
    for heading in lines[0]:
        table.add_column(heading.replace("_", " "))
    for line in lines:
        table.add_row(*(f"{v:,}" if isinstance(v, int) else str(v) for v in line.values()))
    Console(width=max(Console().width, 100)).print(table)


if __name__ == "__main__":
    sys.exit(main())
