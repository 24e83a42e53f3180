"""What a forest expects: the values that make a point least strange, now and some rows ahead."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors._forest_layout import NOTHING, Floats, Forest, Index, Record, Singles, kernel
from detectors._forest_score import path_score, take_in_hand
from detectors._forest_transform import in_values, inverse
from detectors._forest_tree import parent_of


@kernel
def _depth(tree: Record, leaf: Index) -> Index:
    """Depth of a leaf, given by its id."""
    depth = 0
    above = parent_of(tree, leaf)
    while above != NOTHING:
        depth += 1
        above = parent_of(tree, above)
    return depth


@kernel
def _impute(tree: Record, hand: Record, ring: Singles, before: Index, best: Any) -> None:
    """Fill ``best`` (float32[m]) with the newest row that makes the point least strange to a tree.

    Cuts of a missing dimension are followed to both sides; each leaf so reached lends its own
    values to the point, and the lowest score wins. The point in hand is changed.
    """
    size = tree.leaves.shape[0]
    value = hand.value
    waiting = hand.waiting
    waiting[0] = np.int64(tree.root)
    count = 1
    least = np.inf
    while count > 0:
        count -= 1
        here = waiting[count]
        if here >= size:
            start = np.int64(tree.leaves[here - size].position)
            for k in range(before, value.shape[0]):
                if hand.missing[k] != 0:
                    value[k] = ring[start + k]
            rank = path_score(tree, hand, ring, here, _depth(tree, here))
            if rank < least:
                least = rank
                for k in range(before, value.shape[0]):
                    best[k - before] = value[k]
            continue
        node = tree.nodes[here]
        if hand.missing[node.dimension] != 0:
            waiting[count] = np.int64(node.child[1])
            waiting[count + 1] = np.int64(node.child[0])
            count += 2
        else:
            waiting[count] = np.int64(node.child[int(value[node.dimension] > node.cut)])
            count += 1


@kernel
def _impute_all(forest: Forest) -> NDArray[np.float32]:
    """Every tree's newest row for the point in hand, whose missing dimensions are marked.

    float32[m, T], each measure's in rising order; what is not missing is repeated.
    """
    hand = forest.hand[0]
    trees = forest.trees
    measures = forest.measures.shape[0]
    imputed = np.empty((measures, trees.shape[0]), np.float32)
    best = np.empty(measures, np.float32)
    for t in range(trees.shape[0]):
        _impute(trees[t], hand, forest.ring, hand.value.shape[0] - measures, best)
        for j in range(measures):
            # by insertion: candidates are few, and numpy's sort takes seconds to compile
            place = t
            while place > 0 and imputed[j, place - 1] > best[j]:
                imputed[j, place] = imputed[j, place - 1]
                place -= 1
            imputed[j, place] = best[j]
    return imputed


@kernel
def _median(imputed: NDArray[np.float32], measure: Index) -> float:
    count = imputed.shape[1]
    low = np.float64(imputed[measure, (count - 1) // 2])
    return 0.5 * (low + np.float64(imputed[measure, count // 2]))


@kernel
def mark_newest(forest: Forest) -> None:
    """Mark the newest row of the point in hand, all of it, as missing."""
    hand = forest.hand[0]
    before = hand.value.shape[0] - forest.measures.shape[0]
    for k in range(hand.value.shape[0]):
        hand.missing[k] = k >= before


@kernel
def expect_in_hand(forest: Forest, expected: Floats, seen: NDArray[np.float32]) -> None:
    """What the forest expects in place of the newest row of the point in hand.

    The median over trees of the values that each tree finds most fitting, given the rows before.

    Parameters
    ----------
    forest : Forest
        ``hand.missing`` marks what to find; the rest of the newest row counts as known.
    expected : float64[m]
        Filled, in the unit of the values.
    seen : float32[m]
        Filled, as the trees see them.
    """
    imputed = _impute_all(forest)
    for j in range(expected.shape[0]):
        measure = forest.measures[j]
        seen[j] = _median(imputed, j)
        unit = inverse(forest.head[0], measure, np.float64(seen[j]), measure.previous)
        expected[j] = in_values(measure, unit)


@kernel
def expect(forest: Forest, point: Floats, expected: Floats, seen: NDArray[np.float32]) -> None:
    """`expect_in_hand` for the next row, whose NaN values (float64[m]) are the missing ones.

    NaN while warming.
    """
    hand = forest.hand[0]
    before = hand.value.shape[0] - point.shape[0]
    known = np.empty(point.shape[0])
    for j in range(point.shape[0]):
        known[j] = 0.0 if math.isnan(point[j]) else point[j]
        expected[j] = np.nan
        seen[j] = np.nan
    if not take_in_hand(forest, known):
        return
    mark_newest(forest)
    for j in range(point.shape[0]):
        hand.missing[before + j] = math.isnan(point[j])
    expect_in_hand(forest, expected, seen)


@kernel
def forecast(forest: Forest, expected: Floats, lower: Floats, upper: Floats) -> None:
    """Fill the next rows (float64[h, m]): median, 10 % and 90 % quantile over the trees.

    Row after row is imputed, and taken for what happened when the next one is.
    """
    hand = forest.hand[0]
    measures = forest.measures.shape[0]
    before = hand.value.shape[0] - measures
    if not take_in_hand(forest, np.zeros(measures)):
        expected[:] = np.nan
        lower[:] = np.nan
        upper[:] = np.nan
        return
    mark_newest(forest)
    shingle = hand.value.copy()  # its last row is the one to be found
    previous = np.empty(measures)
    for j in range(measures):
        previous[j] = forest.measures[j].previous
    outer = (forest.trees.shape[0] - 1) // 10
    for i in range(expected.shape[0]):
        for k in range(shingle.shape[0]):
            hand.value[k] = shingle[k]
        imputed = _impute_all(forest)
        for j in range(measures):
            measure = forest.measures[j]
            low, high = imputed[j, outer], imputed[j, imputed.shape[1] - 1 - outer]
            middle = _median(imputed, j)
            lower[i, j] = _value(forest, measure, low, previous[j])
            upper[i, j] = _value(forest, measure, high, previous[j])
            expected[i, j] = _value(forest, measure, middle, previous[j])
            previous[j] = inverse(forest.head[0], measure, middle, previous[j])
            shingle[before + j] = middle
        for k in range(before):
            shingle[k] = shingle[k + measures]


@kernel
def _value(forest: Forest, measure: Record, seen: float, previous: float) -> float:
    return in_values(measure, inverse(forest.head[0], measure, np.float64(seen), previous))
