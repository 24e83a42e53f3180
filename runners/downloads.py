"""What is fetched from package registries once, and kept: jars of servers, the job server, Prism.

Each thing is a folder below `cache_folder`, named with its version, so that nothing in it ever
changes. It is filled under another name and renamed when it is whole: a fetch that was cut short
leaves nothing that looks finished.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from runners.refusal import CannotRun

_TAIL = 20
"""Lines of a failed command's output that are shown."""


class DownloadFailed(CannotRun):
    """Something could not be fetched or built; the text says what, why, and what to do."""


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/tidewatch``, or ``~/.cache/tidewatch``."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "tidewatch"


def kept(name: str, fill: Callable[[Path], None]) -> Path:
    """The folder of that name in the cache; ``fill`` puts things into it the first time.

    Two processes that fill the same folder at once both do the work, and one of them wins.

    Raises
    ------
    DownloadFailed
        From ``fill``. The cache is left as it was.
    """
    folder = cache_folder() / name
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    say(f"fetching {name} into {folder.parent} ...")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}-") as scratch:
        whole = Path(scratch) / "whole"
        whole.mkdir()
        fill(whole)
        try:
            whole.rename(folder)
        except OSError:
            if not folder.is_dir():  # else somebody was faster
                raise
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    say(f"{name}: {size / 1e6:.0f} MB in {time.monotonic() - started:.0f} s")
    return folder


def call(
    command: Sequence[str | Path], *, needs: str, environment: Mapping[str, str] | None = None
) -> None:
    """Run a command to its end in silence.

    Raises
    ------
    DownloadFailed
        If the program is not there (``needs`` says what to install), or it fails; the text has the
        last lines that it wrote.
    """
    words = [str(word) for word in command]
    if shutil.which(words[0]) is None:
        raise DownloadFailed(f"{words[0]} was not found; install {needs}")
    done = subprocess.run(  # noqa: S603 - our own command lines
        words,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-_TAIL:])
        raise DownloadFailed(f"{' '.join(words)}\nended with {done.returncode}:\n{tail}")


def maven(pom: Path, goal: str, **properties: str | Path) -> None:
    """Run one goal of Maven on one of the project's own poms.

    Raises
    ------
    DownloadFailed
        If Maven is not there or fails.
    """
    values = [f"-D{name}={value}" for name, value in properties.items()]
    needs = "Maven 3 and Java 17 (Debian: maven openjdk-17-jdk-headless)"
    call(["mvn", "-B", "-ntp", "-f", pom, goal, *values], needs=needs)


def say(text: str) -> None:
    """Tell on standard error how it goes."""
    print(text, file=sys.stderr, flush=True)
