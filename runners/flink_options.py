"""Options of a Flink job: those that only Beam's Java knows, and defaults for what is left open."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    GoogleCloudOptions,
    JobServerOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
    WorkerOptions,
)

from runners.flink_jar import FROM
from runners.flink_rest import FlinkError

_LAUNCHER = Path(__file__).parent / "flink_worker.sh"
_ROOT = Path(__file__).parent.parent
BUNDLE_ELEMENTS = 5000
BUNDLE_MILLIS = 50
"""Each step adds up to so much to the latency. With a job server of Beam's own it must be below the
100 ms at which live sources poll: with 500 and 1,000 ms records came through, but the watermark
stood still. With the project's it moves at 500 too (docs/decisions/0020-names-of-residuals.md)."""
CHECKPOINT_MILLIS = 10_000
CHECKPOINT_TIMEOUT_MILLIS = 3_600_000
"""A checkpoint waits for the end of a bundle; that of ten thousand series that learn their history
takes minutes. After Flink's own ten minutes the job would fail, and begin it again."""
STATE_CACHE_MB = 256
"""Of a worker process: what waits for its watermark is then not read back from the runner."""
_JOB_SERVER_JVM = ["-Xmx512m", "-XX:TieredStopAtLevel=1"]
"""It lives for seconds, to translate one graph."""
_WORKER_MILLIS = 60_000
"""A worker waits so long for the next step of its job. A bounded job runs its steps one after the
other, and would start new workers for each."""


class FlinkOptions(PipelineOptions):
    """Options that Beam's Flink runner has in Java, by their names there, and two of our own."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add("--max_bundle_size", type=int, help=f"elements (default: {BUNDLE_ELEMENTS})")
        add("--max_bundle_time_mills", type=int, help=f"default: {BUNDLE_MILLIS}")
        add(
            "--checkpointing_interval",
            type=int,
            help=f"milliseconds (default: {CHECKPOINT_MILLIS}; bounded jobs: none)",
        )
        add("--finish_bundle_before_checkpointing", action="store_true", default=None)
        add(
            "--checkpoint_timeout_millis",
            type=int,
            help=f"default: {CHECKPOINT_TIMEOUT_MILLIS} where there are checkpoints",
        )
        add("--min_pause_between_checkpoints", type=int, help="milliseconds")
        add("--savepoint_path", help="start with the state of this savepoint or checkpoint")
        add("--allow_non_restored_state", action="store_true", default=None)
        add("--externalized_checkpoints_enabled", action="store_true", default=None)
        add("--retain_externalized_checkpoints_on_cancellation", action="store_true", default=None)
        add("--unaligned_checkpoint_enabled", action="store_true", default=None)
        add("--shutdown_sources_after_idle_ms", type=int)
        add("--object_reuse", action="store_true", default=None)
        add(
            "--flink_job_server",
            choices=FROM,
            default="auto",
            help="where the job server comes from (default: %(default)s)",
        )
        add("--flink_worker_python", help="Python of the workers (default: this one)")


def set_defaults(options: PipelineOptions, cluster: dict[str, Any] | None) -> None:
    """Set what the user left open, for a cluster with that overview, or for a local one.

    Raises
    ------
    FlinkError
        If the cluster has no free slot, or the worker's launcher cannot be run.
    """
    given = options.get_all_options(drop_default=True)
    flink = options.view_as(FlinkOptions)
    if flink.max_bundle_size is None:
        flink.max_bundle_size = BUNDLE_ELEMENTS
    if flink.max_bundle_time_mills is None:
        flink.max_bundle_time_mills = BUNDLE_MILLIS
    if flink.checkpointing_interval is None and options.view_as(StandardOptions).streaming:
        flink.checkpointing_interval = CHECKPOINT_MILLIS
    if flink.checkpoint_timeout_millis is None and flink.checkpointing_interval:
        flink.checkpoint_timeout_millis = CHECKPOINT_TIMEOUT_MILLIS
    # else Beam keeps the output of a bundle that a checkpoint ends until that step's next bundle or
    # watermark: of a step that seldom has an element, such as the alerts', for hours
    flink.finish_bundle_before_checkpointing = True
    if "max_cache_memory_usage_mb" not in given:
        options.view_as(WorkerOptions).max_cache_memory_usage_mb = STATE_CACHE_MB
    server = options.view_as(JobServerOptions)
    if not server.job_server_jvm_properties and cluster is not None:
        server.job_server_jvm_properties = _JOB_SERVER_JVM
    if cluster is not None:
        _fit_to(cluster, options, given)


def _fit_to(cluster: dict[str, Any], options: PipelineOptions, given: dict[str, Any]) -> None:
    flink = options.view_as(FlinkRunnerOptions)
    if "flink_version" not in given:
        flink.flink_version = ".".join(cluster["flink-version"].split(".")[:2])
    if "parallelism" not in given:
        free = cluster["slots-available"]
        if free < 1:
            raise FlinkError(
                f"none of the cluster's {cluster['slots-total']} slots is free; stop a job "
                "(`python -m runners.flink list`), or start a TaskManager"
            )
        flink.parallelism = free
    portable = options.view_as(PortableOptions)
    if portable.environment_type is not None:
        return
    portable.environment_type = "PROCESS"
    portable.environment_config = json.dumps(_worker(options))
    if "environment_cache_millis" not in given:
        portable.environment_cache_millis = _WORKER_MILLIS
    if "sdk_worker_parallelism" not in given:
        # one process for each slot in use: a Python process uses one core
        slots = cluster["slots-total"] // max(1, cluster["taskmanagers"])
        portable.sdk_worker_parallelism = max(1, min(slots, flink.parallelism))


def _worker(options: PipelineOptions) -> dict[str, Any]:
    if not os.access(_LAUNCHER, os.X_OK):
        raise FlinkError(f"{_LAUNCHER} is not executable; run: chmod +x {_LAUNCHER}")
    python = options.view_as(FlinkOptions).flink_worker_python
    paths = dict.fromkeys([str(_ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    return {
        "command": str(_LAUNCHER),
        "env": {
            "TIDEWATCH_WORKER_PYTHON": python or sys.executable,
            # for people: whose worker a process is
            "TIDEWATCH_JOB": options.view_as(GoogleCloudOptions).job_name or "",
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        },
    }
