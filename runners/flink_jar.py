"""Beam's Flink job server: the Java program that turns a pipeline into a Flink job."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from urllib.error import URLError

from apache_beam.runners.portability.flink_runner import FlinkJarJobServer
from apache_beam.utils.subprocess_server import JavaJarServer

from runners import downloads

BUILT_FOR = "1.19"
"""The version of Flink that the project's own pom builds for."""
_NAME = f"flink-job-server-2.70.0-{BUILT_FOR}-d"
"""In the cache; the letter changes with the sources."""
_SOURCES = Path(__file__).parent / "flink_job_server"
FROM = ("auto", "beam", "maven")


def job_server_jar(flink_version: str, source: str) -> Path:
    """The jar, for a version of Flink such as ``1.19``.

    Parameters
    ----------
    flink_version
        As Beam names it.
    source
        ``beam``: the jar that Beam publishes, which Beam fetches. ``maven``: built from the parts
        that Beam publishes, without Beam's Java sources and sinks. ``auto``: the second if it was
        built before, else the first if it can be had, else the second.

    Raises
    ------
    DownloadFailed
        If it can be had neither way.
    """
    is_built = (downloads.cache_folder() / _NAME).is_dir() and flink_version == BUILT_FOR
    if source == "beam" or (source == "auto" and not is_built):
        try:
            target = f":runners:flink:{flink_version}:job-server:shadowJar"
            return Path(JavaJarServer.local_jar(FlinkJarJobServer.path_to_beam_jar(target)))
        except (URLError, RuntimeError, OSError) as error:
            if source == "beam" or flink_version != BUILT_FOR:
                raise downloads.DownloadFailed(
                    f"Beam's job server for Flink {flink_version} could not be fetched ({error}); "
                    "name one with --flink_job_server_jar=FILE, or, for a cluster of Flink "
                    f"{BUILT_FOR}, build one with --flink_job_server=maven"
                ) from error
            downloads.say(f"Beam's job server could not be fetched ({error}); building it")
    if flink_version != BUILT_FOR:
        raise downloads.DownloadFailed(
            f"--flink_job_server=maven builds for Flink {BUILT_FOR}, and the cluster is Flink "
            f"{flink_version}; use --flink_job_server=beam or --flink_job_server_jar=FILE"
        )
    return downloads.kept(_NAME, _build) / "flink-job-server.jar"


def _build(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        sources = shutil.copytree(_SOURCES, Path(scratch) / "sources")
        downloads.maven(sources / "pom.xml", "package")
        shutil.move(sources / "target" / "flink-job-server-1.jar", folder / "flink-job-server.jar")
