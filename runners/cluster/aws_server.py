"""A stand-in for S3, Kinesis, Glue and SNS: the server of the library moto."""

from __future__ import annotations

import sys
from pathlib import Path

import requests

from runners.cluster.server import LOOPBACK, Server


def aws_server(folder: Path, port: int) -> Server:
    """Moto on that port; what it holds is in its memory, and gone when it ends.

    Clients need its address as ``endpoint_url``, a region, and any credentials at all.
    """
    return Server(
        name="aws",
        folder=folder,
        ports=(port,),
        command=lambda: [sys.executable, "-m", "moto.server", "-H", LOOPBACK, "-p", str(port)],
        answers=lambda: _answers(f"http://{LOOPBACK}:{port}/moto-api/data.json"),
    )


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False
