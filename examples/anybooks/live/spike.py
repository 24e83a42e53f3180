"""A spike in the shop's sales, and the notifications that come of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from examples.anybooks.live.begin import wait_until
from examples.anybooks.live.notifications import CHANNELS, Notification, notifications
from examples.anybooks.live.stack import NAME, LiveFailed, Stack
from examples.anybooks.live.topics import records_of
from examples.anybooks.sales import PRODUCTS
from ingest.shop import TABLE, open_shop
from ingest.spike import append_truth, product_of, put_spike
from pipeline.job import load_job

DEVIATION_SD = 12.0
_MINUTE = timedelta(minutes=1)
_SLACK_SECONDS = 180.0
_RECORD_TIME = "%Y-%m-%d %H:%M:%S"


@dataclass(frozen=True)
class Spike:
    """A spike that was put in.

    Parameters
    ----------
    product : str
        What was sold.
    minute : datetime
        Start of its minute.
    units : int
        Units sold on top.
    committed : float
        When its transaction was committed, seconds since 1970.
    """

    product: str
    minute: datetime
    units: int
    committed: float

    @property
    def closes(self) -> float:
        """When its minute is over, seconds since 1970."""
        return (self.minute + _MINUTE).timestamp()


def put(stack: Stack, product: str, deviation_sd: float = DEVIATION_SD) -> Spike:
    """Commit a spike of a product into the minute that it is.

    Raises
    ------
    ValueError
        There is no such product, or the deviation is not positive.
    """
    now = time.time_ns() // 1000
    with open_shop(stack.connection) as shop:
        injection = put_spike(shop, TABLE, product_of(product), deviation_sd, now)
        committed = time.time()
    append_truth(stack.truth, [injection])
    return Spike(product, injection.start, injection.units[0], committed)


def alert_of(stack: Stack, spike: Spike, job: str = NAME) -> str:
    """ID of the alert that came of a spike; empty as long as there is none."""
    for record in records_of(stack, "alerts", job):
        is_it = record["event"] == "alert" and _product_of(record) == spike.product
        if is_it and record["since"] == f"{spike.minute:{_RECORD_TIME}}":
            return str(record["alertId"])
    return ""


def told_of(stack: Stack, alert: str, job: str = NAME) -> dict[str, Notification]:
    """The first notification of an alert on each channel, as far as they have come."""
    found: dict[str, Notification] = {}
    for each in notifications(stack):
        if each.title.startswith(f"[{job}]") and each.tells(alert):
            found.setdefault(each.channel, each)
    return found


def show_spike(stack: Stack, product: str, deviation_sd: float, console: Console) -> None:
    """Put a spike in, wait for what comes of it, and show it.

    Raises
    ------
    LiveFailed
        The shop is not live, the product has an open alert, or nothing came.
    """
    product_of(product)
    _check(stack, product)
    disorder = load_job(stack.job_file()).detectors[0].allowed_disorder / 1e6
    spike = put(stack, product, deviation_sd)
    due = spike.closes + disorder
    for line in (
        f"{_clock(spike.committed)} UTC: committed {spike.units} {product} more than people bought",
        f"{_clock(spike.closes)}: its minute will be over",
        f"{_clock(due)}: late sales will be waited for no longer",
    ):
        console.print(line, highlight=False)
    with console.status(f"waiting for the alert, which is due at {_clock(due)} ..."):
        patience = due - time.time() + _SLACK_SECONDS
        wait_until(lambda: bool(alert_of(stack, spike)), _why_not(spike), seconds=patience)
    alert = alert_of(stack, spike)
    with console.status("waiting for the mail and the SNS message ..."):
        wait_until(lambda: len(told_of(stack, alert)) == len(CHANNELS), "notifications")
    for channel, told in told_of(stack, alert).items():
        title = Text(f"{channel}: {told.title}")
        console.print(Panel(Text(told.text), title=title, title_align="left"))
        console.print(
            f"{_clock(told.arrived)}: it came, {told.arrived - spike.committed:.1f} s after the "
            f"commit, {told.arrived - spike.closes:.1f} s after the minute was over, "
            f"{told.arrived - due:.1f} s after the wait for late sales",
            highlight=False,
        )
        link = told.link
    console.print("On the page some ten seconds later:")
    console.print(Text(link), soft_wrap=True)


def _check(stack: Stack, product: str) -> None:
    down = [server.name for server in stack.servers if server.process is None]
    if down or not stack.job():
        what = ", ".join(down) or "the job"
        raise LiveFailed(f"{what} does not run; start all of it: make anybooks")
    events = [each for each in records_of(stack, "alerts") if _product_of(each) == product]
    newest = max(events, key=lambda each: (each["time"], each["event"]), default=None)
    if newest is not None and newest["event"] == "alert":
        others = ", ".join(each.name for each in PRODUCTS if each.name != product)
        raise LiveFailed(
            f"the alert of {product} that opened at {newest['since']} UTC is still open, and one "
            f"alert tells of all that is unusual meanwhile; wait until it is over, or name another "
            f"--product: {others}"
        )


def _why_not(spike: Spike) -> str:
    return f"an alert of {spike.product} at {spike.minute:%H:%M}, see the page for its score"


def _product_of(record: dict[str, Any]) -> str:
    return str(record["dimensionList"][0]["value"])


def _clock(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%H:%M:%S}"
