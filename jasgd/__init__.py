"""Exact, deterministic simulation of asynchronous SGD with many virtual workers."""

from jasgd import (
    compressors,
    decentralized,
    fleet,
    methods,
    oracles,
    pictures,
    plan,
    problems,
    protocols,
    read_models,
    reference,
    report,
    results,
    rules,
    theory,
    traffic,
    tune,
)
from jasgd._citation import citation
from jasgd.delays import calls as delayed_calls
from jasgd.delays import delayed
from jasgd.keys import job_key, split_key
from jasgd.layout import Layout
from jasgd.problems.problem import Problem
from jasgd.schedule import Schedule
from jasgd.simulation import Run, simulate
from jasgd.sweeps import sweep

__version__ = "0.1.0"

__all__ = [
    "Layout",
    "Problem",
    "Run",
    "Schedule",
    "citation",
    "compressors",
    "decentralized",
    "delayed",
    "delayed_calls",
    "fleet",
    "job_key",
    "methods",
    "oracles",
    "pictures",
    "plan",
    "problems",
    "protocols",
    "read_models",
    "reference",
    "report",
    "results",
    "rules",
    "simulate",
    "split_key",
    "sweep",
    "theory",
    "traffic",
    "tune",
]
