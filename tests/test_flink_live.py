"""An endless job on a real Flink cluster, through every way in which it may be interrupted."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

import counting_job
import psutil
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from runners import flink
from runners.cluster.local_cluster import Cluster, Settings
from runners.flink_rest import JobManager

pytestmark = pytest.mark.integration
SECONDS = 240
"""Patience: a fresh worker imports Beam, which takes long on a busy machine."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    settings = Settings(parts=("flink",), slots=1)
    with Cluster(tmp_path_factory.mktemp("cluster"), settings) as cluster:
        yield cluster


def until(holds, what):
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.5)


def workers(folder):
    """The Python workers of this test, also those that nobody watches over any more."""
    return [
        process
        for process in psutil.process_iter(["cmdline", "environ", "status"])
        if "runners.flink_worker" in (process.info["cmdline"] or [])
        and str(folder) in (process.info["environ"] or {}).get("PYTHONPATH", "")
        and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


def start(cluster, folder, *more):
    options = [
        f"--flink_master={cluster.job_manager.address}",
        "--job_name=counting",
        "--streaming",
        "--checkpointing_interval=2000",
        *more,
    ]
    job = flink.run(partial(counting_job.build, folder=folder), PipelineOptions(options))
    return job


def windows_of(folder):
    return max((int(line.split()[1]) for line in counting_job.lines(folder)), default=-1)


def goes_on(folder, what):
    """Wait for three more windows than there are."""
    before = windows_of(folder)
    until(lambda: windows_of(folder) >= before + 3, f"no output after {what}")


def completed(manager, job):
    return manager.checkpoints(job)["counts"]["completed"]


def test_no_interruption_changes_a_result(cluster, tmp_path, monkeypatch):
    # workers import counting_job; and the folder tells whose they are
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parent}{os.pathsep}{tmp_path}")
    manager = JobManager(cluster.job_manager.address)

    job = start(cluster, tmp_path)
    goes_on(tmp_path, "the start")
    until(lambda: completed(manager, job) > 0, "no checkpoint")
    assert len(workers(tmp_path)) == 1

    # metrics of Beam are metrics of Flink
    # fetched now and then; the one of the windows comes last
    until(lambda: manager.metrics(job, "counting_window_size"), "no metrics")
    (records,) = manager.metrics(job, "counting_records").values()
    assert records[0] > 0
    assert manager.metrics(job, "counting_newest")
    assert any(name.endswith(".max") for name in manager.metrics(job, "counting_window_size"))

    # a worker is killed
    (worker,) = workers(tmp_path)
    worker.kill()
    goes_on(tmp_path, "a worker was killed")
    assert [each.pid != worker.pid for each in workers(tmp_path)] == [True]

    # the TaskManager is killed, and starts again
    (worker,) = workers(tmp_path)
    cluster.task_managers[0].kill()
    until(lambda: not worker.is_running(), "a worker has outlived its TaskManager")
    cluster.task_managers[0].start()
    goes_on(tmp_path, "the TaskManager was killed")
    assert len(workers(tmp_path)) == 1

    # the job is stopped with a savepoint, and goes on from it
    savepoint = manager.stop(job)
    assert manager.job(job.id).state == "FINISHED"
    until(lambda: not workers(tmp_path), "a worker has outlived its job")
    until(lambda: manager.overview()["slots-available"], "no slot is free")
    job = start(cluster, tmp_path, f"--savepoint_path={savepoint}")
    goes_on(tmp_path, "the savepoint")
    manager.cancel(job)
    until(lambda: not workers(tmp_path), "a worker has outlived its job")

    written = counting_job.lines(tmp_path)
    windows = windows_of(tmp_path)
    for series in range(counting_job.SERIES):
        right = set(counting_job.expected(series, windows + 1))
        mine = {line for line in written if line.split()[0] == str(series)}
        assert mine <= right, "a wrong result"
        assert len(mine) >= windows, "a result is missing"
