"""Experiments and benchmarks, run from a checkout."""
