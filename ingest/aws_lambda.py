"""AWS Lambda's handler, for EventBridge Scheduler: one look a call, ended before its time is up.

The function's variable ``INGEST_CONFIG`` names the file, which is deployed with the code. The mark
must be in the database: a function has no disk that lasts.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import Any, Protocol

from ingest.config import load_config
from ingest.marks import Busy
from ingest.poller import Poller

CONFIG = "INGEST_CONFIG"
_SPARE_SECONDS = 10.0
"""Kept free at the end: for the deliveries that are under way, and to move the mark."""


class Context(Protocol):
    """What Lambda says of a call."""

    def get_remaining_time_in_millis(self) -> int:
        """Time until the call is ended."""


def handler(event: object, context: Context) -> dict[str, Any]:
    """Publish what is new.

    Returns
    -------
    dict
        ``rows`` published, ``is_all`` (False: the rest is for the next call), ``mark``; or
        ``busy``, if an earlier call is still at it.

    Raises
    ------
    ValueError
        Something is set up wrongly.
    NotPublished, psycopg.Error
        Database or brokers are away: the mark stands, and the next call does the work.
    """
    logging.getLogger().setLevel(logging.INFO)
    file = os.environ.get(CONFIG)
    if not file:
        raise ValueError(f"{CONFIG} is not set; give it the path of the file, as ingest.yaml")
    config = load_config(file)
    if config.mark.file:
        raise ValueError(f"{file}: mark.file: a function has no disk that lasts; use mark.table")
    seconds = max(0.0, context.get_remaining_time_in_millis() / 1000 - _SPARE_SECONDS)
    stop = threading.Event()
    alarm = threading.Timer(seconds, stop.set)
    alarm.daemon = True
    alarm.start()
    poller = Poller(config, file, stop, patience_seconds=seconds)
    try:
        found = poller.look()
    except Busy:
        return {"busy": True}
    finally:
        alarm.cancel()
        poller.close()
    return {"rows": found.rows, "is_all": found.is_all, "mark": str(found.mark.snapshot)}
