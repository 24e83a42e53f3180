#!/bin/sh
# What a TaskManager starts: Beam takes one path and no arguments, so the Python comes by a variable.
exec "$TIDEWATCH_WORKER_PYTHON" -m runners.flink_worker "$@"
