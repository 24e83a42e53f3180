"""Flink's REST interface: the few calls that starting, watching and stopping a job need."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any

import requests

from runners.refusal import CannotRun

ENDED = ("FINISHED", "CANCELED", "FAILED", "SUSPENDED")
"""States that a job does not leave."""
_REQUEST_SECONDS = 30.0
_POLL_SECONDS = 0.5
_NAMES_A_REQUEST = 10
"""Flink refuses an address of more than 4,096 characters, and a name may have hundreds."""


class FlinkError(CannotRun):
    """A cluster is not there or refused something; the text says what, why and what to do."""


@dataclass(frozen=True)
class FlinkJob:
    """A job that the cluster knows."""

    id: str
    name: str
    state: str
    started: float
    """Seconds since 1970."""

    @property
    def is_over(self) -> bool:
        """Whether it has come to an end, good or bad."""
        return self.state in ENDED


class JobManager:
    """The JobManager of a cluster, by its address ``host:port`` (or URL).

    Every method raises `FlinkError` if the cluster cannot be reached or refuses.
    """

    def __init__(self, address: str) -> None:
        self.url = (address if "://" in address else f"http://{address}").rstrip("/")

    def overview(self) -> dict[str, Any]:
        """Version of Flink, number of TaskManagers, slots in all and free ones."""
        return self._get("overview")

    def jobs(self) -> list[FlinkJob]:
        """All jobs that it remembers, the newest first."""
        jobs = [
            FlinkJob(job["jid"], job["name"], job["state"], job["start-time"] / 1000)
            for job in self._get("jobs/overview")["jobs"]
        ]
        return sorted(jobs, key=lambda job: -job.started)

    def job(self, name_or_id: str) -> FlinkJob:
        """The job of that ID, or the only running one of that name, or the newest one of it."""
        jobs = self.jobs()
        found = [job for job in jobs if name_or_id in (job.id, job.name)]
        running = [job for job in found if not job.is_over]
        if len(running) > 1:
            ids = ", ".join(job.id for job in running)
            raise FlinkError(f"{len(running)} jobs named {name_or_id!r} run; give an ID: {ids}")
        if not found:
            known = ", ".join(f"{job.name} ({job.state})" for job in jobs) or "none"
            raise FlinkError(f"{self.url} has no job {name_or_id!r}; its jobs: {known}")
        return (running or found)[0]

    def exceptions(self, job: FlinkJob) -> list[str]:
        """Why the job failed or was restarted, the newest reason first."""
        history = self._get(f"jobs/{job.id}/exceptions")["exceptionHistory"]["entries"]
        return [entry["stacktrace"] for entry in history]

    def cancel(self, job: FlinkJob) -> None:
        """End the job at once, without a savepoint, and wait till it is over."""
        self._call("PATCH", f"jobs/{job.id}", params={"mode": "cancel"})
        self.wait_for_end(job)

    def savepoint(self, job: FlinkJob, folder: str | None = None) -> str:
        """Write a savepoint and go on; where it is. None: the cluster's own savepoint folder."""
        body = {"target-directory": folder, "cancel-job": False}
        return self._saved(job, f"jobs/{job.id}/savepoints", body)

    def stop(self, job: FlinkJob, folder: str | None = None, *, drain: bool = False) -> str:
        """Write a savepoint and end the job; where it is.

        With ``drain`` the watermark goes to its end before, and all timers fire: for a job that
        will not be resumed.
        """
        body = {"targetDirectory": folder, "drain": drain}
        location = self._saved(job, f"jobs/{job.id}/stop", body)
        self.wait_for_end(job)
        return location

    def wait_for_end(self, job: FlinkJob, seconds: float = 120) -> FlinkJob:
        """Wait until the job is over; how it is then."""
        deadline = time.monotonic() + seconds
        while True:
            now = self.job(job.id)
            if now.is_over:
                return now
            if time.monotonic() > deadline:
                raise FlinkError(f"{job.name} is {now.state} after {seconds:g} s, and not over")
            time.sleep(_POLL_SECONDS)

    def checkpoints(self, job: FlinkJob) -> dict[str, Any]:
        """How many checkpoints completed and failed, and the newest ones."""
        return self._get(f"jobs/{job.id}/checkpoints")

    def metrics(self, job: FlinkJob, containing: str = "") -> dict[str, list[float]]:
        """Values of the job's metrics whose names contain a text, one for each subtask.

        Beam's are called ``OPERATOR.NAMESPACE_NAME``. A distribution is one text in Flink; here it
        is four metrics, ``.sum``, ``.count``, ``.min`` and ``.max``.
        """
        found: dict[str, list[float]] = {}
        for vertex in self._get(f"jobs/{job.id}")["vertices"]:
            for subtask in range(vertex["parallelism"]):
                path = f"jobs/{job.id}/vertices/{vertex['id']}/subtasks/{subtask}/metrics"
                every = [each["id"] for each in self._call("GET", path)]
                wanted = [name for name in every if containing in name]
                for i in range(0, len(wanted), _NAMES_A_REQUEST):
                    names = ",".join(wanted[i : i + _NAMES_A_REQUEST])
                    for metric in self._call("GET", path, params={"get": names}):
                        for name, value in _numbers(metric["id"], metric["value"]):
                            found.setdefault(name, []).append(value)
        return found

    def _saved(self, job: FlinkJob, path: str, body: dict[str, Any]) -> str:
        given = {name: value for name, value in body.items() if value is not None}
        request = self._call("POST", path, json=given)["request-id"]
        while True:
            answer = self._get(f"jobs/{job.id}/savepoints/{request}")
            if answer["status"]["id"] == "COMPLETED":
                break
            time.sleep(_POLL_SECONDS)
        cause = answer["operation"].get("failure-cause")
        if cause:
            reason = (cause.get("stack-trace", "").strip() or cause["class"]).splitlines()[0]
            raise FlinkError(f"no savepoint of {job.name} was written: {reason}")
        return str(answer["operation"]["location"])

    def _get(self, path: str) -> dict[str, Any]:
        answer = self._call("GET", path)
        return dict(answer)

    def _call(self, method: str, path: str, **more: Any) -> Any:
        try:
            answer = requests.request(
                method, f"{self.url}/{path}", timeout=_REQUEST_SECONDS, **more
            )
        except requests.RequestException as error:
            raise FlinkError(
                f"no Flink cluster answers at {self.url} ({type(error).__name__}); start one with "
                "`make cluster`, or name the address of its REST interface with "
                "--flink_master=HOST:PORT"
            ) from error
        if not answer.ok:
            raise FlinkError(f"{method} {self.url}/{path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.text else {}


def _numbers(name: str, value: str) -> list[tuple[str, float]]:
    """A metric by its name, or its parts: Beam shows a distribution as ``Xyz{sum=1, count=1}``."""
    parts = re.findall(r"(\w+)=(-?[\d.]+)", value)
    if parts:
        return [(f"{name}.{part}", float(number)) for part, number in parts]
    try:
        return [(name, float(value))]
    except ValueError:  # a text
        return []
