"""Naive twin of `detectors.day_profile`: a list of visits for each slot."""

from __future__ import annotations

import math

MEMORY, VISIT_SHARE, FARTHEST, FARTHEST_LEARNT, WARM_ROWS = 2000, 0.2, 50.0, 5.0, 20


class NaiveProfile:
    """The profile of one season; ``visits`` are the means of each slot's finished visits."""

    def __init__(self):
        self.visits = {}
        self.slot = None
        self.rows = []
        self.sizes = Mean()

    def residual(self, value, slot):
        """``value`` less the profile, None before the first visit; learns both."""
        if self.slot is not None and slot != self.slot:
            self.visits.setdefault(self.slot, []).append(sum(self.rows) / len(self.rows))
            self.rows = []
        self.slot = slot
        residual = None
        if slot in self.visits:
            usual = self.level(slot)
            residual = value - usual
            size = self.sizes.clipped(abs(residual))
            self.sizes.add(size)
            value = usual + math.copysign(size, residual)
        self.rows.append(value)
        return residual

    def level(self, slot):
        level = 0.0
        for count, mean in enumerate(self.visits[slot], start=1):
            level += (mean - level) * max(1 / count, VISIT_SHARE)
        return level


class Mean:
    def __init__(self):
        self.count, self.value = 0, 0.0

    def add(self, size):
        self.count += 1
        self.value += (size - self.value) / min(self.count, MEMORY)

    def clipped(self, size):
        clips = self.count > WARM_ROWS and self.value > 0
        return min(size, FARTHEST_LEARNT * self.value) if clips else size


def day_profiles(values, slots):
    """Raw score, residual (None before the first visit), usual size and whether the week spoke."""
    day, week, told = NaiveProfile(), NaiveProfile(), Mean()
    both = Mean(), Mean()
    found = []
    for value, slot in zip(values, slots, strict=True):
        by_day, by_week = day.residual(value, slot % 96), week.residual(value, slot)
        if by_day is None:
            found.append((0.0, None, told.value, 0.0))
            continue
        weekly = by_week is not None and both[0].count > 500
        weekly = weekly and both[1].value < 0.8 * both[0].value
        residual = by_week if weekly else by_day
        size, usual = abs(residual), told.value
        raw = 0.0
        if told.count > WARM_ROWS and size:
            raw = math.log1p(min(size / usual, FARTHEST) if usual else FARTHEST)
        found.append((raw, residual, usual, float(weekly)))
        if by_week is not None:
            both[0].add(told.clipped(abs(by_day)))
            both[1].add(told.clipped(abs(by_week)))
        told.add(told.clipped(size))
    return found
