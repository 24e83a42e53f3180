"""A cluster on this machine: Flink, a Kafka broker and an AWS stand-in, on loopback, no Docker."""
