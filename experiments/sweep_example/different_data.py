"""Asynchronous SGD on workers whose data differ, more or less so, and whose speeds are drawn anew for every seed.

::

    jasgd sweep experiments/sweep_example/different_data.py
"""

from typing import Any

import jax
import numpy as np
import optax

import jasgd

WORKERS = 10


def problem(alpha: float) -> jasgd.Problem:
    """Logistic regression on the digits; small ``alpha``: every worker sees few of the classes."""
    data = jasgd.problems.digits()
    shards = jasgd.problems.partition.dirichlet(data.labels, WORKERS, alpha)
    return jasgd.problems.logistic_regression(shards, data=data, batch=8)


def schedule(seed: int) -> jasgd.Schedule:
    """Every gradient takes an exponential time; the last worker is ten times as slow as the first."""
    fleet = jasgd.fleet.exponential(np.geomspace(1.0, 10.0, WORKERS))
    return jasgd.protocols.asynchronous(fleet, 2000, seed=seed)


def sweeps() -> dict[str, dict[str, Any]]:
    """Plain and delay-adaptive steps."""
    common = {"problem": problem, "schedule": schedule, "key": jax.random.key(0), "seeds": 5, "every": 200}
    grid = {"alpha": [0.1, 10.0], "learning_rate": [0.03, 0.1, 0.3, 1.0]}

    def adaptive(learning_rate: float) -> optax.GradientTransformation:
        return jasgd.rules.delay_adaptive_sgd(learning_rate, concurrency=WORKERS)

    return {
        "plain": {**common, "rule": optax.sgd, "grid": grid},
        "delay-adaptive": {**common, "rule": adaptive, "grid": grid},
    }
