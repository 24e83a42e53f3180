"""A spike on demand: more sales of a product, now."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
from psycopg import Connection

from examples.anybooks.sales import (
    MOST_UNITS_SOLD_AT_ONCE,
    NOISE_SD,
    PRODUCTS,
    Injection,
    Product,
    write_ground_truth,
)
from ingest.shop import Sale, insert
from ingest.shop_days import instant_of

MINUTE_MICROSECONDS = 60_000_000
_SPREAD_MICROSECONDS = 5_000_000


def product_of(name: str) -> Product:
    """The product of that name.

    Raises
    ------
    ValueError
        There is none.
    """
    for product in PRODUCTS:
        if product.name == name:
            return product
    names = ", ".join(product.name for product in PRODUCTS)
    raise ValueError(f"product must be one of {names}, got {name!r}")


def spike_sales(product: Product, deviation_sd: float, now: int) -> list[Sale]:
    """Sales that lift the minute of ``now`` to a spike, if it sells as usual besides.

    Parameters
    ----------
    product : Product
        What is sold.
    deviation_sd : float
        How far the minute's units then lie above those of even hours, in standard deviations of
        their noise, > 0.
    now : int
        Microseconds since 1970; the sales' times are the seconds before, in the same minute.

    Raises
    ------
    ValueError
        The deviation is not positive.
    """
    if not 0.0 < deviation_sd < float("inf"):
        raise ValueError(f"the deviation must be > 0 and finite, got {deviation_sd}")
    is_even = instant_of(now).hour % 2 == 0
    usual = product.even_hour_level if is_even else product.odd_hour_level
    left = round(product.even_hour_level + deviation_sd * NOISE_SD - usual)
    quantities = []
    while left > 0:
        quantities.append(min(left, MOST_UNITS_SOLD_AT_ONCE))
        left -= quantities[-1]
    first = max(now - now % MINUTE_MICROSECONDS, now - _SPREAD_MICROSECONDS)
    times = np.linspace(first, now, len(quantities)).astype(np.int64).tolist()
    return [
        Sale(micros, product.name, units) for micros, units in zip(times, quantities, strict=True)
    ]


def put_spike(
    shop: Connection[Any], table: str, product: Product, deviation_sd: float, now: int
) -> Injection:
    """Commit such sales at once; returns what was put in."""
    sales = spike_sales(product, deviation_sd, now)
    insert(shop, table, sales)
    shop.commit()
    start = instant_of(now - now % MINUTE_MICROSECONDS)
    units = sum(sale.quantity for sale in sales)
    end = start + dt.timedelta(minutes=1)
    return Injection(product.name, "spike", start, end, (units,), round(deviation_sd, 3))


def append_truth(path: Path, injections: list[Injection]) -> None:
    """Add anomalies to a file of ground truth; those that are in it already are left out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    write_ground_truth(new, injections)
    known = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    added = [line for line in new.read_text(encoding="utf-8").splitlines() if line not in known]
    new.unlink()
    with path.open("a", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in added)


def line_of(injection: Injection) -> str:
    """The anomaly for people, as JSON."""
    return json.dumps(
        {
            "product_name": injection.product_name,
            "kind": injection.kind,
            "start": injection.start.isoformat(),
            "units_added": injection.units[0],
            "deviation_sd": injection.deviation_sd,
        }
    )
