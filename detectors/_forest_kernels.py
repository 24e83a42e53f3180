"""Compiled kernels of the random cut forest; `detectors.random_cut_forest` explains the method.

Symbols: T trees, S sample size, D shingle size, W ring rows.

Layout
------
A *point* is a shingle: D consecutive scaled values of the ring, named by the row where it starts
(`position`). The ring repeats its first D rows at its end, so that every shingle is contiguous;
it is shared by all trees and stores a value once, where copies of shingles would take D times that.

A tree is one record. It has at most S leaves and S - 1 inner nodes. An *id* below S is the inner
node ``tree.nodes[id]``, an id from S on the leaf ``tree.leaves[id - S]``, and `NOTHING` is no node.
Free records are chained through `parent`. A leaf carries all samples of equal content (`mass`) and
the newest of their positions. Ids are handles: no number depends on which one a node has.

Why records: numba passes one as a bare pointer (arrays are counted at every call: measured 3 times
slower), and S and D are part of its type, so loops over D have a length that the compiler knows
(one compilation, cached, for each S and D).

Nothing is compiled with fast-math: a sum's order is the one written here, so the same bits come
out of scoring alone, of scoring in a block, and of a forest rebuilt from saved state.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from detectors.calibration import CANDIDATE_DECADES, add_score, tail_decades

OPENING = 50  # values that fix centre and scale
NOTHING = 0xFFFF
SCALED_LIMIT = 1e36  # 2 * 128 of these still add up to a finite float32
EXPIRY_PERIOD = 64  # trees are searched for leaving points once in so many values
RING_LIFETIMES = 4.0  # a sample lives 1 / time_decay on average; e**-4 = 2 % would live longer
MOST_RING_ROWS = 0xFFFF  # positions are 16 bits wide
REBASE_AT = 1.0  # decay gathered, in nats, when weights are written relative to the present again
FARTHEST_JUMP = 1e15
LARGEST = float(np.finfo(np.float64).max)
ZERO = np.float32(0.0)

HEAD = np.dtype(
    [
        ("random_state", "u8"),
        ("clock", "i8"),  # values learnt by the trees
        ("rebased_at", "i8"),  # clock that sample weights are relative to
        ("opened", "i8"),  # values seen of the opening
        ("centre", "f8"),
        ("scale", "f8"),  # 0: all values so far were equal
        ("time_decay", "f8"),
        ("output_after", "i8"),
    ]
)
NODE = np.dtype(
    [
        ("cut", "f4"),  # point[dimension] <= cut goes to child 0
        ("child", "u2", (2,)),
        ("parent", "u2"),
        ("dimension", "u2"),
        ("extent", "f4"),  # sum of the box's side lengths
    ],
    align=True,
)
LEAF = np.dtype([("position", "u2"), ("mass", "u2"), ("parent", "u2")], align=True)

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Record = Any  # one record of an array; kernels read and write its fields as attributes
Index = Any  # int64 inside a kernel

kernel = njit(cache=True, nogil=True, error_model="numpy")


@cache
def tree_dtype(shingle_size: int, sample_size: int) -> np.dtype[Any]:
    """Record of one tree.

    One object a shape for the life of the process: numba knows a record type again by the address
    of its dtype, and an address that was freed and reused runs a kernel on the wrong layout.
    """
    box = np.dtype([("low", "f4", (shingle_size,)), ("high", "f4", (shingle_size,))])
    return np.dtype(
        [
            ("next_accept", "i8"),  # clock of the next point that this tree samples
            ("root", "u2"),
            ("free_node", "u2"),
            ("free_leaf", "u2"),
            ("samples", "u2"),
            ("reached", "i8"),  # scratch: id of the leaf where the point in hand ends,
            ("depth", "i8"),  # and that leaf's depth, the root's being 0
            ("nodes", NODE, (sample_size,)),
            ("leaves", LEAF, (sample_size,)),
            ("weights", "f4", (sample_size,)),  # max-heap of the samples' weights, see _accept
            ("sampled", "u2", (sample_size,)),  # id of each sample's leaf, in heap order
            ("boxes", box, (sample_size,)),  # bounding box of each node
        ],
        align=True,
    )


@cache
def hand_dtype(shingle_size: int, sample_size: int) -> np.dtype[Any]:
    """Record of the point in hand, and the room to work on it; never part of the state.

    One object a shape, as `tree_dtype`.
    """
    return np.dtype(
        [
            ("value", "f4", (shingle_size,)),
            ("gap", "f4", (shingle_size,)),  # its distance, by dimension, from what was last met
            ("waiting", "i8", (sample_size,)),  # nodes still to be visited
            ("reciprocal", "f8", (sample_size + 1,)),  # a table: 1 / (depth + 1)
        ],
        align=True,
    )


class Forest(NamedTuple):
    """A forest as arrays; boxes and extents follow from the rest of the state."""

    head: NDArray[Any]  # HEAD[1]
    trees: NDArray[Any]  # tree_dtype[T]
    ring: NDArray[np.float32]  # [W + D]; scaled values
    opening: NDArray[np.float64]  # [OPENING]; the first values as they came
    hand: NDArray[Any]  # hand_dtype[1]
    descending: NDArray[np.int64]  # [T]; scratch: trees whose leaf is not reached yet


def new_forest(
    shingle_size: int, trees: int, sample_size: int, time_decay: float, output_after: int, seed: int
) -> Forest:
    """An empty forest."""
    lifetimes = math.ceil(min(RING_LIFETIMES / time_decay, MOST_RING_ROWS))
    rows = min(sample_size + shingle_size + EXPIRY_PERIOD + lifetimes, MOST_RING_ROWS)
    forest = Forest(
        head=np.zeros(1, HEAD),
        trees=np.zeros(trees, tree_dtype(shingle_size, sample_size)),
        ring=np.zeros(rows + shingle_size, np.float32),
        opening=np.zeros(OPENING),
        hand=np.zeros(1, hand_dtype(shingle_size, sample_size)),
        descending=np.zeros(trees, np.int64),
    )
    forest.head["random_state"] = seed
    forest.head["time_decay"] = time_decay
    forest.head["output_after"] = output_after
    forest.hand["reciprocal"] = 1.0 / np.arange(1.0, sample_size + 2.0)
    forest.trees["root"] = NOTHING
    forest.trees["free_leaf"] = sample_size
    forest.trees["nodes"]["parent"] = np.arange(1, sample_size + 1)
    forest.trees["leaves"]["parent"] = np.arange(sample_size + 1, 2 * sample_size + 1)
    return forest


# --- randomness and scaling ---------------------------------------------------------------------


@kernel
def _uniform(head: Record) -> float:
    """Next number in (0, 1), neither end included (SplitMix64, Steele et al. 2014)."""
    head.random_state += np.uint64(0x9E3779B97F4A7C15)
    z = head.random_state
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return (np.float64(z >> np.uint64(11)) + 0.5) / 9007199254740992.0


@kernel
def _scaled(head: Record, value: float) -> np.float32:
    """``value`` as float32 in units of the scale; the first move away from a constant is +-1."""
    if head.scale == 0.0:
        return np.float32(int(value > head.centre) - int(value < head.centre))
    scaled = (value - head.centre) / head.scale
    # adding 0 makes -0 the same bits as 0, so that boxes rebuilt from points are equal bit for bit
    return np.float32(min(max(scaled, -SCALED_LIMIT), SCALED_LIMIT) + 0.0)


@kernel
def _fix_scaling(head: Record, opening: Floats) -> None:
    """Centre: a median of the opening; scale: the mean distance from it (0 for a constant)."""
    head.centre = np.sort(opening)[OPENING // 2]
    # no squares, and shares of halves summed: 1e-300 must not vanish nor 1e308 overflow
    half_scale = 0.0
    for value in opening:
        half_scale += abs(0.5 * value - 0.5 * head.centre) / OPENING
    head.scale = min(half_scale, 0.5 * LARGEST) * 2.0


# --- geometry -----------------------------------------------------------------------------------


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
def _gap_to_box(hand: Record, box: Record) -> Any:
    """L1 distance from the point in hand to a box; its parts stay in ``hand.gap``."""
    value = hand.value
    gap = hand.gap
    low = box.low
    high = box.high
    for k in range(value.shape[0]):
        gap[k] = max(max(low[k] - value[k], value[k] - high[k]), ZERO)
    return _sum(gap)


@kernel
def _gap_to_point(hand: Record, ring: Singles, position: Index) -> Any:
    """L1 distance from the point in hand to another; its parts stay in ``hand.gap``."""
    value = hand.value
    gap = hand.gap
    for k in range(value.shape[0]):
        gap[k] = abs(ring[position + k] - value[k])
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
def _box_of_children(tree: Record, hand: Record, ring: Singles, here: Index) -> None:
    """Set a node's box and extent from its two children."""
    child = tree.nodes[here].child
    _start_box(tree, ring, here, np.int64(child[0]))
    _widen_box(tree, ring, here, np.int64(child[1]))
    _measure_box(tree, hand, here)


