"""The Python worker of Beam's PROCESS environment, as a TaskManager starts it.

A TaskManager runs ``flink_worker.sh --id=ID --provision_endpoint=HOST:PORT``. Beam's own program
for this, ``boot``, is made for containers: it installs packages. Here they are installed already:
this Python has Beam and the project, at the same place on every host of a TaskManager.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time

import grpc
from apache_beam.portability.api import beam_provision_api_pb2, beam_provision_api_pb2_grpc
from apache_beam.runners.worker import sdk_worker_main
from google.protobuf import json_format, text_format

from runners import worker_state

_ANSWER_SECONDS = 60.0
_LOOK_SECONDS = 1.0
_SWITCH_SECONDS = 0.001
"""How long a thread may keep the interpreter from the others. With Python's 5 ms, the answer to
each read of state waits for so long while another step of the job parses; with much less, each
thread that waits asks so often that a third of the time of a busy machine is the kernel's."""


def main(arguments: list[str]) -> None:
    """Ask the TaskManager what to do, and do it until it is gone."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--id", required=True)
    parser.add_argument("--provision_endpoint", required=True)
    known, _ = parser.parse_known_args(arguments)
    _end_with(os.getppid())
    sys.setswitchinterval(_SWITCH_SECONDS)
    worker_state.quicken()
    os.environ.update(environment(known.id, provision(known.id, known.provision_endpoint)))
    sdk_worker_main.main([])


def provision(worker_id: str, endpoint: str) -> beam_provision_api_pb2.ProvisionInfo:
    """What the runner tells a worker: the pipeline's options, and where to get work and log."""
    with grpc.insecure_channel(endpoint) as channel:
        service = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
        answer = service.GetProvisionInfo(
            beam_provision_api_pb2.GetProvisionInfoRequest(),
            metadata=(("worker_id", worker_id),),
            timeout=_ANSWER_SECONDS,
            wait_for_ready=True,
        )
    return answer.info


def environment(worker_id: str, info: beam_provision_api_pb2.ProvisionInfo) -> dict[str, str]:
    """The same as the variables that Beam's worker reads."""
    values = {
        "WORKER_ID": worker_id,
        "PIPELINE_OPTIONS": json_format.MessageToJson(info.pipeline_options),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
        "LOGGING_API_SERVICE_DESCRIPTOR": text_format.MessageToString(info.logging_endpoint),
        "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(info.control_endpoint),
    }
    if info.HasField("status_endpoint"):
        status = text_format.MessageToString(info.status_endpoint)
        values["STATUS_API_SERVICE_DESCRIPTOR"] = status
    return values


def _end_with(parent: int) -> None:
    """End this process when its parent is gone.

    A TaskManager that is killed cannot end its workers, and one that waits for an answer from it
    would wait for ever. The kernel's own signal for this comes when the *thread* that started the
    worker ends, which Flink's do early.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="end with parent", daemon=True).start()


if __name__ == "__main__":
    main(sys.argv[1:])
