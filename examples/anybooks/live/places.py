"""Where everything is, for people."""

from __future__ import annotations

import os
from pathlib import Path

from rich.console import Console
from rich.table import Table

from examples.anybooks.live.stack import NAME, Stack
from ingest.shop import TABLE
from runners.cluster.postgres_server import USER


def show(stack: Stack, console: Console) -> None:
    """Print what runs, and where to look."""
    processes = _table("server", "address", "process", "log")
    for server in stack.servers:
        process = server.process
        pid = str(process.pid) if process else "down"
        processes.add_row(server.name, server.address, pid, shown(server.log))
    console.print(processes)
    console.print()
    places = _table("what", "where")
    for what, where in _places(stack).items():
        places.add_row(what, where)
    console.print(places)


def _table(*headings: str) -> Table:
    table = Table(box=None)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _places(stack: Stack) -> dict[str, str]:
    job = f"http://{stack.cluster.job_manager.address}"
    return {
        "the page": stack.page,
        "mails": shown(stack.mails / "new"),
        "what SNS delivers": f"the SQS queue {NAME} at {stack.aws_url}",
        "the lake": f"{stack.lake} at {stack.aws_url}",
        "the job": f"{NAME if stack.job() else 'down'} at {job}, by {shown(stack.job_file())}",
        "topics": f"sales, {NAME}-results, {NAME}-alerts, ... at {stack.brokers}",
        "the shop": f"postgresql://{USER}@{stack.cluster.postgres.address}/{USER}, table {TABLE}",
        "for your own commands": f". {shown(stack.folder)}/environment.sh",
    }


def shown(path: Path) -> str:
    """A path as people type it: from the current folder, if it is in there."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
