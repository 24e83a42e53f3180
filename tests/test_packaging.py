"""What Beam ships to workers: built, installed and run as a stranger would, away from the clone."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("detectors", "transforms", "pipeline", "runners")
BESIDE = ("tests", "examples", "benchmarks", "docs", "lake", "dashboard", "ingest")
JOB = """\
job: packaged
source: {files: [in.jsonl], format: json}
detectors:
  - name: sales
    measure: quantity
    dimensions: [product]
    event_time: {field: t}
    aggregation: {function: sum, period: 1m}
    gaps: {policy: zero}
    model:
      type: RandomCutForest
      config: {number_of_trees: 10, sample_size: 32}
sinks:
  results: {path: RUN/results}
  lake: {path: RUN/lake}
  alerts: {path: RUN/alerts}
"""

pytestmark = pytest.mark.integration


def call(*command, cwd, **environment):
    """Run a command in a clean environment: nothing of this process's paths leaks into it."""
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=clean | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """The source distribution, by the command that Beam runs for ``--setup_file=./setup.py``."""
    copy = tmp_path_factory.mktemp("sdist") / "tidewatch"
    copy.mkdir()
    for name in (*PACKAGES, *BESIDE):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, copy)
    call(sys.executable, "setup.py", "sdist", "--dist-dir", "dist", cwd=copy)
    (archive,) = (copy / "dist").iterdir()
    return archive


@pytest.fixture(scope="module")
def python(sdist, tmp_path_factory):
    """The Python of a fresh environment that the distribution alone was installed into."""
    venv = tmp_path_factory.mktemp("venv")
    call(sys.executable, "-m", "venv", venv, cwd=venv)
    python = venv / "bin" / "python"
    call(python, "-m", "pip", "install", "--quiet", sdist, cwd=venv)
    return python


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a job and its input, and nothing else."""
    folder = tmp_path_factory.mktemp("run")
    source = random.Random(3)
    with (folder / "in.jsonl").open("w") as file:
        for minute in range(600):
            for product in "ABC":
                record = {
                    "t": f"2024-08-29T{minute // 60:02}:{minute % 60:02}:00Z",
                    "product": product,
                    "quantity": source.randrange(20) + 500 * (minute == 550),
                }
                file.write(json.dumps(record) + "\n")
        file.write("{oops\n")
    return folder


def run(python, folder, name, *options):
    """Everything that a run wrote, each file's lines sorted: shards may differ."""
    (folder / f"{name}.yaml").write_text(JOB.replace("RUN", name))
    done = call(python, "-m", "pipeline", f"--job={name}.yaml", *options, cwd=folder)
    written = {}
    for sink in ("results", "alerts", "results-dead-letters"):
        parts = (folder / name / sink).glob("part-*.jsonl")
        written[sink] = sorted(line for part in parts for line in part.read_bytes().splitlines())
    written["balance"] = (folder / name / "results-balance.json").read_bytes()
    for part in sorted((folder / name / "lake" / "results").rglob("*.parquet")):
        written[str(part.relative_to(folder / name))] = part.read_bytes()
    return written, done


@pytest.fixture(scope="module")
def in_process(python, folder):
    return run(python, folder, "one")


def test_the_distribution_holds_the_four_packages_and_nothing_beside(sdist, python):
    show = "from importlib.metadata import files; print(*files('tidewatch'), sep='\\n')"
    files = call(python, "-I", "-c", show, cwd="/").stdout.splitlines()
    built_from = sdist.parent.parent
    modules = [path for package in PACKAGES for path in (built_from / package).rglob("*.py")]
    shipped = {name for name in files if name.endswith(".py")}
    assert shipped == {path.relative_to(built_from).as_posix() for path in modules}


def test_a_job_runs_from_an_empty_folder(in_process):
    written, done = in_process
    counts = json.loads(written["balance"])["sales"]
    assert (counts["read"], counts["used"], counts["dead"]) == (1801, 1800, 1)
    assert len(written["results"]) == counts["closed"] == 1800
    assert counts["scored"] > 0
    assert len(written["alerts"]) >= 3, "a spike in each series"
    assert len(written["results-dead-letters"]) == 1
    assert "WARNING" not in done.stderr


def test_worker_processes_give_the_same_results(python, folder, in_process):
    written, done = run(
        python,
        folder,
        "two",
        "--direct_running_mode=multi_processing",
        "--direct_num_workers=2",
    )
    assert written == in_process[0]
    assert "WARNING" not in done.stderr
