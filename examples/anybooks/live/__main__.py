"""``python -m examples.anybooks.live start | spike | status | stop``."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psycopg
from rich.console import Console

from examples.anybooks.live.begin import begin
from examples.anybooks.live.places import show, shown
from examples.anybooks.live.spike import DEVIATION_SD, show_spike
from examples.anybooks.live.stack import FOLDER, LiveFailed, Stack
from examples.anybooks.sales import PRODUCTS
from runners.cluster.local_cluster import ClusterError
from runners.cluster.server import ServerFailed
from runners.downloads import DownloadFailed
from runners.flink_rest import FlinkError

FAILED, WRONG = 1, 2
_FAILURES = (LiveFailed, ClusterError, ServerFailed, DownloadFailed, FlinkError, psycopg.Error)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a word; 0 done, 1 something failed, 2 something is asked for wrongly."""
    asked = _parser().parse_args(arguments)
    for name in list(os.environ):  # a user's own must not get in between
        if name.startswith(("AWS_", "PG")):
            del os.environ[name]
    console = Console()
    try:
        asked.run(asked, console)
    except _FAILURES as error:
        print(error, file=sys.stderr)
        return FAILED
    except ValueError as error:
        print(error, file=sys.stderr)
        return WRONG
    return 0


def _start(asked: argparse.Namespace, console: Console) -> None:
    begin(Stack(asked.folder), asked.days, asked.allowed_disorder, console)


def _stop(asked: argparse.Namespace, console: Console) -> None:
    started = time.monotonic()
    stack = Stack(asked.folder)
    running = [server.name for server in stack.servers if server.process]
    stack.stop()
    told = ", ".join(running) or "nothing: it was down already"
    console.print(f"Ended, in {time.monotonic() - started:.0f} s: {told}")
    console.print(f"{shown(stack.folder)} keeps shop and topics; delete it to begin anew")


def _spike(asked: argparse.Namespace, console: Console) -> None:
    show_spike(Stack(asked.folder), asked.product, asked.deviation_sd, console)


def _status(asked: argparse.Namespace, console: Console) -> None:
    show(Stack(asked.folder), console)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.anybooks.live",
        description="AnyBooks whole and live, on this machine's loopback interface.",
        allow_abbrev=False,
    )
    words = parser.add_subparsers(required=True, metavar="WORD")
    start = words.add_parser("start", help="start what is not running, and say where it is")
    start.add_argument(
        "--days", type=float, default=1.0, help="of past sales for a new shop (default: 1)"
    )
    start.add_argument(
        "--allowed_disorder",
        default="2m",
        metavar="DURATION",
        help="how long late sales are waited for (default: %(default)s)",
    )
    start.set_defaults(run=_start)
    spike = words.add_parser("spike", help="a spike in sales, and the notifications of it")
    names = [product.name for product in PRODUCTS]
    spike.add_argument("--product", choices=names, default=names[0], help="default: %(default)s")
    spike.add_argument(
        "--deviation_sd",
        type=float,
        default=DEVIATION_SD,
        help="how far out, in standard deviations of a minute's sales (default: %(default)g)",
    )
    spike.set_defaults(run=_spike)
    status = words.add_parser("status", help="say what runs and where it is")
    status.set_defaults(run=_status)
    stop = words.add_parser("stop", help="end what start started, and nothing else; data stay")
    stop.set_defaults(run=_stop)
    for word in (start, spike, status, stop):
        word.add_argument("--folder", type=Path, default=FOLDER, help="default: %(default)s")
    return parser


if __name__ == "__main__":
    sys.exit(main())
