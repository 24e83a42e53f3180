"""All servers of the live shop in one folder, and how its programs reach them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from examples.anybooks.live.servers import dashboard, ingest, mail_catcher, shop
from runners.cluster.local_cluster import PARTS, Cluster, Settings, free_port
from runners.cluster.postgres_server import USER
from runners.cluster.server import LOOPBACK, Server, is_free
from runners.flink_rest import FlinkError, FlinkJob, JobManager

FOLDER = Path(".anybooks")
NAME = "anybooks"
"""Of the job, the bucket, the SNS topic, its queue and the database in the Glue catalogue."""
REGION = "us-east-1"
_CREDENTIALS = ("anybooks", "anybooks")  # the stand-in takes any
_PORTS = "live.json"
_PAGE_PORT = 8501


class LiveFailed(Exception):
    """Something of the live shop does not work; the text says what, and what to do."""


@dataclass(frozen=True)
class Ports:
    """Of the servers that are not the cluster's."""

    mail: int
    dashboard: int


class Stack:
    """PostgreSQL, Kafka, the AWS stand-in, Flink, and the shop's own programs around them.

    Two objects of one folder, also in two processes, have the same servers.

    Parameters
    ----------
    folder : Path
        All data, logs and settings are there; made if it is missing.

    Raises
    ------
    LiveFailed
        Another kind of cluster lives there.
    """

    def __init__(self, folder: Path | str = FOLDER) -> None:
        self.folder = Path(folder).absolute()
        is_new = not (self.folder / "cluster.json").exists()
        self.cluster = Cluster(self.folder, Settings(parts=PARTS) if is_new else None)
        if missing := set(PARTS) - set(self.cluster.settings.parts):
            raise LiveFailed(
                f"{self.folder}: the cluster there has no {', '.join(sorted(missing))}; name "
                "another --folder"
            )
        for server in self.cluster.servers:
            server.environment = self.environment
        self.ports = self._ports()
        self.mail = mail_catcher(self.folder / "mail", self.ports.mail)
        self.shop = shop(self.folder / "shop", self.connection, self.truth)
        self.ingest = ingest(self.folder / "ingest", self.environment)
        self.dashboard = dashboard(
            self.folder / "dashboard",
            self.ports.dashboard,
            self.lake,
            self.job_file(),
            self.environment,
        )

    def _ports(self) -> Ports:
        file = self.folder / _PORTS
        if file.exists():
            return Ports(**json.loads(file.read_text()))
        taken = list(self.cluster.settings.ports.values())
        mail = free_port(taken)
        page = _PAGE_PORT if is_free(_PAGE_PORT) else free_port([*taken, mail])
        return Ports(mail, page)

    def keep(self) -> None:
        """Write down the ports, so that the next start has the same ones."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"mail": self.ports.mail, "dashboard": self.ports.dashboard})
        (self.folder / _PORTS).write_text(text)
        lines = [f"export {name}='{value}'\n" for name, value in self.environment.items()]
        (self.folder / "environment.sh").write_text("".join(lines))

    def stop(self) -> None:
        """End all of it and nothing else, in the order against the data."""
        for server in (self.dashboard, self.ingest, self.shop):
            server.stop()
        self.cluster.stop()
        self.mail.stop()

    @property
    def servers(self) -> list[Server]:
        """All of them, in the order of the data."""
        return [*self.cluster.servers, self.shop, self.ingest, self.dashboard, self.mail]

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables by which AWS's and PostgreSQL's clients find the servers here."""
        host, _, port = self.cluster.postgres.address.partition(":")
        return {
            "AWS_ENDPOINT_URL": self.aws_url,
            "AWS_ACCESS_KEY_ID": _CREDENTIALS[0],
            "AWS_SECRET_ACCESS_KEY": _CREDENTIALS[1],
            "AWS_DEFAULT_REGION": REGION,
            "PGHOST": host,
            "PGPORT": port,
            "PGUSER": USER,
            "PGDATABASE": USER,
        }

    @property
    def aws_url(self) -> str:
        """Where the AWS stand-in is."""
        return f"http://{self.cluster.aws.address}"

    def aws(self, service: str) -> Any:
        """A client of the AWS stand-in; never of AWS."""
        return boto3.client(
            service,
            endpoint_url=self.aws_url,
            region_name=REGION,
            aws_access_key_id=_CREDENTIALS[0],
            aws_secret_access_key=_CREDENTIALS[1],
        )

    @property
    def connection(self) -> str:
        """Libpq's connection string of the shop's database."""
        host, _, port = self.cluster.postgres.address.partition(":")
        return f"host={host} port={port} user={USER} dbname={USER}"

    @property
    def brokers(self) -> str:
        """The Kafka broker."""
        return self.cluster.kafka.address

    @property
    def flink(self) -> JobManager:
        """Flink's JobManager."""
        return JobManager(self.cluster.job_manager.address)

    def job_file(self, name: str = NAME) -> Path:
        """Where the file of the job of that name is written."""
        return self.folder / f"{name}.yaml"

    def job(self, name: str = NAME) -> FlinkJob | None:
        """The job of that name, if it runs."""
        if self.cluster.job_manager.process is None:
            return None
        try:
            found = self.flink.job(name)
        except FlinkError:
            return None
        return None if found.is_over else found

    @property
    def lake(self) -> str:
        """The lake's folder."""
        return f"s3://{NAME}/lake"

    @property
    def page(self) -> str:
        """Address of the dashboard."""
        return f"http://{LOOPBACK}:{self.ports.dashboard}/"

    @property
    def mails(self) -> Path:
        """The maildir of caught mails."""
        return self.folder / "mail" / "maildir"

    @property
    def truth(self) -> Path:
        """The file of anomalies that were put in."""
        return self.folder / "ground_truth.jsonl"
