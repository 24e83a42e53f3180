"""The balance: sums of what the steps count, and what does not add up in words."""

from __future__ import annotations

import json

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that

from transforms.balance import COUNTERS, PERIODS, RECORDS, Balance, as_json, differences


def counts_of(**numbers):
    return dict.fromkeys(COUNTERS, 0) | numbers


def balance_of(tallies, check):
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        elements = pipeline | beam.Create(tallies).with_output_types(tuple[str, str, int])
        found = elements | Balance(["one", "two"])

        def hold(texts):
            (text,) = texts
            check(json.loads(text))

        assert_that(found, hold)


def test_tallies_are_summed_by_detector_and_counter():
    def check(found):
        assert found == {
            "one": counts_of(read=7, used=5),
            "two": counts_of(read=1),
        }
        assert [list(counts) for counts in found.values()] == [list(COUNTERS)] * 2

    balance_of(
        [("one", "read", 3), ("one", "used", 5), ("two", "read", 1), ("one", "read", 4)], check
    )


def test_a_detector_without_a_record_is_in_it():
    balance_of([], lambda found: _equal(found, {"one": counts_of(), "two": counts_of()}))


def _equal(found, expected):
    assert found == expected


def test_the_order_of_sums_does_not_show():
    sums = [((name, counter), i) for i, counter in enumerate(COUNTERS) for name in "ba"]
    assert as_json(sums) == as_json(sums[::-1])


def test_what_is_accounted_for_has_no_difference():
    counts = counts_of(read=15, used=1, duplicate=2, late=3, dead=4, waiting=5)
    assert differences(counts | {"closed": 3, "scored": 1, "warm_up": 2, "imputed": 9}) == []


@pytest.mark.parametrize("counter", RECORDS)
def test_a_record_too_many_or_too_few_is_said(counter):
    text = "read {} != used + duplicate + late + dead + waiting = {}"
    assert differences(counts_of(**{counter: 1})) == [text.format(0, 1)]
    assert differences(counts_of(read=1)) == [text.format(1, 0)]


@pytest.mark.parametrize("counter", PERIODS)
def test_a_period_too_many_or_too_few_is_said(counter):
    assert differences(counts_of(**{counter: 1})) == ["closed 0 != scored + warm_up = 1"]
    assert differences(counts_of(closed=1)) == ["closed 1 != scored + warm_up = 0"]
