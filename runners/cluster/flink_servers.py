"""Flink's two kinds of server, from the jars that PyPI has: a JobManager, and TaskManagers.

The distribution there has neither scripts nor configuration, so what Flink's scripts would work
out (memory sizes, modules to open) is said here. Sizes are for a laptop.
"""

from __future__ import annotations

import json
import sys
import tarfile
from pathlib import Path

import requests

from runners import downloads
from runners.cluster.java import jvm
from runners.cluster.server import LOOPBACK, Server, is_free

VERSION = "1.19.3"
_PACKAGE = "apache-flink-libraries"
_JOB_MANAGER = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
_TASK_MANAGER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
_KEPT = ("/deps/lib/flink-dist-", "/deps/lib/log4j-", "/deps/plugins/metrics-prometheus/")
"""Of the distribution: the rest is SQL, Scala and file formats, which nothing here uses."""
_JOB_MANAGER_JVM = ("-Xms128m", "-Xmx384m", "-XX:MaxMetaspaceSize=256m", "-XX:+UseSerialGC")
_TASK_MANAGER_JVM = (
    "-Xms128m",
    "-Xmx512m",  # framework.heap + task.heap
    "-XX:MaxDirectMemorySize=512m",  # framework.off-heap + task.off-heap + network
    "-XX:MaxMetaspaceSize=256m",
    "-XX:+UseSerialGC",
)
_TASK_MANAGER_SIZES = {
    "taskmanager.cpu.cores": 1.0,
    "taskmanager.memory.framework.heap.size": "128m",
    "taskmanager.memory.task.heap.size": "384m",
    "taskmanager.memory.framework.off-heap.size": "128m",
    "taskmanager.memory.task.off-heap.size": "256m",  # channels to the Python workers
    "taskmanager.memory.network.min": "128m",
    "taskmanager.memory.network.max": "128m",
    "taskmanager.network.sort-shuffle.min-buffers": 64,  # of a bounded job, for each partition
    "taskmanager.memory.managed.size": "512m",  # RocksDB
    "taskmanager.memory.jvm-metaspace.size": "256m",
    "taskmanager.memory.jvm-overhead.min": "192m",
    "taskmanager.memory.jvm-overhead.max": "192m",
}
_MODULES = (
    *(
        f"--add-exports={module}=ALL-UNNAMED"
        for module in (
            "java.base/sun.net.util",
            "java.rmi/sun.rmi.registry",
            "java.security.jgss/sun.security.krb5",
        )
    ),
    *(
        f"--add-opens=java.base/{package}=ALL-UNNAMED"
        for package in (
            "java.lang",
            "java.lang.reflect",
            "java.net",
            "java.io",
            "java.nio",
            "java.text",
            "java.time",
            "java.util",
            "java.util.concurrent",
            "java.util.concurrent.atomic",
            "java.util.concurrent.locks",
            "sun.nio.ch",
        )
    ),
)
_LOGGING = """\
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = console
appender.console.name = console
appender.console.type = CONSOLE
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yyyy-MM-dd HH:mm:ss,SSS} %-5p %c{1} - %m%n
"""


def job_manager(folder: Path, rest: int, rpc: int, prometheus: int | None = None) -> Server:
    """The server that takes jobs and watches over them; its address is the REST interface.

    A job dies with it: only ZooKeeper or Kubernetes would keep it. Its checkpoints stay, in the
    folder ``checkpoints`` beside ``folder``.
    """
    return Server(
        name="job-manager",
        folder=folder,
        ports=(rest, rpc),
        command=lambda: _command(
            folder,
            _JOB_MANAGER,
            _JOB_MANAGER_JVM,
            _shared(folder.parent, rest, rpc) | _prometheus(prometheus),
        ),
        answers=lambda: _get(rest, "overview") is not None,
    )


