"""A row's score in a sentence that a person understands."""

from __future__ import annotations

from dataclasses import dataclass

from detectors.base import Floats

LEAST_SHARE = 0.15
MOST_PARTS = 3
ONE_SIDED = 0.75
"""Share of what a cell bears that must be due to high, or to low, values to be told."""


@dataclass(frozen=True)
class Facts:
    """What the ensemble knows of a row.

    Attributes
    ----------
    record_side, mean_side, residual_side : float
        1 where the value, the short mean or the residual is a highest, -1 a lowest, 0 none.
    record_values : float
        Values among which it is.
    step : float
        Distance to the value before, in usual ones; 0 where nothing moved so far.
    recent : float
        Mean of the last values before, in the unit of the values.
    residual : float
        Value less what is usual at this time; NaN where that is unknown.
    usual : float
        Mean size of the residuals.
    weekly : float
        1 if the time of the week tells what is usual, 0 if the time of the day does.
    learnt : float
        Values learnt before.
    louder : float
        Mean of the last steps in usual ones.
    """

    record_side: float
    record_values: float
    mean_side: float
    residual_side: float
    step: float
    recent: float
    residual: float
    usual: float
    weekly: float
    learnt: float
    louder: float


def sentence_of_shingle(shares: Floats, high: Floats, columns: tuple[str, ...]) -> str:
    """What of a shingle bears most of a forest's score, and whether it is high or low.

    Parameters
    ----------
    shares : float64[h, m]
        Of the score, by row, the newest last, and column.
    high : float64[h, m]
        The part of them that is due to high values.
    columns : tuple of str
        What a cell of each column is, such as "value".
    """
    rows = len(shares)
    row, column = divmod(int(shares.argmax()), shares.shape[1])
    share = float(shares[row, column])
    earlier = rows - 1 - row
    name = columns[column]
    ago = f"{earlier} row{'s' if earlier > 1 else ''} earlier"
    cell = f"the {name} {ago}" if earlier else f"the newest {name}"
    part = float(high[row, column]) / share
    side = ", which is high" if part >= ONE_SIDED else ", which is low"
    if 1.0 - ONE_SIDED < part < ONE_SIDED:
        side = ""
    lie = f"last {rows} rows lie as hardly any {rows}" if rows > 1 else "row lies as hardly any"
    return f"the {lie} before, above all {cell}{side} ({100 * share:.0f} % of the score)"


def sentence(
    shares: dict[str, float], facts: Facts, rows: int, length: int, band: tuple[float, float]
) -> str:
    """What the members with the largest shares saw, and what would have been usual.

    Parameters
    ----------
    shares : dict of member -> float
        Of the score; the largest first.
    facts : Facts
        Of the row.
    rows : int
        Values that the short mean, and the steps' mean, go over.
    length : int
        Values that the shape goes over, 0 where it is not known.
    band : (float, float)
        What is usual at this time; NaN where nothing is known of it.
    """
    leading = [name for name, share in shares.items() if share >= LEAST_SHARE]
    leading = (leading or list(shares))[:MOST_PARTS]
    parts = [_part(name, facts, rows, length) for name in leading]
    if band[0] == band[0]:
        time = "hour of the week" if facts.weekly else "hour"
        parts.append(f"usual at this {time}: {band[0]:.4g} to {band[1]:.4g}")
    return "; ".join(parts)


def _part(name: str, facts: Facts, rows: int, length: int) -> str:
    among = f"in {facts.record_values:,.0f} values"
    ever = "than ever " if facts.record_values >= facts.learnt else "than any "
    time = "time of the week" if facts.weekly else "time of day"
    texts = {
        "record": f"{_side(facts.record_side)} {ever}{among}",
        "record_of_mean": f"the mean of the last {rows} values {_side(facts.mean_side)} {ever}"
        f"{among}",
        "record_of_residual": f"farther {_above(facts.residual_side)} what is usual at this {time} "
        "than ever",
        "day_profile": f"far {_above(facts.residual)} what is usual at this {time}",
        "jump": f"a step of {facts.step:.3g} times the usual"
        if facts.step
        else "the first step of a series that stood still",
        "volatility": f"the last {rows} steps {facts.louder:.2g} times as large as usual",
        "forest": "the last 8 values lie as hardly any 8 before",
        "level": "a value or a burst unlike those before",
        "shape": f"the last {length or 'many'} values take a course unlike any before",
    }
    return texts[name]


def _side(side: float) -> str:
    return "higher" if side > 0 else "lower"


def _above(side: float) -> str:
    return "above" if side > 0 else "below"
