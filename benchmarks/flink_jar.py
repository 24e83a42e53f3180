"""Run a jar on a Flink cluster through its REST interface, and wait until the job ends.

python -m benchmarks.flink_jar http://HOST:PORT JOB.jar ARGUMENT ...
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import requests

_SECONDS = 120
_POLL_SECONDS = 1.0


def main(arguments: list[str]) -> int:
    """Upload, run, wait; 0 if it was cancelled or finished."""
    rest, jar, *own = arguments
    with Path(jar).open("rb") as file:
        content = {"jarfile": (Path(jar).name, file, "application/java-archive")}
        answer = requests.post(f"{rest}/jars/upload", files=content, timeout=_SECONDS)
    answer.raise_for_status()
    uploaded = answer.json()["filename"].rsplit("/", 1)[1]
    run = requests.post(
        f"{rest}/jars/{uploaded}/run", json={"programArgsList": own}, timeout=_SECONDS
    )
    if not run.ok:
        print(run.text, file=sys.stderr)
        return 1
    job = run.json()["jobid"]
    while True:
        status = requests.get(f"{rest}/jobs/{job}", timeout=_SECONDS).json()["state"]
        if status in ("CANCELED", "FINISHED", "FAILED"):
            return int(status == "FAILED")
        time.sleep(_POLL_SECONDS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
