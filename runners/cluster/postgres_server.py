"""One PostgreSQL server, from Debian's packages; root has them installed, anyone runs them."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import time
from pathlib import Path

import psutil

from runners import downloads
from runners.cluster.server import LOOPBACK, Server

USER = "postgres"
"""The superuser and his database; without a password, as all who reach loopback are trusted."""
PACKAGE = "postgresql"
_DEBIAN = Path("/usr/lib/postgresql")
_SETTLE_SECONDS = 20.0


def postgres_server(folder: Path, port: int) -> Server:
    """A server for this machine only; its data stay in ``folder``, also when it is killed.

    It refuses to run as root: then it runs as Debian's user ``postgres``, who keeps the right to
    pass through folders that are root's own.
    """
    data = folder / "data"

    def command() -> list[str]:
        programs = _programs()
        if not (data / "PG_VERSION").exists():
            _make(programs, data)
        _let_go(data)
        settings = [f"--{name}={value}" for name, value in _settings(port).items()]
        return [*_as_user(), str(programs / "postgres"), "-D", str(data), *settings]

    return Server(
        name="postgres",
        folder=folder,
        ports=(port,),
        command=command,
        answers=lambda: _answers(port),
        stop_signal=2,  # SIGINT: clients are cut off; SIGTERM waits for them to leave
    )


def _settings(port: int) -> dict[str, object]:
    return {
        "listen_addresses": LOOPBACK,
        "port": port,
        "unix_socket_directories": "",
        "shared_buffers": "32MB",
        "max_connections": 50,
        "timezone": "UTC",
        "log_timezone": "UTC",
    }


def _programs() -> Path:
    """The folder with the newest server's programs; installs them if they are missing."""
    for attempt in range(2):
        found = sorted(_DEBIAN.glob("*/bin/postgres"), key=lambda path: float(path.parts[-3]))
        if found:
            return found[-1].parent
        on_path = shutil.which("postgres")
        if on_path and shutil.which("initdb"):
            return Path(on_path).resolve().parent
        if attempt == 0 and os.geteuid() == 0 and shutil.which("apt-get"):
            _install()
    raise downloads.DownloadFailed(
        f"PostgreSQL's server was not found; install it (Debian: {PACKAGE})"
    )


def _install() -> None:
    """Install the package, without the server of its own that it would start."""
    downloads.say(f"installing {PACKAGE} ...")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    own = Path("/etc/postgresql-common/createcluster.conf")
    if not own.exists():
        own.parent.mkdir(parents=True, exist_ok=True)
        own.write_text("create_main_cluster = false\n")
    keep = "--option=Dpkg::Options::=--force-confold"  # the file above
    for words in (["update"], ["install", "--yes", "--no-install-recommends", keep, PACKAGE]):
        downloads.call(["apt-get", *words], needs="apt", environment=quiet)


def _as_user() -> list[str]:
    if os.geteuid() != 0:
        return [str(shutil.which("env"))]
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise downloads.DownloadFailed("setpriv was not found; install it (Debian: util-linux)")
    passing = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    return [setpriv, f"--reuid={USER}", f"--regid={USER}", "--clear-groups", *passing]


def _make(programs: Path, data: Path) -> None:
    """Make the folder of a new server; one that was cut short leaves nothing that looks whole."""
    shutil.rmtree(data, ignore_errors=True)
    whole = data.with_name("data.new")
    shutil.rmtree(whole, ignore_errors=True)
    whole.mkdir(mode=0o700)
    if os.geteuid() == 0:
        user = pwd.getpwnam(USER)
        os.chown(whole, user.pw_uid, user.pw_gid)
    words = ["-D", str(whole), "-U", USER, "--auth=trust", "--encoding=UTF8", "--no-locale"]
    downloads.call([*_as_user(), str(programs / "initdb"), *words], needs=PACKAGE)
    whole.rename(data)


def _let_go(data: Path) -> None:
    """Wait till the children of a server that was killed have gone; then take its lock away."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    while _works_in(data) and time.monotonic() < deadline:
        time.sleep(0.1)
    if not _works_in(data):
        # its process ID may be another process's by now, which the server would take for itself
        (data / "postmaster.pid").unlink(missing_ok=True)


def _works_in(folder: Path) -> bool:
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder.resolve()):
                return True
        except (psutil.Error, OSError):
            continue
    return False


def _answers(port: int) -> bool:
    """Whether it lets clients in; it refuses them while it recovers, and says so."""
    startup = b"\x00\x03\x00\x00user\x00" + USER.encode() + b"\x00\x00"
    message = (len(startup) + 4).to_bytes(4, "big") + startup
    try:
        with socket.create_connection((LOOPBACK, port), timeout=2) as client:
            client.sendall(message)
            return client.recv(1) == b"R"  # authentication; E would be an error
    except OSError:
        return False