# --- links --------------------------------------------------------------------------------------


@kernel
def _parent(tree: Record, child: Index) -> Index:
    size = tree.leaves.shape[0]
    if child >= size:
        return np.int64(tree.leaves[child - size].parent)
    return np.int64(tree.nodes[child].parent)


@kernel
def _set_parent(tree: Record, child: Index, parent: Index) -> None:
    size = tree.leaves.shape[0]
    if child >= size:
        tree.leaves[child - size].parent = parent
    else:
        tree.nodes[child].parent = parent


@kernel
def _replace_child(tree: Record, parent: Index, old: Index, new: Index) -> None:
    """Hang ``new`` where ``old`` hung below ``parent`` (`NOTHING`: as the root)."""
    _set_parent(tree, new, parent)
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


# --- growing and cutting back a tree ------------------------------------------------------------


@kernel
def _descend(tree: Record, hand: Record) -> Index:
    """Id of the leaf where the point in hand ends."""
    size = tree.leaves.shape[0]
    here = np.int64(tree.root)
    while here < size:
        node = tree.nodes[here]
        here = np.int64(node.child[int(hand.value[node.dimension] > node.cut)])
    return here


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
            cut = left + offset
            if cut >= right:
                cut = left
            if offset < right - left:
                break
            offset -= right - left
    return dimension, cut


