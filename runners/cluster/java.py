"""Command lines of Java programs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from runners.downloads import DownloadFailed


def jvm(classpath: str, *options: str, main: Sequence[str]) -> list[str]:
    """The command that runs a main class.

    Raises
    ------
    DownloadFailed
        If there is no Java.
    """
    return [java(), *options, "-cp", classpath, *main]


def java() -> str:
    """The Java program of ``$JAVA_HOME``, or the first on the path.

    Raises
    ------
    DownloadFailed
        If there is none.
    """
    home = os.environ.get("JAVA_HOME")
    found = str(Path(home) / "bin" / "java") if home else "java"
    path = shutil.which(found)
    if path is None:
        raise DownloadFailed(
            f"{found} was not found; install Java 17 (Debian: openjdk-17-jre-headless), or set "
            "JAVA_HOME"
        )
    return path
