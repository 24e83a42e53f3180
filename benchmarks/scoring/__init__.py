"""Scorers: causal scores and labelled windows in, the benchmarks' figures out."""
