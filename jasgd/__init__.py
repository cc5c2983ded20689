"""Exact, deterministic simulation of asynchronous SGD with many virtual workers."""

from jasgd import fleet, methods, plan, problems, protocols, reference, results, rules, theory
from jasgd._citation import citation
from jasgd.delays import delayed
from jasgd.problems.problem import Problem
from jasgd.schedule import Schedule
from jasgd.simulation import Run, simulate

__version__ = "0.1.0"

__all__ = [
    "Problem",
    "Run",
    "Schedule",
    "citation",
    "delayed",
    "fleet",
    "methods",
    "plan",
    "problems",
    "protocols",
    "reference",
    "results",
    "rules",
    "simulate",
    "theory",
]
