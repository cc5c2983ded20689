"""Exact, deterministic simulation of asynchronous SGD with many virtual workers."""

from jasgd import fleet, plan, problems, protocols, reference, results, rules
from jasgd.problems.problem import Problem
from jasgd.schedule import Schedule
from jasgd.simulation import Run, simulate

__version__ = "0.1.0"

__all__ = [
    "Problem",
    "Run",
    "Schedule",
    "fleet",
    "plan",
    "problems",
    "protocols",
    "reference",
    "results",
    "rules",
    "simulate",
]
