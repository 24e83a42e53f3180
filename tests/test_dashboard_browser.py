"""The page in a real browser: first load, live refresh, filters, the link, many series."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import timedelta
from urllib.parse import parse_qs, urlparse

import pytest
from big_lake import write_big_lake
from headless_browser import DESKTOP, PHONE, browser, require_chromium, screenshot
from lake_writer import START, random_results, result, series_id, write
from selenium.common.exceptions import (
    NoSuchElementException,
    StaleElementReferenceException,
)
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from dashboard.serve import PAGE

pytestmark = pytest.mark.integration

PATIENCE_SECONDS = 120
CHART = "[data-testid=stVegaLiteChart] canvas, [data-testid=stVegaLiteChart] svg"


@pytest.fixture(scope="module", autouse=True)
def chromium():
    require_chromium()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def dashboard(lake, refresh=2):
    """The command a user runs, on a free port; yields the page's address."""
    port = free_port()
    command = [sys.executable, "-m", "dashboard", "--lake", str(lake)]
    server = subprocess.Popen(
        [*command, "--port", str(port), "--refresh", str(refresh)],
        cwd=PAGE.parent.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait(lambda: listens(port), "the server does not listen")
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.terminate()
        server.wait(20)


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait(condition, failure):
    """Until it holds; returns the seconds that took."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < PATIENCE_SECONDS, failure
        time.sleep(0.05)
    return time.monotonic() - start


def text_of(driver):
    return driver.execute_script("return document.body.innerText")


def wait_for(driver, words):
    return wait(lambda: words in text_of(driver), f"{words!r} does not appear")


def charts(driver):
    return driver.execute_script(f"return document.querySelectorAll('{CHART}').length")


def assert_whole(driver):
    text = text_of(driver)
    for word in ("Traceback", "Exception", "Error:", "Oh no"):
        assert word not in text
    severe = [line for line in driver.get_log("browser") if line["level"] == "SEVERE"]
    assert severe == []


def metric(driver, label):
    script = "return [...document.querySelectorAll('[data-testid=stMetric]')].map(e => e.innerText)"
    found = [text.split()[-1] for text in driver.execute_script(script) if label in text]
    return found[0] if found else None  # the page is being drawn anew


@pytest.mark.parametrize(("name", "size"), [("desktop", DESKTOP), ("phone", PHONE)])
def test_an_empty_lake_then_the_first_rows(tmp_path, name, size):
    with dashboard(tmp_path / "lake") as url, browser(tmp_path / "profile", size) as driver:
        driver.get(url)
        wait_for(driver, "No results yet")
        assert str(tmp_path / "lake") in text_of(driver)
        assert_whole(driver)
        screenshot(driver, f"empty-{name}")

        write(tmp_path / "lake", "results", random_results(3, ["item-A", "item-B"], days=1))
        wait_for(driver, "Number of Timeseries Tracked")
        wait(lambda: metric(driver, "Timeseries Tracked") == "2", "two series")
        wait(lambda: metric(driver, "Datapoints Processed") == "120", "120")

        new = [result("item-C", n + 1, START + timedelta(minutes=n)) for n in range(9)]
        write(tmp_path / "lake", "results", new, prefix="next")
        wait(lambda: metric(driver, "Timeseries Tracked") == "3", "the new object's series")
        wait(lambda: metric(driver, "Datapoints Processed") == "129", "129")
        wait(lambda: charts(driver) >= 3, "charts")
        assert_whole(driver)
        screenshot(driver, f"series-{name}", height=1500 if size == DESKTOP else 2500)
        width = driver.execute_script("return document.documentElement.scrollWidth")
        assert width <= size[0], "the page is wider than the screen"


def test_filters_and_the_link(tmp_path):
    write(tmp_path / "lake", "results", random_results(3, ["item-A", "item-B", "other"]))
    with dashboard(tmp_path / "lake") as url:
        with browser(tmp_path / "one") as driver:
            driver.get(f"{url}?span=all")
            wait_for(driver, "Anomalies of ")
            wait(lambda: searched(driver, "item-B"), "the search box")
            wait(lambda: metric(driver, "Timeseries Tracked") == "1", "the search")
            wait_for(driver, "Anomalies of item-B")
            wait(lambda: series_id("item-B") in driver.current_url, "the link")
            link = driver.current_url
            query = {name: value[0] for name, value in parse_qs(urlparse(link).query).items()}
            assert query["find"] == "item-B"
            assert query["span"] == "all"
            shown = story(driver)
        with browser(tmp_path / "another") as driver:
            driver.get(link)
            wait_for(driver, "Anomalies of item-B")
            wait(lambda: story(driver) == shown, "the same anomaly")
            wait(lambda: metric(driver, "Timeseries Tracked") == "1", "1")
            assert_whole(driver)
            screenshot(driver, "link-desktop", height=1400)


def searched(driver, words):
    """Type into the search box; False while the page redraws it."""
    try:
        box = driver.find_element(By.CSS_SELECTOR, "input[placeholder='part of a name']")
        box.send_keys(words, Keys.ENTER)
    except (NoSuchElementException, StaleElementReferenceException):
        return False
    return True


def story(driver):
    return [line for line in text_of(driver).splitlines() if "was expected" in line]


@pytest.mark.parametrize(("name", "size"), [("desktop", DESKTOP), ("phone", PHONE)])
def test_a_left_discord(tmp_path, name, size):
    rows = []
    for n in range(600):
        shape = abs(n % 50 - 25) / 5 + (2 if 400 <= n < 410 else 0)
        row = result("motor", n + 1, START + timedelta(seconds=n), aggregatedMeasureValue=shape)
        odd = n == 409
        row |= {"rawScore": 2.0 if odd else 0.3 + n % 7 / 30, "anomalyDecisionThreshold": None}
        row |= {"modelStage": "LEARNING"} if n < 100 else {}
        if odd:
            row |= {"anomalyDecision": 1, "anomalyScore": 88.0, "nearestNeighbour": 110}
            row |= {"attribution": [0.02] * 50, "surprise": 3.0}
        rows.append(row)
    write(tmp_path / "lake", "results", rows)
    with dashboard(tmp_path / "lake") as url, browser(tmp_path / "profile", size) as driver:
        driver.get(url)
        wait(lambda: charts(driver) == 5, "three plots, attribution, likeness")
        wait_for(driver, "named by the detector")
        assert_whole(driver)
        screenshot(driver, f"discord-{name}", height=1500 if size == DESKTOP else 2600)


def test_a_thousand_series_over_thirty_days(tmp_path, capsys):
    """The time is a figure to report; a shared machine proves little, so its limit is loose."""
    rows = write_big_lake(tmp_path / "lake", series=1000, days=30, period_minutes=5)
    with dashboard(tmp_path / "lake", refresh=600) as url:
        taken = {}
        with browser(tmp_path / "profile") as driver:
            for visit in ("first reader", "next reader"):
                start = time.monotonic()
                driver.get(f"{url}?span=30d")
                wait(lambda: charts(driver) >= 1, "the first picture")
                taken[visit] = time.monotonic() - start
                wait_for(driver, "Anomalies of ")
            wait(lambda: metric(driver, "Timeseries Tracked") == "1,000", "1,000")
            wait(lambda: metric(driver, "Datapoints Processed") == f"{rows:,}", f"{rows:,}")
            assert_whole(driver)
            screenshot(driver, "thousand-series-desktop", height=1400)
    with capsys.disabled():
        print(
            f"\n{rows:,} rows:",
            *(f"{who} {s:.1f} s to the first picture" for who, s in taken.items()),
        )
    assert max(taken.values()) < PATIENCE_SECONDS / 2
