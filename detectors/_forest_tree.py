"""One random cut tree: boxes, links, growing and cutting back (Guha et al. 2016)."""

from __future__ import annotations

from typing import Any

import numpy as np

from detectors._forest_layout import NOTHING, ZERO, Index, Record, Singles, kernel, uniform


@kernel
def _sum(terms: Any) -> Any:
    """Sum of float32[D] in four interleaved lanes: a fixed order, yet not one long chain."""
    count = terms.shape[0]
    a = b = c = d = ZERO
    for k in range(0, count - 3, 4):
        a += terms[k]
        b += terms[k + 1]
        c += terms[k + 2]
        d += terms[k + 3]
    for k in range(count - count % 4, count):
        a += terms[k]
    return (a + b) + (c + d)


@kernel
def gap_to_box(hand: Record, box: Record) -> Any:
    """L1 distance from the point in hand to a box; its parts stay in ``hand.gap``."""
    value = hand.value
    gap = hand.gap
    low = box.low
    high = box.high
    for k in range(value.shape[0]):
        gap[k] = max(max(low[k] - value[k], value[k] - high[k]), ZERO)
    return _sum(gap)


@kernel
def gap_to_point(hand: Record, ring: Singles, start: Index) -> Any:
    """L1 distance from the point in hand to another; its parts stay in ``hand.gap``."""
    value = hand.value
    gap = hand.gap
    for k in range(value.shape[0]):
        gap[k] = abs(ring[start + k] - value[k])
    return _sum(gap)


@kernel
def _measure_box(tree: Record, hand: Record, here: Index) -> None:
    """Set a node's extent from its box, always in full: an updated sum would differ in bits."""
    box = tree.boxes[here]
    gap = hand.gap
    for k in range(gap.shape[0]):
        gap[k] = box.high[k] - box.low[k]
    tree.nodes[here].extent = _sum(gap)


@kernel
def _start_box(tree: Record, ring: Singles, here: Index, child: Index) -> None:
    """Make a node's box that of one child."""
    size = tree.leaves.shape[0]
    box = tree.boxes[here]
    if child < size:
        other = tree.boxes[child]
        for k in range(box.low.shape[0]):
            box.low[k] = other.low[k]
            box.high[k] = other.high[k]
    else:
        position = np.int64(tree.leaves[child - size].position)
        for k in range(box.low.shape[0]):
            box.low[k] = ring[position + k]
            box.high[k] = ring[position + k]


@kernel
def _widen_box(tree: Record, ring: Singles, here: Index, child: Index) -> None:
    """Make a node's box hold that of a child, too."""
    size = tree.leaves.shape[0]
    box = tree.boxes[here]
    if child < size:
        other = tree.boxes[child]
        for k in range(box.low.shape[0]):
            box.low[k] = min(box.low[k], other.low[k])
            box.high[k] = max(box.high[k], other.high[k])
    else:
        position = np.int64(tree.leaves[child - size].position)
        for k in range(box.low.shape[0]):
            box.low[k] = min(box.low[k], ring[position + k])
            box.high[k] = max(box.high[k], ring[position + k])


@kernel
def box_of_children(tree: Record, hand: Record, ring: Singles, here: Index) -> None:
    """Set a node's box and extent from its two children."""
    child = tree.nodes[here].child
    _start_box(tree, ring, here, np.int64(child[0]))
    _widen_box(tree, ring, here, np.int64(child[1]))
    _measure_box(tree, hand, here)


@kernel
def parent_of(tree: Record, child: Index) -> Index:
    size = tree.leaves.shape[0]
    if child >= size:
        return np.int64(tree.leaves[child - size].parent)
    return np.int64(tree.nodes[child].parent)


@kernel
def set_parent(tree: Record, child: Index, parent: Index) -> None:
    size = tree.leaves.shape[0]
    if child >= size:
        tree.leaves[child - size].parent = parent
    else:
        tree.nodes[child].parent = parent


@kernel
def _replace_child(tree: Record, parent: Index, old: Index, new: Index) -> None:
    """Hang ``new`` where ``old`` hung below ``parent`` (`NOTHING`: as the root)."""
    set_parent(tree, new, parent)
    if parent == NOTHING:
        tree.root = new
    else:
        child = tree.nodes[parent].child
        child[0 if child[0] == old else 1] = new


@kernel
def _take_leaf(tree: Record, position: Index) -> Index:
    """Id of a leaf that was free, filled with one sample."""
    leaf = np.int64(tree.free_leaf)
    record = tree.leaves[leaf - tree.leaves.shape[0]]
    tree.free_leaf = record.parent
    record.position = position
    record.mass = 1
    return leaf


@kernel
def descend(tree: Record, hand: Record) -> Index:
    """Id of the leaf where the point in hand ends."""
    size = tree.leaves.shape[0]
    here = np.int64(tree.root)
    while here < size:
        node = tree.nodes[here]
        here = np.int64(node.child[int(hand.value[node.dimension] > node.cut)])
    return here


