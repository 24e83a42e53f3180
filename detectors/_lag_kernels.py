"""The left discord's recurrence over the lags: many queries against up to `TILE_LAGS` lags of each.

See `detectors._discord_kernels` for the symbols. A *block* is `BLOCK_LAGS` lags in a row, a tile up
to `WIDTH` blocks. Every kernel moves the carried numbers on and writes the greatest closeness of
each query in each block, ``peaks[b * WIDTH + k]`` for query b and block k; blocks that a tile does
not have are left at what they are.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from detectors._lanes import fma, larger
from detectors._subsequence_kernels import BLOCK_LAGS, F, G, H, W
from detectors._vectors import (
    WIDTH,
    larger_of,
    load,
    product,
    product_minus,
    product_plus,
    spread,
    store,
    transpose,
)

Floats = NDArray[np.float64]

TILE_LAGS = WIDTH * BLOCK_LAGS
MOST_ROWS = 128
"""Queries of a tile: what it reads and writes stays in the caches nearest to the core."""

LEAST_ROWS = 8
"""Fewer queries are not worth the interleaving."""


@njit(cache=True, nogil=True, error_model="numpy")
def scratch() -> Floats:
    """Room for `interleaved_rows`; float64[5, ...], its rows on the boundaries of cache lines."""
    length = (BLOCK_LAGS + MOST_ROWS) * WIDTH
    cells = np.empty(5 * length + WIDTH)
    start = -(cells.ctypes.data // 8) % WIDTH
    return cells[start : start + 5 * length].reshape((5, length))


@njit(cache=True, nogil=True, error_model="numpy")
def _interleave(rows: Floats, blocks: int, count: int, absent: float, out: Floats) -> None:
    """``out[q * WIDTH + k] = rows[k * BLOCK_LAGS + q]`` for q < ``count``, k < ``blocks``.

    ``absent`` for the other k. So the numbers of WIDTH blocks that belong together are a vector.
    """
    if blocks == WIDTH:
        for q in range(0, count, WIDTH):
            transpose(rows, q, BLOCK_LAGS, out, q * WIDTH, WIDTH)
        return
    out[: count * WIDTH] = absent
    for k in range(blocks):
        block = rows[k * BLOCK_LAGS : k * BLOCK_LAGS + count]
        for q in range(count):
            out[q * WIDTH + k] = block[q]


@njit(cache=True, nogil=True, error_model="numpy")
def _separate(lags: Floats, carried: Floats) -> None:
    """The carried numbers back from their vectors."""
    if carried.shape[0] == TILE_LAGS:
        for q in range(0, BLOCK_LAGS, WIDTH):
            transpose(lags, q * WIDTH, WIDTH, carried, q, BLOCK_LAGS)
        return
    for k in range(carried.shape[0] // BLOCK_LAGS):
        block = carried[k * BLOCK_LAGS : (k + 1) * BLOCK_LAGS]
        for q in range(BLOCK_LAGS):
            block[q] = lags[q * WIDTH + k]


@njit(cache=True, nogil=True, error_model="numpy")
def interleaved_rows(
    windows: Floats, carried: Floats, peaks: Floats, i: int, j: int, rows: int, room: Floats
) -> None:
    """`normalised_rows` for an even number of queries, `MOST_ROWS` at most.

    A vector holds one lag of each block. The next query's candidates are then the next vector: they
    are loaded whole, and once for two queries (measured, thousand million lags a second: 5.1; with
    the lags as they lie, in vectors that a compiler made of loops, 2.8).
    """
    blocks = carried.shape[0] // BLOCK_LAGS
    count = BLOCK_LAGS + rows - 1
    f, g, w, h, lags = room
    _interleave(windows[F, j:], blocks, count, 0.0, f)
    _interleave(windows[G, j:], blocks, count, 0.0, g)
    _interleave(windows[W, j:], blocks, count, 0.0, w)
    _interleave(windows[H, j:], blocks, count, np.inf, h)
    _interleave(carried, blocks, BLOCK_LAGS, 0.0, lags)
    for b in range(0, rows, 2):
        f0, f1 = spread(windows[F, i + b]), spread(windows[F, i + b + 1])
        g0, g1 = spread(windows[G, i + b]), spread(windows[G, i + b + 1])
        w0, w1 = spread(windows[W, i + b]), spread(windows[W, i + b + 1])
        best0 = spread(-np.inf)
        best1 = spread(-np.inf)
        for q in range(0, BLOCK_LAGS, 2):
            at = (q + b) * WIDTH
            c = load(lags, q * WIDTH)
            d = load(lags, (q + 1) * WIDTH)
            f_j, g_j = load(f, at), load(g, at)
            w_j, h_j = load(w, at), load(h, at)
            c = product_plus(g0, f_j, product_plus(f0, g_j, c))
            best0 = larger_of(product_minus(product(c, w_j), w0, h_j), best0)
            at += WIDTH
            f_j, g_j = load(f, at), load(g, at)
            w_j, h_j = load(w, at), load(h, at)
            d = product_plus(g0, f_j, product_plus(f0, g_j, d))
            best0 = larger_of(product_minus(product(d, w_j), w0, h_j), best0)
            c = product_plus(g1, f_j, product_plus(f1, g_j, c))
            best1 = larger_of(product_minus(product(c, w_j), w1, h_j), best1)
            at += WIDTH
            f_j, g_j = load(f, at), load(g, at)
            w_j, h_j = load(w, at), load(h, at)
            d = product_plus(g1, f_j, product_plus(f1, g_j, d))
            best1 = larger_of(product_minus(product(d, w_j), w1, h_j), best1)
            store(lags, q * WIDTH, c)
            store(lags, (q + 1) * WIDTH, d)
        store(peaks, b * WIDTH, best0)
        store(peaks, (b + 1) * WIDTH, best1)
    _separate(lags, carried)


@njit(cache=True, nogil=True, error_model="numpy")
def normalised_rows(
    windows: Floats, carried: Floats, peaks: Floats, i: int, j: int, rows: int
) -> None:
    """Queries i, i+1, ... one by one, against as many candidates each as numbers are carried.

    The first candidates are j, j+1, ...
    """
    part = np.empty(WIDTH)
    for b in range(rows):
        f_i, g_i, w_i = spread(windows[F, i + b]), spread(windows[G, i + b]), windows[W, i + b]
        f, g = windows[F, j + b :], windows[G, j + b :]
        w, h = windows[W, j + b :], windows[H, j + b :]
        for k in range(carried.shape[0] // BLOCK_LAGS):
            best = spread(-np.inf)
            for s in range(k * BLOCK_LAGS, (k + 1) * BLOCK_LAGS, WIDTH):
                c = product_plus(g_i, load(f, s), product_plus(f_i, load(g, s), load(carried, s)))
                store(carried, s, c)
                near = product_minus(product(c, load(w, s)), spread(w_i), load(h, s))
                best = larger_of(near, best)
            store(part, 0, best)
            peaks[b * WIDTH + k] = _largest(part)


@njit(cache=True, nogil=True, error_model="numpy")
def plain_rows(
    x: Floats, windows: Floats, carried: Floats, peaks: Floats, i: int, j: int, rows: int, n: int
) -> None:
    """`normalised_rows` for the plain distance."""
    part = np.empty(BLOCK_LAGS)
    for b in range(rows):
        left_i = x[i + b - 1]
        came_i = x[i + b + n - 1]
        for k in range(carried.shape[0] // BLOCK_LAGS):
            first = j + b + k * BLOCK_LAGS
            left = x[first - 1 : first - 1 + BLOCK_LAGS]
            came = x[first + n - 1 : first + n - 1 + BLOCK_LAGS]
            h = windows[H, first : first + BLOCK_LAGS]
            lags = carried[k * BLOCK_LAGS : (k + 1) * BLOCK_LAGS]
            for r in range(BLOCK_LAGS):
                old = left_i - left[r]
                new = came_i - came[r]
                c = fma(old - new, old + new, lags[r])
                lags[r] = c
                part[r] = c - h[r]
            half = BLOCK_LAGS // 2
            while half >= WIDTH:
                for r in range(half):
                    part[r] = larger(part[r], part[half + r])
                half //= 2
            peaks[b * WIDTH + k] = _largest(part)


@njit(cache=True, nogil=True, error_model="numpy")
def _largest(part: Floats) -> float:
    """The largest of the first `WIDTH` elements."""
    left = larger(larger(part[0], part[1]), larger(part[2], part[3]))
    return larger(left, larger(larger(part[4], part[5]), larger(part[6], part[7])))
