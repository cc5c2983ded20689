"""Two gradients on the same sample: at the server's point, and at the one before it."""

import dataclasses

import jax
import numpy as np
import optax

from jasgd.oracles.gradient import require_one_gradient
from jasgd.oracles.oracle import Oracle
from jasgd.problems.problem import Batch, Metrics, Problem
from jasgd.rules.storm import Pair


def pairs() -> Oracle:
    r"""The pair :math:`\nabla F(x_r; \xi), \nabla F(x_{r-1}; \xi)`, for rules that reduce variance by momentum.

    The parameters become a :class:`jasgd.rules.Pair` of a point and the one before it, which are equal at the start, so a
    worker is sent both. What is measured is the point.

    Example:
      >>> problem = jasgd.problems.quadratic(10, noise=0.1)
      >>> schedule = jasgd.protocols.asynchronous(jasgd.fleet.equal(4), 20)
      >>> rule = jasgd.rules.storm(0.1, momentum=0.2)
      >>> run = jasgd.simulate(problem, rule, schedule, oracle=jasgd.oracles.pairs(), key=jax.random.key(0))
    """

    def transform(problem: Problem) -> Problem:
        require_one_gradient(problem)

        def init(key: jax.Array) -> Pair:
            start = problem.init(key)
            return Pair(now=start, before=start)

        def gradient(params: Pair, batch: Batch) -> optax.Updates:
            return Pair(now=problem.gradient(params.now, batch), before=problem.gradient(params.before, batch))

        def loss(params: Pair, batch: Batch) -> jax.Array:
            return problem.loss(params.now, batch)

        def metrics(params: Pair) -> Metrics:
            return problem.metrics(params.now)

        return dataclasses.replace(
            problem,
            init=init,
            loss=loss,
            gradient=gradient,
            metrics=metrics,
            mean_sample=None,
            partial=None,
            job_gradients=np.asarray(2),
        )

    return Oracle(transform=transform, name="pairs of gradients", forward_passes=6)
