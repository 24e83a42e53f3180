"""AnyBooks: what is sold, how it is delivered, and how alerts are judged."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from examples.anybooks import generate as anybooks
from examples.anybooks.evaluate import Alert, evaluate
from examples.anybooks.generate import (
    MALFORMED_KINDS,
    Injection,
    deliver,
    generate,
    minute_totals,
    read_ground_truth,
    write,
)
from examples.anybooks.sales import NOISE_SD, PRODUCTS

DAYS = 6
START = datetime(2024, 8, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def sales():
    return generate(DAYS, seed=3)


@pytest.fixture(scope="module")
def delivery(sales):
    return deliver(sales, seed=3, malformed_share=0.01, duplicate_share=0.02)


def usual(minutes):
    """bool[products, minutes]: minutes without an anomaly."""
    mask = np.ones(minutes.totals.shape, bool)
    for injection in minutes.injections:
        row = minutes.products.index(injection.product_name)
        first = (injection.start - minutes.start) // timedelta(minutes=1)
        mask[row, first : first + len(injection.units)] = False
    return mask


def micros(text):
    instant = datetime.fromisoformat(text)
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def usable(line):
    """What a strict reader takes: an object with the four fields, of the right types."""

    def refuse(constant):
        raise ValueError(constant)

    try:
        record = json.loads(line.decode("utf-8"), parse_constant=refuse)
        micros(record["event_time"])
        well_typed = isinstance(record["product_name"], str) and type(record["quantity"]) is int
    except (ValueError, KeyError):
        return None
    return record if well_typed else None


def test_levels_and_noise_follow_the_hour():
    minutes = minute_totals(days=14, seed=5)
    hours = np.arange(minutes.totals.shape[1]) // 60
    plain = usual(minutes)
    for row, product in enumerate(PRODUCTS):
        for parity, level in enumerate((product.even_hour_level, product.odd_hour_level)):
            units = minutes.totals[row][plain[row] & (hours % 2 == parity)]
            assert abs(units.mean() - level) < 0.1
            assert abs(units.std() - NOISE_SD) < 0.1  # rounding adds 1/12 to the variance


def test_hours_are_those_of_the_clock_in_utc():
    odd_start = minute_totals(days=2, seed=1, start=START + timedelta(hours=1))
    assert odd_start.totals[0, :60].mean() < 12
    assert odd_start.totals[0, 60:120].mean() > 18


def test_same_seed_same_sales_and_another_seed_others(sales):
    again, other = generate(DAYS, seed=3), generate(DAYS, seed=4)
    assert np.array_equal(again.event_times, sales.event_times)
    assert np.array_equal(again.quantities, sales.quantities)
    assert again.injections == sales.injections
    assert not np.array_equal(other.totals, sales.totals)
    assert deliver(again, seed=3).lines == deliver(sales, seed=3).lines


def test_minute_totals_are_those_of_the_transactions(sales):
    quick = minute_totals(DAYS, seed=3)
    assert np.array_equal(quick.totals, sales.totals)
    assert quick.injections == sales.injections
    sums = np.zeros_like(sales.totals)
    minutes = (sales.event_times - micros(START.isoformat())) // 60_000_000
    np.add.at(sums, (sales.product_indices, minutes), sales.quantities)
    assert np.array_equal(sums, sales.totals)
    assert set(np.unique(sales.quantities)) == {1, 2, 3}
    assert np.all(np.diff(sales.event_times) >= 0)


def test_injections_are_outside_both_levels_apart_and_after_the_learning_days():
    minutes = minute_totals(days=60, seed=2, learning_days=3)
    counts = Counter(injection.kind for injection in minutes.injections)
    assert counts["spike"] > 25
    assert counts["drop"] > 25
    assert abs(len(minutes.injections) - 2 * 57) < 4 * np.sqrt(2 * 57)  # Poisson, one a day each
    products = {product.name: product for product in PRODUCTS}
    last_end: dict[str, datetime] = {}
    for injection in minutes.injections:
        product = products[injection.product_name]
        assert injection.start >= START + timedelta(days=3)
        assert injection.end - injection.start == timedelta(minutes=len(injection.units))
        assert 1 <= len(injection.units) <= 3
        if injection.product_name in last_end:
            assert injection.start - last_end[injection.product_name] >= timedelta(minutes=30)
        last_end[injection.product_name] = injection.end
        row = minutes.products.index(injection.product_name)
        first = (injection.start - START) // timedelta(minutes=1)
        assert tuple(minutes.totals[row, first : first + len(injection.units)]) == injection.units
        for units in injection.units:
            if injection.kind == "spike":
                deviation = units - product.even_hour_level
            else:
                deviation = product.odd_hour_level - units
            assert units >= 0
            assert 5 * NOISE_SD <= deviation
            assert abs(deviation - injection.deviation_sd * NOISE_SD) <= 0.51


def test_spikes_fall_into_both_kinds_of_hours():
    spikes = [i for i in minute_totals(days=60, seed=2).injections if i.kind == "spike"]
    assert {spike.start.hour % 2 for spike in spikes} == {0, 1}


def test_learning_days_may_be_all():
    assert minute_totals(days=2, seed=1, learning_days=2).injections == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"days": 0}, "days must be >= 1, got 0"),
        ({"seed": -1}, "seed must be >= 0, got -1"),
        ({"days": 2, "learning_days": 3}, r"learning_days must be from 0 to days \(2\), got 3"),
        ({"start": datetime(2024, 8, 5)}, "start must be a full hour with a time zone"),  # noqa: DTZ001
        ({"start": START + timedelta(minutes=1)}, "start must be a full hour"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        minute_totals(**options)


def test_usable_records_are_the_transactions_and_their_duplicates(sales, delivery):
    records = [record for line in delivery.lines if (record := usable(line))]
    ids = Counter(record["transaction_id"] for record in records)
    assert len(records) == delivery.transactions + delivery.duplicates
    assert set(ids) == set(sales.transaction_ids.tolist())
    assert Counter(ids.values()) == {
        1: delivery.transactions - delivery.duplicates,
        2: delivery.duplicates,
    }
    assert delivery.duplicates == round(0.02 * delivery.transactions)
    assert len({line for line in delivery.lines if usable(line)}) == delivery.transactions
    units = Counter[str]()
    for record in {record["transaction_id"]: record for record in records}.values():
        units[record["product_name"]] += record["quantity"]
    totals = sales.totals.sum(axis=1).tolist()
    assert units == dict(zip(sales.products, totals, strict=True))


def test_malformed_records_are_malformed_in_their_kind(sales, delivery):
    broken = [line for line in delivery.lines if usable(line) is None]
    assert len(broken) == sum(delivery.malformed.values()) == round(0.01 * delivery.transactions)
    kinds = Counter(kind_of(line) for line in broken)
    assert kinds == delivery.malformed
    assert set(kinds) == set(MALFORMED_KINDS)
    assert all(b"\n" not in line and line for line in broken)


def kind_of(line):
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        return "not_utf8"
    try:
        record = json.loads(text)
    except ValueError:
        return "truncated"
    if len(record) < 4:
        return "missing_field"
    return "nan" if record["quantity"] != record["quantity"] else "wrong_type"


def test_disorder_stays_within_its_bound_and_is_used(sales):
    delivery = deliver(sales, seed=3, most_delay_seconds=90.0, malformed_share=0.0)
    times = np.array([micros(json.loads(line)["event_time"]) for line in delivery.lines])
    behind = np.maximum.accumulate(times) - times
    assert behind.max() <= 90_000_000
    assert behind.max() > 45_000_000
    assert np.mean(behind > 0) > 0.1


def test_without_faults_the_records_come_in_order(sales):
    delivery = deliver(sales, most_delay_seconds=0, duplicate_share=0, malformed_share=0)
    ids = [json.loads(line)["transaction_id"] for line in delivery.lines]
    assert ids == sales.transaction_ids.tolist()
    first = json.loads(delivery.lines[0])
    assert list(first) == ["transaction_id", "event_time", "product_name", "quantity"]
    assert micros(first["event_time"]) == sales.event_times[0]
    assert len(first["event_time"]) == len("2024-08-05T00:00:12.345678Z")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"most_delay_seconds": -1.0}, "most_delay_seconds must be >= 0 and finite, got -1.0"),
        ({"duplicate_share": 1.5}, "duplicate_share must be from 0 to 1, got 1.5"),
        ({"malformed_share": -0.1}, "malformed_share must be from 0 to 1, got -0.1"),
    ],
)
def test_wrong_delivery_options_are_named(sales, options, message):
    with pytest.raises(ValueError, match=message):
        deliver(sales, **options)


def test_written_files_hold_the_delivery_and_its_counts(tmp_path, sales, delivery):
    (tmp_path / "transactions-00000-of-00009.jsonl").write_text("of an older run")
    write(tmp_path, sales, delivery, files=3)
    parts = sorted(tmp_path.glob("transactions-*.jsonl"))
    assert [part.name for part in parts] == [
        f"transactions-0000{k}-of-00003.jsonl" for k in (0, 1, 2)
    ]
    assert b"".join(part.read_bytes() for part in parts).split(b"\n")[:-1] == delivery.lines
    assert read_ground_truth(tmp_path / "ground_truth.jsonl") == sales.injections
    counts = json.loads((tmp_path / "written.json").read_text())
    assert counts["records"] == len(delivery.lines)
    assert counts["records"] == counts["transactions"] + counts["duplicates"] + counts["malformed"]
    assert counts["malformed_by_kind"] == delivery.malformed
    assert counts["injections"] == len(sales.injections)
    with pytest.raises(ValueError, match="files must be >= 1, got 0"):
        write(tmp_path, sales, delivery, files=0)


def test_command_line_writes_a_bit_of_every_fault(tmp_path, capsys):
    anybooks.main(["--days", "2", "--seed", "1", "--output", str(tmp_path / "sales")])
    counts = json.loads((tmp_path / "sales" / "written.json").read_text())
    assert counts["duplicates"] == round(0.005 * counts["transactions"])
    assert counts["malformed"] == round(0.001 * counts["transactions"])
    assert min(counts["malformed_by_kind"].values()) > 0
    assert f"{counts['records']:,} records" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        anybooks.main(["--days", "0", "--output", str(tmp_path)])
    assert "days must be >= 1, got 0" in capsys.readouterr().err


def injection(minute, kind="spike", product="item-A", minutes=2):
    start = START + timedelta(minutes=minute)
    return Injection(product, kind, start, start + timedelta(minutes=minutes), (40,) * minutes, 9.0)


def alert(minute, product="item-A"):
    return Alert(product, START + timedelta(minutes=minute))


def test_evaluate_counts_found_missed_and_false():
    truth = [injection(100), injection(200, "drop"), injection(100, product="item-B")]
    result = evaluate([alert(101), alert(103), alert(500), alert(500, "item-B")], truth)
    assert (result.injected, result.found, result.missed) == (3, 1, 2)
    assert (result.alerts, result.false_alerts) == (4, 2)
    assert result.recall == pytest.approx(1 / 3)
    assert (result.by_kind["spike"].found, result.by_kind["spike"].injected) == (1, 2)
    assert (result.by_kind["drop"].found, result.by_kind["drop"].injected) == (0, 1)
    assert result.missed_injections == (truth[1], truth[2])
    assert result.false_alert_events == (alert(500), alert(500, "item-B"))


@pytest.mark.parametrize(
    ("minute", "found", "false"),
    [(94, 0, 1), (95, 0, 0), (99, 0, 0), (100, 1, 0), (107, 1, 0), (108, 0, 1)],
)
def test_evaluate_at_the_edges_of_the_tolerance(minute, found, false):
    result = evaluate([alert(minute)], [injection(100)])
    assert (result.found, result.false_alerts) == (found, false)


def test_evaluate_a_long_alert_that_reaches_an_injection_is_not_false():
    early = Alert("item-A", START, START + timedelta(minutes=96))
    result = evaluate([early], [injection(100)])
    assert (result.found, result.false_alerts) == (0, 0)
    assert evaluate([tuple(early)], [injection(100)]) == result


def test_evaluate_with_nothing_injected():
    result = evaluate([alert(1)], [])
    assert (result.found, result.missed, result.false_alerts) == (0, 0, 1)
    assert np.isnan(result.recall)
    assert np.isnan(result.by_kind["drop"].share)
