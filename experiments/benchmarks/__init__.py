"""The engine next to bare gradients and to loops written by hand: ``python -m experiments.benchmarks``."""
