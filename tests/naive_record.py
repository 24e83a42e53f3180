"""Naive twin of `detectors.record`: lists of what each epoch learnt."""

from __future__ import annotations

import math

EPOCH = 20_000


def records(values, warm_rows, epoch=EPOCH):
    """Decades, side and known values of each of ``values``."""
    epochs, found, count = [[]], [], 0.0
    for value in values:
        known = [past for each in epochs[-2:] for past in each]
        decades = side = 0.0
        often = max(count / 4, 1.0)
        if known:
            count *= 1 - 1 / (len(known) + 1)
            low, high = min(known), max(known)
            excess, width = max(value - high, low - value, 0.0), high - low
            if excess:
                count += 1
                side = 1.0 if value > high else -1.0
                share = excess / width if width else 1.0
                if len(known) >= warm_rows:
                    rarity = math.log10((len(known) / 2 + 1) / often) + 10 * min(share, 0.3)
                    decades = share / (share + 0.03) * max(rarity, 0.0)
                if width and share > 1.0:
                    value = high + width if side > 0 else low - width
        found.append((decades, side, float(len(known))))
        epochs[-1].append(value)
        if len(epochs[-1]) == epoch:
            epochs.append([])
    return found
