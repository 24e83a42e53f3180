"""A courier in a process of its own, which a test can kill: ``courier_process.py FOLDER URL``.

It delivers the alerts in ``FOLDER/alerts`` to a webhook, over and over as a runner would wake it,
until nothing waits, and keeps its state in this process alone: a new process begins with all of
them, as after a crash before any checkpoint.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from transforms.io.notify_apprise import AppriseChannel
from transforms.io.notify_courier import Courier
from transforms.io.notify_ledger import Ledger
from transforms.io.notify_message import Wording
from transforms.io.notify_plan import Policy, Waiting
from transforms.io.objects import LocalStore


def main(folder: Path, url: str) -> None:
    """Deliver everything."""
    os.environ["HOOK_URL"] = url
    ledger = Ledger(LocalStore(), str(folder / "ledger"))
    courier = Courier("hook", AppriseChannel("HOOK_URL"), Policy(60), Wording("shop"), ledger)
    elements = [Waiting(each).to_bytes() for each in (folder / "alerts").read_bytes().splitlines()]
    wake: float | None = 0.0
    while wake is not None:
        time.sleep(max(0.0, min(wake - time.time(), 1.0)) if wake else 0.0)
        elements, _, wake = courier.deliver(elements)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
