"""Reading results: the catalogue's tables, named queries, and the lake's upkeep."""
