"""Scores of the next point, and what they are made of."""

from __future__ import annotations

import math

import numpy as np

from detectors._forest_layout import (
    NOTHING,
    OPENING,
    ZERO,
    Floats,
    Forest,
    Index,
    Record,
    Singles,
    kernel,
    ring_rows,
)
from detectors._forest_transform import transformed
from detectors._forest_tree import gap_to_box, gap_to_point


@kernel
def is_warm(forest: Forest) -> bool:
    """Whether the next row can be scored."""
    head = forest.head[0]
    if head.opened < OPENING:
        return False
    return head.clock - (forest.corrections.shape[0] - 1) >= head.output_after


@kernel
def take_in_hand(forest: Forest, point: Floats) -> bool:
    """Take the shingle that a row would complete in hand; False while warming or if NaN."""
    if not is_warm(forest):
        return False
    for value in point:
        if math.isnan(value):
            return False
    head = forest.head[0]
    hand = forest.hand[0]
    measures = forest.measures.shape[0]
    before = hand.value.shape[0] - measures
    rows = ring_rows(forest)
    start = (head.clock - (forest.corrections.shape[0] - 1)) % rows * measures
    for k in range(before):
        hand.value[k] = forest.ring[start + k]
    for j in range(measures):
        hand.value[before + j] = transformed(head, forest.measures[j], point[j])
    return True


@kernel
def descend_all(forest: Forest) -> None:
    """Find every tree's ``reached`` and ``depth`` for the point in hand.

    All trees go down one level a pass: their loads are independent and overlap, where a tree at
    a time would wait for memory at every level.
    """
    hand = forest.hand[0]
    trees = forest.trees
    descending = forest.descending
    count = 0
    for t in range(trees.shape[0]):
        tree = trees[t]
        tree.reached = tree.root
        tree.depth = 0
        descending[count] = t
        count += int(tree.reached < tree.leaves.shape[0])
    while count > 0:
        still = 0
        for i in range(count):
            t = descending[i]
            tree = trees[t]
            node = tree.nodes[tree.reached]
            below = np.int64(node.child[int(hand.value[node.dimension] > node.cut)])
            tree.reached = below
            tree.depth += 1
            descending[still] = t
            still += int(below < tree.leaves.shape[0])
        count = still


@kernel
def _duplicate_score(tree: Record, leaf: Record, depth: Index) -> float:
    """Score of a point that equals a leaf's: the less, the more of the sample that leaf is."""
    mass = np.float64(leaf.mass)
    return (1.0 - 0.5 * mass / np.float64(tree.samples)) / (depth + math.log2(mass + 1.0))


@kernel
def path_score(tree: Record, hand: Record, ring: Singles, reached: Index, depth: Index) -> float:
    """Expected 1 / (depth + 1) of the point in hand if it were added to the tree.

    On the way up from the leaf ``reached``, each box may be the one that a cut separates it from.
    """
    leaf = tree.leaves[reached - tree.leaves.shape[0]]
    if gap_to_point(hand, ring, np.int64(leaf.position)) == ZERO:
        return _duplicate_score(tree, leaf, depth)
    score = hand.reciprocal[depth]
    here = np.int64(leaf.parent)
    while here != NOTHING:
        depth -= 1
        gap = gap_to_box(hand, tree.boxes[here])
        if gap == ZERO:
            break
        node = tree.nodes[here]
        score += np.float64(gap / (gap + node.extent)) * (hand.reciprocal[depth] - score)
        here = np.int64(node.parent)
    return score


@kernel
def _path_score_and_onset(
    tree: Record, hand: Record, ring: Singles, reached: Index, depth: Index, before: Index
) -> tuple[float, float]:
    """`path_score`, and the part of it that the dimensions from ``before`` on bear."""
    leaf = tree.leaves[reached - tree.leaves.shape[0]]
    dimensions = hand.gap.shape[0]
    gap = gap_to_point(hand, ring, np.int64(leaf.position))
    if gap == ZERO:
        score = _duplicate_score(tree, leaf, depth)
        return score, score * (dimensions - before) / dimensions
    own = ZERO
    for k in range(before, dimensions):
        own += hand.gap[k]
    score = hand.reciprocal[depth]
    onset = score * np.float64(own / gap)
    here = np.int64(leaf.parent)
    while here != NOTHING:
        depth -= 1
        gap = gap_to_box(hand, tree.boxes[here])
        if gap == ZERO:
            break
        node = tree.nodes[here]
        own = ZERO
        for k in range(before, dimensions):
            own += hand.gap[k]
        widened = gap + node.extent
        separated = np.float64(gap / widened)
        score += separated * (hand.reciprocal[depth] - score)
        onset += np.float64(own / widened) * hand.reciprocal[depth] - separated * onset
        here = np.int64(node.parent)
    return score, onset


