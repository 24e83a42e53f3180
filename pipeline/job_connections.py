"""How a job reaches Kafka and Kinesis: named once, used by its source and its sinks.

The file holds no secret: an option that is one is given by the name of an environment variable, or
as ``file:/path``, and read where a client is made, on the worker.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator

from pipeline.job_errors import Mistake, describe, rule_broken
from pipeline.job_section import Section, Text, TextOrTexts

if TYPE_CHECKING:
    from transforms.io.kafka_client import KafkaCluster

_BROKER = re.compile(r"[^\s,/@]+:[0-9]{1,5}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET_OPTION = re.compile(r"password|secret|passphrase|key\.pem$|private\.key")
_OWN_OPTIONS = {
    "bootstrap.servers": "write kafka.bootstrap_servers",
    "metadata.broker.list": "write kafka.bootstrap_servers",
    "group.id": "write source.kafka.group",
    "auto.offset.reset": "write source.kafka.start",
    "enable.auto.commit": "offsets are committed when a checkpoint is done",
}


def _option(value: object) -> str:
    """A client's option as text, as the client takes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise ValueError(f"{describe(value)} is not text, a number, true or false")


Option = Annotated[
    str, BeforeValidator(_option), WithJsonSchema({"type": ["string", "number", "boolean"]})
]


class Kafka(Section):
    """The brokers of a job, and how to reach them."""

    bootstrap_servers: TextOrTexts = Field(
        description="Brokers to ask first, host:port; one, or a list"
    )
    properties: dict[str, Option] = Field(
        default_factory=dict,
        description="Options of librdkafka, such as security.protocol; no secrets",
    )
    secrets: dict[str, Text] = Field(
        default_factory=dict,
        description="Options of librdkafka that are secret: each the name of an environment "
        "variable, or file:/path, read on the worker",
    )
    msk_iam_region: Text | None = Field(
        default=None,
        description="AWS region of an MSK cluster: sign in by IAM, with the credentials of where "
        "the job runs",
    )

    @field_validator("bootstrap_servers")
    @classmethod
    def _are_brokers(cls, servers: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [server for server in servers if not _BROKER.fullmatch(server)]
        if wrong:
            raise ValueError(f"{describe(wrong[0])} is not a broker; write host:port")
        return servers

    @field_validator("properties")
    @classmethod
    def _are_not_secret(cls, properties: dict[str, str]) -> dict[str, str]:
        mistakes: list[Mistake] = []
        for option in properties:
            if option in _OWN_OPTIONS:
                mistakes.append(((option,), f"is not set here; {_OWN_OPTIONS[option]}"))
            elif _SECRET_OPTION.search(option):
                sentence = (
                    "is a secret, which the file may not hold; name an environment variable "
                    "or file:/path in kafka.secrets"
                )
                mistakes.append(((option,), sentence))
        if mistakes:
            raise rule_broken(*mistakes)
        return properties

    @field_validator("secrets")
    @classmethod
    def _are_references(cls, secrets: dict[str, str]) -> dict[str, str]:
        mistakes: list[Mistake] = [
            # what stands there may be the secret itself: it is not repeated
            ((option,), "is neither the name of an environment variable nor file:/path")
            for option, reference in secrets.items()
            if not (_VARIABLE.fullmatch(reference) or reference.startswith("file:/"))
        ]
        if mistakes:
            raise rule_broken(*mistakes)
        return secrets

    @property
    def cluster(self) -> KafkaCluster:
        """The brokers, for clients; the clients' library is loaded only where it is needed."""
        from transforms.io.kafka_client import KafkaCluster

        return KafkaCluster(
            self.bootstrap_servers,
            tuple(self.properties.items()),
            tuple(self.secrets.items()),
            self.msk_iam_region,
        )


class Kinesis(Section):
    """How to reach Kinesis; credentials are those of where the job runs."""

    region: Text | None = Field(
        default=None, description="AWS region; default that of where the job runs"
    )
    endpoint_url: Text | None = Field(
        default=None, description="Address of another server than AWS's, for tests"
    )


def connection_missing(kind: str, connections: dict[str, Any]) -> str:
    """The sentence for a Kafka end in a job without brokers; empty if nothing is missing."""
    if kind == "kafka" and connections.get("kafka", True) is None:
        return "needs brokers; name them in kafka.bootstrap_servers, at the top of the file"
    return ""
