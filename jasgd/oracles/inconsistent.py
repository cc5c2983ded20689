"""What a worker computes at a point that it read while others wrote."""

import dataclasses

from jasgd._checks import require_type
from jasgd.oracles.oracle import Oracle
from jasgd.problems.problem import Problem
from jasgd.read_models import Coordinates, ReadModel, Updates


def inconsistent(oracle: Oracle, read_model: ReadModel) -> Oracle:
    """The same oracle, at what a read sees that is not of one version.

    Without a window such a read sees versions up to the one just before its use, so one gradient of a run can be computed at
    a time: compute many runs together (:func:`jasgd.sweep`), or ask for several ``lanes`` if there is a window. All versions
    that a read may see are kept, and gone through for every gradient.

    Args:
      oracle: what is computed, e.g. :func:`jasgd.oracles.gradient`.
      read_model: what is seen, e.g. :class:`jasgd.read_models.Coordinates`.

    Example:
      >>> oracle = jasgd.oracles.inconsistent(jasgd.oracles.gradient(), jasgd.read_models.Coordinates())
      >>> schedule = jasgd.protocols.asynchronous(jasgd.fleet.equal(3), 20)
      >>> problem = jasgd.problems.quadratic(10)
      >>> run = jasgd.simulate(problem, optax.sgd(0.1), schedule, oracle=oracle, key=jax.random.key(0))
    """
    require_type("oracle", oracle, Oracle, "a jasgd.oracles.Oracle such as jasgd.oracles.gradient()")
    require_type("read_model", read_model, Updates | Coordinates, "one of jasgd.read_models, e.g. Coordinates()")

    def transform(problem: Problem) -> Problem:
        inner = oracle.of(problem)
        if inner.read_model is not None:
            raise ValueError(f"{inner.name} has a read model already; give one.")
        return dataclasses.replace(inner, read_model=read_model)

    return Oracle(transform=transform, name=f"{read_model} {oracle.name}", forward_passes=oracle.forward_passes)