@kernel
def _insert(head: Record, tree: Record, hand: Record, ring: Singles, position: Index) -> Index:
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
    below = _descend(tree, hand)
    near = tree.leaves[below - size]
    start = np.int64(near.position)
    distance = _gap_to_point(hand, ring, start)
    if distance == ZERO:
        near.mass += 1
        near.position = position  # equal content, and it stays in the ring for longest
        return below
    near_value = ring[start : start + value.shape[0]]
    offset = np.float32(_uniform(head) * distance)
    dimension, cut = _cut_between(value, near_value, near_value, offset)
    above = np.int64(near.parent)
    here = above
    while here != NOTHING:
        box = tree.boxes[here]
        distance = _gap_to_box(hand, box)
        if distance == ZERO:
            break
        node = tree.nodes[here]
        parent = np.int64(node.parent)
        offset = np.float32(_uniform(head) * (node.extent + distance))
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
    _set_parent(tree, leaf, here)
    _set_parent(tree, below, here)
    _box_of_children(tree, hand, ring, here)
    while above != NOTHING and _gap_to_box(hand, tree.boxes[above]) > ZERO:
        _widen_box(tree, ring, above, leaf)
        _measure_box(tree, hand, above)
        above = np.int64(tree.nodes[above].parent)


@kernel
def _remove(tree: Record, hand: Record, ring: Singles, leaf: Index) -> None:
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
        _box_of_children(tree, hand, ring, here)
        here = np.int64(tree.nodes[here].parent)


# --- the sample of a tree -----------------------------------------------------------------------


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
    decayed = head.time_decay * (now - head.rebased_at)
    if samples == size:
        rate = math.exp(tree.weights[0] + decayed)
        exponential = -math.log1p(_uniform(head) * math.expm1(-rate))
        samples -= 1
        leaving = np.int64(tree.sampled[0])
        _sift_down(tree, samples, tree.weights[samples], tree.sampled[samples])
        _remove(tree, hand, ring, leaving)
    else:
        exponential = -math.log(_uniform(head))
    leaf = _insert(head, tree, hand, ring, position)
    _sift_up(tree, samples, np.float32(math.log(exponential) - decayed), np.uint16(leaf))
    samples += 1
    tree.samples = samples
    jump = 1.0
    if samples == size:
        rate = math.exp(tree.weights[0] + decayed + head.time_decay)
        total = -math.log(_uniform(head))
        passed = math.log1p(total * math.expm1(head.time_decay) / rate) / head.time_decay
        jump = min(max(math.ceil(passed), 1.0), FARTHEST_JUMP)
    tree.next_accept = now + np.int64(jump)


