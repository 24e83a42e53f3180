"""Anomaly detectors for one time series at a time: numbers in, scores out, no stream and no clock."""
