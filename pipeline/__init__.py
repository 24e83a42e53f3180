"""The wiring: from a job file to a running pipeline."""
