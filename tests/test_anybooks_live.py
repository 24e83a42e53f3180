"""AnyBooks whole and live: real servers, a spike, and everything killed in the middle.

One run tells the whole story, on a timeline of a few minutes; the tests then look at what it left.
Two jobs read the same sales: one waits two minutes for late sales, the other two seconds.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import naive_lake
import psutil
import psycopg
import pytest
import yaml
from confluent_kafka import Producer
from headless_browser import browser, require_chromium, screenshot
from rich.console import Console

from examples.anybooks.live.begin import begin, wait_until
from examples.anybooks.live.job_file import job_text, submit
from examples.anybooks.live.notifications import CHANNELS, notifications
from examples.anybooks.live.spike import Spike, alert_of, put, told_of
from examples.anybooks.live.stack import NAME, Stack
from examples.anybooks.live.topics import SALES, make_topics, messages_in, records_of
from lake.named_queries import Parameters, names
from lake.reader import Lake
from transforms.io.notify_message import delivery_id, digest_id

pytestmark = pytest.mark.integration

QUICK = "anybooks-quick"
DISORDER = {NAME: "2m", QUICK: "2s"}
PAST_DAYS = 0.3
LATE_SECONDS = 90
PATIENCE_SECONDS = 400
MINUTE = timedelta(minutes=1)
RECORD_TIME = "%Y-%m-%d %H:%M:%S"
BY_ONE_SERIES = {"score_chart", "points_between"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    require_chromium()
    stack = Stack(tmp_path_factory.mktemp("anybooks"))
    trouble = []

    def start_quick():
        try:
            wait_until(lambda: stack.ingest.process is not None, "the ingest starts")
            make_topics(stack, QUICK)
            job = yaml.safe_load(job_text(stack, DISORDER[QUICK], QUICK))
            del job["sinks"]["lake"]
            # sales are seconds apart, and without one only the clock says that a minute is over
            job["source"]["kafka"]["idle_after"] = "1s"
            # sales that it does not wait for look like a drop
            job["detectors"][0]["rules"]["direction"] = "up"
            submit(stack, yaml.safe_dump(job), QUICK)
        except BaseException as error:
            trouble.append(error)

    quick = threading.Thread(target=start_quick)
    try:
        quick.start()
        begin(stack, PAST_DAYS, DISORDER[NAME], Console())
        quick.join(PATIENCE_SECONDS)
        assert not trouble, trouble
        yield stack
    finally:
        stack.stop()


@dataclass
class Story:
    """What was done, and when."""

    spike: Spike
    late: int
    """The sale that was committed late."""
    overdue: int
    """The sale that came after its minute was closed."""
    told: dict[str, dict[str, float]] = field(default_factory=dict)
    """By job and channel: when the spike's notification came."""
    killed: list[str] = field(default_factory=list)

    @property
    def until(self):
        """The end of what is compared, as records write it."""
        return f"{self.spike.minute + MINUTE:{RECORD_TIME}}"


@pytest.fixture(scope="module")
def story(stack):
    for job in DISORDER:
        wait_until(lambda job=job: is_caught_up(stack, job), job, seconds=PATIENCE_SECONDS)

    kill(stack.cluster.postgres)
    with psycopg.connect(stack.connection) as till, psycopg.connect(stack.connection) as other:
        now = datetime.now(UTC)
        late = sell(till, now)
        commit = threading.Timer(LATE_SECONDS, till.commit)
        commit.start()
        overdue = sell(other, now - 10 * MINUTE)
        other.commit()
        poison(stack)
        kill(stack.ingest)
        published = messages_in(stack)
        wait_until(lambda: messages_in(stack) > published, "the ingest goes on", stack.ingest)
        while datetime.now(UTC).second > 40:  # the quick job waits for no straggler
            time.sleep(0.5)
        found = Story(put(stack, "item-A"), late, overdue)

        wait_for_notifications(stack, found, QUICK)
        kill_worker(stack, NAME)
        second = put(stack, "item-B")
        wait_until(lambda: bool(alert_of(stack, second, QUICK)), "the second alert")
        kill_worker(stack, QUICK)
        alert = alert_of(stack, second, QUICK)
        wait_until(
            lambda: len(told_of(stack, alert, QUICK)) == len(CHANNELS),
            "the notification of the alert at which the worker was killed",
        )
        commit.join()
    wait_for_notifications(stack, found, NAME)
    wait_until(lambda: lake_reaches(stack, found), "the lake", seconds=PATIENCE_SECONDS)
    return found


