"""The time-decayed sample of each tree, and the ring that all samples lie in."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors._forest_layout import (
    EXPIRY_PERIOD,
    OPENING,
    Floats,
    Forest,
    Index,
    Record,
    Singles,
    kernel,
    ring_rows,
    uniform,
)
from detectors._forest_transform import awaken, follow, open_measures, transformed
from detectors._forest_tree import insert, remove

REBASE_AT = 1.0  # decay gathered, in nats, when weights are written relative to the present again
FARTHEST_JUMP = 1e15
WEIGHT_UNITS = 256.0
"""Of a nat: weights are whole numbers of these, 16 bits wide. A chance is rounded by 0.2 %."""
WEIGHT_LIMIT = 32_767.0


@kernel
def _rounded(weight: float) -> Any:
    """A weight in nats as a whole number of units."""
    return np.int16(min(max(np.rint(weight * WEIGHT_UNITS), -WEIGHT_LIMIT), WEIGHT_LIMIT))


@kernel
def _decayed(head: Record, now: Index) -> float:
    """Decay, in nats, that weights have not been moved up by yet."""
    return head.time_decay * (now - head.rebased_at) + head.rebased_rest


@kernel
def _sift_down(tree: Record, size: Index, weight: Any, leaf: Index) -> None:
    """Put (weight, leaf) at the top of a heap of ``size`` samples, or below."""
    weights = tree.weights
    sampled = tree.sampled
    here = 0
    while 2 * here + 1 < size:
        child = 2 * here + 1
        if child + 1 < size and weights[child + 1] > weights[child]:
            child += 1
        if weights[child] <= weight:
            break
        weights[here] = weights[child]
        sampled[here] = sampled[child]
        here = child
    weights[here] = weight
    sampled[here] = leaf


@kernel
def _sift_up(tree: Record, here: Index, weight: Any, leaf: Index) -> None:
    """Put (weight, leaf) at ``here``, the end of the heap, or above."""
    weights = tree.weights
    sampled = tree.sampled
    while here > 0:
        above = (here - 1) >> 1
        if weights[above] >= weight:
            break
        weights[here] = weights[above]
        sampled[here] = sampled[above]
        here = above
    weights[here] = weight
    sampled[here] = leaf


@kernel
def _accept(
    head: Record, tree: Record, hand: Record, ring: Singles, now: Index, position: Index
) -> None:
    """Sample the point in hand, in place of the sample of greatest weight if the tree is full.

    A point that came at clock t has weight ln(E) - time_decay * t with E ~ Exp(1), and the S
    smallest weights are kept: a sample without replacement whose chances fall by e**-time_decay
    a point (Efraimidis & Spirakis 2006, doi:10.1016/j.ipl.2005.11.003). A full tree takes a
    point if E is below ``rate``, e**(greatest weight) at the point's own time; so E is drawn as
    Exp(1) cut off there, and the number of points passed over until the next one that is taken
    is drawn at once: they pass with chance e**-(sum of their rates), a geometric series.
    """
    size = tree.leaves.shape[0]
    samples = np.int64(tree.samples)
    decayed = _decayed(head, now)
    if samples == size:
        rate = math.exp(tree.weights[0] / WEIGHT_UNITS + decayed)
        exponential = -math.log1p(uniform(head) * math.expm1(-rate))
        samples -= 1
        leaving = np.int64(tree.sampled[0])
        _sift_down(tree, samples, tree.weights[samples], tree.sampled[samples])
        remove(tree, hand, ring, leaving)
    else:
        exponential = -math.log(uniform(head))
    leaf = insert(head, tree, hand, ring, position)
    _sift_up(tree, samples, _rounded(math.log(exponential) - decayed), np.uint16(leaf))
    samples += 1
    tree.samples = samples
    jump = 1.0
    if samples == size:
        rate = math.exp(tree.weights[0] / WEIGHT_UNITS + decayed + head.time_decay)
        total = -math.log(uniform(head))
        passed = math.log1p(total * math.expm1(head.time_decay) / rate) / head.time_decay
        jump = min(max(math.ceil(passed), 1.0), FARTHEST_JUMP)
    tree.next_accept = now + np.int64(jump)


@kernel
def _rebase(head: Record, trees: NDArray[Any], now: Index) -> None:
    """Write weights relative to ``now``, so that 16 bits hold them on any clock.

    They move by whole units and the rest is kept, so rounding never gathers.
    """
    decayed = _decayed(head, now)
    if decayed < REBASE_AT:
        return
    units = math.floor(decayed * WEIGHT_UNITS)
    head.rebased_at = now
    head.rebased_rest = decayed - units / WEIGHT_UNITS
    for t in range(trees.shape[0]):
        weights = trees[t].weights
        for i in range(np.int64(trees[t].samples)):
            weights[i] = np.int16(min(weights[i] + units, WEIGHT_LIMIT))


@kernel
def _expire(forest: Forest, now: Index) -> None:
    """Drop the points whose ring rows are overwritten within the next `EXPIRY_PERIOD` rows."""
    head = forest.head[0]
    rows = ring_rows(forest)
    for t in range(forest.trees.shape[0]):
        tree = forest.trees[t]
        oldest = 0
        for i in range(tree.leaves.shape[0]):
            if tree.leaves[i].mass > 0:
                oldest = max(oldest, age_of(head, tree.leaves[i], now, rows))
        if oldest < rows - EXPIRY_PERIOD:
            continue
        _drop_expiring(forest, tree, now)
        # spread over time, for else all trees that lost a point would take the same one; but no
        # tree is ever left empty
        wait = int(uniform(head) * EXPIRY_PERIOD)
        tree.next_accept = now + (wait if tree.samples > 0 else 0)


@kernel
def age_of(head: Record, leaf: Record, now: Index, rows: Index) -> Index:
    """How many rows ago the point of a leaf started."""
    age = now % rows - np.int64(leaf.position) // head.measures
    return age if age >= 0 else age + rows


@kernel
def _drop_expiring(forest: Forest, tree: Record, now: Index) -> None:
    """Take the expiring samples out, the others keep their weights.

    In heap order, which is saved, and not in the order of leaf ids, which is not.
    """
    size = tree.leaves.shape[0]
    rows = ring_rows(forest)
    kept = 0
    for i in range(np.int64(tree.samples)):
        leaf = np.int64(tree.sampled[i])
        if age_of(forest.head[0], tree.leaves[leaf - size], now, rows) >= rows - EXPIRY_PERIOD:
            remove(tree, forest.hand[0], forest.ring, leaf)
        else:
            _sift_up(tree, kept, tree.weights[i], tree.sampled[i])
            kept += 1
    tree.samples = kept


@kernel
def _move_on(forest: Forest, point: Floats) -> None:
    """Write a row to the ring, transformed, and let statistics and clock follow."""
    head = forest.head[0]
    measures = forest.measures.shape[0]
    rows = ring_rows(forest)
    row = head.clock % rows
    repeats = row < forest.corrections.shape[0]
    for j in range(measures):
        seen = transformed(head, forest.measures[j], point[j])
        forest.ring[row * measures + j] = seen
        if repeats:
            forest.ring[(rows + row) * measures + j] = seen
        follow(head, forest.measures[j], point[j])
        forest.corrections[head.clock % forest.corrections.shape[0], j] = np.nan
    head.clock += 1


@kernel
def _learn_row(forest: Forest, point: Floats, sampled: bool) -> None:
    """Move the ring on by one row and offer the new shingle to every tree, if it may be sampled."""
    head = forest.head[0]
    hand = forest.hand[0]
    trees = forest.trees
    measures = forest.measures.shape[0]
    shingle = forest.corrections.shape[0]
    rows = ring_rows(forest)
    now = head.clock
    if now % EXPIRY_PERIOD == 0:
        if now >= rows - EXPIRY_PERIOD:
            _expire(forest, now)
        _rebase(head, trees, now)
    _move_on(forest, point)
    if now + 1 < shingle or not sampled:
        return
    start = (now + 1 - shingle) % rows * measures
    for k in range(hand.value.shape[0]):
        hand.value[k] = forest.ring[start + k]
    for t in range(trees.shape[0]):
        if now >= trees[t].next_accept:
            _accept(head, trees[t], hand, forest.ring, now, start)


@kernel
def learn(forest: Forest, point: Floats, sampled: bool) -> None:
    """Take one row into ring, samples and trees.

    Parameters
    ----------
    forest : Forest
    point : float64[m]
        The row's values; none is missing.
    sampled : bool
        Whether the shingle that it completes may become part of the samples.
    """
    head = forest.head[0]
    if head.opened < OPENING:
        for j in range(point.shape[0]):
            forest.opening[head.opened, j] = point[j]
        head.opened += 1
        if head.opened < OPENING:
            return
        open_measures(forest)
        rows = forest.opening
    else:
        for j in range(point.shape[0]):
            awaken(forest.measures[j], point[j])
        rows = point.reshape(1, point.shape[0])
    for i in range(rows.shape[0]):
        _learn_row(forest, rows[i], sampled)
