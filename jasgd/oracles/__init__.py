"""Oracles: what a worker computes at its snapshot, where that is not one stochastic gradient."""

from jasgd.oracles.compressed import compressed
from jasgd.oracles.coordinates import coordinates
from jasgd.oracles.gradient import gradient
from jasgd.oracles.inconsistent import inconsistent
from jasgd.oracles.local_steps import local_steps
from jasgd.oracles.oracle import Oracle
from jasgd.oracles.pairs import pairs
from jasgd.oracles.zeroth_order import zeroth_order

__all__ = ["Oracle", "compressed", "coordinates", "gradient", "inconsistent", "local_steps", "pairs", "zeroth_order"]
