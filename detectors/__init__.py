"""Anomaly detectors for one series at a time: numbers in, scores out, no stream and no clock."""
