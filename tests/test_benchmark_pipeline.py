import json

import pytest

from benchmarks import pipeline, state
from benchmarks.pipeline import MODELS, PEER, in_fresh_process, main, run_once, write_input

SMALL = ["--series", "3", "--points", "200", "--runs", "1"]


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """A process of its own for each run costs seconds; one test below starts one."""
    monkeypatch.setattr(pipeline, "in_fresh_process", run_once)


def test_all_read_the_same_and_write_a_result_a_point(capsys):
    assert main([*SMALL, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    names = [result["name"] for result in report["results"]]
    assert names == [*MODELS, PEER]
    assert {result["points"] for result in report["results"]} == {600}
    assert report["results"][-1]["times_the_peer"] == 1.0
    assert report["machine"]["cores"] >= 1
    discord = report["results"][1]
    (run,) = discord["runs"]
    assert discord["points_per_second"] == pytest.approx(600 / run["wall_seconds"])


def test_a_peer_that_gets_less_says_so(capsys):
    main([*SMALL, "--peer-points", "100", "--files", "2"])
    captured = capsys.readouterr()
    assert f"{PEER}, 100 a series" in captured.err
    assert f"{PEER}, 50 a series" in captured.err
    assert f"{PEER} was given fewer points a series than the others" in captured.out


def test_an_input_is_the_same_however_it_is_cut(tmp_path):
    whole = write_input(tmp_path / "whole", 3, 50, 1)
    parts = write_input(tmp_path / "parts", 3, 50, 4)
    assert len(list(parts.iterdir())) == 4
    joined = b"".join(path.read_bytes() for path in sorted(parts.iterdir()))
    assert joined == (whole / "input-0.jsonl").read_bytes()
    assert joined.count(b"\n") == 150


def test_a_lost_result_is_an_error(tmp_path, monkeypatch):
    source = write_input(tmp_path / "input", 1, 20, 1)
    written = iter((20, 19))
    monkeypatch.setattr(pipeline, "_lines", lambda folder: next(written))
    with pytest.raises(RuntimeError, match=f"{PEER} wrote 19 results for 20 points"):
        run_once(PEER, source, tmp_path / "output")


def test_a_run_can_have_a_process_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", ".")
    source = write_input(tmp_path / "input", 1, 20, 1)
    assert in_fresh_process("LeftDiscord", source, tmp_path / "output").points == 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--runs", "0"], "--runs must be >= 1, got 0"),
        (["--points", "10", "--peer-points", "11"], "must be 2 to --points = 10, got 11"),
    ],
)
def test_a_wrong_command_is_one_message(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_state_written_a_point_is_small_beside_the_model(capsys):
    assert state.main(["--points", "1500", "--json"]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert [result["name"] for result in results] == list(MODELS)
    for result in results:
        assert set(result["written_a_point"]) == {"points", "head", "rows", "snapshot"}
        assert all(written > 0 for written in result["written_a_point"].values())
        assert result["written_a_point_in_all"] < state.MOST_SHARE * result["model_bytes_saved"]