@kernel
def _rebase(head: Record, trees: NDArray[Any], now: Index) -> None:
    """Write weights relative to ``now``, so that float32 tells them apart on any clock.

    Rounding is monotone, so the heaps stay heaps.
    """
    decayed = head.time_decay * (now - head.rebased_at)
    if decayed < REBASE_AT:
        return
    head.rebased_at = now
    for t in range(trees.shape[0]):
        weights = trees[t].weights
        for i in range(np.int64(trees[t].samples)):
            weights[i] = np.float32(weights[i] + decayed)


@kernel
def _expire(head: Record, trees: NDArray[Any], hand: Record, ring: Singles, now: Index) -> None:
    """Drop the points whose ring rows are overwritten within the next `EXPIRY_PERIOD` values."""
    rows = ring.shape[0] - hand.value.shape[0]
    for t in range(trees.shape[0]):
        tree = trees[t]
        oldest = 0
        for i in range(tree.leaves.shape[0]):
            if tree.leaves[i].mass > 0:
                oldest = max(oldest, _age(tree.leaves[i], now, rows))
        if oldest < rows - EXPIRY_PERIOD:
            continue
        _drop_expiring(tree, hand, ring, now)
        # spread over time, for else all trees that lost a point would take the same one; but no
        # tree is ever left empty
        wait = int(_uniform(head) * EXPIRY_PERIOD)
        tree.next_accept = now + (wait if tree.samples > 0 else 0)


@kernel
def _age(leaf: Record, now: Index, rows: Index) -> Index:
    """How many values ago the point of a leaf started."""
    age = now % rows - np.int64(leaf.position)
    return age if age >= 0 else age + rows


@kernel
def _drop_expiring(tree: Record, hand: Record, ring: Singles, now: Index) -> None:
    """Take the expiring samples out, the others keep their weights.

    In heap order, which is saved, and not in the order of leaf ids, which is not.
    """
    size = tree.leaves.shape[0]
    rows = ring.shape[0] - hand.value.shape[0]
    kept = 0
    for i in range(np.int64(tree.samples)):
        leaf = np.int64(tree.sampled[i])
        if _age(tree.leaves[leaf - size], now, rows) >= rows - EXPIRY_PERIOD:
            _remove(tree, hand, ring, leaf)
        else:
            _sift_up(tree, kept, tree.weights[i], tree.sampled[i])
            kept += 1
    tree.samples = kept


@kernel
def _learn_scaled(forest: Forest, scaled: np.float32) -> None:
    """Move the ring on by one value and offer the new point to every tree."""
    head = forest.head[0]
    hand = forest.hand[0]
    ring = forest.ring
    trees = forest.trees
    dimensions = hand.value.shape[0]
    rows = ring.shape[0] - dimensions
    now = head.clock
    row = now % rows
    if now % EXPIRY_PERIOD == 0:
        if now >= rows - EXPIRY_PERIOD:
            _expire(head, trees, hand, ring, now)
        _rebase(head, trees, now)
    ring[row] = scaled
    if row < dimensions:
        ring[rows + row] = scaled
    head.clock = now + 1
    if now + 1 < dimensions:
        return
    position = (now + 1 - dimensions) % rows
    for k in range(dimensions):
        hand.value[k] = ring[position + k]
    for t in range(trees.shape[0]):
        if now >= trees[t].next_accept:
            _accept(head, trees[t], hand, ring, now, position)


@kernel
def learn(forest: Forest, value: float) -> None:
    """Take one value (float64, NaN: passed over) into ring, samples and trees."""
    head = forest.head[0]
    if math.isnan(value):
        return
    if head.opened < OPENING:
        forest.opening[head.opened] = value
        head.opened += 1
        if head.opened == OPENING:
            _fix_scaling(head, forest.opening)
            for early in forest.opening:
                _learn_scaled(forest, _scaled(head, early))
        return
    if head.scale == 0.0 and value != head.centre:
        head.scale = min(abs(value - head.centre), LARGEST)
    _learn_scaled(forest, _scaled(head, value))