def is_caught_up(stack, job):
    """Whether the job has closed a minute that was over less than four minutes ago."""
    recent = f"{datetime.now(UTC) - 4 * MINUTE:{RECORD_TIME}}"
    return any(
        each["detectionPeriodEndTime"] > recent for each in records_of(stack, "results", job)
    )


def kill(server):
    server.kill()
    assert server.process is None
    server.start()


def workers(job):
    """The Python workers of a job."""
    return [
        process
        for process in psutil.process_iter(["cmdline", "environ", "status"])
        if "runners.flink_worker" in (process.info["cmdline"] or [])
        and (process.info["environ"] or {}).get("TIDEWATCH_JOB") == job
        and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


def kill_worker(stack, job):
    (worker,) = workers(job)
    os.kill(worker.pid, signal.SIGKILL)
    wait_until(lambda: [each.pid for each in workers(job)] not in ([], [worker.pid]), "a worker")


def sell(connection, moment):
    query = (
        "INSERT INTO sales (event_time, product_name, quantity) VALUES (%s, 'item-B', 3)"
        " RETURNING transaction_id"
    )
    return connection.execute(query, [moment]).fetchone()[0]


def poison(stack):
    producer = Producer({"bootstrap.servers": stack.brokers})
    producer.produce(SALES, b"{oops", key=b"item-A")
    assert producer.flush(30) == 0


def wait_for_notifications(stack, story, job):
    wait_until(
        lambda: bool(alert_of(stack, story.spike, job)), f"{job}: alert", seconds=PATIENCE_SECONDS
    )
    alert = alert_of(stack, story.spike, job)
    wait_until(lambda: len(told_of(stack, alert, job)) == len(CHANNELS), f"{job}: notifications")
    story.told[job] = {name: each.arrived for name, each in told_of(stack, alert, job).items()}


def lake_reaches(stack, story):
    rows = Lake(stack.lake).query("series_overview", Parameters()).to_pylist()
    newest = f"{story.spike.minute:{RECORD_TIME}}"
    return len(rows) == 2 and all(row["last_time"] >= newest for row in rows)


@pytest.fixture(scope="module", autouse=True)
def environment(stack):
    """This process reads the lake too."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stack.environment.items():
            patch.setenv(name, value)
        yield


def once(records, *fields):
    """Records without repetitions, which must be equal."""
    kept = {}
    for record in records:
        key = tuple(record[name] for name in fields)
        assert kept.setdefault(key, record) == record, "a repetition that differs"
    return list(kept.values())


def results_until(stack, story, job=NAME):
    records = once(records_of(stack, "results", job), "resultId")
    return [each for each in records if each["detectionPeriodEndTime"] <= story.until]


def product_of(record):
    return record["dimensionList"][0]["value"]


def test_the_spike_is_an_alert_in_kafka_and_a_row_in_the_lake(stack, story):
    sold = sums(stack, story)["item-A", story.spike.minute]
    alert = alert_of(stack, story.spike)
    (row,) = [each for each in results_until(stack, story) if each["resultId"] == alert]
    assert row["aggregatedMeasureValue"] == sold >= story.spike.units
    assert row["anomalyDecision"] == 1
    (stored,) = (
        each
        for each in Lake(stack.lake).query("anomalies", Parameters()).to_pylist()
        if each["result_id"] == alert
    )
    assert (stored["product_name"], stored["value"]) == ("item-A", sold)


def test_mail_and_sns_tell_of_it_and_the_link_shows_it_on_the_page(stack, story, tmp_path, capsys):
    sold = sums(stack, story)["item-A", story.spike.minute]
    for job in DISORDER:
        told = told_of(stack, alert_of(stack, story.spike, job), job)
        assert set(told) == set(CHANNELS)
        if job == NAME:  # the other one does not wait for all sales
            for each in told.values():
                assert f"item-A: quantity {sold} where" in each.title
                assert f"{story.spike.minute:%Y-%m-%d %H:%M} UTC" in each.text
    link = told_of(stack, alert_of(stack, story.spike))["e-mail"].link
    with browser(tmp_path / "profile") as driver:
        driver.get(link)

        def text():
            return driver.execute_script("return document.body.innerText")

        wait_until(lambda: "Anomalies of item-A" in text(), "the page")
        words = f"{sold} quantity at {story.spike.minute:{RECORD_TIME}} UTC, where "
        wait_until(lambda: words in text(), "the anomaly on the page")
        wait_until(lambda: "Not an anomaly" in text(), "the buttons for feedback")
        assert "Traceback" not in text()
        screenshot(driver, "anybooks-live-desktop", height=1500)
    with capsys.disabled():
        print()
        for job, arrivals in story.told.items():
            for channel, arrived in arrivals.items():
                print(
                    f"allowed_disorder {DISORDER[job]}, {channel}: "
                    f"{arrived - story.spike.committed:.1f} s after the commit, "
                    f"{arrived - story.spike.closes:.1f} s after the minute closed"
                )


def sums(stack, story):
    """Units by product and minute as the shop has them, without what came too late for the job."""
    late = {each["recordId"] for each in records_of(stack, "late")}
    query = (
        "SELECT product_name, date_trunc('minute', event_time), sum(quantity) FROM sales"
        " WHERE event_time < %s AND NOT transaction_id = ANY(%s) GROUP BY 1, 2"
    )
    end = story.spike.minute + MINUTE
    with psycopg.connect(stack.connection) as shop:
        rows = shop.execute(query, [end, list(late)]).fetchall()
    return {(product, minute): int(units) for product, minute, units in rows}


def test_every_sale_counts_exactly_once_whatever_was_killed(stack, story, capsys):
    results = results_until(stack, story)
    counted = {
        (
            product_of(each),
            datetime.fromisoformat(each["detectionPeriodStartTime"] + "+00:00"),
        ): int(each["aggregatedMeasureValue"])
        for each in results
        if each["aggregatedMeasureValue"]  # a minute without a sale is filled in with 0
    }
    assert counted == sums(stack, story)
    late = once(records_of(stack, "late"), "recordId")
    repeated = len(records_of(stack, "results")) - len(
        once(records_of(stack, "results"), "resultId")
    )
    with capsys.disabled():
        print(
            f"\n{sum(counted.values()):,} units in {len(counted):,} minutes; {len(late)} sales too "
            f"late; {repeated} results came twice"
        )
    assert story.overdue in {each["recordId"] for each in late}


def test_a_sale_committed_90_seconds_late_counts(stack, story):
    assert story.late not in {each["recordId"] for each in records_of(stack, "late")}
    quick = {each["recordId"] for each in records_of(stack, "late", QUICK)}
    assert story.late in quick, "it was late indeed"


def test_no_notification_is_lost_and_repetitions_have_the_same_id(stack, story, capsys):
    expected = defaultdict(set)
    for job in DISORDER:
        for event in records_of(stack, "alerts", job):
            for channel, name in zip(CHANNELS, ("email", "sns"), strict=True):
                expected[job, channel].add(delivery_id(name, event))

    def came():
        return Counter((each.channel, each.delivery) for each in notifications(stack))

    def all_told():
        there = came()
        for (_, channel), ids in expected.items():
            # those of the hours before the start may come at once, in one digest
            others = [each for each in ids if (channel, each) not in there]
            if others and (channel, digest_id(others)) not in there:
                return False
        return True

    wait_until(all_told, "all notifications")
    texts = defaultdict(set)
    for each in notifications(stack):
        texts[each.channel, each.delivery].add((each.title, each.text))
    assert all(len(found) == 1 for found in texts.values())
    with capsys.disabled():
        told = sum(map(len, expected.values()))
        print(f"\n{told} notifications, {came().total() - len(came())} came twice")


@pytest.mark.parametrize("name", names())
def test_queries_over_the_lake_give_what_the_topics_have(stack, story, name):
    results = results_until(stack, story)
    late = once(records_of(stack, "late"), "recordId")
    dead = once(records_of(stack, "dead-letters"), "source", "position", "detectorName")
    series = results[0]["timeseriesId"] if name in BY_ONE_SERIES else ""
    asked = Parameters(series=series, recovery_after=2, rows=100_000, to_time=story.until)
    expected = getattr(naive_lake, name)(results, late, dead, asked)
    assert expected
    got = Lake(stack.lake).query(name, asked).to_pylist()
    naive_lake.assert_same(got, expected)
