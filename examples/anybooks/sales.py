"""Sales of the on-campus bookstore AnyBooks, with anomalies injected and written down.

A minute of an even hour (UTC) sells about 20 units of item-A and 30 of item-B, a minute of an odd
hour half of that, with normal noise of `NOISE_SD` units. The minute's units are split into
transactions of one to three units, each at its own instant.

Two kinds of anomaly are injected, each a minute to three long: a *spike* lies ``k`` standard
deviations above the even hours' level and a *drop* ``k`` below the odd hours', whichever hour it
falls into, so that either is strange in any hour.

Examples
--------
>>> sales = generate(days=2, seed=1)
>>> sales.totals.shape
(2, 2880)
>>> int(sales.quantities.sum()) == int(sales.totals.sum())
True
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

START = datetime(2024, 8, 5, tzinfo=UTC)
NOISE_SD = 1.8
SMALLEST_DEVIATION_SD = 5.0
LARGEST_DEVIATION_SD = 15.0
LONGEST_ANOMALY_MINUTES = 3
GAP_MINUTES = 30
MOST_UNITS_SOLD_AT_ONCE = 3

DAY_MINUTES = 24 * 60
MINUTE_MICROSECONDS = 60_000_000


class Product(NamedTuple):
    """A product and its usual units a minute."""

    name: str
    even_hour_level: float
    odd_hour_level: float


PRODUCTS = (Product("item-A", 20.0, 10.0), Product("item-B", 30.0, 15.0))


@dataclass(frozen=True)
class Injection:
    """One injected anomaly: the ground truth.

    Attributes
    ----------
    product_name : str
        The series it was injected into.
    kind : str
        ``spike`` or ``drop``.
    start, end : datetime
        Its minutes, UTC; ``end`` is exclusive.
    units : tuple of int
        Units sold in each of its minutes.
    deviation_sd : float
        How far outside both hours' levels it lies, in standard deviations of the noise.
    """

    product_name: str
    kind: str
    start: datetime
    end: datetime
    units: tuple[int, ...]
    deviation_sd: float


@dataclass(frozen=True)
class MinuteTotals:
    """Units sold a minute, before they are split into transactions.

    Attributes
    ----------
    start : datetime
        Start of the first minute, UTC.
    products : tuple of str
        Names of the rows of `totals`.
    totals : int64[products, minutes]
        Units sold.
    injections : tuple of Injection
        By product, then by time.
    """

    start: datetime
    products: tuple[str, ...]
    totals: Integers
    injections: tuple[Injection, ...]


@dataclass(frozen=True)
class Sales(MinuteTotals):
    """The same minutes as single transactions, in order of event time.

    Attributes
    ----------
    transaction_ids : int64[n]
        1 to n.
    event_times : int64[n]
        Microseconds since 1970 UTC.
    product_indices : int64[n]
        Row of the product in `products`.
    quantities : int64[n]
        Units, 1 to `MOST_UNITS_SOLD_AT_ONCE`.
    """

    transaction_ids: Integers
    event_times: Integers
    product_indices: Integers
    quantities: Integers


def minute_totals(
    days: int = 28, seed: int = 1, *, learning_days: int = 1, start: datetime = START
) -> MinuteTotals:
    """Units sold a minute, by product; the quick way where transactions are not needed.

    Parameters
    ----------
    days : int
        Length of the stream.
    seed : int
        Same seed, same sales.
    learning_days : int
        Days at the start without an anomaly.
    start : datetime
        First instant; a full hour with a time zone.

    Raises
    ------
    ValueError
        If a parameter is out of its range.
    """
    _check(days, seed, learning_days, start)
    rows = []
    injections: list[Injection] = []
    for index, product in enumerate(PRODUCTS):
        rng = np.random.default_rng([seed, index])
        totals = _usual_units(product, days, start, rng)
        injections += _inject(totals, product, learning_days, start, rng)
        rows.append(totals)
    names = tuple(product.name for product in PRODUCTS)
    return MinuteTotals(start.astimezone(UTC), names, np.stack(rows), tuple(injections))


def generate(
    days: int = 28, seed: int = 1, *, learning_days: int = 1, start: datetime = START
) -> Sales:
    """Sales of ``days`` days as transactions; the parameters are those of `minute_totals`."""
    minutes = minute_totals(days, seed, learning_days=learning_days, start=start)
    rng = np.random.default_rng([seed, len(PRODUCTS)])
    cells, quantities = _split_into_transactions(minutes.totals.ravel(), rng)
    product_indices, minute_indices = np.divmod(cells, minutes.totals.shape[1])
    first = int(minutes.start.timestamp()) * 1_000_000
    instants = rng.integers(0, MINUTE_MICROSECONDS, size=cells.size)
    event_times = first + minute_indices * MINUTE_MICROSECONDS + instants
    order = np.argsort(event_times, kind="stable")
    return Sales(
        start=minutes.start,
        products=minutes.products,
        totals=minutes.totals,
        injections=minutes.injections,
        transaction_ids=np.arange(1, cells.size + 1),
        event_times=event_times[order],
        product_indices=product_indices[order],
        quantities=quantities[order],
    )


def write_ground_truth(path: Path, injections: Iterable[Injection]) -> None:
    """Write one JSON object a line; times are ISO 8601 minutes."""
    with path.open("w", encoding="utf-8") as file:
        for injection in injections:
            record = {
                "product_name": injection.product_name,
                "kind": injection.kind,
                "start": _iso_minute(injection.start),
                "end": _iso_minute(injection.end),
                "units": list(injection.units),
                "deviation_sd": injection.deviation_sd,
            }
            file.write(json.dumps(record) + "\n")


def read_ground_truth(path: Path) -> tuple[Injection, ...]:
    """Read what `write_ground_truth` wrote."""
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return tuple(
        Injection(
            product_name=record["product_name"],
            kind=record["kind"],
            start=datetime.fromisoformat(record["start"]),
            end=datetime.fromisoformat(record["end"]),
            units=tuple(record["units"]),
            deviation_sd=record["deviation_sd"],
        )
        for record in records
    )


def _check(days: int, seed: int, learning_days: int, start: datetime) -> None:
    if days < 1:
        raise ValueError(f"days must be >= 1, got {days}")
    if seed < 0:
        raise ValueError(f"seed must be >= 0, got {seed}")
    if not 0 <= learning_days <= days:
        raise ValueError(f"learning_days must be from 0 to days ({days}), got {learning_days}")
    if start.tzinfo is None or start.timestamp() % 3600:
        raise ValueError(f"start must be a full hour with a time zone, got {start.isoformat()}")


def _usual_units(
    product: Product, days: int, start: datetime, rng: np.random.Generator
) -> Integers:
    minutes = np.arange(days * DAY_MINUTES)
    hours = start.astimezone(UTC).hour + minutes // 60
    levels = np.where(hours % 2 == 0, product.even_hour_level, product.odd_hour_level)
    units = np.rint(levels + rng.normal(0.0, NOISE_SD, minutes.size))
    return np.maximum(units, 0.0).astype(np.int64)


def _inject(
    totals: Integers,
    product: Product,
    learning_days: int,
    start: datetime,
    rng: np.random.Generator,
) -> list[Injection]:
    """Overwrite minutes of ``totals`` (int64[minutes]) with anomalies, one a day on average."""
    injections = []
    for first in _places(learning_days * DAY_MINUTES, totals.size, rng):
        kind = ("spike", "drop")[rng.integers(2)]
        duration = int(rng.integers(1, LONGEST_ANOMALY_MINUTES + 1))
        deviation_sd, units = _anomalous_units(product, kind, rng)
        totals[first : first + duration] = units
        injections.append(
            Injection(
                product_name=product.name,
                kind=kind,
                start=start + timedelta(minutes=first),
                end=start + timedelta(minutes=first + duration),
                units=(units,) * duration,
                deviation_sd=round(deviation_sd, 3),
            )
        )
    return injections


def _places(begin: int, end: int, rng: np.random.Generator) -> list[int]:
    """First minutes of the anomalies, ascending, each with room for the longest and its gap."""
    room = LONGEST_ANOMALY_MINUTES + GAP_MINUTES
    count = int(rng.poisson((end - begin) / DAY_MINUTES))
    count = min(count, (end - begin) // room)
    # sorted places in what is left when every anomaly's room is taken out, then put back in
    free = end - begin - count * room
    places = np.sort(rng.integers(0, free + 1, size=count))
    return [begin + int(place) + index * room for index, place in enumerate(places)]


def _anomalous_units(product: Product, kind: str, rng: np.random.Generator) -> tuple[float, int]:
    """Deviation in standard deviations, and the units a minute that it comes to."""
    if kind == "spike":
        k = rng.uniform(SMALLEST_DEVIATION_SD, LARGEST_DEVIATION_SD)
        return k, int(np.rint(product.even_hour_level + k * NOISE_SD))
    # a drop ends at 0 units: 5.6 standard deviations below item-A's odd hours
    deepest = min(LARGEST_DEVIATION_SD, product.odd_hour_level / NOISE_SD)
    k = rng.uniform(SMALLEST_DEVIATION_SD, deepest)
    return k, int(np.rint(product.odd_hour_level - k * NOISE_SD))


def _split_into_transactions(
    units: Integers, rng: np.random.Generator
) -> tuple[Integers, Integers]:
    """Index into ``units`` (int64[cells]) and quantity of each transaction, both int64[n]."""
    cells = np.flatnonzero(units)
    left = units[cells]
    all_cells, all_quantities = [], []
    while cells.size:
        sold = rng.integers(1, MOST_UNITS_SOLD_AT_ONCE + 1, size=cells.size)
        quantities = np.minimum(sold, left)
        all_cells.append(cells)
        all_quantities.append(quantities)
        left = left - quantities
        cells, left = cells[left > 0], left[left > 0]
    empty = np.zeros(0, np.int64)
    return np.concatenate([empty, *all_cells]), np.concatenate([empty, *all_quantities])


def _iso_minute(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