@kernel
def tree_factor(tree: Record) -> float:
    """Makes the scores of trees of different sample counts comparable."""
    return math.log2(np.float64(tree.samples) + 1.0)


@kernel
def score_in_hand(forest: Forest) -> float:
    """Raw score of the point in hand; ``hand.onset`` is what its newest row bears of it."""
    descend_all(forest)
    hand = forest.hand[0]
    trees = forest.trees
    before = hand.value.shape[0] - forest.measures.shape[0]
    total = 0.0
    onsets = 0.0
    for t in range(trees.shape[0]):
        tree = trees[t]
        found, onset = _path_score_and_onset(
            tree, hand, forest.ring, tree.reached, tree.depth, before
        )
        factor = tree_factor(tree)
        total += found * factor
        onsets += onset * factor
    hand.onset = onsets / trees.shape[0]
    return total / trees.shape[0]


@kernel
def score(forest: Forest, point: Floats) -> float:
    """Raw score of a row (float64[m]) as the next one, NaN while warming; writes scratch only."""
    if not take_in_hand(forest, point):
        return np.nan
    return score_in_hand(forest)


@kernel
def _attribute_tree(tree: Record, hand: Record, ring: Singles, high: Floats, low: Floats) -> None:
    """Fill ``high`` and ``low`` (float64[D]) with the dimensions' parts of a tree's score.

    The walk of `path_score`, each separation divided over the dimensions by their gaps: high where
    the point lies above what it is separated from, low where it lies below.
    """
    gap = hand.gap
    value = hand.value
    depth = tree.depth
    leaf = tree.leaves[tree.reached - tree.leaves.shape[0]]
    start = np.int64(leaf.position)
    distance = np.float64(gap_to_point(hand, ring, start))
    if distance == 0.0:
        part = 0.5 * _duplicate_score(tree, leaf, depth) / high.shape[0]
        for k in range(high.shape[0]):
            high[k] = part
            low[k] = part
        return
    for k in range(high.shape[0]):
        part = hand.reciprocal[depth] * gap[k] / distance
        above = value[k] > ring[start + k]
        high[k] = part if above else 0.0
        low[k] = 0.0 if above else part
    here = np.int64(leaf.parent)
    while here != NOTHING:
        depth -= 1
        box = tree.boxes[here]
        distance = np.float64(gap_to_box(hand, box))
        if distance == 0.0:
            break
        node = tree.nodes[here]
        widened = distance + node.extent
        passed = 1.0 - distance / widened
        for k in range(high.shape[0]):
            part = hand.reciprocal[depth] * gap[k] / widened
            above = value[k] > box.high[k]
            high[k] = passed * high[k] + (part if above else 0.0)
            low[k] = passed * low[k] + (0.0 if above else part)
        here = np.int64(node.parent)


@kernel
def attribute(forest: Forest, high: Floats, low: Floats) -> None:
    """Fill ``high`` and ``low`` (float64[D], oldest row first) with the shares of the last score.

    All of both together make 1. The point in hand is the one that was scored last.
    """
    trees = forest.trees
    tree_high = np.empty(high.shape[0])
    tree_low = np.empty(high.shape[0])
    for k in range(high.shape[0]):
        high[k] = 0.0
        low[k] = 0.0
    total = 0.0
    for t in range(trees.shape[0]):
        _attribute_tree(trees[t], forest.hand[0], forest.ring, tree_high, tree_low)
        factor = tree_factor(trees[t])
        for k in range(high.shape[0]):
            high[k] += tree_high[k] * factor
            low[k] += tree_low[k] * factor
            total += (tree_high[k] + tree_low[k]) * factor
    for k in range(high.shape[0]):
        high[k] /= total
        low[k] /= total
