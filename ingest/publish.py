"""``python -m ingest.publish FILE --to TARGET``: a file or a synthetic stream, at a chosen rate."""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
import threading
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from ingest.config import Ends
from ingest.messages import FORMATS, NoMessages, lines_of, messages
from ingest.pace import Pace
from ingest.postgres import duration
from ingest.publisher import NotPublished
from ingest.targets import check_target, open_publisher
from pipeline.job_errors import JobFileError, mistakes_of
from pipeline.job_file import FileSchema, load_file

FAILED, WRONG = 1, 2
SYNTHETIC = ("anybooks", "left_discords")
_KAFKA = re.compile(r"kafka://(?P<brokers>[^/]+)/(?P<name>[^/]+)")
_KINESIS = re.compile(r"kinesis://(?P<name>[^/]+)")
_MICROSECONDS = 1_000_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 all has arrived, 1 not all, 2 something is asked for wrongly."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if (options.file is None) == (options.synthetic is None):
        parser.error("name a file or --synthetic, not both")
    if (options.to is None) == (options.config is None):
        parser.error("name a target with --to or --config, not both")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        ends = _ends(options)
        if mistakes := list(check_target(ends)):
            raise JobFileError(options.config or options.to, mistakes)
        lines, total = _lines(options)
        return _send(options, ends, lines, total, stop)
    except ValueError as error:
        print(error, file=sys.stderr)
        return WRONG


def _send(
    options: argparse.Namespace,
    ends: Ends,
    lines: Iterable[bytes],
    total: int | None,
    stop: threading.Event,
) -> int:
    publisher = open_publisher(ends)
    pace = Pace(publisher, options.rate, stop, options.patience / _MICROSECONDS)
    stamp = options.stamp or ("time" if options.synthetic == "left_discords" else None)
    failure = ""
    try:
        with _progress() as progress:
            task = progress.add_task(f"to {ends.target.kind} {ends.target.name}", total=total)
            sent = messages(lines, options.key, stamp)
            pace.run(sent, lambda count: progress.advance(task, count))
    except NotPublished as error:
        failure = str(error)
    finally:
        publisher.close()
    print(f"{pace.delivered:,} messages arrived, {pace.retried:,} were sent again")
    if failure:
        print(f"stopped: {failure}", file=sys.stderr)
    return FAILED if failure or stop.is_set() else 0


def _progress() -> Progress:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=Console(stderr=True))


def _ends(options: argparse.Namespace) -> Ends:
    if options.config:
        beginning = "such a file names `target` and `kafka`"
        return load_file(options.config, Ends, _ends_schema, beginning)
    data: dict[str, Any]
    if found := _KAFKA.fullmatch(options.to):
        brokers = found["brokers"].split(",")
        data = {
            "kafka": {"bootstrap_servers": brokers},
            "target": {"kafka": {"topic": found["name"]}},
        }
    elif found := _KINESIS.fullmatch(options.to):
        data = {"target": {"kinesis": {"stream": found["name"]}}}
    else:
        raise ValueError(
            f"--to {options.to!r} is not allowed; write kafka://HOST:PORT/TOPIC or kinesis://STREAM"
        )
    try:
        return Ends.model_validate(data)
    except ValidationError as error:
        raise JobFileError(options.to, mistakes_of(error, _ends_schema())) from None


def _ends_schema() -> dict[str, Any]:
    return Ends.model_json_schema(schema_generator=FileSchema)


def _lines(options: argparse.Namespace) -> tuple[Iterable[bytes], int | None]:
    """What is sent, and how many if that is known."""
    if options.file:
        form = options.format or options.file.suffix.removeprefix(".")
        if form not in FORMATS:
            raise NoMessages(
                f"{options.file}: the name does not say what is in it; name --format, "
                f"{' or '.join(FORMATS)}"
            )
        if not options.file.is_file():
            raise NoMessages(f"{options.file}: there is no such file")
        return lines_of(options.file, form), None
    if options.truth:
        options.truth.parent.mkdir(parents=True, exist_ok=True)
    lines = _anybooks(options) if options.synthetic == "anybooks" else _left_discords(options)
    return lines, len(lines)


def _anybooks(options: argparse.Namespace) -> list[bytes]:
    from examples.anybooks.generate import deliver, generate, write_ground_truth

    sales = generate(options.days, options.seed)
    if options.truth:
        write_ground_truth(options.truth, sales.injections)
    return deliver(sales, options.seed).lines


def _left_discords(options: argparse.Namespace) -> list[bytes]:
    from examples.left_discords.generate import generate

    numbers = generate(options.points, options.seed)
    if options.truth:
        text = "".join(json.dumps(asdict(shape)) + "\n" for shape in numbers.odd_shapes)
        options.truth.write_text(text, encoding="utf-8")
    return [
        json.dumps({"index": i, "value": value}).encode()
        for i, value in enumerate(numbers.values.tolist(), 1)
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ingest.publish",
        description="Send a file's records, or a synthetic stream, to Kafka or Kinesis.",
    )
    parser.add_argument("file", nargs="?", type=Path, help="a .csv with a header, or a .jsonl")
    parser.add_argument("--format", choices=FORMATS, help="default: what the file's name says")
    parser.add_argument("--synthetic", choices=SYNTHETIC, help="in place of a file")
    parser.add_argument("--to", metavar="TARGET", help="kafka://HOST:PORT/TOPIC, kinesis://STREAM")
    parser.add_argument(
        "--config", metavar="FILE", help="kafka, kinesis, target as in an ingest file"
    )
    parser.add_argument(
        "--rate", type=float, metavar="N", help="messages a second (default: as fast as it goes)"
    )
    parser.add_argument("--key", metavar="FIELD", help="whose value is the message's key")
    parser.add_argument(
        "--stamp",
        metavar="FIELD",
        help="set it to the time of sending (left_discords: time)",
    )
    parser.add_argument(
        "--patience",
        type=duration,
        default=60 * _MICROSECONDS,
        metavar="DURATION",
        help="how long messages that do not arrive are sent again (default: 1m)",
    )
    parser.add_argument("--days", type=int, default=1, help="of anybooks (default: 1)")
    parser.add_argument("--points", type=int, default=5000, help="of left_discords (default: 5000)")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same stream (default: 1)")
    parser.add_argument("--truth", type=Path, metavar="FILE", help="write its anomalies there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
