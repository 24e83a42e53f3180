import os

import pytest

from pipeline.job import Job
from pipeline.job_errors import JobFileError
from pipeline.preflight import check_endpoints


def make_job(files, results, history=(), **sinks):
    return Job.model_validate(
        {
            "job": "a",
            "source": {"files": list(files), "history": list(history), "format": "number"},
            "detectors": [{"name": "a", "event_time": {"format": "counter"}}],
            "sinks": {
                "results": {"path": str(results)},
                **{name: {"path": str(path)} for name, path in sinks.items()},
            },
        }
    )


def mistakes(job):
    with pytest.raises(JobFileError) as error:
        check_endpoints(job, "job.yaml")
    return list(error.value.mistakes)


@pytest.fixture
def points(tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "a.txt").write_text("1\n")
    (tmp_path / "in" / "deep" / "b.txt").write_text("1\n")
    return tmp_path / "in"


def test_existing_sources_and_new_folders_are_fine(points, tmp_path):
    files = [f"{points}/a.txt", f"{points}/*.txt", f"{points}/**/b.txt"]
    check_endpoints(make_job(files, tmp_path / "new" / "folder" / "results"), "job.yaml")
    assert not (tmp_path / "new").exists(), "looking must not create"


def test_other_file_systems_are_left_alone():
    check_endpoints(make_job(["gs://b/x-*"], "s3://b/results", lake="hdfs://h/l"), "job.yaml")


def test_every_source_without_a_file_is_named(points, tmp_path):
    job = make_job(
        [f"{points}/a.txt", f"{points}/c-*.txt"], tmp_path / "r", history=[f"{points}/deep"]
    )
    assert mistakes(job) == [
        f"job.yaml: source.files[1]: '{points}/c-*.txt' matches no file",
        f"job.yaml: source.history[0]: '{points}/deep' matches no file",
    ]


def test_every_sink_below_a_file_is_named(points):
    job = make_job([f"{points}/a.txt"], points / "r", lake=points / "a.txt" / "x" / "lake")
    assert mistakes(job) == [
        f"job.yaml: sinks.lake.path: '{points}/a.txt/x/lake' cannot be written: "
        f"'{points}/a.txt' is not a directory",
    ]


def test_default_sinks_are_checked_with_the_results(points):
    lines = mistakes(make_job([f"{points}/a.txt"], points / "a.txt" / "r"))
    places = [line.split(": ")[1] for line in lines]
    assert places == [
        f"sinks.{name}.path" for name in ("results", "dead_letters", "late", "balance")
    ]


def test_missing_rights_are_named(points, tmp_path, monkeypatch):
    def access(path, mode):
        return os.fspath(path) != os.fspath(tmp_path) and not os.fspath(path).endswith("a.txt")

    monkeypatch.setattr(os, "access", access)
    job = make_job([f"{points}/a.txt"], tmp_path / "r", late=points / "l")
    lines = mistakes(job)
    assert f"job.yaml: source.files[0]: '{points}/a.txt' cannot be read; check its rights" in lines
    expected = f"'{tmp_path}/r' cannot be written: no right to write in '{tmp_path}'"
    assert f"job.yaml: sinks.results.path: {expected}" in lines
    assert not any("sinks.late" in line for line in lines)


def test_a_relative_path_is_below_the_current_directory(points, monkeypatch):
    monkeypatch.chdir(points)
    check_endpoints(make_job(["*.txt"], "out/r"), "job.yaml")
