"""``python -m ingest.sales past|live|spike``: fill the shop's database, with known anomalies."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from examples.anybooks.sales import PRODUCTS
from ingest.database import one_line
from ingest.live_shop import LiveShop
from ingest.postgres import duration, moment
from ingest.shop import TABLE, count_between, load, open_shop, sales_between
from ingest.shop_clock import MICROSECONDS, ShopClock
from ingest.shop_days import (
    DAY_MICROSECONDS,
    day_of_sales,
    injections_between,
    micros_of,
)
from ingest.spike import MINUTE_MICROSECONDS, append_truth, line_of, product_of, put_spike

FAILED, WRONG = 1, 2
_TRUTH = Path("out/anybooks-live/ground_truth.jsonl")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 done, 1 the database failed, 2 something is asked for wrongly."""
    options = _parser().parse_args(arguments)
    try:
        if conninfo_to_dict(options.connection).get("password"):
            raise ValueError("--connection must hold no password; set PGPASSWORD or PGPASSFILE")
        return int(options.run(options))
    except ValueError as error:
        print(error, file=sys.stderr)
        return WRONG
    except psycopg.Error as error:
        print(one_line(error), file=sys.stderr)
        return FAILED


def _past(options: argparse.Namespace) -> int:
    until = micros_of(options.until) if options.until else time.time_ns() // 1000
    since = until - round(options.days * DAY_MICROSECONDS)
    if options.days <= 0:
        raise ValueError(f"--days must be > 0, got {options.days:g}")
    with open_shop(options.connection, options.table) as shop:
        if there := count_between(shop, options.table, since, until):
            raise ValueError(
                f"{options.table} has {there:,} sales in these days already; empty it, name "
                "another --table, or other days with --until"
            )
        rows, first, truth = 0, since // DAY_MICROSECONDS, []
        for day in range(first, (until - 1) // DAY_MICROSECONDS + 1):
            # no anomaly in the first whole day or the part before it: models learn there
            sales = day_of_sales(day, options.seed, day <= first + 1)
            rows += load(shop, options.table, sales_between(sales, since, until))
            truth += injections_between(sales.injections, since, until)
    append_truth(options.truth, truth)
    print(f"{options.table}: {rows:,} sales of {options.days:g} days, {len(truth)} anomalies")
    return 0


def _live(options: argparse.Namespace) -> int:
    start = micros_of(options.start) if options.start else time.time_ns() // 1000
    clock = ShopClock(start, options.speed)
    until = start + options.length if options.length else None
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    shop = LiveShop(
        lambda: open_shop(options.connection, options.table),
        options.table,
        clock,
        options.seed,
        late_share=options.late_share,
        most_late_seconds=options.most_late / MICROSECONDS,
    )
    try:
        shop.run(stop, until)
    finally:
        shop.close()
        _write_truth(options, start, clock.now() if until is None else min(until, clock.now()))
    lost = f"; {shop.lost:,} lost with the connection" if shop.lost else ""
    print(f"{options.table}: {shop.sold:,} sales, {shop.late:,} of them committed late{lost}")
    return 0


def _write_truth(options: argparse.Namespace, since: int, until: int) -> None:
    truth = []
    for day in range(since // DAY_MICROSECONDS, until // DAY_MICROSECONDS + 1):
        injections = day_of_sales(day, options.seed).injections
        truth += injections_between(injections, since, until)
    append_truth(options.truth, truth)


def _spike(options: argparse.Namespace) -> int:
    product = product_of(options.product)
    if options.minutes < 1:
        raise ValueError(f"--minutes must be >= 1, got {options.minutes}")
    with open_shop(options.connection, options.table) as shop:
        for minute in range(options.minutes):
            now = time.time_ns() // 1000
            if minute:
                time.sleep((MINUTE_MICROSECONDS - now % MINUTE_MICROSECONDS) / MICROSECONDS + 1.0)
                now = time.time_ns() // 1000
            injection = put_spike(shop, options.table, product, options.deviation_sd, now)
            append_truth(options.truth, [injection])
            print(line_of(injection), flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ingest.sales",
        description="Fill the database of the shop AnyBooks with sales and known anomalies.",
    )
    words = parser.add_subparsers(required=True)
    past = words.add_parser("past", help="sales of the last days, at once")
    past.add_argument("--days", type=float, default=28, help="how many (default: %(default)s)")
    past.add_argument("--until", type=moment, metavar="TIME", help="their end (default: now)")
    past.set_defaults(run=_past)
    live = words.add_parser("live", help="each sale at its time, until stopped")
    live.add_argument("--start", type=moment, metavar="TIME", help="by the shop's clock (now)")
    live.add_argument(
        "--speed",
        type=float,
        default=1.0,
        help="seconds of the shop's clock in a real one, till it has caught up (default: 1)",
    )
    live.add_argument(
        "--for", dest="length", type=duration, metavar="DURATION", help="end after this, shop time"
    )
    live.add_argument(
        "--late_share", type=float, default=0.02, help="share committed late (default: 0.02)"
    )
    live.add_argument(
        "--most_late",
        type=duration,
        default=90 * MICROSECONDS,
        metavar="DURATION",
        help="how late at most, shop time (default: 90s)",
    )
    live.set_defaults(run=_live)
    spike = words.add_parser("spike", help="a spike in this minute, committed at once")
    spike.add_argument("--product", default=PRODUCTS[0].name, help="default: %(default)s")
    spike.add_argument(
        "--deviation_sd",
        type=float,
        default=12.0,
        help="above the even hours' level, in standard deviations (default: %(default)s)",
    )
    spike.add_argument("--minutes", type=int, default=1, help="how long (default: 1)")
    spike.set_defaults(run=_spike)
    for word in (past, live, spike):
        word.add_argument(
            "--connection",
            default="",
            help="libpq's, without a password (default: libpq's variables, as PGHOST)",
        )
        word.add_argument("--table", default=TABLE, help="default: %(default)s")
        word.add_argument("--truth", type=Path, default=_TRUTH, help="default: %(default)s")
    for word in (past, live):
        word.add_argument("--seed", type=int, default=1, help="same seed, same sales (default: 1)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