@kernel
def _short(left: Any, cut: Any, right: Any) -> Any:
    """``cut``, or ``left`` if rounding carried it to ``right``; in 16 digits where these do.

    A saved cut then takes three bytes instead of four (Veltkamp's splitting, Dekker 1971).
    """
    if cut >= right:
        cut = left
    far = cut * np.float32(257.0)
    short = far - (far - cut)
    return short if left <= short < right else cut


@kernel
def _cut_between(value: Any, low: Any, high: Any, offset: Any) -> tuple[Index, Any]:
    """Dimension and place of the cut ``offset`` along the gaps between a point and a box.

    The gaps are laid end to end, so a uniform ``offset`` below their sum picks a dimension in
    proportion to its gap and a uniform place inside it (Guha et al. 2016, definition 1, given
    that the cut separates). Rounding may carry a cut to the far end of its gap, where it would
    separate nothing; it then goes to the near end.
    """
    dimension = 0
    cut = ZERO
    for k in range(value.shape[0]):
        if value[k] < low[k] or value[k] > high[k]:
            left = min(value[k], high[k])
            right = max(value[k], low[k])
            dimension = k
            cut = _short(left, left + offset, right)
            if offset < right - left:
                break
            offset -= right - left
    return dimension, cut


@kernel
def insert(head: Record, tree: Record, hand: Record, ring: Singles, position: Index) -> Index:
    """Add the point in hand, which stands at ``position``; returns its leaf's id.

    Algorithm 2 of Guha et al. 2016, walked from the leaf up: at every box on the path a random
    cut of the box widened by the point separates the two with chance distance / (extent +
    distance), and the topmost separating cut is where the new node goes.
    """
    size = tree.leaves.shape[0]
    value = hand.value
    if tree.root == NOTHING:
        leaf = _take_leaf(tree, position)
        _replace_child(tree, NOTHING, NOTHING, leaf)
        return leaf
    below = descend(tree, hand)
    near = tree.leaves[below - size]
    start = np.int64(near.position)
    distance = gap_to_point(hand, ring, start)
    if distance == ZERO:
        near.mass += 1
        near.position = position  # equal content, and it stays in the ring for longest
        return below
    near_value = ring[start : start + value.shape[0]]
    offset = np.float32(uniform(head) * distance)
    dimension, cut = _cut_between(value, near_value, near_value, offset)
    above = np.int64(near.parent)
    here = above
    while here != NOTHING:
        box = tree.boxes[here]
        distance = gap_to_box(hand, box)
        if distance == ZERO:
            break
        node = tree.nodes[here]
        parent = np.int64(node.parent)
        offset = np.float32(uniform(head) * (node.extent + distance))
        if offset < distance:
            dimension, cut = _cut_between(value, box.low, box.high, offset)
            below = here
            above = parent
        here = parent
    leaf = _take_leaf(tree, position)
    _splice(tree, hand, ring, leaf, below, above, dimension, cut)
    return leaf


@kernel
def _splice(
    tree: Record,
    hand: Record,
    ring: Singles,
    leaf: Index,
    below: Index,
    above: Index,
    dimension: Index,
    cut: Any,
) -> None:
    """Put a new node between ``below`` and ``above``, with ``leaf`` as its other child."""
    here = np.int64(tree.free_node)
    node = tree.nodes[here]
    tree.free_node = node.parent
    _replace_child(tree, above, below, here)
    right = int(hand.value[dimension] > cut)
    node.child[right] = leaf
    node.child[1 - right] = below
    node.dimension = dimension
    node.cut = cut
    set_parent(tree, leaf, here)
    set_parent(tree, below, here)
    box_of_children(tree, hand, ring, here)
    while above != NOTHING and gap_to_box(hand, tree.boxes[above]) > ZERO:
        _widen_box(tree, ring, above, leaf)
        _measure_box(tree, hand, above)
        above = np.int64(tree.nodes[above].parent)


@kernel
def remove(tree: Record, hand: Record, ring: Singles, leaf: Index) -> None:
    """Take one sample off a leaf; an empty leaf goes and its sibling moves up (algorithm 1)."""
    record = tree.leaves[leaf - tree.leaves.shape[0]]
    record.mass -= 1
    if record.mass > 0:
        return
    parent = np.int64(record.parent)
    if parent == NOTHING:
        tree.root = NOTHING
    else:
        node = tree.nodes[parent]
        sibling = np.int64(node.child[1] if node.child[0] == leaf else node.child[0])
        grandparent = np.int64(node.parent)
        _replace_child(tree, grandparent, parent, sibling)
        _shrink_boxes(tree, hand, ring, grandparent, np.int64(record.position))
        node.parent = tree.free_node
        tree.free_node = parent
    record.parent = tree.free_leaf
    tree.free_leaf = leaf


@kernel
def _shrink_boxes(tree: Record, hand: Record, ring: Singles, here: Index, position: Index) -> None:
    """Renew the boxes from ``here`` up, as far as the removed point touched their faces."""
    while here != NOTHING:
        box = tree.boxes[here]
        touched = 0
        for k in range(box.low.shape[0]):
            value = ring[position + k]
            touched += int(value <= box.low[k]) + int(value >= box.high[k])
        if touched == 0:
            break
        box_of_children(tree, hand, ring, here)
        here = np.int64(tree.nodes[here].parent)
