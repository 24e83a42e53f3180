"""Secrets by reference: a job holds the name of an environment variable, or a file's path."""

from __future__ import annotations

import os
from pathlib import Path

_FILE = "file:"


def read_secret(what: str, reference: str) -> str:
    """The secret that ``reference`` names on this machine; read whenever a client is made.

    Parameters
    ----------
    what : str
        What it is for, for the message.
    reference : str
        Name of an environment variable, or ``file:/path``.

    Raises
    ------
    ValueError
        There is no such file, or no such variable; the message never holds the secret.
    """
    if reference.startswith(_FILE):
        path = Path(reference.removeprefix(_FILE))
        try:
            return path.read_text().rstrip("\r\n")
        except OSError as error:
            raise ValueError(f"{what} cannot be read from {path}: {error.strerror}") from None
    value = os.environ.get(reference)
    if not value:
        raise ValueError(f"{what}: environment variable {reference} is not set on this worker")
    return value
