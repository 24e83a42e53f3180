"""Trees as flat arrays without their free records, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors._forest_layout import NOTHING, Forest, Record, Singles, kernel, ring_rows
from detectors._forest_sample import age_of
from detectors._forest_tree import box_of_children, set_parent


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
    rows = ring_rows(forest)
    head = forest.head[0]
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
                leaf = tree.leaves[here - size]
                ages[leaves] = 1 + age_of(head, leaf, head.clock - 1, rows)
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
        set_parent(tree, here, parent)
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
    weights: NDArray[np.int16],
    ranks: NDArray[np.uint16],
) -> None:
    """Rebuild the trees of an empty forest whose head and ring are set; undoes `write_trees`.

    ``samples`` (int64[T]) says how many of ``weights`` and ``ranks``, which lie one tree after
    the other, belong to each tree. Boxes are made from the points: they are exact minima and
    maxima, so they have the same bits as the ones that were updated point by point.
    """
    hand = forest.hand[0]
    ring = forest.ring
    rows = ring_rows(forest)
    row = forest.head[0].clock % rows
    measures = forest.measures.shape[0]
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
            tree.leaves[i].position = (position if position >= 0 else position + rows) * measures
        for i in range(samples[t]):
            rank = np.int64(ranks[first_sample + i])
            tree.weights[i] = weights[first_sample + i]
            tree.sampled[i] = size + rank
            tree.leaves[rank].mass += 1
        for i in range(nodes - 1, -1, -1):  # children come after their parent
            tree.nodes[i].cut = cuts[first_node + i]
            tree.nodes[i].dimension = dimensions[first_node + i]
            box_of_children(tree, hand, ring, i)
        first_node += nodes
        first_leaf += leaves
        first_sample += samples[t]


# --- fewer bits ---------------------------------------------------------------------------------

_SHORT_BYTES = 3
"""Of a cut's four: `detectors._forest_tree` clears the last one wherever it can."""


def bits_for(most: int) -> int:
    """Bits that the integers 0..most take."""
    return max(int(most).bit_length(), 1)


def packed_integers(numbers: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Integers below 2**bits (bits <= 16) one after the other, highest bit first."""
    if bits == 8:
        return numbers.astype(np.uint8)
    wide = numbers.astype(">u2").view(np.uint8).reshape(-1, 2)
    return np.packbits(np.unpackbits(wide, axis=1)[:, 16 - bits :])


def unpacked_integers(packed: NDArray[np.uint8], count: int, bits: int) -> NDArray[np.uint16]:
    """The first ``count`` integers that `packed_integers` wrote."""
    if bits == 8:
        return packed.astype(np.uint16)
    numbers = np.empty(count, np.uint16)
    _unpack(np.array(packed), bits, numbers)
    return numbers


@kernel
def _unpack(packed: NDArray[np.uint8], bits: int, numbers: NDArray[np.uint16]) -> None:
    # ten times as fast as numpy's unpackbits, and a model is loaded often
    held = 0
    gathered: Any = 0
    byte = 0
    for i in range(numbers.shape[0]):
        while held < bits:
            gathered = (gathered << 8) | np.int64(packed[byte])
            byte += 1
            held += 8
        held -= bits
        numbers[i] = gathered >> held
        gathered &= (1 << held) - 1


def packed_cuts(cuts: Singles) -> dict[str, NDArray[Any]]:
    """Cuts as three bytes each, and the fourth of the few that have one."""
    whole = cuts.astype(">f4").view(np.uint8).reshape(-1, 4)
    long = np.flatnonzero(whole[:, _SHORT_BYTES])
    return {
        "cuts": whole[:, :_SHORT_BYTES].copy(),
        "long_cuts": long.astype(np.uint32),
        "last_bytes": whole[long, _SHORT_BYTES],
    }


def unpacked_cuts(arrays: Mapping[str, NDArray[Any]]) -> Singles:
    """The cuts (float32[n]) that `packed_cuts` wrote."""
    whole = np.zeros((arrays["cuts"].shape[0], 4), np.uint8)
    whole[:, :_SHORT_BYTES] = arrays["cuts"]
    whole[arrays["long_cuts"], _SHORT_BYTES] = arrays["last_bytes"]
    return whole.view(">f4").ravel().astype(np.float32)
