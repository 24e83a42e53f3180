"""Feeding the stream: from PostgreSQL, from files, from a shop that sells as it is told to."""
