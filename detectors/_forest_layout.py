"""The arrays of a random cut forest; `detectors.random_cut_forest` explains the method.

Symbols: T trees, S sample size, H shingle size in rows, m measures a row, D = H m, W ring rows.

A *point* is a shingle: H consecutive rows of the ring, D transformed values, named by the cell
where its first row starts (`position`). The ring repeats its first H rows at its end, so that every
shingle is contiguous; all trees share it and a value is stored once, where copies would take H
times that.

A tree is one record. It has at most S leaves and S - 1 inner nodes. An *id* below S is the inner
node ``tree.nodes[id]``, an id from S on the leaf ``tree.leaves[id - S]``, and `NOTHING` is no node.
Free records are chained through `parent`. A leaf carries all samples of equal content (`mass`) and
the newest of their positions. Ids are handles: no number depends on which one a node has.

Why records: numba passes one as a bare pointer (arrays are counted at every call: measured 3 times
slower), and S and D are part of its type, so loops over D have a length that the compiler knows
(one compilation, cached, for each S and D).

Nothing is compiled with fast-math: a sum's order is the one written, so the same bits come out of
scoring alone, of scoring in a block, and of a forest rebuilt from saved state.

numba's cache of a function notices a change of the function's own file only: whoever edits one of
these modules must clear the caches of those that call it.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

OPENING = 50  # rows that fix centre and scale
NOTHING = 0xFFFF
EXPIRY_PERIOD = 64  # trees are searched for leaving points once in so many rows
# a sample lives 1 / time_decay on average; e**-3.4 = 3 % would live longer than the ring keeps them
RING_LIFETIMES = 3.4
MOST_RING_CELLS = 0xFFFF  # positions are 16 bits wide
ZERO = np.float32(0.0)

HEAD = np.dtype(
    [
        ("random_state", "u8"),
        ("clock", "i8"),  # rows learnt by the trees
        ("rebased_at", "i8"),  # clock that sample weights are relative to,
        ("rebased_rest", "f8"),  # and the decay that their last rounding left over
        ("opened", "i8"),  # rows seen of the opening
        ("time_decay", "f8"),
        ("transform_decay", "f8"),
        ("output_after", "i8"),
        ("transform", "i8"),
        ("measures", "i8"),
    ]
)
MEASURE = np.dtype(
    [
        ("centre", "f8"),
        ("scale", "f8"),  # 0: all values so far were equal
        # of the scaled value: the newest one; mean and variance of what the transform centres
        ("previous", "f8"),
        ("mean", "f8"),
        ("variance", "f8"),
        ("least_deviation", "f8"),
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
def tree_dtype(dimensions: int, sample_size: int) -> np.dtype[Any]:
    """Record of one tree.

    One object a shape for the life of the process: numba knows a record type again by the address
    of its dtype, and an address that was freed and reused runs a kernel on the wrong layout.
    """
    box = np.dtype([("low", "f4", (dimensions,)), ("high", "f4", (dimensions,))])
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
            ("weights", "i2", (sample_size,)),  # max-heap of the samples' weights, see `accept`
            ("sampled", "u2", (sample_size,)),  # id of each sample's leaf, in heap order
            ("boxes", box, (sample_size,)),  # bounding box of each node
        ],
        align=True,
    )


@cache
def hand_dtype(dimensions: int, sample_size: int) -> np.dtype[Any]:
    """Record of the point in hand, and the room to work on it; never part of the state.

    One object a shape, as `tree_dtype`.
    """
    return np.dtype(
        [
            ("value", "f4", (dimensions,)),
            ("gap", "f4", (dimensions,)),  # its distance, by dimension, from what was last met
            ("missing", "u1", (dimensions,)),  # what an imputation has to fill in
            ("waiting", "i8", (sample_size,)),  # nodes still to be visited
            ("reciprocal", "f8", (sample_size + 1,)),  # a table: 1 / (depth + 1)
            ("onset", "f8"),  # what the newest row bears of the last score
        ],
        align=True,
    )


class Forest(NamedTuple):
    """A forest as arrays; boxes and extents follow from the rest of the state."""

    head: NDArray[Any]  # HEAD[1]
    measures: NDArray[Any]  # MEASURE[m]
    trees: NDArray[Any]  # tree_dtype[T]
    ring: NDArray[np.float32]  # [(W + H) * m]; transformed values
    opening: NDArray[np.float64]  # [OPENING, m]; the first rows as they came
    hand: NDArray[Any]  # hand_dtype[1]
    descending: NDArray[np.int64]  # [T]; scratch: trees whose leaf is not reached yet
    # [H, m]; by clock % H: what was expected in place of a row's values if it was an anomaly, in
    # the ring's unit, else NaN
    corrections: NDArray[np.float32]


def new_forest(
    shingle_size: int,
    measures: int,
    trees: int,
    sample_size: int,
    time_decay: float,
    output_after: int,
    transform: int,
    seed: int,
) -> Forest:
    """An empty forest."""
    dimensions = shingle_size * measures
    lifetimes = math.ceil(min(RING_LIFETIMES / time_decay, MOST_RING_CELLS))
    rows = min(sample_size + shingle_size + EXPIRY_PERIOD + lifetimes, MOST_RING_CELLS // measures)
    forest = Forest(
        head=np.zeros(1, HEAD),
        measures=np.zeros(measures, MEASURE),
        trees=np.zeros(trees, tree_dtype(dimensions, sample_size)),
        ring=np.zeros((rows + shingle_size) * measures, np.float32),
        opening=np.zeros((OPENING, measures)),
        hand=np.zeros(1, hand_dtype(dimensions, sample_size)),
        descending=np.zeros(trees, np.int64),
        corrections=np.full((shingle_size, measures), np.nan, np.float32),
    )
    forest.head["random_state"] = seed
    forest.head["time_decay"] = time_decay
    forest.head["transform_decay"] = time_decay
    forest.head["output_after"] = output_after
    forest.head["transform"] = transform
    forest.head["measures"] = measures
    forest.hand["reciprocal"] = 1.0 / np.arange(1.0, sample_size + 2.0)
    forest.trees["root"] = NOTHING
    forest.trees["free_leaf"] = sample_size
    forest.trees["nodes"]["parent"] = np.arange(1, sample_size + 1)
    forest.trees["leaves"]["parent"] = np.arange(sample_size + 1, 2 * sample_size + 1)
    return forest


@kernel
def uniform(head: Record) -> float:
    """Next number in (0, 1), neither end included (SplitMix64, Steele et al. 2014)."""
    head.random_state += np.uint64(0x9E3779B97F4A7C15)
    z = head.random_state
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return (np.float64(z >> np.uint64(11)) + 0.5) / 9007199254740992.0


@kernel
def ring_rows(forest: Forest) -> Index:
    """W: how many rows the ring holds."""
    return (forest.ring.shape[0] - forest.hand[0].value.shape[0]) // forest.measures.shape[0]
