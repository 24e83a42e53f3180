"""Clients of a Kafka cluster: where it is, options, and secrets that only a worker reads."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from transforms.io.kafka_errors import Seldom
from transforms.io.secret import read_secret

Client = TypeVar("Client", AdminClient, Consumer, Producer)

_SECRET = re.compile(r"(password|passphrase|secret|key\.pem|jaas\.config)$")
_OWN = {
    "auto.offset.reset",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
}
_COMMON = {
    "client.id": "tidewatch",
    "log_level": 2,  # what goes wrong comes to `error_cb` as well, and is told once in a while
    "reconnect.backoff.max.ms": 2000,
    "socket.keepalive.enable": True,
}
_CONSUMER = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    # what waits in a reader is memory of the worker, and a full queue is looked at again soon
    "fetch.queue.backoff.ms": 20,
    "queued.max.messages.kbytes": 16_384,
}
_PRODUCER = {
    "enable.idempotence": True,
    "compression.type": "lz4",
    "linger.ms": 5,
    "partitioner": "murmur2_random",  # a key goes where Java's clients would send it
    "queue.buffering.max.kbytes": 65_536,
}


@dataclass(frozen=True)
class KafkaCluster:
    """Where a cluster is and how a worker gets in. Holds no secret, only where each is found.

    Parameters
    ----------
    bootstrap_servers : tuple of str
        ``host:port`` of at least one broker.
    properties : tuple of (str, str)
        Options of librdkafka, such as ``("security.protocol", "SASL_SSL")``.
    secrets : tuple of (str, str)
        Options whose value is a secret, with the name of the environment variable that holds it on
        each worker, or ``file:/path`` of a file there; read whenever a client is made.
    msk_iam_region : str or None
        AWS region of an MSK cluster that wants IAM; credentials come from AWS's default chain.

    Raises
    ------
    ValueError
        No server; a secret among the properties; an option that the pipeline sets by itself.
    """

    bootstrap_servers: tuple[str, ...]
    properties: tuple[tuple[str, str], ...] = ()
    secrets: tuple[tuple[str, str], ...] = ()
    msk_iam_region: str | None = None

    def __post_init__(self) -> None:
        if not self.bootstrap_servers:
            raise ValueError("bootstrap_servers must name at least one host:port, got none")
        for name, _ in self.properties:
            if _SECRET.search(name):
                raise ValueError(
                    f"{name} is a secret and must not be among the properties; put it under"
                    " secrets, with the name of an environment variable or file:/path"
                )
        for name, _ in (*self.properties, *self.secrets):
            if name in _OWN:
                raise ValueError(f"{name} is set by the pipeline and cannot be given")

    def consumer(self, group: str, offset_reset: str = "error") -> Consumer:
        """A consumer that commits nothing by itself and says when a partition ends."""
        own = {**_CONSUMER, "group.id": group, "auto.offset.reset": offset_reset}
        return self._client(Consumer, own)

    def admin(self) -> AdminClient:
        """A client that asks about topics."""
        return self._client(AdminClient, {})

    def producer(self) -> Producer:
        """An idempotent producer."""
        return self._client(Producer, _PRODUCER)

    def _client(self, make: Callable[[dict[str, Any]], Client], own: dict[str, Any]) -> Client:
        secrets = {option: read_secret(option, place) for option, place in self.secrets}
        options = {
            "bootstrap.servers": ",".join(self.bootstrap_servers),
            **_COMMON,
            **own,
            **self._iam(),
            **dict(self.properties),
            **secrets,
            "error_cb": Seldom(f"Kafka at {', '.join(self.bootstrap_servers)}"),
        }
        try:
            return make(options)
        except KafkaException as error:
            # librdkafka may quote the value that it does not like
            text = str(error.args[0].str())
            for secret in filter(None, secrets.values()):
                text = text.replace(secret, "***")
        raise ValueError(f"Kafka does not take these options: {text}")

    def _iam(self) -> dict[str, Any]:
        region = self.msk_iam_region
        if region is None:
            return {}
        return {
            "security.protocol": "SASL_SSL",
            "sasl.mechanisms": "OAUTHBEARER",
            "oauth_cb": lambda _: _msk_token(region),
        }


def _msk_token(region: str) -> tuple[str, float]:
    """Token of MSK's IAM, and when it ends in seconds since 1970."""
    from aws_msk_iam_sasl_signer import MSKAuthTokenProvider

    token, expires_millis = MSKAuthTokenProvider.generate_auth_token(region)
    return token, expires_millis / 1000
