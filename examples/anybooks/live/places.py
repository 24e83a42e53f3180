"""Where everything is, for people."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from examples.anybooks.live.stack import NAME, Stack
from ingest.shop import TABLE
from runners.cluster.postgres_server import USER


def show(stack: Stack, console: Console) -> None:
    """Print what runs, and where to look."""
    processes = Table("server", "address", "process", "log", box=None)
    for server in stack.servers:
        process = server.process
        pid = str(process.pid) if process else "down"
        processes.add_row(server.name, server.address, pid, str(server.log))
    console.print(processes)
    console.print()
    places = Table("what", "where", box=None)
    for what, where in _places(stack).items():
        places.add_row(what, where)
    console.print(places)


def _places(stack: Stack) -> dict[str, str]:
    job = f"http://{stack.cluster.job_manager.address}"
    return {
        "the page": stack.page,
        "mails": str(stack.mails / "new"),
        "what SNS delivers": f"the SQS queue {NAME} at {stack.aws_url}",
        "the lake": f"{stack.lake} at {stack.aws_url}",
        "the job": f"{NAME if stack.job() else 'down'} at {job}, by {stack.folder / NAME}.yaml",
        "topics": f"sales, {NAME}-results, {NAME}-alerts, ... at {stack.brokers}",
        "the shop": f"postgresql://{USER}@{stack.cluster.postgres.address}/{USER}, table {TABLE}",
        "for your own commands": f". {stack.folder}/environment.sh",
    }
