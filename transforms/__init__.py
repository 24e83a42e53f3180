"""The stream: one file a step, in the order of the data."""
