"""The AWS random cut forest (Java) as an opponent that takes turns with ours.

``benchmarks/forest_java`` holds a small main of our own, which Maven builds together with the
library: both come from Maven Central at the first run, so that run needs a network.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FOLDER = Path(__file__).parent / "forest_java"
BUILD_SECONDS = 900
NANOSECONDS = 1e-9


class JavaError(RuntimeError):
    """Java or Maven is not there, or did not do what it should."""


@dataclass(frozen=True)
class State:
    """A snapshot of one model: its bytes, and the CPU seconds to write and to read it."""

    size: int
    write_seconds: float
    read_seconds: float


class JavaForest:
    """One JVM that scores on demand.

    Parameters
    ----------
    folder : Path
        Where series and scores are exchanged.

    Raises
    ------
    JavaError
        ``java`` or ``mvn`` is not on the path, or the build failed.
    """

    def __init__(self, folder: Path) -> None:
        missing = [tool for tool in ("java", "mvn") if shutil.which(tool) is None]
        if missing:
            raise JavaError(f"not on the path: {', '.join(missing)}")
        _build()
        self._folder = folder
        libraries = os.pathsep.join(
            [str(FOLDER / "target" / "forest.jar"), str(FOLDER / "target" / "libraries" / "*")]
        )
        self._errors = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            ["java", "-Xmx2g", "-cp", libraries, "Main"],  # noqa: S607
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            bufsize=1,
        )

    def __enter__(self) -> JavaForest:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()  # the end of its input ends the JVM
        self._process.wait(timeout=30)
        self._errors.close()

    def score(
        self, model: str, shingle: int, trees: int, seed: int, values: Floats, points: int
    ) -> tuple[Floats, float]:
        """Scores (float64[n]) and CPU seconds.

        Parameters
        ----------
        model : {"core", "full", "grade"}
            Anomaly scores of a RandomCutForest or of a ThresholdedRandomCutForest, or the latter's
            anomaly grades.
        shingle, trees, seed : int
            Its parameters; samples of 256.
        values : float64[n]
            The points, one series after the other.
        points : int
            Points of a series; each has a model of its own.
        """
        given, taken = self._folder / "values.f8", self._folder / "scores.f8"
        values.astype("<f8").tofile(given)
        answer = self._ask("score", model, shingle, trees, seed, points, given, taken)
        return np.fromfile(taken, "<f8"), float(answer) * NANOSECONDS

    def state(self, shingle: int, trees: int, seed: int, values: Floats) -> State:
        """The snapshot of a ThresholdedRandomCutForest that has learnt ``values``."""
        given = self._folder / "values.f8"
        values.astype("<f8").tofile(given)
        size, write, read = self._ask("state", "full", shingle, trees, seed, given).split()
        return State(int(size), float(write) * NANOSECONDS, float(read) * NANOSECONDS)

    def heap(self, shingle: int, trees: int, seed: int, values: Floats) -> int:
        """Bytes of heap of a ThresholdedRandomCutForest that has learnt ``values``."""
        given = self._folder / "values.f8"
        values.astype("<f8").tofile(given)
        return int(self._ask("heap", "full", shingle, trees, seed, given))

    def _ask(self, *words: object) -> str:
        if self._process.stdin is None or self._process.stdout is None:
            raise JavaError("the JVM has no pipes")
        try:
            self._process.stdin.write(" ".join(map(str, words)) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            self._errors.seek(0)
            raise JavaError(f"the JVM ended: {self._errors.read().strip()[-2000:]}")
        return answer.strip()


@lru_cache(maxsize=1)
def shared_forest() -> JavaForest:
    """One JVM for the life of this process."""
    folder = tempfile.TemporaryDirectory(prefix="tidewatch-forest-")
    forest = JavaForest(Path(folder.name))
    atexit.register(folder.cleanup)
    atexit.register(forest.__exit__, None, None, None)
    return forest


def _build() -> None:
    """Build the jar, unless it is newer than its sources."""
    jar = FOLDER / "target" / "forest.jar"
    sources = [FOLDER / "pom.xml", FOLDER / "src" / "main" / "java" / "Main.java"]
    newest = max(source.stat().st_mtime for source in sources)
    if jar.exists() and jar.stat().st_mtime >= newest:
        return
    command = ["mvn", "--quiet", "--batch-mode", "package"]
    built = subprocess.run(
        command, cwd=FOLDER, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
    )
    if built.returncode != 0:
        raise JavaError(f"{' '.join(command)} failed: {built.stdout.strip()[-2000:]}")
