"""AWS clients on the default credential chain, and the one rule for what is tried again.

Credentials are never part of a pipeline: each worker finds its own (environment, profile, role).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    ConnectionError,
    HTTPClientError,
    IncompleteReadError,
    ResponseStreamingError,
)
from tenacity import (
    Retrying,
    before_sleep_log,
    retry_if_exception,
    stop_after_delay,
    wait_random_exponential,
)

PATIENCE_SECONDS = 300
"""How long a service may refuse before the job fails: longer than its usual outages."""
MOST_WAIT_SECONDS = 15
_NETWORK = (ConnectionError, HTTPClientError, IncompleteReadError, ResponseStreamingError)
_SERVER_ERROR, _NOT_IMPLEMENTED = 500, 501
_PASSING_CODES = frozenset(
    {
        "ConditionalRequestConflict",
        "KMSThrottlingException",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestTimeout",
        "SlowDown",
        "Throttled",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_DENIED = frozenset({401, 403})


@lru_cache(maxsize=64)
def client(
    service: str,
    endpoint_url: str | None = None,
    region: str | None = None,
    answer_seconds: int = 60,
) -> Any:
    """The process's client of an AWS service; safe to share between threads.

    Parameters
    ----------
    service : str
        ``s3``, ``kinesis`` or ``sns``.
    endpoint_url : str, optional
        Where the service is; without it what ``AWS_ENDPOINT_URL`` says, else AWS.
    region : str, optional
        AWS region; without it that of the environment or profile.
    answer_seconds : int
        How long an answer may take.
    """
    # boto3 counts tries in seconds; waiting for minutes is `retrying`'s
    config = Config(
        retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=answer_seconds
    )
    return boto3.session.Session().client(
        service, endpoint_url=endpoint_url, region_name=region, config=config
    )


def code_of(error: BaseException) -> str:
    """The service's name for the error; empty if it is none of the service's."""
    if not isinstance(error, ClientError):
        return ""
    return str(error.response.get("Error", {}).get("Code", ""))


def _status_of(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def is_passing(error: BaseException) -> bool:
    """Whether it may be over soon: the network, an overloaded or a failing service."""
    if isinstance(error, ClientError):
        status = _status_of(error)
        is_failing = status >= _SERVER_ERROR and status != _NOT_IMPLEMENTED
        return is_failing or code_of(error) in _PASSING_CODES
    return isinstance(error, _NETWORK)


def is_denied(error: BaseException) -> bool:
    """Whether the credentials do not allow it: trying again does not help."""
    return isinstance(error, ClientError) and (
        _status_of(error) in _DENIED or code_of(error).startswith("AccessDenied")
    )


def retrying(
    logger: logging.Logger, passes: Callable[[BaseException], bool] = is_passing
) -> Retrying:
    """Call again what fails, for five minutes with growing random pauses; then raise its error.

    Parameters
    ----------
    logger : logging.Logger
        Is told of each failure that is tried again.
    passes : callable
        Whether to try again after an error.
    """
    return Retrying(
        retry=retry_if_exception(passes),
        wait=wait_random_exponential(multiplier=0.5, max=MOST_WAIT_SECONDS),
        stop=stop_after_delay(PATIENCE_SECONDS),
        before_sleep=before_sleep_log(logger, logging.WARNING),
        reraise=True,
    )
