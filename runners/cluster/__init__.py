"""A cluster on this machine: Flink, Kafka, an AWS stand-in, PostgreSQL, on loopback, no Docker."""
