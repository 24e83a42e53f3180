"""The command line: a mistake is one clear line and leaves no trace; a run says what it did."""

from __future__ import annotations

import io
import json
import logging
import os
from pathlib import Path

import pytest
from rich.console import Console

from pipeline import show
from pipeline.job import job_schema, load_job
from pipeline.launch import main
from transforms.balance import COUNTERS

JOB = """\
job: probe
source: {files: [in.jsonl], format: json}
detectors:
  - name: sales
    measure: quantity
    dimensions: [product]
    event_time: {field: t}
    aggregation: {function: sum, period: 1m}
    model:
      type: RandomCutForest
      config: {number_of_trees: 5, sample_size: 16}
sinks:
  results: {path: out/results}
  lake: {path: out/lake}
  alerts: {path: out/alerts}
"""
RECORDS = [
    {"t": f"2024-08-29T13:{i // 2:02}:{i % 60:02}Z", "product": "AB"[i % 2], "quantity": i}
    for i in range(120)
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("job.yaml").write_text(JOB)
    Path("in.jsonl").write_text(
        "".join(json.dumps(record) + "\n" for record in RECORDS) + "{oops\n"
    )
    return tmp_path


def job_with(old, new):
    assert old in JOB
    Path("job.yaml").write_text(JOB.replace(old, new))


def files_of(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def refused(capfd, folder, *arguments):
    """The one line that a command ends with; it wrote nothing else, and nothing to disk."""
    before = files_of(folder)
    assert main(list(arguments)) == 2
    assert files_of(folder) == before, "a mistake leaves no trace"
    out, err = capfd.readouterr()
    assert out == ""
    assert err.endswith("\n")
    (line,) = err.splitlines()
    return line


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "--job is missing; for example --job=examples/anybooks/job.yaml"),
        (["--job"], "argument --job: expected one argument"),
        (["job.yaml"], "'job.yaml' is not an option; did you mean --job=job.yaml?"),
        (["--job=nowhere.yaml"], "nowhere.yaml: cannot be read: No such file or directory"),
        (["--job=."], ".: cannot be read: Is a directory"),
        (
            ["--job=job.yaml", "--runer=DirectRunner"],
            "--runer is neither an option of Tidewatch nor of Beam; did you mean --runner?",
        ),
        (
            ["--job=job.yaml", "--dryrun"],
            "--dryrun is neither an option of Tidewatch nor of Beam; did you mean --dry_run?",
        ),
        (
            ["--job=job.yaml", "--qqqqq", "1"],
            "--qqqqq is neither an option of Tidewatch nor of Beam",
        ),
        (["--job=job.yaml", "--streaming", "now"], "'now' is not an option"),
        (
            ["--job=job.yaml", "--runner=Spark"],
            "--runner=Spark is not known; allowed: ",
        ),
        (
            ["--job=job.yaml", "--snapshot_rows=few"],
            "argument --snapshot_rows: invalid int value: 'few'",
        ),
        (["--job=job.yaml", "--snapshot_rows=0"], "--snapshot_rows must be >= 1, got 0"),
        (["--job=job.yaml", "--live_model_mb=-1"], "--live_model_mb must be >= 1, got -1"),
        (
            ["--job=job.yaml", "--direct_num_workers=two"],
            "argument --direct_num_workers: invalid int value: 'two'",
        ),
    ],
)
@pytest.mark.parametrize("dry", [[], ["--dry_run"]])
def test_a_wrong_command_is_one_line(capfd, folder, arguments, line, dry):
    found = refused(capfd, folder, *arguments, *(dry if arguments != ["--job"] else []))
    assert found.startswith(line)
    assert found == line or line.endswith(": ")


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "measure:",
            "meassure:",
            "job.yaml: detectors[0]: unknown key 'meassure'; did you mean 'measure'? ",
        ),
        ("in.jsonl", "other-*.jsonl", "job.yaml: source.files[0]: 'other-*.jsonl' matches no file"),
        (
            "out/alerts",
            "in.jsonl/alerts",
            "job.yaml: sinks.alerts.path: 'in.jsonl/alerts' cannot be written: ",
        ),
        (
            "in.jsonl",
            "tape://reel/1",
            "job.yaml: 'tape://reel/1': no file system for tape:// is known",
        ),
        ("out/lake", "tape://reel", "job.yaml: 'tape://reel': no file system for tape:// is known"),
    ],
)
@pytest.mark.parametrize("dry", [[], ["--dry_run"]])
def test_a_wrong_job_is_one_line(capfd, folder, old, new, line, dry):
    job_with(old, new)
    assert refused(capfd, folder, "--job=job.yaml", *dry).startswith(line)


