"""The Numenta Anomaly Benchmark as one keyed stream."""
