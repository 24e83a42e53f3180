"""``python -m runners.flink list | savepoint | stop | cancel | metrics``."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from runners.flink_rest import FlinkError, JobManager

FAILED = 1


def main(arguments: list[str]) -> int:
    """Run the command; 0 done, 1 not."""
    known = _parser().parse_args(arguments)
    cluster = JobManager(known.flink_master)
    try:
        if known.word == "list":
            _show(cluster)
            return 0
        job = cluster.job(known.job)
        if known.word == "metrics":
            for name, values in sorted(cluster.metrics(job, known.containing).items()):
                print(name, *(f"{value:g}" for value in values))
        elif known.word == "savepoint":
            print(cluster.savepoint(job, known.savepoint_folder))
        elif known.word == "stop":
            print(cluster.stop(job, known.savepoint_folder, drain=known.drain))
        else:
            cluster.cancel(job)
    except FlinkError as error:
        print(error, file=sys.stderr)
        return FAILED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m runners.flink", description="Look after the jobs of a Flink cluster."
    )
    words = parser.add_subparsers(dest="word", required=True)
    for word, text in {
        "list": "the cluster's jobs",
        "savepoint": "write a savepoint, go on, print where it is",
        "stop": "write a savepoint, end the job, print where it is; start with --savepoint_path",
        "cancel": "end the job without a savepoint",
        "metrics": "print the job's metrics, one value for each subtask",
    }.items():
        command = words.add_parser(word, help=text)
        command.add_argument(
            "--flink_master", default="127.0.0.1:8081", metavar="HOST:PORT", help="%(default)s"
        )
        if word != "list":
            command.add_argument("--job", required=True, metavar="NAME", help="or its ID")
        if word in ("savepoint", "stop"):
            command.add_argument(
                "--savepoint_folder", metavar="URL", help="default: the cluster's own"
            )
        if word == "stop":
            command.add_argument(
                "--drain",
                action="store_true",
                help="fire all timers first; for a job that will not be resumed",
            )
        if word == "metrics":
            command.add_argument("--containing", default="", metavar="TEXT", help="of the name")
    return parser


def _show(cluster: JobManager) -> None:
    table = Table(box=None)
    for heading in ("job", "state", "since (UTC)", "ID"):
        table.add_column(heading)
    for job in cluster.jobs():
        since = datetime.fromtimestamp(job.started, UTC).strftime("%Y-%m-%d %H:%M:%S")
        table.add_row(job.name, job.state, since, job.id)
    Console(soft_wrap=True).print(table)
