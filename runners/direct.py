"""The Direct runner, in this process: bounded jobs, tests, the laptop.

``--runner=DirectRunner`` means Beam's FnApiRunner here, named outright: Beam's own switch first
tries to fetch a Prism binary from the network, and falls back without a word.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.runners.portability.fn_api_runner import fn_runner, worker_handlers
from apache_beam.runners.portability.portable_runner import JobServiceHandle
from rich.console import Console

from transforms import metrics

NAMES = ("DirectRunner", "direct")
NO_STATE_CACHE = 0
"""A cached state value is measured by a walk through all that it refers to, every loaded module
among it: 10 ms a series, two thirds of a job's time with many series."""
_PLAIN_SECONDS = 10.0
_LIVE_SECONDS = 0.5


def run(build: Callable[[beam.Pipeline], None], options: PipelineOptions) -> None:
    """Build a bounded pipeline and run it to its end, with a line of progress on standard error.

    ``--direct_num_workers=N --direct_running_mode=multi_processing`` spreads the series over N
    processes; nothing is displayed then, as this process only waits.
    """
    encoded = JobServiceHandle.encode_pipeline_options(options.get_all_options())
    provision = beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded)
    worker_handlers.STATE_CACHE_SIZE_MB = NO_STATE_CACHE  # no option reaches the in-process worker
    runner = fn_runner.FnApiRunner(provision_info=fn_runner.ExtendedProvisionInfo(provision))
    pipeline = beam.Pipeline(runner=runner, options=options)
    build(pipeline)
    several = options.view_as(DirectOptions).direct_num_workers != 1
    with _display(hidden=several):
        pipeline.run().wait_until_finish()


@contextmanager
def _display(hidden: bool) -> Iterator[None]:
    console = Console(stderr=True)
    before = metrics.counts()
    started = time.monotonic()
    done = threading.Event()

    def text() -> str:
        now: dict[str, Any] = {k: v - before.get(k, 0) for k, v in metrics.counts().items()}
        parts = [f"{now.get('read', 0):,} records read", f"{now.get('scored', 0):,} rows scored"]
        if now.get("rebuilt"):
            parts.append(f"{now['rebuilt']:,} models rebuilt")
        return f"{time.monotonic() - started:6.1f} s   " + "   ".join(parts)

    def show() -> None:
        if sys.stderr.isatty():
            with console.status(text()) as status:
                while not done.wait(_LIVE_SECONDS):
                    status.update(text())
        else:
            while not done.wait(_PLAIN_SECONDS):
                console.print(text(), highlight=False)

    if hidden:
        yield
        return
    thread = threading.Thread(target=show, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    console.print(text(), highlight=False)
