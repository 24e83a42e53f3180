"""How far this worker process has come, for a progress display; no result depends on it.

Counts start at 0 with the process and are not exact where a bundle is retried: the balance
(`transforms.balance`) is counted from outputs instead.
"""

from __future__ import annotations

import threading
from collections import Counter

_lock = threading.Lock()
_counts: Counter[str] = Counter()


def add(what: str, number: int) -> None:
    """Count ``number`` more of ``what``: bytes, read, scored, rebuilt."""
    with _lock:
        _counts[what] += number


def counts() -> dict[str, int]:
    """All counts of this process so far."""
    with _lock:
        return dict(_counts)
