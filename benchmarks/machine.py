"""What a measurement was taken on."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import Any

VERSIONS_OF = ("numpy", "numba", "apache-beam")


def machine() -> dict[str, Any]:
    """System, cores and versions, as plain values."""
    return {
        "system": platform.platform(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in VERSIONS_OF},
    }