# --- scores -------------------------------------------------------------------------------------


@kernel
def _take_in_hand(forest: Forest, value: float) -> bool:
    """Take the point that ``value`` would complete in hand; False while warming or if NaN."""
    head = forest.head[0]
    hand = forest.hand[0]
    newest = hand.value.shape[0] - 1
    if math.isnan(value) or head.opened < OPENING or head.clock - newest < head.output_after:
        return False
    position = (head.clock - newest) % (forest.ring.shape[0] - newest - 1)
    for k in range(newest):
        hand.value[k] = forest.ring[position + k]
    hand.value[newest] = _scaled(head, value)
    return True


@kernel
def _descend_all(forest: Forest) -> None:
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
def _path_score(tree: Record, hand: Record, ring: Singles, reached: Index, depth: Index) -> float:
    """Expected 1 / (depth + 1) of the point in hand if it were added to the tree.

    On the way up from the leaf ``reached``, each box may be the one that a cut separates it from.
    """
    leaf = tree.leaves[reached - tree.leaves.shape[0]]
    if _gap_to_point(hand, ring, np.int64(leaf.position)) == ZERO:
        return _duplicate_score(tree, leaf, depth)
    score = hand.reciprocal[depth]
    here = np.int64(leaf.parent)
    while here != NOTHING:
        depth -= 1
        gap = _gap_to_box(hand, tree.boxes[here])
        if gap == ZERO:
            break
        node = tree.nodes[here]
        score += np.float64(gap / (gap + node.extent)) * (hand.reciprocal[depth] - score)
        here = np.int64(node.parent)
    return score


@kernel
def _tree_factor(tree: Record) -> float:
    """Makes the scores of trees of different sample counts comparable."""
    return math.log2(np.float64(tree.samples) + 1.0)


@kernel
def score(forest: Forest, value: float) -> float:
    """Raw score of ``value`` as the next one, NaN while warming; only scratch is written."""
    if not _take_in_hand(forest, value):
        return np.nan
    _descend_all(forest)
    hand = forest.hand[0]
    trees = forest.trees
    total = 0.0
    for t in range(trees.shape[0]):
        tree = trees[t]
        path_score = _path_score(tree, hand, forest.ring, tree.reached, tree.depth)
        total += path_score * _tree_factor(tree)
    return total / trees.shape[0]


# --- explanations, for candidates only ----------------------------------------------------------


@kernel
def _attribute_tree(tree: Record, hand: Record, ring: Singles, part: Floats) -> None:
    """Fill ``part`` (float64[D]) with each dimension's part of a tree's score.

    The walk of `_path_score`, each separation divided over the dimensions by their gaps.
    """
    gap = hand.gap
    depth = tree.depth
    leaf = tree.leaves[tree.reached - tree.leaves.shape[0]]
    distance = np.float64(_gap_to_point(hand, ring, np.int64(leaf.position)))
    if distance == 0.0:
        part[:] = _duplicate_score(tree, leaf, depth) / part.shape[0]
        return
    for k in range(part.shape[0]):
        part[k] = hand.reciprocal[depth] * gap[k] / distance
    here = np.int64(leaf.parent)
    while here != NOTHING:
        depth -= 1
        distance = np.float64(_gap_to_box(hand, tree.boxes[here]))
        if distance == 0.0:
            break
        node = tree.nodes[here]
        widened = distance + node.extent
        for k in range(part.shape[0]):
            separated = hand.reciprocal[depth] * gap[k] / widened
            part[k] = separated + (1.0 - distance / widened) * part[k]
        here = np.int64(node.parent)


@kernel
def _attribute(forest: Forest, shares: Floats) -> None:
    """Fill ``shares`` (float64[D], oldest value first) with the point's attribution, of sum 1."""
    trees = forest.trees
    part = np.empty(shares.shape[0])
    shares[:] = 0.0
    for t in range(trees.shape[0]):
        _attribute_tree(trees[t], forest.hand[0], forest.ring, part)
        factor = _tree_factor(trees[t])
        for k in range(part.shape[0]):
            shares[k] += part[k] * factor
    shares /= shares.sum()


