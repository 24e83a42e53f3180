"""``python -m runners.cluster start | status | stop``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from runners.cluster.local_cluster import PARTS, USUAL, Cluster, ClusterError, Settings
from runners.cluster.server import ServerFailed
from runners.downloads import DownloadFailed

FAILED = 1


def main(arguments: list[str]) -> int:
    """Run the command; 0 done (status: all is up), 1 not."""
    known = _parser().parse_args(arguments)
    try:
        if known.word == "start":
            cluster = Cluster(known.folder, _settings(known))
            cluster.start()
        else:
            cluster = Cluster(known.folder)
        if known.word == "stop":
            cluster.stop()
    except (ClusterError, ServerFailed, DownloadFailed) as error:
        print(error, file=sys.stderr)
        return FAILED
    _show(cluster)
    down = [server for server in cluster.servers if server.process is None]
    return FAILED if known.word == "status" and down else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m runners.cluster",
        description="Kafka, an AWS stand-in, Flink, PostgreSQL on this machine's loopback.",
    )
    words = parser.add_subparsers(dest="word", required=True)
    start = words.add_parser("start", help="start what is not running and wait till it answers")
    stop = words.add_parser("stop", help="end what start started, and nothing else; data stay")
    status = words.add_parser("status", help="say what runs; exit code 1 if something does not")
    for word in (start, stop, status):
        word.add_argument(
            "--folder", type=Path, default=Path(".cluster"), help="default: %(default)s"
        )
    start.add_argument("--parts", help=f"of {','.join(PARTS)} (default: {','.join(USUAL)})")
    start.add_argument("--task_managers", type=int, metavar="N", help="default: 1")
    start.add_argument("--slots", type=int, metavar="N", help="of each TaskManager (default: 2)")
    start.add_argument(
        "--prometheus",
        action="store_true",
        default=None,
        help="Flink's metrics for Prometheus; listens on all interfaces of this machine",
    )
    start.add_argument(
        "--port",
        action="append",
        metavar="NAME=PORT",
        help="kafka=9092, aws=5000, flink=8081, ... (default: ports that are free)",
    )
    return parser


def _settings(known: argparse.Namespace) -> Settings | None:
    """What was asked for; None, which goes on with what is there, if nothing was."""
    names = ("task_managers", "slots", "prometheus")
    given = {name: getattr(known, name) for name in names if getattr(known, name) is not None}
    if known.parts is not None:
        given["parts"] = tuple(part for part in known.parts.split(",") if part)
    if known.port is not None:
        given["ports"] = dict(_port(word) for word in known.port)
    is_new = not (known.folder / "cluster.json").exists()
    return Settings(**given) if given or is_new else None


def _port(word: str) -> tuple[str, int]:
    name, _, number = word.partition("=")
    if not number.isdecimal():
        raise ClusterError(f"--port must be NAME=PORT, got {word!r}")
    return name, int(number)


def _show(cluster: Cluster) -> None:
    table = Table(box=None)
    for heading in ("part", "address", "process", "memory", "log"):
        table.add_column(heading)
    for server in cluster.servers:
        process = server.process
        memory = f"{process.memory_info().rss / 1e6:.0f} MB" if process else ""
        pid = str(process.pid) if process else "down"
        table.add_row(server.name, server.address, pid, memory, str(server.log))
    Console(soft_wrap=True).print(table)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
