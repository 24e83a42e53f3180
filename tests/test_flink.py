"""Flink without Flink: its REST interface as a fake tells it, the defaults, the launcher."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import pytest
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    PipelineOptions,
    PortableOptions,
    WorkerOptions,
)
from apache_beam.portability.api import beam_provision_api_pb2, beam_provision_api_pb2_grpc
from google.protobuf import struct_pb2

from runners import downloads, flink, flink_commands, flink_jar, flink_worker
from runners.flink_options import FlinkOptions, set_defaults
from runners.flink_rest import FlinkError, JobManager

OVERVIEW = {"flink-version": "1.19.3", "taskmanagers": 2, "slots-total": 4, "slots-available": 3}


class InTurn(list):
    """Answers that come one after the other, the last one for ever."""


class FakeFlink:
    """Answers by ``METHOD path``."""

    def __init__(self):
        self.answers = {}
        self.asked = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                path = f"{self.command} {self.path}"
                fake.asked.append((path, json.loads(self.rfile.read(length) or "null")))
                answer = fake.answers.get(path)
                if isinstance(answer, InTurn):
                    answer = answer.pop(0) if len(answer) > 1 else answer[0]
                body = json.dumps(answer if answer is not None else {"errors": ["unknown"]})
                self.send_response(404 if answer is None else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            do_GET = do_POST = do_PATCH = answer

            def log_message(self, *unused):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def has(self, *jobs):
        """Say what jobs there are: (ID, name, state) each, the later ones newer."""
        told = [
            {"jid": jid, "name": name, "state": state, "start-time": 1000 * i}
            for i, (jid, name, state) in enumerate(jobs)
        ]
        self.answers["GET /jobs/overview"] = {"jobs": told}


@pytest.fixture
def fake():
    made = FakeFlink()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def manager(fake):
    return JobManager(fake.address)


# The REST interface


def test_a_cluster_that_is_not_there_is_an_error_with_advice():
    with pytest.raises(FlinkError, match="no Flink cluster answers at http://127.0.0.1:1 .*make"):
        JobManager("127.0.0.1:1").overview()


def test_what_flink_refuses_is_told(fake, manager):
    with pytest.raises(FlinkError, match="404 .*unknown"):
        manager.overview()


def test_a_name_means_the_running_job_of_that_name(fake, manager):
    fake.has(("a", "x", "RUNNING"), ("b", "x", "FAILED"), ("c", "y", "FINISHED"))
    assert manager.job("x").id == "a"
    assert manager.job("b").state == "FAILED"
    assert [job.id for job in manager.jobs()] == ["c", "b", "a"]


def test_a_name_that_two_running_jobs_have_is_refused(fake, manager):
    fake.has(("a", "x", "RUNNING"), ("b", "x", "RESTARTING"))
    with pytest.raises(FlinkError, match="2 jobs named 'x' run; give an ID: b, a"):
        manager.job("x")


def test_an_unknown_job_is_refused_with_those_that_are_known(fake, manager):
    fake.has(("a", "x", "RUNNING"))
    with pytest.raises(FlinkError, match=r"has no job 'z'; its jobs: x \(RUNNING\)"):
        manager.job("z")


def test_stop_waits_for_the_savepoint_and_the_end(fake, manager):
    fake.has(("a", "x", "RUNNING"))
    job = manager.job("x")
    ended = {"jobs": [{"jid": "a", "name": "x", "state": "FINISHED", "start-time": 0}]}
    fake.answers |= {
        "POST /jobs/a/stop": {"request-id": "r"},
        "GET /jobs/a/savepoints/r": InTurn(
            [
                {"status": {"id": "IN_PROGRESS"}},
                {"status": {"id": "COMPLETED"}, "operation": {"location": "file:/s"}},
            ]
        ),
        "GET /jobs/overview": InTurn([fake.answers["GET /jobs/overview"], ended]),
    }
    assert manager.stop(job, "file:/folder", drain=True) == "file:/s"
    asked = dict(fake.asked)
    assert asked["POST /jobs/a/stop"] == {"targetDirectory": "file:/folder", "drain": True}
    assert manager.job("a").is_over


def test_a_savepoint_that_fails_says_why(fake, manager):
    fake.has(("a", "x", "RUNNING"))
    cause = {"class": "java.io.IOException", "stack-trace": "disk full"}
    fake.answers |= {
        "POST /jobs/a/savepoints": {"request-id": "r"},
        "GET /jobs/a/savepoints/r": {
            "status": {"id": "COMPLETED"},
            "operation": {"failure-cause": cause},
        },
    }
    with pytest.raises(FlinkError, match="no savepoint of x was written: disk full"):
        manager.savepoint(manager.job("x"))


def test_metrics_are_those_of_all_subtasks(fake, manager):
    fake.has(("a", "x", "RUNNING"))
    fake.answers["GET /jobs/a"] = {"vertices": [{"id": "v", "parallelism": 2}]}
    for i in range(2):
        path = f"GET /jobs/a/vertices/v/subtasks/{i}/metrics"
        fake.answers[path] = [{"id": "op.tidewatch.scored"}, {"id": "numRecordsIn"}]
        fake.answers[f"{path}?get=op.tidewatch.scored"] = [
            {"id": "op.tidewatch.scored", "value": str(i + 5)}
        ]
    fake.answers["GET /jobs/a/vertices/v/subtasks/0/metrics"].append({"id": "op.tidewatch_lag"})
    fake.answers[
        "GET /jobs/a/vertices/v/subtasks/0/metrics?get=op.tidewatch.scored%2Cop.tidewatch_lag"
    ] = [
        {"id": "op.tidewatch.scored", "value": "5"},
        {"id": "op.tidewatch_lag", "value": "DistributionResult{sum=9, count=3, min=-1, max=7}"},
    ]
    metrics = manager.metrics(manager.job("x"), "tidewatch")
    assert metrics.pop("op.tidewatch_lag.min") == [-1.0]
    assert len([metrics.pop(f"op.tidewatch_lag.{part}") for part in ("sum", "count", "max")]) == 3
    assert metrics == {"op.tidewatch.scored": [5.0, 6.0]}


# Commands


def test_the_commands_list_and_refuse(fake, capsys):
    fake.has(("a", "sales", "RUNNING"))
    assert flink_commands.main(["list", f"--flink_master={fake.address}"]) == 0
    assert "sales" in capsys.readouterr().out
    wrong = ["stop", f"--flink_master={fake.address}", "--job=sails"]
    assert flink_commands.main(wrong) == 1
    assert "has no job 'sails'" in capsys.readouterr().err


def test_the_savepoint_command_prints_its_place(fake, capsys):
    fake.has(("a", "sales", "RUNNING"))
    fake.answers |= {
        "POST /jobs/a/savepoints": {"request-id": "r"},
        "GET /jobs/a/savepoints/r": {
            "status": {"id": "COMPLETED"},
            "operation": {"location": "file:/savepoint-1"},
        },
    }
    assert flink_commands.main(["savepoint", f"--flink_master={fake.address}", "--job=a"]) == 0
    assert capsys.readouterr().out == "file:/savepoint-1\n"


# Defaults


def test_what_is_left_open_is_set():
    options = PipelineOptions(["--streaming", "--job_name=sales"])
    set_defaults(options, OVERVIEW)
    tuning = options.view_as(FlinkOptions)
    assert (tuning.max_bundle_size, tuning.max_bundle_time_mills) == (5000, 50)
    assert tuning.checkpointing_interval == 10_000
    assert tuning.checkpoint_timeout_millis == 3_600_000
    assert tuning.finish_bundle_before_checkpointing is True
    assert options.view_as(WorkerOptions).max_cache_memory_usage_mb == 256
    assert options.view_as(FlinkRunnerOptions).flink_version == "1.19"
    assert options.view_as(FlinkRunnerOptions).parallelism == 3
    portable = options.view_as(PortableOptions)
    assert portable.environment_type == "PROCESS"
    assert portable.sdk_worker_parallelism == 2
    config = json.loads(portable.environment_config)
    assert Path(config["command"]).name == "flink_worker.sh"
    assert config["env"]["TIDEWATCH_WORKER_PYTHON"] == sys.executable
    assert config["env"]["TIDEWATCH_JOB"] == "sales"
    assert config["env"]["PYTHONPATH"].split(":")[0] == str(Path(flink.__file__).parent.parent)


def test_what_is_given_stays():
    given = {
        "max_bundle_size": 7,
        "max_bundle_time_mills": 8,
        "checkpointing_interval": 9,
        "checkpoint_timeout_millis": 11,
        "max_cache_memory_usage_mb": 10,
        "parallelism": 1,
        "flink_version": "1.20",
        "sdk_worker_parallelism": "3",
        "environment_cache_millis": "4",
    }
    options = PipelineOptions([f"--{name}={value}" for name, value in given.items()])
    set_defaults(options, OVERVIEW)
    every = options.get_all_options()
    assert {name: every[name] for name in given} == given


def test_a_given_environment_stays():
    options = PipelineOptions(["--environment_type=EXTERNAL", "--environment_config=host:50000"])
    set_defaults(options, OVERVIEW)
    portable = options.view_as(PortableOptions)
    assert (portable.environment_type, portable.environment_config) == ("EXTERNAL", "host:50000")


def test_a_bounded_job_makes_no_checkpoints():
    options = PipelineOptions([])
    set_defaults(options, OVERVIEW)
    assert options.view_as(FlinkOptions).checkpointing_interval is None
    assert options.view_as(FlinkOptions).checkpoint_timeout_millis is None


def test_a_full_cluster_is_an_error():
    with pytest.raises(FlinkError, match="none of the cluster's 4 slots is free; stop a job"):
        set_defaults(PipelineOptions([]), OVERVIEW | {"slots-available": 0})


def test_a_name_that_runs_already_is_refused(fake):
    fake.has(("a", "sales", "RUNNING"))
    options = PipelineOptions([f"--flink_master={fake.address}", "--job_name=sales"])
    with pytest.raises(FlinkError, match="a job named 'sales' is RUNNING already"):
        flink.run(lambda pipeline: None, options)


# The job server


def test_a_version_that_is_not_built_for_is_refused():
    with pytest.raises(downloads.DownloadFailed, match=r"builds for Flink 1\.19, .* is Flink 2\.2"):
        flink_jar.job_server_jar("2.2", "maven")


def test_a_job_server_that_cannot_be_fetched_says_what_to_do(monkeypatch):
    def fails(*unused):
        raise RuntimeError("no network")

    monkeypatch.setattr(flink_jar.JavaJarServer, "local_jar", fails)
    with pytest.raises(downloads.DownloadFailed, match="no network.*--flink_job_server_jar=FILE"):
        flink_jar.job_server_jar("2.2", "auto")


# The worker


class Provision(beam_provision_api_pb2_grpc.ProvisionServiceServicer):
    def __init__(self):
        self.asked_by = None

    def GetProvisionInfo(self, request, context):
        self.asked_by = dict(context.invocation_metadata())["worker_id"]
        options = struct_pb2.Struct()
        options.update({"beam:option:job_name:v1": "sales"})
        info = beam_provision_api_pb2.ProvisionInfo(
            pipeline_options=options, runner_capabilities=["beam:protocol:x"]
        )
        info.control_endpoint.url = "localhost:1"
        info.logging_endpoint.url = "localhost:2"
        return beam_provision_api_pb2.GetProvisionInfoResponse(info=info)


def test_a_worker_asks_its_runner_for_options_and_endpoints():
    service = Provision()
    server = grpc.server(futures.ThreadPoolExecutor(1))
    beam_provision_api_pb2_grpc.add_ProvisionServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    info = flink_worker.provision("1-1", f"127.0.0.1:{port}")
    server.stop(None).wait()
    assert service.asked_by == "1-1"
    values = flink_worker.environment("1-1", info)
    assert values["WORKER_ID"] == "1-1"
    assert json.loads(values["PIPELINE_OPTIONS"]) == {"beam:option:job_name:v1": "sales"}
    assert values["CONTROL_API_SERVICE_DESCRIPTOR"] == 'url: "localhost:1"\n'
    assert values["RUNNER_CAPABILITIES"] == "beam:protocol:x"
    assert "STATUS_API_SERVICE_DESCRIPTOR" not in values


def test_the_launcher_runs_the_worker_with_the_python_it_is_given():
    launcher = Path(flink.__file__).parent / "flink_worker.sh"
    done = subprocess.run(
        [launcher, "--id=1-1"],
        env={"TIDEWATCH_WORKER_PYTHON": "/bin/echo"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "-m runners.flink_worker --id=1-1\n"


def test_a_worker_ends_when_its_parent_is_gone():
    """The parent is a shell that starts it and ends; what is left writes nothing more."""
    child = (
        "import os, sys, time; from runners import flink_worker; "
        "flink_worker._end_with(os.getppid()); "
        "print('up', flush=True); sys.stdin.close(); time.sleep(60); print('alive')"
    )
    parent = (
        "import subprocess, sys; "
        "made = subprocess.Popen([sys.executable, '-c', sys.argv[1]], stdout=subprocess.PIPE); "
        "made.stdout.readline(); print(made.pid, flush=True)"
    )
    root = str(Path(flink.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", parent, child],
        env={"PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    pid = int(done.stdout)
    deadline = 20
    for _ in range(deadline * 10):
        if not is_alive(pid):
            return
        threading.Event().wait(0.1)
    raise AssertionError(f"process {pid} has outlived its parent")


def is_alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