@kernel
def _depth(tree: Record, leaf: Index) -> Index:
    """Depth of a leaf, given by its id."""
    depth = 0
    above = _parent(tree, leaf)
    while above != NOTHING:
        depth += 1
        above = _parent(tree, above)
    return depth


@kernel
def _impute_newest(tree: Record, hand: Record, ring: Singles) -> Any:
    """The newest value that makes the point in hand least strange to a tree.

    Cuts of the newest dimension are followed to both sides; each leaf so reached lends its own
    newest value to the point, and the lowest score wins. The point in hand is changed.
    """
    size = tree.leaves.shape[0]
    value = hand.value
    newest = value.shape[0] - 1
    waiting = hand.waiting
    waiting[0] = np.int64(tree.root)
    count = 1
    best = np.inf
    imputed = ZERO
    while count > 0:
        count -= 1
        here = waiting[count]
        if here >= size:
            position = np.int64(tree.leaves[here - size].position)
            value[newest] = ring[position + newest]
            rank = _path_score(tree, hand, ring, here, _depth(tree, here))
            if rank < best:
                best = rank
                imputed = value[newest]
            continue
        node = tree.nodes[here]
        if node.dimension == newest:
            waiting[count] = np.int64(node.child[1])
            waiting[count + 1] = np.int64(node.child[0])
            count += 2
        else:
            waiting[count] = np.int64(node.child[int(value[node.dimension] > node.cut)])
            count += 1
    return imputed


@kernel
def _expected(forest: Forest) -> float:
    """What the forest expects in place of the newest value, in the unit of the values.

    The median over trees of the value that each tree finds most fitting, given the others.
    """
    head = forest.head[0]
    hand = forest.hand[0]
    trees = forest.trees
    imputed = np.empty(trees.shape[0])
    for t in range(trees.shape[0]):
        imputed[t] = _impute_newest(trees[t], hand, forest.ring)
    expected = head.centre + np.median(imputed) * head.scale
    return min(max(expected, -LARGEST), LARGEST)


@kernel
def score_and_learn(
    forest: Forest,
    values: Floats,
    calibration: Floats,
    raw: Floats,
    decades: Floats,
    expected: Floats,
    rows: NDArray[np.int64],
    shares: Floats,
) -> int:
    """Score each row with all before it, then learn it; returns the number of candidates.

    Parameters
    ----------
    forest : Forest
    values : float64[n]
    calibration : float64[CELLS]
        State of the raw score's calibration.
    raw, decades, expected : float64[n]
        Filled; see `detectors.base.RawScores`.
    rows : int64[n]
        The candidates' row numbers, in the first entries.
    shares : float64[n, D]
        Their attributions, in the first rows.
    """
    candidates = 0
    for i in range(values.shape[0]):
        raw[i] = score(forest, values[i])
        decades[i] = tail_decades(calibration, raw[i])
        expected[i] = np.nan
        if decades[i] >= CANDIDATE_DECADES:
            rows[candidates] = i
            _attribute(forest, shares[candidates])
            expected[i] = _expected(forest)
            candidates += 1
        add_score(calibration, raw[i])
        learn(forest, values[i])
    return candidates


# --- saved state --------------------------------------------------------------------------------


