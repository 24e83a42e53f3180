"""Naive twin of the random cut forest: Guha et al. 2016 in plain Python, boxes taken afresh.

Points are float64[D]; a tree is a `Leaf` or a `Node`, grown and asked from the root down.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass

import numpy as np


@dataclass
class Leaf:
    point: np.ndarray
    mass: int

    def points(self):
        return [self.point]


@dataclass
class Node:
    dimension: int
    cut: float
    left: Leaf | Node
    right: Leaf | Node

    def points(self):
        return self.left.points() + self.right.points()

    def child(self, point):
        return self.left if point[self.dimension] <= self.cut else self.right


def box_of(tree):
    points = np.array(tree.points())
    return points.min(axis=0), points.max(axis=0)


def grow(points, random):
    """Definition 1: cut a dimension in proportion to its side, at a uniform place, and recurse."""
    distinct, counts = np.unique(np.array(points), axis=0, return_counts=True)
    if len(distinct) == 1:
        return Leaf(distinct[0], int(counts[0]))
    low, high = distinct.min(axis=0), distinct.max(axis=0)
    dimension = int(random.choice(len(low), p=(high - low) / (high - low).sum()))
    cut = random.uniform(low[dimension], high[dimension])
    goes_left = np.array(points)[:, dimension] <= cut
    left, right = np.array(points)[goes_left], np.array(points)[~goes_left]
    return Node(dimension, cut, grow(left, random), grow(right, random))


def gaps(tree, point):
    """By dimension, how far the point is outside the tree's box; and the box's side lengths."""
    low, high = box_of(tree)
    return np.maximum(np.maximum(low - point, point - high), 0.0), high - low


def attribution(tree, point, samples, depth=0):
    """float64[D] whose sum is the expected 1 / (depth + 1) of the point once inserted."""
    gap, sides = gaps(tree, point)
    if isinstance(tree, Leaf):
        if gap.sum() == 0.0:
            share = tree.mass / samples
            score = (1.0 - share / 2) / (depth + math.log2(tree.mass + 1))
            return np.full(len(point), score / len(point))
        return gap / gap.sum() / (depth + 1)
    by_dimension = gap / (gap + sides).sum()
    below = attribution(tree.child(point), point, samples, depth + 1)
    return by_dimension / (depth + 1) + (1.0 - by_dimension.sum()) * below


def tree_score(tree, point, samples):
    return attribution(tree, point, samples).sum() * math.log2(samples + 1)


def impute_newest(tree, point, samples):
    """The leaf value that, put in place of the newest, gives the lowest score."""

    def reachable(here):
        if isinstance(here, Leaf):
            return [here.point[-1]]
        if here.dimension == len(point) - 1:
            return reachable(here.left) + reachable(here.right)
        return reachable(here.child(point))

    def score_of(value):
        return tree_score(tree, np.append(point[:-1], value), samples)

    return min(reachable(tree), key=score_of)


def sample_ages(count, sample_size, time_decay, random):
    """Ages of what a time-decayed sample holds after ``count`` points, every weight drawn."""
    weights = np.log(random.exponential(size=count)) - time_decay * np.arange(count)
    return [
        count - 1 - t
        for _, t in heapq.nsmallest(sample_size, zip(weights, range(count), strict=True))
    ]
