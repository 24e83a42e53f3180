"""The shop: its clock, its days, its spikes, and tills that fail."""

from __future__ import annotations

import datetime as dt
import threading
from collections import Counter

import pytest
from psycopg import OperationalError

from examples.anybooks.sales import NOISE_SD, read_ground_truth
from ingest import live_shop, sales
from ingest.live_shop import LiveShop
from ingest.shop import sales_between
from ingest.shop_clock import ShopClock
from ingest.shop_days import DAY_MICROSECONDS, day_of_sales, instant_of, micros_of
from ingest.spike import MINUTE_MICROSECONDS, append_truth, product_of, spike_sales

SECOND = 1_000_000
DAY = 20_000
START = DAY * DAY_MICROSECONDS


def test_a_fast_clock_never_passes_the_real_one():
    real = [1000.0]
    clock = ShopClock(900 * SECOND, 11.0, lambda: real[0])
    assert clock.now() == 900 * SECOND
    real[0] = 1005.0
    assert clock.now() == 955 * SECOND
    real[0] = 1010.0
    assert clock.now() == 1010 * SECOND
    real[0] = 1020.0
    assert clock.now() == 1020 * SECOND
    with pytest.raises(ValueError, match="must not be in the future"):
        ShopClock(1021 * SECOND, 1.0, lambda: real[0])
    with pytest.raises(ValueError, match="the speed must be > 0"):
        ShopClock(0, 0.0, lambda: real[0])


def test_a_days_sales_are_the_same_whenever_they_are_asked_for():
    whole = sales_between(day_of_sales(DAY, 1), START, START + DAY_MICROSECONDS)
    day_of_sales.cache_clear()
    cut = START + 12345 * SECOND
    halves = sales_between(day_of_sales(DAY, 1), START, cut)
    halves += sales_between(day_of_sales(DAY, 1), cut, START + DAY_MICROSECONDS)
    assert halves == whole
    assert whole[0].micros >= START
    assert whole != sales_between(day_of_sales(DAY, 2), START, START + DAY_MICROSECONDS)
    assert not day_of_sales(DAY, 1, is_usual=True).injections


@pytest.mark.parametrize(("hour", "usual"), [(2, 30.0), (3, 15.0)])
def test_a_spike_comes_to_its_height_in_its_minute(hour, usual):
    now = START + hour * 3600 * SECOND + 2 * SECOND
    sold = spike_sales(product_of("item-B"), 10.0, now)
    assert usual + sum(sale.quantity for sale in sold) == pytest.approx(30 + 10 * NOISE_SD, abs=1)
    assert {sale.micros // MINUTE_MICROSECONDS for sale in sold} == {now // MINUTE_MICROSECONDS}
    assert max(sale.micros for sale in sold) == now
    assert all(1 <= sale.quantity <= 3 for sale in sold)
    with pytest.raises(ValueError, match="must be one of item-A, item-B, got 'x'"):
        product_of("x")
    with pytest.raises(ValueError, match="the deviation must be > 0"):
        spike_sales(product_of("item-A"), 0.0, now)


def test_ground_truth_is_added_once(tmp_path):
    injections = next(
        day.injections
        for day in (day_of_sales(DAY + number, 1) for number in range(9))
        if len(day.injections) > 1
    )
    file = tmp_path / "deep" / "truth.jsonl"
    append_truth(file, list(injections[:1]))
    append_truth(file, list(injections))
    assert read_ground_truth(file) == injections


def test_instants():
    instant = dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC)
    assert instant_of(micros_of(instant)) == instant


class Tills:
    """A database in memory: connections, and what they committed, with the shop's time then."""

    def __init__(self):
        self.now = START
        self.committed = []
        self.is_away = False
        self.opened = 0

    def open(self):
        if self.is_away:
            self.is_away = False  # back at the next try
            raise OperationalError("away")
        self.opened += 1
        return Till(self)


class Till:
    def __init__(self, tills):
        self.tills, self.waiting = tills, []

    def insert(self, sold):
        if self.tills.is_away:
            raise OperationalError("away")
        self.waiting += sold

    def commit(self):
        self.tills.committed += [(self.tills.now, sale) for sale in self.waiting]
        self.waiting = []

    def close(self):
        pass


class Clock:
    def __init__(self, tills, step):
        self.tills, self.step = tills, step

    def now(self):
        self.tills.now += self.step
        return self.tills.now


@pytest.fixture
def open_shop(monkeypatch):
    monkeypatch.setattr(live_shop, "insert", lambda till, _, sold: till.insert(sold))
    monkeypatch.setattr(live_shop, "_TICK_SECONDS", 0)
    tills = Tills()

    def make(**settings):
        return tills, LiveShop(tills.open, "sales", Clock(tills, SECOND), 1, **settings)

    return make


def test_every_sale_is_committed_once_and_some_of_them_late(open_shop):
    tills, shop = open_shop(late_share=0.1, most_late_seconds=90.0)
    until = START + 1200 * SECOND
    shop.run(threading.Event(), until)
    expected = sales_between(day_of_sales(DAY, 1), START + SECOND, until)
    assert sorted(sale for _, sale in tills.committed) == sorted(expected)
    assert (shop.sold, shop.lost) == (len(expected), 0)
    delays = [(at - sale.micros) / SECOND for at, sale in tills.committed]
    assert max(delays) <= 92
    late = [delay for delay in delays if delay > 10]
    assert 0.5 * shop.late < len(late) <= shop.late
    assert shop.late > 20


def test_a_database_that_goes_away_costs_sales_and_not_the_shop(open_shop):
    tills, shop = open_shop(late_share=0.1)
    shop.run(threading.Event(), START + 300 * SECOND)
    opened = tills.opened
    tills.is_away = True
    shop.run(threading.Event(), START + 600 * SECOND)
    assert tills.opened == 2 * opened
    expected = sales_between(day_of_sales(DAY, 1), START + SECOND, START + 600 * SECOND)
    times = Counter(sale for _, sale in tills.committed)
    assert set(times.values()) == {1}
    assert 0 < shop.lost < 20
    assert 0 <= len(expected) - len(times) - shop.lost <= 5  # of the moment between the runs


@pytest.mark.parametrize(
    "wrong", [{"late_share": 2.0}, {"most_late_seconds": -1.0}, {"late_tills": 0}]
)
def test_settings_out_of_range_are_refused(open_shop, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        open_shop(**wrong)


def test_passwords_are_no_options(capsys):
    assert sales.main(["spike", "--connection", "host=h password=p"]) == 2
    assert "must hold no password" in capsys.readouterr().err
