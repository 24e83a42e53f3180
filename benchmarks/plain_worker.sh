#!/bin/sh
# A peer's worker: Beam's own handling of state, see benchmarks/plain_worker.py.
exec "$TIDEWATCH_WORKER_PYTHON" -m benchmarks.plain_worker "$@"
