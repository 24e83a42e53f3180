"""Start Streamlit on the page, with settings that suit a server of one's own."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

PAGE = Path(__file__).parent / "page.py"
DEFAULT_PORT = 8501
DEFAULT_REFRESH_SECONDS = 30.0
_SETTINGS = {
    "browser.gatherUsageStats": "false",  # telemetry
    "client.showErrorDetails": "none",  # a reader is told in words, the log has the trace
    "client.toolbarMode": "minimal",
    "server.fileWatcherType": "none",
    "server.headless": "true",
    "theme.base": "light",
    "theme.primaryColor": "#0072B2",
}


def main(arguments: list[str]) -> None:
    """Become the server: the process is replaced, so that signals reach it."""
    asked = _parser().parse_args(arguments)
    root = str(PAGE.parent.parent)  # where `dashboard` and `lake` are imported from
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    os.execve(sys.executable, command(asked), environment)  # noqa: S606 - no shell is meant


def command(asked: argparse.Namespace) -> list[str]:
    """The server's command line."""
    settings = _SETTINGS | {"server.address": asked.address, "server.port": str(asked.port)}
    return [
        *(sys.executable, "-m", "dashboard.streamlit_server", "run", str(PAGE)),
        *(f"--{name}={value}" for name, value in settings.items()),
        *("--", "--lake", asked.lake, "--refresh", str(asked.refresh)),
        *(("--job", asked.job) if asked.job else ()),
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dashboard", description="Show a lake's results.", allow_abbrev=False
    )
    add_page_arguments(parser)
    parser.add_argument(
        "--address",
        default="127.0.0.1",
        help="address to listen on (default: %(default)s, this machine alone; the page asks nobody "
        "who they are)",
    )
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="default: %(default)s")
    return parser


def add_page_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the page itself is told."""
    parser.add_argument("--lake", required=True, help="a folder or s3://bucket/folder")
    parser.add_argument(
        "--job",
        metavar="JOB.yaml",
        help="the job file of the job that fills the lake; with `feedback` in it, readers may say "
        "what is no anomaly",
    )
    parser.add_argument(
        "--refresh",
        type=_seconds,
        default=DEFAULT_REFRESH_SECONDS,
        metavar="SECONDS",
        help="how often to look for new objects (default: %(default)g)",
    )


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 1 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"must be 1 to 86400 seconds, got {text}")
    return seconds
