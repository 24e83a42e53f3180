"""Vectors of eight floats do what eight floats would."""

from __future__ import annotations

import numpy as np
from numba import njit

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


@njit
def _each(a: np.ndarray, b: np.ndarray, c: np.ndarray, out: np.ndarray) -> None:
    left, right, other = load(a, 1), load(b, 0), load(c, 0)
    store(out[0], 0, product(left, right))
    store(out[1], 0, product_plus(left, right, other))
    store(out[2], 0, product_minus(left, right, other))
    store(out[3], 0, larger_of(left, right))
    store(out[4], 0, spread(a[2]))


@njit
def _transpose(source: np.ndarray, target: np.ndarray) -> None:
    transpose(source, 3, 11, target, 5, 9)


def test_each_element_for_itself() -> None:
    random = np.random.default_rng(1)
    a, b, c = random.normal(size=(3, WIDTH + 1))
    b[2], c[3] = np.nan, np.inf
    a[4], b[3], c[3] = 1.0 + 2.0**-30, 1.0 + 2.0**-30, -1.0  # a product of 61 bits
    out = np.empty((5, WIDTH))
    _each(a, b, c, out)
    left, right, other = a[1:], b[:WIDTH], c[:WIDTH]
    np.testing.assert_array_equal(out[0], left * right)
    long = left.astype(np.longdouble) * right
    np.testing.assert_array_equal(out[1], (long + other).astype(float))
    np.testing.assert_array_equal(out[2], (long - other).astype(float))
    assert out[1][3] == 2.0**-29 + 2.0**-60 != left[3] * right[3] - 1.0
    np.testing.assert_array_equal(out[3], np.where(left > right, left, right))
    np.testing.assert_array_equal(out[4], a[2])


def test_a_square_of_vectors_is_transposed() -> None:
    source, target = np.arange(100.0), np.full(80, -1.0)
    _transpose(source, target)
    expected = np.full(80, -1.0)
    for k in range(WIDTH):
        for other in range(WIDTH):
            expected[5 + k * 9 + other] = source[3 + other * 11 + k]
    np.testing.assert_array_equal(target, expected)
