"""The command line: check everything, then build the graph and hand it to a runner.

This is the one place that knows the runners; nothing else in the package imports them.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import sys
from collections.abc import Callable
from functools import partial

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    StandardOptions,
)
from rich.console import Console

from pipeline import show
from pipeline.build import build
from pipeline.endpoints import previous_output
from pipeline.job import Job, job_schema, load_job
from pipeline.job_errors import JobFileError
from pipeline.preflight import check_endpoints
from runners import direct
from transforms.detect import Settings
from transforms.io.files import NoFiles

WRONG_USE = 2
_RUNNERS: dict[str, Callable[[Callable[[beam.Pipeline], None], PipelineOptions], None]] = {
    name: direct.run for name in direct.NAMES
}


class WrongUse(Exception):
    """The command cannot be carried out as given; the text says why, one line a mistake."""


def main(arguments: list[str]) -> int:
    """Run the command; 0 done, 2 wrong use (nothing was started)."""
    known, beam_arguments = _parser().parse_known_args(arguments)
    if known.print_schema:
        print(json.dumps(job_schema(), indent=2))
        return 0
    try:
        job = _checked_job(known.job, known.overwrite)
        options, runner = _options(job, beam_arguments)
        pipeline = beam.Pipeline(options=options)
        build(pipeline, job, _settings(known))
    except (WrongUse, JobFileError, NoFiles) as error:
        print(error, file=sys.stderr)
        return WRONG_USE
    if known.dry_run:
        show.plan(Console(), pipeline, job)
        return 0
    for path in previous_output(job):
        FileSystems.delete([path])
    runner(partial(build, job=job, settings=_settings(known)), options)
    return show.balance(Console(), job)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline",
        description="Detect anomalies in the series that a job file names.",
        epilog="Any other option is Beam's, for example --direct_num_workers=2.",
        allow_abbrev=False,
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
        "--snapshot_rows",
        type=int,
        default=Settings.snapshot_rows,
        metavar="ROWS",
        help="rows between two snapshots of a model (default: %(default)s)",
    )
    parser.add_argument(
        "--live_model_mb",
        type=int,
        default=Settings.live_bytes >> 20,
        metavar="MB",
        help="most memory for live models in a worker process (default: %(default)s)",
    )
    return parser


def _settings(known: argparse.Namespace) -> Settings:
    for name in ("snapshot_rows", "live_model_mb"):
        if getattr(known, name) < 1:
            raise WrongUse(f"--{name} must be >= 1, got {getattr(known, name)}")
    return Settings(snapshot_rows=known.snapshot_rows, live_bytes=known.live_model_mb << 20)


def _checked_job(path: str | None, overwrite: bool) -> Job:
    if path is None:
        raise WrongUse("--job is missing; for example --job=examples/anybooks/job.yaml")
    job = load_job(path)
    check_endpoints(job, path)
    left = previous_output(job)
    if left and not overwrite:
        raise WrongUse(
            f"{path}: sinks: {len(left)} files of an earlier run are there, for example "
            f"{left[0]}; name other paths, remove them, or pass --overwrite"
        )
    return job


def _options(
    job: Job, arguments: list[str]
) -> tuple[PipelineOptions, Callable[[Callable[[beam.Pipeline], None], PipelineOptions], None]]:
    options = PipelineOptions(arguments)
    known = options.get_all_options()
    unknown = set(options.get_all_options(retain_unknown_options=True)) - set(known)
    if unknown or any(not argument.startswith("-") for argument in arguments[:1]):
        name = min(unknown, default=arguments[0])
        close = difflib.get_close_matches(name, [*known, "job", "dry_run", "overwrite"], n=1)
        hint = f"; did you mean --{close[0]}?" if close else ""
        raise WrongUse(f"--{name} is neither an option of Tidewatch nor of Beam{hint}")
    runner = options.view_as(StandardOptions).runner or direct.NAMES[0]
    if runner not in _RUNNERS:
        raise WrongUse(f"--runner={runner} is not known; allowed: {', '.join(_RUNNERS)}")
    cloud = options.view_as(GoogleCloudOptions)
    cloud.job_name = cloud.job_name or job.job
    _make_folders(job)
    return options, _RUNNERS[runner]


def _make_folders(job: Job) -> None:
    for path in job.sinks.paths.values():
        folder = FileSystems.split(path)[0]
        if folder and "://" not in folder:
            os.makedirs(folder, exist_ok=True)