def task_manager(
    folder: Path, port: int, *, rest: int, rpc: int, slots: int, prometheus: int | None = None
) -> Server:
    """A server that runs jobs, in ``slots`` slots; the Python workers are its children."""
    own = {
        "taskmanager.resource-id": folder.name,
        "taskmanager.host": LOOPBACK,
        "taskmanager.bind-host": LOOPBACK,
        "taskmanager.rpc.port": port,
        "taskmanager.numberOfTaskSlots": slots,
        **_TASK_MANAGER_SIZES,
    }
    return Server(
        name=folder.name,
        folder=folder,
        ports=(port,),
        command=lambda: _command(
            folder,
            _TASK_MANAGER,
            _TASK_MANAGER_JVM,
            _shared(folder.parent, rest, rpc) | own | _prometheus(prometheus),
        ),
        answers=lambda: _is_registered(rest, folder.name),
    )


def _is_registered(rest: int, name: str) -> bool:
    """Whether the JobManager has a living TaskManager of that name.

    One that was killed stays in its list for a while, or until the next of that name registers; but
    nobody serves its data port any more.
    """
    listed = json.loads(_get(rest, "taskmanagers") or "{}").get("taskmanagers", [])
    return any(each["id"] == name and not is_free(each["dataPort"]) for each in listed)


def _command(
    folder: Path, main: str, sizes: tuple[str, ...], settings: dict[str, object]
) -> list[str]:
    jars = downloads.kept(f"flink-{VERSION}", _fetch)
    scratch = folder / "tmp"
    scratch.mkdir(exist_ok=True)
    settings |= {"io.tmp.dirs": scratch, "web.tmpdir": scratch}
    lines = [f"{name}: {value}\n" for name, value in settings.items()]
    (folder / "flink-conf.yaml").write_text("".join(lines))
    (folder / "log4j2.properties").write_text(_LOGGING)
    logging = f"-Dlog4j.configurationFile={folder / 'log4j2.properties'}"
    home = f"-Djava.io.tmpdir={scratch}"
    words = (main, "--configDir", str(folder))
    return jvm(f"{jars}/lib/*", *sizes, *_MODULES, logging, home, main=words)


def _shared(flink: Path, rest: int, rpc: int) -> dict[str, object]:
    return {
        "jobmanager.rpc.address": LOOPBACK,
        "jobmanager.rpc.port": rpc,
        "jobmanager.bind-host": LOOPBACK,  # also of the blob server, which else binds everything
        "rest.address": LOOPBACK,
        "rest.bind-address": LOOPBACK,
        "rest.port": rest,
        "cluster.evenly-spread-out-slots": "true",
        "state.backend.type": "rocksdb",
        "state.backend.incremental": "true",
        # each state cell has a buffer, and each takes an eighth of this at once; if together they
        # are more than half of a slot's managed memory, RocksDB writes a file for every few rows
        "state.backend.rocksdb.writebuffer.size": "16m",
        "state.checkpoints.dir": (flink / "checkpoints").as_uri(),
        "state.savepoints.dir": (flink / "savepoints").as_uri(),
        "state.checkpoints.num-retained": 2,
        # a server that is away comes back; a job that always fails ends, after about ten minutes
        "restart-strategy.type": "exponential-delay",
        "restart-strategy.exponential-delay.initial-backoff": "1 s",
        "restart-strategy.exponential-delay.max-backoff": "30 s",
        "restart-strategy.exponential-delay.attempts-before-reset-backoff": 25,
        # a TaskManager that is killed is missed after seconds; a slow one may be silent for longer
        "heartbeat.interval": 3000,
        "heartbeat.timeout": 60000,
    }


def _prometheus(port: int | None) -> dict[str, object]:
    if port is None:
        return {}
    return {
        "metrics.reporters": "prometheus",
        "metrics.reporter.prometheus.factory.class": (
            "org.apache.flink.metrics.prometheus.PrometheusReporterFactory"
        ),
        "metrics.reporter.prometheus.port": port,
    }


def _fetch(folder: Path) -> None:
    wanted = f"{_PACKAGE}=={VERSION}"
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", _PACKAGE, wanted]
    downloads.call([*pip, "--dest", folder], needs="pip")
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as members:
        for member in members:
            if member.isfile() and any(part in member.name for part in _KEPT):
                member.name = member.name.partition("/deps/")[2]
                members.extract(member, folder, filter="data")
    archive.unlink()


def _get(rest: int, path: str) -> str | None:
    try:
        answer = requests.get(f"http://{LOOPBACK}:{rest}/{path}", timeout=5)
    except requests.RequestException:
        return None
    return answer.text if answer.ok else None
