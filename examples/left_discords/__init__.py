"""A stream of bare numbers, for the left discord detector."""
