"""Flink: live and bounded jobs on a cluster, or on a Flink inside the job server.

``--runner=FlinkRunner --flink_master=HOST:PORT`` names the REST interface of a cluster, whose
TaskManagers then start Python workers with this same Python. Without ``--flink_master`` (or with
``[local]``) Flink runs inside the job server, and the worker is this process: for trying out.

``python -m runners.flink list | savepoint | stop | cancel | metrics`` looks after jobs that run.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PipelineOptions,
    StandardOptions,
)
from apache_beam.runners.portability.flink_runner import FlinkRunner
from apache_beam.runners.portability.job_server import StopOnExitJobServer
from apache_beam.runners.runner import PipelineResult, PipelineState

from runners import flink_commands
from runners.flink_jar import job_server_jar
from runners.flink_options import FlinkOptions, set_defaults
from runners.flink_rest import FlinkError, FlinkJob, JobManager

NAMES = ("FlinkRunner", "flink")
_INSIDE = ("[local]", "[auto]")
_POLL_SECONDS = 0.5


def run(build: Callable[[beam.Pipeline], None], options: PipelineOptions) -> FlinkJob | None:
    """Build a pipeline and run it on Flink.

    A bounded job is waited for. A live one (``--streaming``) on a cluster is left to it as soon as
    it runs, and returned; inside the job server it runs until this process is stopped.

    Raises
    ------
    FlinkError
        If the cluster cannot be reached, has no free slot, or runs a job of that name already.
    DownloadFailed
        If there is no job server.
    RuntimeError
        If the job fails.
    """
    flink = options.view_as(FlinkRunnerOptions)
    is_local = flink.flink_master in _INSIDE
    cluster = None if is_local else JobManager(flink.flink_master)
    name = options.view_as(GoogleCloudOptions).job_name
    before = _ids_of(cluster, name)
    if is_local:
        flink.flink_master = "[local]"
    set_defaults(options, cluster.overview() if cluster else None)
    if not flink.flink_job_server_jar:
        source = options.view_as(FlinkOptions).flink_job_server
        version = flink.flink_version
        flink.flink_job_server_jar = str(job_server_jar(version, source))
    runner = _Runner()
    pipeline = beam.Pipeline(runner=runner, options=options)
    build(pipeline)
    try:
        result = pipeline.run()
        if cluster and name and options.view_as(StandardOptions).streaming:
            return _running(cluster, name, before, result)
        result.wait_until_finish()
    finally:
        runner.close()
    return None


class _Runner(FlinkRunner):
    """Beam's, whose job server can be ended before this process ends."""

    def __init__(self) -> None:
        super().__init__()
        self._servers: list[StopOnExitJobServer] = []

    def default_job_server(self, options: PipelineOptions) -> StopOnExitJobServer:
        self._servers.append(super().default_job_server(options))
        return self._servers[-1]

    def close(self) -> None:
        for server in self._servers:
            server.stop()


def _ids_of(cluster: JobManager | None, name: str | None) -> set[str]:
    """The jobs of that name that are over; none may run, as a name must say which job is meant."""
    jobs = [job for job in cluster.jobs() if job.name == name] if cluster and name else []
    for job in jobs:
        if not job.is_over:
            raise FlinkError(
                f"a job named {name!r} is {job.state} already ({job.id}); stop it with `python -m "
                "runners.flink stop`, or choose another name with --job_name"
            )
    return {job.id for job in jobs}


def _running(cluster: JobManager, name: str, before: set[str], result: PipelineResult) -> FlinkJob:
    """The job, once the cluster runs it."""
    while True:
        if result.state == PipelineState.FAILED:
            result.wait_until_finish()  # raises what the job server says of it
        for job in cluster.jobs():
            if job.name != name or job.id in before:
                continue
            if job.state == "RUNNING":
                return job
            if job.is_over:
                reasons = cluster.exceptions(job) or ["no reason is known"]
                raise RuntimeError(f"{name} is {job.state}: {reasons[0]}")
        time.sleep(_POLL_SECONDS)


if __name__ == "__main__":
    sys.exit(flink_commands.main(sys.argv[1:]))
