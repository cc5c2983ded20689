"""Tuning: which method, and with which of its own knobs, in one search over a hierarchical space."""

from jasgd.tune.embedding import embed
from jasgd.tune.jasgd_space import jasgd_space
from jasgd.tune.objective import Objective
from jasgd.tune.result import Evaluation, Result
from jasgd.tune.search import search
from jasgd.tune.smt import to_smt
from jasgd.tune.space import plain, space

__all__ = ["Evaluation", "Objective", "Result", "embed", "jasgd_space", "plain", "search", "space", "to_smt"]
