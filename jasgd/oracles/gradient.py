"""The mean of some stochastic gradients at the worker's snapshot."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import ArrayLike

from jasgd.oracles import _counts
from jasgd.oracles.oracle import Oracle
from jasgd.problems.problem import Problem
from jasgd.rules._rows import sum_dtype


def gradient(count: ArrayLike = 1) -> Oracle:
    r"""The mean of b stochastic gradients at one point, :math:`\frac1b \sum_{l \le b} \nabla f(x; \xi_l)`.

    If no worker computes more than one, samples are those without an oracle. Else sample l has the key
    ``jax.random.fold_in(key, l)``, where ``key`` is that of the job; but a problem with a ``mean_sample`` draws the mean at
    once: the same law, other numbers. Without one, gradients are computed one after the other, and workers that are computed
    together wait for the one with the most.

    Args:
      count: b, a number or one for each worker.

    Example:
      >>> problem = jasgd.problems.quadratic(10, noise=1.0)
      >>> oracle = jasgd.oracles.gradient([4, 2, 1])
      >>> schedule = jasgd.protocols.minibatch(jasgd.fleet.equal(3), 20)
      >>> run = jasgd.simulate(problem, optax.sgd(0.1), schedule, oracle=oracle, key=jax.random.key(0))
    """
    counts = _counts.checked("count", count)
    if counts.ndim == 0 and counts == 1:
        return Oracle(transform=lambda problem: problem, name="1 gradient")

    def transform(problem: Problem) -> Problem:
        require_one_gradient(problem)
        if np.all(counts <= 1):
            return dataclasses.replace(problem, mean_sample=None, partial=None, job_gradients=counts)
        if problem.mean_sample is not None:
            whole = problem.mean_sample

            def mean_sample(key: jax.Array, worker: jax.Array) -> Any:
                return whole(key, worker, jnp.maximum(jnp.int32(_counts.of(counts, worker)), 1))

            return dataclasses.replace(problem, sample=mean_sample, mean_sample=None, partial=None, job_gradients=counts)

        def sample(key: jax.Array, worker: jax.Array) -> Any:
            return key, worker

        def mean(params: optax.Params, job: tuple[jax.Array, jax.Array]) -> optax.Updates:
            key, worker = job
            b = _counts.of(counts, worker)

            def add(index: jax.Array, total: Any) -> Any:
                one = problem.gradient(params, problem.sample(jax.random.fold_in(key, index), worker))
                return jax.tree.map(lambda t, g: t + g.astype(t.dtype), total, one)

            zeros = jax.tree.map(lambda p: jnp.zeros(p.shape, sum_dtype(p)), params)
            total = jax.lax.fori_loop(0, b, add, zeros)
            share = 1.0 / jnp.maximum(b, 1)
            return jax.tree.map(lambda t, p: (share.astype(t.dtype) * t).astype(p.dtype), total, params)

        return dataclasses.replace(
            problem, sample=sample, gradient=mean, mean_sample=None, partial=None, job_gradients=counts
        )

    return Oracle(transform=transform, name=f"{_counts.name(counts)} gradients", forward_passes=3 * counts)


def require_one_gradient(problem: Problem) -> None:
    """Means of means would not be counted right."""
    if problem.job_gradients is not None or problem.job_messages is not None:
        raise ValueError(f"the jobs of {problem.name} are made by an oracle already; give one oracle with all it does.")
