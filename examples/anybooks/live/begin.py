"""From nothing to the whole shop live; what runs already goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

from examples.anybooks.live.aws_ends import make_ends
from examples.anybooks.live.job_file import job_text, submit, write_ingest
from examples.anybooks.live.places import show
from examples.anybooks.live.servers import ROOT
from examples.anybooks.live.shop_history import fill
from examples.anybooks.live.stack import NAME, LiveFailed, Stack
from examples.anybooks.live.topics import make_topics, messages_in
from ingest.shop import TABLE, open_shop
from runners.cluster.server import Server

DIMENSION = "product_name"
_PATIENCE_SECONDS = 300.0
_POLL_SECONDS = 0.5


def begin(stack: Stack, days: float, allowed_disorder: str, console: Console) -> None:
    """Start all that does not run, in the order of the data, and say what is done.

    Parameters
    ----------
    stack : Stack
        What to start.
    days : float
        How many past days a new shop gets.
    allowed_disorder : str
        The job's, such as ``2m``.
    console : Console
        Where to tell people.

    Raises
    ------
    LiveFailed, ServerFailed, ClusterError, DownloadFailed
        Something did not start; what did goes on running, and may be started again.
    """
    started = time.monotonic()

    @contextmanager
    def step(what: str) -> Iterator[None]:
        with console.status(what):
            yield
        console.print(f"[{time.monotonic() - started:4.0f} s] {what}", highlight=False)

    with step("PostgreSQL, Kafka, an AWS stand-in and Flink run"):
        stack.cluster.start()
        stack.keep()
    with step("topics, bucket, SNS topic, its queue and a mail catcher are there"):
        make_topics(stack)
        make_ends(stack)
        stack.mail.start()
    if stack.shop.process is None:
        with step("the shop's past is filled in"):
            fill(stack.connection, days, stack.truth)
    with step("the shop sells, and the ingest publishes what it sells"):
        stack.shop.start()
        write_ingest(stack)
        stack.ingest.start()
        wait_until(lambda: _is_published(stack), "the ingest publishes the past", stack.ingest)
    with step("Flink runs the job"):
        submit(stack, job_text(stack, allowed_disorder))
    with step("the Glue catalogue has the lake's tables"):
        _make_tables(stack)
    with step("the page is served"):
        stack.dashboard.start()
    console.print()
    show(stack, console)
    seconds = time.monotonic() - started
    console.print(f"\nAll of it runs, after {seconds:.0f} s. Open the page, then: make spike")


def wait_until(
    holds: Callable[[], bool],
    what: str,
    server: Server | None = None,
    seconds: float = _PATIENCE_SECONDS,
) -> None:
    """Wait until it holds.

    Raises
    ------
    LiveFailed
        It does not within these seconds, or the server that it takes has ended.
    """
    deadline = time.monotonic() + seconds
    while not holds():
        if server is not None and server.process is None:
            raise LiveFailed(f"{server.name} has ended; why is at the end of {server.log}")
        if time.monotonic() > deadline:
            log = f"; see {server.log}" if server is not None else ""
            raise LiveFailed(f"{what}: not within {seconds:g} s{log}")
        time.sleep(_POLL_SECONDS)


def _is_published(stack: Stack) -> bool:
    with open_shop(stack.connection) as shop:
        row = shop.execute(f"SELECT count(*) FROM {TABLE}").fetchone()  # noqa: S608
    return messages_in(stack) >= (row[0] if row else 0)


def _make_tables(stack: Stack) -> None:
    words = ["--database", NAME, "--location", stack.lake, "--dimension", DIMENSION]
    command = [sys.executable, "-m", "lake", "glue", *words]
    environment = {**os.environ, **stack.environment}
    done = subprocess.run(  # noqa: S603 - our own words
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise LiveFailed(f"the Glue tables were not made: {done.stderr}")
