"""``python -m ingest.postgres``: new rows of PostgreSQL as JSON to Kafka or Kinesis."""

from __future__ import annotations

import argparse
import datetime as dt
import logging
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any

import psycopg

from ingest.backfill import Backfill
from ingest.config import Ingest, load_config
from ingest.database import one_line
from ingest.marks import Busy, MarkRefused
from ingest.poller import Poller
from ingest.publisher import NotPublished
from ingest.statements import Statements
from ingest.targets import check_target
from pipeline.durations import parse_duration
from pipeline.job_ends import Start
from pipeline.job_errors import JobFileError
from pipeline.job_section import Section

FAILED, WRONG = 1, 2
_MICROSECONDS = 1_000_000
_LOG = logging.getLogger("ingest")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 done, 1 something failed or stayed away, 2 something is set up wrongly."""
    parser = _parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        config = load_config(options.config)
        if options.interval:
            config = config.model_copy(update={"interval": options.interval})
        if options.show_sql:
            print(Statements(config.postgres, ()).preparation(), end="")
            return 0
        return _run(options, config, stop)
    except (JobFileError, MarkRefused, ValueError) as error:
        print(error, file=sys.stderr)
        return WRONG
    except (NotPublished, Busy, psycopg.Error) as error:
        print(one_line(error), file=sys.stderr)
        return FAILED


def _run(options: argparse.Namespace, config: Ingest, stop: threading.Event) -> int:
    is_loop = not (options.once or options.dry_run or options.since or options.restart_from)
    patience = None if is_loop else options.patience / _MICROSECONDS
    task = Backfill(options.since, options.until) if options.since else None
    poller = Poller(config, options.config, stop, patience)
    try:
        statements = poller.check()
        if mistakes := list(check_target(config)):
            raise JobFileError(options.config, mistakes)
        where = f"{config.target.kind} {config.target.name}"
        _LOG.info("%s: %s to %s", config.ingest, ", ".join(statements.columns), where)
        if options.dry_run:
            return 0
        if task:
            rows = poller.backfill(task)
            _LOG.info("published %d rows again, up to %s", rows, task.since.isoformat())
            return 0 if task.is_done else FAILED
        if options.restart_from is not None:
            poller.restart(str(options.restart_from))
        if is_loop:
            poller.run()
            _LOG.info("stopped")
            return 0
        found = poller.look()
        _LOG.info("published %d rows, mark %s", found.rows, found.mark.snapshot)
        return 0 if found.is_all else FAILED
    except (NotPublished, Busy, psycopg.Error):
        if is_loop and stop.is_set():
            _LOG.info("stopped while something was away")
            return 0
        raise
    finally:
        poller.close()


class _Start(Section):
    start: Start


def _start(text: str) -> str | int:
    try:
        return _Start(start=text).start
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not allowed; write earliest, latest, or a time such as "
            "2026-01-31T00:00:00Z"
        ) from None


def moment(text: str) -> dt.datetime:
    """A time with a zone; UTC if the text names none."""
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time; write it as 2026-01-31T00:00:00Z"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)


def duration(text: str) -> int:
    """Microseconds, > 0."""
    try:
        found = parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not found:
        raise argparse.ArgumentTypeError("must be longer than 0s")
    return found


class _Parser(argparse.ArgumentParser):
    def parse_args(self, *arguments: Any, **named: Any) -> Any:
        options = super().parse_args(*arguments, **named)
        if (options.since is None) != (options.until is None):
            self.error("--from and --to go together")
        if options.since and (options.restart_from is not None or options.once):
            self.error("--from and --to publish a range and end: without --once, --restart_from")
        return options


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m ingest.postgres",
        description="Publish new rows of a PostgreSQL table or query as JSON, at least once each.",
    )
    parser.add_argument("--config", required=True, metavar="FILE", help="see docs/ingest.md")
    parser.add_argument("--once", action="store_true", help="publish what is new, then end")
    parser.add_argument(
        "--interval", type=duration, metavar="DURATION", help="default: that of the file, else 1m"
    )
    parser.add_argument(
        "--patience",
        type=duration,
        default=60 * _MICROSECONDS,
        metavar="DURATION",
        help="how long a run that ends waits for database and brokers; one that goes on waits for "
        "ever (default: 1m)",
    )
    parser.add_argument(
        "--from", dest="since", type=moment, metavar="TIME", help="publish this range once more;"
    )
    parser.add_argument(
        "--to", dest="until", type=moment, metavar="TIME", help="its end is left out; mark stays"
    )
    parser.add_argument(
        "--restart_from",
        type=_start,
        metavar="START",
        help="forget the mark, publish anew from earliest, latest or a time, and end",
    )
    parser.add_argument("--show_sql", action="store_true", help="print what a table needs, and end")
    parser.add_argument(
        "--dry_run", action="store_true", help="check file, source and target; publish nothing"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
