"""One server process that outlives the command that started it, and is ended by name later.

Its folder has ``process.json`` (process ID and the time that process started) and ``log``. The
start time tells the process from a later one that the system gave the same ID.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

LOOPBACK = "127.0.0.1"
_POLL_SECONDS = 0.2
_TERM_SECONDS = 20.0
_RELEASE_SECONDS = 15.0
_TAIL = 15


class ServerFailed(Exception):
    """A server could not be started; the text says which, why, and where its log is."""


@dataclass
class Server:
    """A process with an address, in a folder of its own.

    Parameters
    ----------
    name
        What people call it.
    folder
        Where its process file, log and data are; made if missing.
    ports
        All that it listens on, the one in its address first; none, if nobody calls it.
    command
        Called before each start: makes ready what it needs (fetches programs, writes
        configuration into its folder) and says the program's path and its arguments.
    answers
        True once it serves; called again and again after the start.
    environment
        Variables beyond those of this process.
    patience_seconds
        How long it may take to answer.
    stop_signal
        Asks it to end.
    """

    name: str
    folder: Path
    ports: tuple[int, ...]
    command: Callable[[], list[str]]
    answers: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    patience_seconds: float = 90.0
    stop_signal: int = signal.SIGTERM

    @property
    def address(self) -> str:
        """``host:port``; empty if it listens on no port."""
        return f"{LOOPBACK}:{self.ports[0]}" if self.ports else ""

    @property
    def log(self) -> Path:
        """The file with all that it wrote, over all its starts."""
        return self.folder / "log"

    @property
    def process(self) -> psutil.Process | None:
        """The living process that `start` started here, by this object or by another one."""
        try:
            known = json.loads((self.folder / "process.json").read_text())
            process = psutil.Process(known["pid"])
            same = process.create_time() == known["created"]
            return process if same and not _is_zombie(process) else None
        except (FileNotFoundError, psutil.NoSuchProcess):
            return None

    def start(self) -> None:
        """Start it and wait till it answers; nothing happens if it runs.

        Raises
        ------
        ServerFailed
            If a port is taken, the process ends, or it does not answer in time.
        """
        if self.process is None:
            self.spawn()
        self.wait()

    def spawn(self) -> None:
        """Start it, and do not wait.

        Raises
        ------
        ServerFailed
            If a port is taken.
        """
        for port in self.ports:
            if not self._gets(port):
                raise ServerFailed(
                    f"{self.name}: port {port} on {LOOPBACK} is taken; end what listens there, or "
                    "choose another port"
                )
        self.folder.mkdir(parents=True, exist_ok=True)
        command = self.command()
        with self.log.open("ab") as log, open(os.devnull, "rb") as nothing:
            # not subprocess.Popen: its object complains when it goes while the process lives
            pid = os.posix_spawn(
                command[0],
                command,
                {**os.environ, **self.environment},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, nothing.fileno(), 0),
                    (os.POSIX_SPAWN_DUP2, log.fileno(), 1),
                    (os.POSIX_SPAWN_DUP2, log.fileno(), 2),
                ],
                setsid=True,  # Ctrl-C is for the command, not for its servers
            )
        created = psutil.Process(pid).create_time()
        whole = self.folder / "process.json.new"
        whole.write_text(json.dumps({"pid": pid, "created": created}))
        whole.replace(self.folder / "process.json")

    def _gets(self, port: int) -> bool:
        """Whether the port is free; after a crash, what it was just starting may hold it still."""
        was_here = (self.folder / "process.json").exists()
        deadline = time.monotonic() + (_RELEASE_SECONDS if was_here else 0)
        while not is_free(port):
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def wait(self) -> None:
        """Wait till it answers.

        Raises
        ------
        ServerFailed
            If the process has ended, or it does not answer in time.
        """
        deadline = time.monotonic() + self.patience_seconds
        while True:
            if self.process is None:
                raise ServerFailed(f"{self.name} ended while it started; {self._told()}")
            if self.answers():
                return
            if time.monotonic() > deadline:
                raise ServerFailed(
                    f"{self.name} did not answer{f' at {self.address}' if self.ports else ''} "
                    f"within {self.patience_seconds:g} s; {self._told()}"
                )
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """End it and all that it started: ask first, then kill; nothing happens if it is down."""
        process = self.process
        if process is None:
            return
        below = process.children(recursive=True)
        process.send_signal(self.stop_signal)
        if not _ended(process, _TERM_SECONDS):
            self.kill()
        for each in below:
            if not _ended(each, 1):
                each.kill()
                _ended(each, _TERM_SECONDS)

    def kill(self) -> None:
        """End it as a crash would (``kill -9``), and nothing that it started."""
        process = self.process
        if process is not None:
            process.kill()
            _ended(process, _TERM_SECONDS)

    def _told(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-_TAIL:]
        return "\n".join([f"its log is {self.log} and ends with", *lines])


def _ended(process: psutil.Process, seconds: float) -> bool:
    """Wait; whether it came to its end. What nobody has waited for yet has ended all the same."""
    deadline = time.monotonic() + seconds
    while not _is_zombie(process):
        try:
            process.wait(_POLL_SECONDS)  # also takes note of it, if it is a child of ours
            return True
        except psutil.TimeoutExpired:
            if time.monotonic() > deadline:
                return False
    return True


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def is_free(port: int) -> bool:
    """Whether a server could listen on that port of the loopback interface."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
