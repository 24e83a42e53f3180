"""Prism, Beam's own local runner: live jobs in one process group on this machine, without Java."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    PipelineOptions,
    PrismRunnerOptions,
    WorkerOptions,
)
from apache_beam.runners.portability.prism_runner import PrismJobServer, PrismRunner

from runners import downloads

NAMES = ("PrismRunner", "prism")
_MODULE = "github.com/apache/beam/sdks/v2/go/cmd/prism"


def run(build: Callable[[beam.Pipeline], None], options: PipelineOptions) -> None:
    """Build a pipeline and run it to its end, or for a live one until this process is stopped.

    Raises
    ------
    DownloadFailed
        If there is no Prism.
    RuntimeError
        If the job fails.
    """
    prism = options.view_as(PrismRunnerOptions)
    prism.prism_location = prism.prism_location or str(binary(options))
    if "max_cache_memory_usage_mb" not in options.get_all_options(drop_default=True):
        options.view_as(WorkerOptions).max_cache_memory_usage_mb = 0
    pipeline = beam.Pipeline(runner=PrismRunner(), options=options)
    build(pipeline)
    pipeline.run().wait_until_finish()


def binary(options: PipelineOptions) -> Path:
    """Prism of Beam's own version: the one built here before, else Beam's, else built with Go.

    Raises
    ------
    DownloadFailed
        If it can be had in no way.
    """
    name = f"prism-{beam.version.__version__}"
    built = downloads.cache_folder() / name / "prism"
    if built.exists():
        return built
    try:
        # a path to a file that is there, or the address of one to fetch
        return Path(PrismJobServer.local_bin(PrismJobServer(options).path_to_binary()))
    except (URLError, OSError, RuntimeError) as error:
        if shutil.which("go") is None:
            raise downloads.DownloadFailed(
                f"Prism could not be fetched ({error}); name one with --prism_location=FILE, or "
                "install Go, to build it"
            ) from error
        downloads.say(f"Prism could not be fetched ({error}); building it, which takes minutes")
    return downloads.kept(name, _build) / "prism"


def _build(folder: Path) -> None:
    module = f"{_MODULE}@v{beam.version.__version__}"
    environment = {"GOBIN": str(folder), "GOFLAGS": os.environ.get("GOFLAGS", "")}
    downloads.call(["go", "install", module], needs="Go", environment=environment)
