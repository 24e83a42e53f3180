"""The command line: check everything, then build the graph and hand it to a runner.

This is the one place that knows the runners; nothing else in the package imports them.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    StandardOptions,
)
from apache_beam.runners import DirectRunner
from rich.console import Console

from pipeline import show
from pipeline.build import build
from pipeline.durations import parse_duration
from pipeline.endpoints import previous_output
from pipeline.job import Job, job_schema, load_job
from pipeline.job_errors import JobFileError
from pipeline.preflight import check_endpoints
from pipeline.reach import check_reach
from pipeline.try_channels import try_channels
from runners.refusal import CannotRun
from transforms.detect import Settings
from transforms.io.files import NoFiles, match

WRONG_USE = 2
_DIRECT = "direct"
_RUNNERS = {
    "DirectRunner": _DIRECT,
    "direct": _DIRECT,
    "PrismRunner": "prism",
    "prism": "prism",
    "FlinkRunner": "flink",
    "flink": "flink",
}
"""Module in `runners` of each name that ``--runner`` takes; loaded when it is named."""

Runner = Callable[[Callable[[beam.Pipeline], None], PipelineOptions], Any]

_NOISY_LOGGERS = (
    "apache_beam.io.filebasedsink",
    "apache_beam.options.pipeline_options",
    "apache_beam.runners.portability.local_job_service",
)
_NOISE = (
    "Deleting 1 existing files",  # the balance, which every run writes anew
    "Discarding unparseable args",  # said better by `_unknown`
    "No semi_persistent_directory found",
)


class WrongUse(Exception):
    """The command cannot be carried out as given; the text says why, one line a mistake."""


def main(arguments: list[str]) -> int:
    """Run the command; 0 done, 1 not all is accounted for, 2 wrong use (nothing was started).

    A run that fails raises what stopped it, and so ends with 1 too.
    """
    _quiet()
    try:
        known, beam_arguments = _parser().parse_known_args(arguments)
        if known.print_schema:
            print(json.dumps(job_schema(), indent=2))
            return 0
        options, runner, run = _options(beam_arguments, list(vars(known)))
        job = _loaded_job(known.job)
        if known.test_notification:
            return _test_notification(job, known.job)
        settings = _settings(known, endless=_goes_on(job, known.bounded, runner))
        _check(job, known.job, ends=settings.flush_every is None, overwrite=known.overwrite)
        _name(options, job, endless=settings.flush_every is not None)
        pipeline = beam.Pipeline(runner=DirectRunner(), options=options)  # to look at, not to run
        build(pipeline, job, settings)
    except (argparse.ArgumentError, WrongUse, JobFileError, NoFiles, BeamIOError) as error:
        print(error, file=sys.stderr)
        return WRONG_USE
    if known.dry_run:
        show.plan(Console(), pipeline, job)
        return 0
    ends = settings.flush_every is None
    for path in previous_output(job) if ends else ():
        FileSystems.delete([path])
    _make_folders(job)
    try:
        started = run(partial(build, job=job, settings=settings), options)
    except CannotRun as error:
        print(error, file=sys.stderr)
        return WRONG_USE
    if started is not None:  # a live job, which the cluster goes on with
        print(f"{job.job} is {started.state} as job {started.id}")
    if ends and job.sinks.balance_path:
        return show.balance(Console(), job)
    show.places(Console(), job)
    return 0


def _test_notification(job: Job, path: str) -> int:
    """Say what each channel answers to a test message; 1 if one does not take it."""
    if job.sinks.notify is None:
        raise WrongUse(f"{path}: sinks.notify is missing, so there is nobody to notify")
    return show.tried(Console(), try_channels(job))


def _quiet() -> None:
    """Keep from people what Beam warns of in every run, and nothing else."""
    for name in _NOISY_LOGGERS:
        logger = logging.getLogger(name)
        if _is_news not in logger.filters:
            logger.addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    return not any(noise in record.getMessage() for noise in _NOISE)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline",
        description="Detect anomalies in the series that a job file names.",
        epilog="Any other option is Beam's, for example --direct_num_workers=2.",
        allow_abbrev=False,
        exit_on_error=False,
    )
    parser.add_argument("--job", metavar="JOB.yaml", help="the job file (see docs/job_file.md)")
    parser.add_argument(
        "--dry_run",
        action="store_true",
        help="check the job file and its ends, print the graph and an estimate, start nothing",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="delete what an earlier run left at the job's sinks (default: refuse to start)",
    )
    parser.add_argument(
        "--print_schema", action="store_true", help="print the job file's JSON Schema and end"
    )
    parser.add_argument(
        "--test_notification",
        action="store_true",
        help="send one test message to each channel of sinks.notify, say what each answers, and "
        "end",
    )
    parser.add_argument(
        "--bounded",
        action="store_true",
        help="read a live source only up to where it ends now (the Direct runner always does)",
    )
    parser.add_argument(
        "--flush_every",
        default="1s",
        metavar="DURATION",
        help="spacing in event time of a series' wakes on a live source (default: %(default)s)",
    )
    parser.add_argument(
        "--snapshot_rows",
        type=int,
        default=Settings.snapshot_rows,
        metavar="ROWS",
        help="rows between two snapshots of a model (default: %(default)s)",
    )
    parser.add_argument(
        "--live_model_mb",
        type=int,
        metavar="MB",
        help="most memory for live models in a worker process "
        "(default: a quarter of its machine's memory, divided by the cores)",
    )
    return parser


def _settings(known: argparse.Namespace, endless: bool) -> Settings:
    for name in ("snapshot_rows", "live_model_mb"):
        if getattr(known, name) is not None and getattr(known, name) < 1:
            raise WrongUse(f"--{name} must be >= 1, got {getattr(known, name)}")
    try:
        every = parse_duration(known.flush_every)
    except ValueError as error:
        raise WrongUse(f"--flush_every: {error}") from None
    if not every:
        raise WrongUse(f"--flush_every must be longer than 0s, got {known.flush_every}")
    live_bytes = None if known.live_model_mb is None else known.live_model_mb << 20
    return Settings(every if endless else None, known.snapshot_rows, live_bytes)


def _loaded_job(path: str | None) -> Job:
    if path is None:
        raise WrongUse("--job is missing; for example --job=examples/anybooks/job.yaml")
    return load_job(path)


def _goes_on(job: Job, bounded: bool, runner: str) -> bool:
    """Whether the run has no end of its own: a live source, on a runner that can read one."""
    if not job.source.is_live or bounded:
        return False
    if _RUNNERS[runner] == _DIRECT:
        print(
            f"The Direct runner reads {job.source.name} up to its present end, as with --bounded; "
            "--runner=PrismRunner and --runner=FlinkRunner go on.",
            file=sys.stderr,
        )
        return False
    return True


def _check(job: Job, path: str, ends: bool, overwrite: bool) -> None:
    """Look at everything around the job."""
    check_endpoints(job, path)
    _check_file_systems(job, path)
    _check_counters(job, path)
    if not ends:
        _check_sinks_of_endless(job, path)
    check_reach(job, path)
    left = previous_output(job) if ends else []
    if left and not overwrite:
        raise WrongUse(
            f"{path}: sinks: {len(left)} files of an earlier run are there, for example "
            f"{left[0]}; name other paths, remove them, or pass --overwrite"
        )


def _check_sinks_of_endless(job: Job, file: str) -> None:
    wrong = [name for name, sink in job.sinks.lines.items() if sink.path]
    if wrong:
        raise WrongUse(
            f"{file}: sinks.{wrong[0]}.path: a file gets its name when it is written to its end, "
            "which a live run has not; write kafka or kinesis (and lake for files), "
            "or pass --bounded"
        )
    if job.feedback and job.feedback.path:
        raise WrongUse(
            f"{file}: feedback.path: a live run reads what is said while it runs; write kafka or "
            "kinesis, or pass --bounded"
        )


def _name(options: PipelineOptions, job: Job, endless: bool) -> None:
    """Name the run after the job, and say whether it ends."""
    cloud = options.view_as(GoogleCloudOptions)
    cloud.job_name = cloud.job_name or job.job
    if endless:
        options.view_as(StandardOptions).streaming = True


def _check_counters(job: Job, path: str) -> None:
    """Each file counts from 0, so that points of several would lie between each other."""
    files = match([*job.source.history, *job.source.files])
    for i, detector in enumerate(job.detectors):
        if detector.event_time.format == "counter" and len(files) > 1:
            raise WrongUse(
                f"{path}: detectors[{i}].event_time.format: counter counts the records of one "
                f"file, and source names {len(files)}; join them, or name a field with the time"
            )


def _check_file_systems(job: Job, file: str) -> None:
    for path in (*job.source.files, *job.source.history, *job.sinks.paths.values()):
        try:
            FileSystems.get_filesystem(path)
        except ValueError:
            raise WrongUse(
                f"{file}: {path!r}: no file system for {path.partition('://')[0]}:// is known; "
                "Beam knows gs, s3, hdfs, azfs and local paths, where their clients are installed"
            ) from None


def _options(arguments: list[str], own: list[str]) -> tuple[PipelineOptions, str, Runner]:
    """Beam's options and those of the runner that they name; its module defines its own."""
    options = PipelineOptions(arguments)
    runner = options.view_as(StandardOptions).runner or next(iter(_RUNNERS))
    if runner not in _RUNNERS:
        raise WrongUse(f"--runner={runner} is not known; allowed: {', '.join(_RUNNERS)}")
    run = _runner(runner)
    left: list[str] = []

    def parse(parser: argparse.ArgumentParser) -> None:
        parser.exit_on_error = False
        left.extend(parser.parse_known_args(arguments)[1])

    beams = options.get_all_options(add_extra_args_fn=parse)
    if left:
        raise WrongUse(_unknown(left[0], [*own, *beams]))
    return options, runner, run


def _runner(name: str) -> Runner:
    """The function that runs a pipeline on the runner of that name."""
    module = f"runners.{_RUNNERS[name]}"
    try:
        run: Runner = importlib.import_module(module).run
    except ModuleNotFoundError as error:
        raise WrongUse(
            f"--runner={name} needs {error.name}, which is not installed; "
            "install what the documentation names for it"
        ) from error
    return run


def _unknown(argument: str, names: Iterable[str]) -> str:
    """Why ``argument`` is refused, and what may have been meant."""
    if not argument.startswith("-"):
        hint = f"; did you mean --job={argument}?" if argument.endswith((".yaml", ".yml")) else ""
        return f"{argument!r} is not an option{hint}"
    name = argument.lstrip("-").partition("=")[0]
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean --{close[0]}?" if close else ""
    return f"--{name} is neither an option of Tidewatch nor of Beam{hint}"


def _make_folders(job: Job) -> None:
    for path in job.sinks.paths.values():
        folder = FileSystems.split(path)[0]
        if folder and "://" not in folder:
            os.makedirs(folder, exist_ok=True)
