"""Naive twin of `detectors.calibration`: its definitions over a plain list of the past rows.

A past row is known by its bin only, and counts as spread evenly over it.
"""

from __future__ import annotations

import math

import numpy as np

BINS = 256
WARM_ROWS = 30
MOST_ROWS = 32_768
TAIL_SHARE = 0.02
TAIL_DECADES = -math.log10(TAIL_SHARE)
MOST_LEARNT_DECADES = 3.0
MOST_DECADES = 300.0


class NaiveCalibration:
    """The past of one score; ``rows`` are the bins of rows that came before."""

    def __init__(self, low, high, smallest_excess=0.02, rows=()):
        self.low, self.width = low, (high - low) / BINS
        self.smallest_excess = smallest_excess
        self.rows = np.array(rows, float)  # the bin of each past row
        self.weights = np.ones(len(self.rows))

    def decades(self, scores):
        found = []
        for score in scores:
            found.append(self.tail_decades(score))
            self.add_score(score)
        return found

    def tail_decades(self, score):
        if math.isnan(score) or self.total() < WARM_ROWS:
            return 0.0
        quantile = self.quantile()
        if score > quantile:
            beyond = (score - quantile) / (math.log(10) * self.mean_excess(quantile))
            return min(TAIL_DECADES + beyond, MOST_DECADES)
        share = (self.weight_above(score) + 0.5) / (self.total() + 1.0)
        return min(-math.log10(share), TAIL_DECADES)

    def add_score(self, score):
        if math.isnan(score):
            return
        if self.total() >= WARM_ROWS:
            quantile = self.quantile()
            most = (MOST_LEARNT_DECADES - TAIL_DECADES) * math.log(10) * self.mean_excess(quantile)
            score = min(score, quantile + most)
        self.rows = np.append(self.rows, self.bin_of(score))
        self.weights = np.append(self.weights, 1.0)
        if self.total() >= MOST_ROWS:
            self.weights /= 2

    def bin_of(self, score):
        return math.floor(min(max((score - self.low) / self.width, 0.0), BINS - 1.0))

    def total(self):
        return self.weights.sum()

    def edges(self):
        """Where each past row begins and ends."""
        return self.low + self.rows * self.width, self.low + (self.rows + 1) * self.width

    def weight_above(self, score):
        lower, upper = self.edges()
        return (self.weights * np.clip((upper - score) / (upper - lower), 0.0, 1.0)).sum()

    def quantile(self):
        """The least score that no more than `TAIL_SHARE` of the rows exceed, by bisection."""
        needed = TAIL_SHARE * self.total()
        lower, upper = self.low, self.low + BINS * self.width
        for _ in range(50):
            middle = (lower + upper) / 2
            if self.weight_above(middle) <= needed:
                upper = middle
            else:
                lower = middle
        return upper

    def mean_excess(self, quantile):
        lower, upper = self.edges()
        lowest = np.clip(quantile, lower, upper)  # of each row's part above the quantile
        part = self.weights * (upper - lowest) / (upper - lower)
        total = (part * ((lowest + upper) / 2 - quantile)).sum()
        mean = total / (TAIL_SHARE * self.total())
        return max(mean, 0.05 * abs(quantile), self.smallest_excess)