@kernel
def write_trees(
    forest: Forest,
    shapes: NDArray[np.uint8],
    cuts: Singles,
    dimensions: NDArray[np.uint8],
    ages: NDArray[np.uint16],
    ranks: NDArray[np.uint16],
) -> tuple[int, int]:
    """Write the trees one after the other, each in preorder, without their free records.

    Parameters
    ----------
    forest : Forest
    shapes : uint8[2 * T * S]
        Filled with 1 for an inner node and 0 for a leaf; as many as there are of both.
    cuts : float32[T * S]
    dimensions : uint8[T * S]
        Filled for the inner nodes.
    ages : uint16[T * S]
        Filled for the leaves: values learnt since, and with, the first one of the leaf's point.
    ranks : uint16[T, S]
        Filled for the samples, in heap order: their leaf's place among the tree's leaves.

    Returns
    -------
    nodes, leaves : int
        How many inner nodes and leaves were written.
    """
    waiting = forest.hand[0].waiting
    rows = forest.ring.shape[0] - forest.hand[0].value.shape[0]
    nodes = 0
    leaves = 0
    for t in range(forest.trees.shape[0]):
        tree = forest.trees[t]
        size = tree.leaves.shape[0]
        place = np.zeros(size, np.uint16)
        first_leaf = leaves
        waiting[0] = np.int64(tree.root)
        count = int(tree.root != NOTHING)
        while count > 0:
            count -= 1
            here = waiting[count]
            shapes[nodes + leaves] = here < size
            if here < size:
                node = tree.nodes[here]
                cuts[nodes] = node.cut
                dimensions[nodes] = node.dimension
                nodes += 1
                waiting[count] = np.int64(node.child[1])
                waiting[count + 1] = np.int64(node.child[0])
                count += 2
            else:
                ages[leaves] = 1 + _age(tree.leaves[here - size], forest.head[0].clock - 1, rows)
                place[here - size] = leaves - first_leaf
                leaves += 1
        for i in range(np.int64(tree.samples)):
            ranks[t, i] = place[np.int64(tree.sampled[i]) - size]
    return nodes, leaves


@kernel
def _read_shape(
    tree: Record, waiting: NDArray[np.int64], shapes: NDArray[np.uint8]
) -> tuple[int, int]:
    """Link nodes and leaves, numbered in preorder, as ``shapes`` has them; returns their counts."""
    size = tree.leaves.shape[0]
    nodes = 0
    leaves = 0
    open_nodes = 0  # those in `waiting`, whose second child is still to come
    parent = NOTHING
    side = 0
    while True:
        inner = shapes[nodes + leaves] == 1
        here = nodes if inner else size + leaves
        _set_parent(tree, here, parent)
        if parent == NOTHING:
            tree.root = here
        else:
            tree.nodes[parent].child[side] = here
        if inner:
            nodes += 1
            waiting[open_nodes] = here
            open_nodes += 1
            parent = here
            side = 0
        else:
            leaves += 1
            if open_nodes == 0:
                break
            open_nodes -= 1
            parent = waiting[open_nodes]
            side = 1
    tree.free_node = nodes
    tree.free_leaf = size + leaves
    return nodes, leaves


@kernel
def read_trees(
    forest: Forest,
    shapes: NDArray[np.uint8],
    cuts: Singles,
    dimensions: NDArray[np.uint8],
    ages: NDArray[np.uint16],
    samples: NDArray[np.int64],
    weights: Singles,
    ranks: NDArray[np.uint16],
) -> None:
    """Rebuild the trees of an empty forest whose head and ring are set; undoes `write_trees`.

    ``samples`` (int64[T]) says how many of ``weights`` and ``ranks``, which lie one tree after
    the other, belong to each tree. Boxes are made from the points: they are exact minima and
    maxima, so they have the same bits as the ones that were updated point by point.
    """
    hand = forest.hand[0]
    ring = forest.ring
    rows = ring.shape[0] - hand.value.shape[0]
    row = forest.head[0].clock % rows
    first_node = 0
    first_leaf = 0
    first_sample = 0
    for t in range(forest.trees.shape[0]):
        tree = forest.trees[t]
        size = tree.leaves.shape[0]
        tree.samples = samples[t]
        if samples[t] == 0:
            continue
        nodes, leaves = _read_shape(tree, hand.waiting, shapes[first_node + first_leaf :])
        for i in range(leaves):
            position = row - np.int64(ages[first_leaf + i])
            tree.leaves[i].position = position if position >= 0 else position + rows
        for i in range(samples[t]):
            rank = np.int64(ranks[first_sample + i])
            tree.weights[i] = weights[first_sample + i]
            tree.sampled[i] = size + rank
            tree.leaves[rank].mass += 1
        for i in range(nodes - 1, -1, -1):  # children come after their parent
            tree.nodes[i].cut = cuts[first_node + i]
            tree.nodes[i].dimension = dimensions[first_node + i]
            _box_of_children(tree, hand, ring, i)
        first_node += nodes
        first_leaf += leaves
        first_sample += samples[t]