def test_a_counter_over_several_files_is_refused(capfd, folder):
    job_with("event_time: {field: t}", "event_time: {format: counter}")
    Path("in2.jsonl").write_text("{}\n")
    Path("job.yaml").write_text(Path("job.yaml").read_text().replace("in.jsonl", "in*.jsonl"))
    assert refused(capfd, folder, "--job=job.yaml") == (
        "job.yaml: detectors[0].event_time.format: counter counts the records of one file, "
        "and source names 2; join them, or name a field with the time"
    )


def test_several_mistakes_are_a_line_each(capfd, folder):
    job_with("measure: quantity", "measure: 5\n    color: red")
    assert main(["--job=job.yaml"]) == 2
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("job.yaml: detectors[0]") for line in lines)


def test_print_schema_is_the_schema(capfd, folder):
    before = files_of(folder)
    assert main(["--print_schema"]) == 0
    assert json.loads(capfd.readouterr().out) == job_schema()
    assert files_of(folder) == before


def test_help_names_every_option(capfd):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    text = capfd.readouterr().out
    for option in ("--job", "--dry_run", "--overwrite", "--print_schema", "--snapshot_rows"):
        assert option in text


def test_a_dry_run_shows_the_graph_and_an_estimate_and_writes_nothing(capfd, folder):
    before = files_of(folder)
    assert main(["--job=job.yaml", "--dry_run"]) == 0
    out, err = capfd.readouterr()
    assert files_of(folder) == before
    assert err == ""
    words = out.split()
    for step in ("probe", "Read", "Parse", "Detect", "WriteResults", "LakeResults", "WriteBalance"):
        assert any(word == step for word in words), step
    row = next(line for line in out.splitlines() if "RandomCutForest" in line)
    assert [cell.strip() for cell in row.split("│")[1:4]] == ["sales", "RandomCutForest", "2"]
    assert "121 records looked at, 1 of them cannot be used" in out
    assert "the first: in.jsonl, record 120: not JSON: " in out.replace(f"{folder}/", "")
    assert out.endswith("Nothing was started, nothing was written.\n")


def test_a_run_then_a_refusal_then_an_overwrite(capfd, folder, caplog):
    caplog.set_level(logging.WARNING)
    assert main(["--job=job.yaml", "--runner=DirectRunner"]) == 0
    out, err = capfd.readouterr()
    *before, last = err.splitlines()
    assert "121 records read" in last
    assert all("records read" in line for line in before), "a slow machine's progress, no more"
    for name, number in {"records read": 121, "= used": 120, "+ dead": 1}.items():
        row = next(line for line in out.splitlines() if name in line)
        assert row.split("│")[2].strip() == str(number)
    assert "results: out/results" in out
    first = files_of(folder)
    results = sorted(Path("out/results").iterdir())
    assert results

    line = refused(capfd, folder, "--job=job.yaml")
    assert line.startswith("job.yaml: sinks: 6 files of an earlier run are there, for example out/")
    assert line.endswith("; name other paths, remove them, or pass --overwrite")
    assert refused(capfd, folder, "--job=job.yaml", "--dry_run") == line

    Path("out/results/part-00007-of-00099.jsonl").write_text("of another run\n")
    Path("out/results/notes.txt").write_text("mine\n")
    assert main(["--job=job.yaml", "--overwrite"]) == 0
    Path("out/results/notes.txt").unlink()
    assert files_of(folder) == first, "same input, same output; nothing of the other run stays"
    noise = [record.getMessage() for record in caplog.records if "apache_beam" in record.name]
    assert noise == [], "Beam warns of what nobody needs to know"


@pytest.mark.parametrize(
    ("content", "remark"),
    [
        ("", "sales: there was no record to read"),
        ("{oops\n", "sales: no record could be used; the dead letters say why"),
        (
            json.dumps(RECORDS[0]),
            "sales: too few periods to score any; its models are still learning",
        ),
    ],
)
def test_a_run_without_a_score_says_why(capfd, folder, content, remark):
    Path("in.jsonl").write_text(content)
    assert main(["--job=job.yaml"]) == 0
    assert remark in capfd.readouterr().out.splitlines()


def test_what_does_not_add_up_is_said_and_fails(folder):
    job = load_job("job.yaml")
    os.makedirs("out")
    counts = dict.fromkeys(COUNTERS, 0) | {"read": 2, "used": 1, "closed": 1, "scored": 1}
    Path(job.sinks.balance_path).write_text(json.dumps({"sales": counts}))
    text = io.StringIO()
    assert show.balance(Console(file=text, width=100), job) == 1
    assert "does not add up: sales: read 2 != used + duplicate + late + dead + waiting = 1" in (
        text.getvalue()
    )


def test_a_cluster_that_is_not_there_is_one_line(capfd, folder):
    assert main(["--job=job.yaml", "--runner=FlinkRunner", "--flink_master=127.0.0.1:9"]) == 2
    _, err = capfd.readouterr()
    assert len(err.splitlines()) == 1, err
    assert "no Flink cluster answers at http://127.0.0.1:9" in err
    assert "make cluster" in err
