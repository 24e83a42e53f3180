"""AnyBooks through the whole job: every record accounted for, the sums true, anomalies found."""

from __future__ import annotations

import json

import numpy as np
import pytest

from examples.anybooks.outcome import prepare, read_outcome
from examples.anybooks.sales import minute_totals
from pipeline import launch

DAYS = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("anybooks")
    assert launch.main([f"--job={prepare(folder, DAYS, seed=5)}"]) == 0
    return folder


def test_every_record_is_accounted_for(folder):
    written = json.loads((folder / "written.json").read_text())
    balance = read_outcome(folder).balance
    assert balance["read"] == written["records"]
    assert balance["used"] == written["transactions"]
    assert balance["duplicate"] == written["duplicates"]
    assert balance["dead"] == written["malformed"]
    assert balance["late"] == balance["waiting"] == 0


def test_every_minute_has_its_true_total(folder):
    truth = minute_totals(DAYS, seed=5)
    results = read_outcome(folder).results
    for product, totals in zip(truth.products, truth.totals, strict=True):
        assert [row["aggregatedMeasureValue"] for row in results[product]] == totals.tolist()
        sold_nothing = [row["imputed"] for row in results[product]]
        assert sold_nothing == (np.asarray(totals) == 0).tolist()


def test_most_anomalies_are_found_and_hardly_an_alert_is_false(folder):
    found = read_outcome(folder).evaluation
    assert found.injected >= 5
    assert found.recall >= 0.7
    assert found.false_alerts <= 2
