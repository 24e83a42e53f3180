"""The files of job and ingest with this machine's addresses in them, and the job's way to Flink."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from string import Template

from examples.anybooks.live.aws_ends import TOPIC_ARN
from examples.anybooks.live.servers import ROOT
from examples.anybooks.live.stack import NAME, LiveFailed, Stack

CHECKPOINT_MILLIS = 5000
_HERE = Path(__file__).parent


def write_ingest(stack: Stack) -> Path:
    """Write ``ingest.yaml``; returns where it is."""
    folder = stack.ingest.folder
    folder.mkdir(parents=True, exist_ok=True)
    return _write(folder / "ingest.yaml", _filled(stack, "ingest.yaml"))


def job_text(stack: Stack, allowed_disorder: str, name: str = NAME) -> str:
    """The job file's text."""
    return _filled(stack, "job.yaml", name=name, allowed_disorder=allowed_disorder)


def submit(stack: Stack, text: str, name: str = NAME) -> None:
    """Hand a job to Flink, unless it runs there already.

    Raises
    ------
    LiveFailed
        It was refused, or it runs by another file.
    """
    file = stack.job_file(name)
    if stack.job(name):
        if file.read_text(encoding="utf-8") != text:
            raise LiveFailed(
                f"the job {name} runs with other settings ({file}); stop first: make anybooks-stop"
            )
        return
    _write(file, text)
    command = [sys.executable, "-m", "pipeline", f"--job={file}", "--runner=FlinkRunner"]
    command += [f"--flink_master={stack.cluster.job_manager.address}", "--parallelism=1"]
    command += [f"--checkpointing_interval={CHECKPOINT_MILLIS}"]
    environment = {**os.environ, **stack.environment}
    done = subprocess.run(  # noqa: S603 - our own words
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise LiveFailed(f"the job was not started: {' '.join(command)}\n{done.stderr[-4000:]}")


def _filled(stack: Stack, template: str, **words: str) -> str:
    known = {
        "brokers": stack.brokers,
        "connection": stack.connection,
        "folder": str(stack.folder),
        "lake": stack.lake,
        "mail_port": str(stack.ports.mail),
        "page": stack.page,
        "topic_arn": TOPIC_ARN,
    }
    return Template((_HERE / template).read_text(encoding="utf-8")).substitute(known | words)


def _write(file: Path, text: str) -> Path:
    file.write_text(text, encoding="utf-8")
    return file
