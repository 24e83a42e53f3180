"""The shop's own programs as servers: the mail catcher, the shop, the ingest, the dashboard."""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import requests

from examples.anybooks.live.shop_history import last_sale
from runners.cluster.server import LOOPBACK, Server

ROOT = Path(__file__).parents[3]
_CATCH_UP_SPEED = "20"
_REFRESH_SECONDS = "2"


def mail_catcher(folder: Path, port: int) -> Server:
    """A mail server that keeps every mail in the maildir ``folder/maildir`` and sends none."""
    keep = ("-c", "aiosmtpd.handlers.Mailbox", str(folder / "maildir"))
    words = ["aiosmtpd", "-n", "-l", f"{LOOPBACK}:{port}", *keep]
    return Server("mail", folder, (port,), lambda: _python(*words), lambda: _listens(port))


def shop(folder: Path, connection: str, truth: Path) -> Server:
    """The shop: sells from its last sale on, quickly until it has caught up with the clock."""

    def command() -> list[str]:
        start = last_sale(connection) or datetime.now(UTC)
        words = ["--start", start.isoformat(), "--speed", _CATCH_UP_SPEED]
        words += ["--connection", connection, "--truth", str(truth)]
        return _python("ingest.sales", "live", *words)

    def sells() -> bool:
        try:
            last = last_sale(connection)
        except psycopg.OperationalError:
            return False
        return last is not None and (datetime.now(UTC) - last).total_seconds() < 30

    return Server("shop", folder, (), command, sells, {"PYTHONPATH": str(ROOT)})


def ingest(folder: Path, environment: Mapping[str, str]) -> Server:
    """The ingest, by the file ``folder/ingest.yaml``; that it works shows at the topic."""
    words = ("ingest.postgres", "--config", str(folder / "ingest.yaml"))
    own = {**environment, "PYTHONPATH": str(ROOT)}
    return Server("ingest", folder, (), lambda: _python(*words), lambda: True, own)


def dashboard(
    folder: Path, port: int, lake: str, job: Path, environment: Mapping[str, str]
) -> Server:
    """The page over the lake, which takes feedback for the job."""
    words = ["dashboard", "--lake", lake, "--job", str(job)]
    words += ["--port", str(port), "--refresh", _REFRESH_SECONDS]
    own = {**environment, "PYTHONPATH": str(ROOT)}
    return Server("dashboard", folder, (port,), lambda: _python(*words), lambda: _serves(port), own)


def _python(module: str, *words: str) -> list[str]:
    return [sys.executable, "-m", module, *words]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def _serves(port: int) -> bool:
    try:
        return requests.get(f"http://{LOOPBACK}:{port}/", timeout=2).ok
    except requests.RequestException:
        return False
