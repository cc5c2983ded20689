"""Protocols: from a fleet to the schedule of an execution."""

from jasgd.protocols.asynchronous import asynchronous
from jasgd.protocols.delays import delays, geometric_delays, uniform_delays
from jasgd.protocols.minibatch import minibatch

__all__ = ["asynchronous", "delays", "geometric_delays", "minibatch", "uniform_delays"]
