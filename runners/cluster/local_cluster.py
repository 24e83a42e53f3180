"""The cluster as a whole: which parts, on which ports, in which folder."""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType

from runners.cluster.aws_server import aws_server
from runners.cluster.flink_servers import job_manager, task_manager
from runners.cluster.kafka_broker import kafka_broker
from runners.cluster.postgres_server import postgres_server
from runners.cluster.server import Server, is_free

PARTS = ("kafka", "aws", "flink", "postgres")
USUAL = ("kafka", "aws", "flink")
_FREE = range(20_000, 32_000)
"""Below what systems give to outgoing connections, so that a server that was killed finds its port
free when it starts again."""


class ClusterError(Exception):
    """The cluster cannot be started as asked; the text says why and what to do."""


@dataclass(frozen=True)
class Settings:
    """What a cluster consists of.

    Parameters
    ----------
    parts
        Of `PARTS`; PostgreSQL only if it is named, as it comes from Debian's packages.
    ports
        By `port_names`; those not named are picked.
    task_managers
        Flink's TaskManagers, each a process.
    slots
        Task slots of each: how many pipelines of work run in it side by side.
    prometheus
        Whether Flink's servers show their metrics to Prometheus. Off, as Flink's reporter listens
        on all interfaces of the machine and cannot be told otherwise.

    Raises
    ------
    ClusterError
        If a value is not allowed.
    """

    parts: tuple[str, ...] = USUAL
    ports: Mapping[str, int] = field(default_factory=dict)
    task_managers: int = 1
    slots: int = 2
    prometheus: bool = False

    def __post_init__(self) -> None:
        unknown = sorted(set(self.parts) - set(PARTS))
        if unknown or not self.parts:
            got = ", ".join(unknown) or "none"
            raise ClusterError(f"parts must be of {', '.join(PARTS)}; got {got}")
        for name in ("task_managers", "slots"):
            if getattr(self, name) < 1:
                raise ClusterError(f"{name} must be >= 1, got {getattr(self, name)}")
        names = self.port_names()
        for name, port in self.ports.items():
            if name not in names:
                raise ClusterError(f"port {name}={port}: name must be of {', '.join(names)}")
            if not 0 < port < 1 << 16:
                raise ClusterError(f"port {name} must be 1 to 65535, got {port}")

    def port_names(self) -> list[str]:
        """Names of all ports; each part's first one, named as the part, is for its clients."""
        names: list[str] = [name for name in PARTS if name in self.parts]
        if "kafka" in self.parts:
            names.append("kafka_controller")
        if "flink" in self.parts:
            numbers = range(1, self.task_managers + 1)
            names += ["flink_rpc", *(f"task_manager_{i}" for i in numbers)]
            if self.prometheus:
                names += ["prometheus", *(f"prometheus_{i}" for i in numbers)]
        return names

    def with_all_ports(self) -> Settings:
        """The same with a free port wherever none was named."""
        ports = dict(self.ports)
        for name in self.port_names():
            ports.setdefault(name, free_port(ports.values()))
        return replace(self, ports=ports)


class Cluster:
    """Servers on this machine, for people (`start`, `stop`) and for tests (``with``).

    ::

        with Cluster(tmp_path, Settings(parts=("kafka",))) as cluster:
            produce_to(cluster.kafka.address)
            cluster.kafka.kill()
            cluster.kafka.start()

    Parameters
    ----------
    folder
        All that it makes is there. Two objects of the same folder, also in two processes, have the
        same servers.
    settings
        None: those of the cluster that was last started there.

    Raises
    ------
    ClusterError
        If settings are given and a cluster runs there; if none are and none ever ran there.
    """

    def __init__(self, folder: Path | str, settings: Settings | None = None) -> None:
        self.folder = Path(folder).absolute()
        kept = _kept(self.folder)
        if settings is not None:
            running = [server.name for server in _servers(self.folder, kept) if server.process]
            if running:
                raise ClusterError(
                    f"{self.folder}: a cluster runs there already ({', '.join(running)}); stop it "
                    "first, or name another folder"
                )
            kept = settings.with_all_ports()
        elif kept is None:
            raise ClusterError(f"{self.folder}: no cluster was started there")
        self.settings = kept
        self.servers = _servers(self.folder, kept)

    def start(self) -> None:
        """Start what is not running, and wait till all of it answers.

        Raises
        ------
        ServerFailed
            If a server does not come up; those that did go on running.
        DownloadFailed
            If a program that it needs is not there and cannot be fetched.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "cluster.json").write_text(json.dumps(asdict(self.settings)))
        for server in self.servers:
            if server.process is None:
                server.spawn()
        for server in self.servers:
            server.wait()

    def stop(self) -> None:
        """End every server of this folder, the last started first; data stay."""
        for server in reversed(self.servers):
            server.stop()

    def __enter__(self) -> Cluster:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def kafka(self) -> Server:
        """The Kafka broker; its address is the bootstrap server."""
        return self._named("kafka")

    @property
    def aws(self) -> Server:
        """S3, Kinesis, Glue and SNS; the endpoint URL is its address after ``http://``."""
        return self._named("aws")

    @property
    def postgres(self) -> Server:
        """PostgreSQL, with the user and database `runners.cluster.postgres_server.USER`."""
        return self._named("postgres")

    @property
    def job_manager(self) -> Server:
        """Flink's JobManager; its address is what ``--flink_master`` takes."""
        return self._named("job-manager")

    @property
    def task_managers(self) -> list[Server]:
        """Flink's TaskManagers."""
        return [server for server in self.servers if server.name.startswith("task-manager-")]

    def _named(self, name: str) -> Server:
        for server in self.servers:
            if server.name == name:
                return server
        raise ClusterError(f"{name} is no part of this cluster; parts: {self.settings.parts}")


def _kept(folder: Path) -> Settings | None:
    file = folder / "cluster.json"
    if not file.exists():
        return None
    known = json.loads(file.read_text())
    return Settings(**{**known, "parts": tuple(known["parts"])})


def _servers(folder: Path, settings: Settings | None) -> list[Server]:
    if settings is None:
        return []
    ports = settings.ports
    servers = []
    if "kafka" in settings.parts:
        servers.append(kafka_broker(folder / "kafka", ports["kafka"], ports["kafka_controller"]))
    if "aws" in settings.parts:
        servers.append(aws_server(folder / "aws", ports["aws"]))
    if "flink" in settings.parts:
        rest, rpc = ports["flink"], ports["flink_rpc"]
        flink = folder / "flink"
        shown = ports.get("prometheus")
        servers.append(job_manager(flink / "job-manager", rest, rpc, shown))
        for i in range(1, settings.task_managers + 1):
            server = task_manager(
                flink / f"task-manager-{i}",
                ports[f"task_manager_{i}"],
                rest=rest,
                rpc=rpc,
                slots=settings.slots,
                prometheus=ports.get(f"prometheus_{i}"),
            )
            servers.append(server)
    if "postgres" in settings.parts:
        servers.append(postgres_server(folder / "postgres", ports["postgres"]))
    return servers


def free_port(taken: Collection[int] = ()) -> int:
    """A port of loopback that nobody listens on, none of ``taken``.

    Raises
    ------
    ClusterError
        If none was found.
    """
    for port in random.sample(_FREE, 1000):
        if port not in taken and is_free(port):
            return port
    raise ClusterError(f"no free port found from {_FREE.start} to {_FREE.stop}")
