"""A worker that handles state as Beam does: peers are measured as their users run them."""

from __future__ import annotations

import sys

from runners import flink_worker, worker_state

if __name__ == "__main__":
    worker_state.quicken = lambda: None
    flink_worker.main(sys.argv[1:])
