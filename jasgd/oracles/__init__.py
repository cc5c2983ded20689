"""Oracles: what a worker computes at its snapshot, where that is not one stochastic gradient."""

from jasgd.oracles.compressed import compressed
from jasgd.oracles.gradient import gradient
from jasgd.oracles.inconsistent import inconsistent
from jasgd.oracles.oracle import Oracle

__all__ = ["Oracle", "compressed", "gradient", "inconsistent"]
