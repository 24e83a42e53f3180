"""What must hold around a job before it starts: sources that exist, sinks that can be written."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from pathlib import Path

from pipeline.job import Job
from pipeline.job_errors import JobFileError, Mistake, describe

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")


def check_endpoints(job: Job, file: str | Path) -> None:
    """Look at the local ends of a job; changes nothing, and creates nothing.

    Addresses with a scheme (``gs://``) are left to who can reach them.

    Parameters
    ----------
    job : Job
        What is about to start.
    file : str or Path
        The job file, for the messages.

    Raises
    ------
    JobFileError
        With each source path or glob that matches no file, and each sink's path that cannot be
        written, one line each.
    """
    mistakes = [*_sources(job), *_sinks(job)]
    if mistakes:
        raise JobFileError(str(file), mistakes)


def is_local(path: str) -> bool:
    """Whether ``path`` is on this machine: it has no scheme."""
    return _SCHEME.match(path) is None


def _sources(job: Job) -> Iterator[Mistake]:
    for key in ("files", "history"):
        for i, pattern in enumerate(getattr(job.source, key)):
            if not is_local(pattern):
                continue
            files = [each for each in glob.iglob(pattern, recursive=True) if os.path.isfile(each)]
            if not files:
                yield ("source", key, i), f"{describe(pattern)} matches no file"
            for unreadable in (each for each in files if not os.access(each, os.R_OK)):
                yield ("source", key, i), f"{describe(unreadable)} cannot be read; check its rights"


def _sinks(job: Job) -> Iterator[Mistake]:
    for name, path in job.sinks.paths.items():
        if is_local(path) and (reason := _why_not_writable(Path(path))):
            yield ("sinks", name, "path"), f"{describe(path)} cannot be written: {reason}"


def _why_not_writable(path: Path) -> str:
    """Why nothing can be put beside ``path``; empty if it can."""
    parent = path.absolute().parent
    existing = next(each for each in (parent, *parent.parents) if os.path.lexists(each))
    if not existing.is_dir():
        return f"{describe(str(existing))} is not a directory"
    if not os.access(existing, os.W_OK | os.X_OK):
        return f"no right to write in {describe(str(existing))}"
    return ""
