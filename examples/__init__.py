"""Sample streams with a known truth, their jobs, and the charts of a report."""
