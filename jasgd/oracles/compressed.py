"""Messages: what a worker computes reaches the server compressed."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from numpy.typing import ArrayLike

from jasgd._checks import require_type
from jasgd.compressors._tree import dimension, weigh
from jasgd.compressors.compressor import Compressor
from jasgd.oracles import _counts
from jasgd.oracles.oracle import Oracle
from jasgd.problems.problem import Problem

_MESSAGES = 2**32 - 1  # folded into a job's key; no sample is so large that it would use this number


def compressed(oracle: Oracle, compressor: Compressor, *, messages: ArrayLike = 1) -> Oracle:
    r"""The mean of m independent messages of what ``oracle`` computes, :math:`\frac1m \sum_{j \le m} C_j(\cdot)`.

    Samples are those without compression. The messages of a job have the keys ``jax.random.fold_in(messages_key, j)``, where
    ``messages_key = jax.random.fold_in(job_key, 2**32 - 1)``. Means of sparsified messages (RandK, Bernoulli) are drawn as
    weights of the coordinates, with the samples, without making any message; others are made one after the other.

    Args:
      oracle: what is computed, e.g. :func:`jasgd.oracles.gradient`.
      compressor: what a message keeps of it.
      messages: m, a number or one for each worker. Their bytes are counted; their seconds are the schedule's affair, which
        only knows of several messages where its ``contents`` say so.

    Example:
      >>> oracle = jasgd.oracles.compressed(jasgd.oracles.gradient(), jasgd.compressors.rand_k(2))
      >>> schedule = jasgd.protocols.minibatch(jasgd.fleet.equal(3), 20)
      >>> problem = jasgd.problems.quadratic(10)
      >>> run = jasgd.simulate(problem, optax.sgd(0.1), schedule, oracle=oracle, key=jax.random.key(0))
      >>> run.history["uploaded_bytes"]  # 20 rounds of 3 messages with 2 numbers of 4 bytes
      array([  0., 480.])
    """
    require_type("oracle", oracle, Oracle, "a jasgd.oracles.Oracle such as jasgd.oracles.gradient()")
    require_type("compressor", compressor, Compressor, "a jasgd.compressors.Compressor such as jasgd.compressors.rand_k(8)")
    counts = _counts.checked("messages", messages)

    def transform(problem: Problem) -> Problem:
        inner, weights = oracle.of(problem), compressor.weights
        if inner.job_messages is not None:
            raise ValueError(f"the messages of {inner.name} are compressed already; give one compressor.")

        def sample(key: jax.Array, worker: jax.Array) -> Any:
            messages_key, m = jax.random.fold_in(key, jnp.uint32(_MESSAGES)), _counts.of(counts, worker)
            drawn = (messages_key, m) if weights is None else weights(messages_key, _dimension(problem, key), m)
            return inner.sample(key, worker), drawn

        def gradient(params: optax.Params, job: Any) -> optax.Updates:
            batch, drawn = job
            computed = inner.gradient(params, batch)
            return compressor.mean(drawn[0], computed, drawn[1]) if weights is None else weigh(computed, drawn, 1.0)

        return dataclasses.replace(
            inner,
            sample=sample,
            gradient=gradient,
            mean_sample=None,
            partial=None,
            job_messages=counts,
            message_bytes=compressor.bytes_of,
        )

    name = f"{_counts.name(counts)} {compressor.name} of {oracle.name}"
    return Oracle(transform=transform, name=name, forward_passes=oracle.forward_passes)


def _dimension(problem: Problem, key: jax.Array) -> int:
    return dimension(jax.eval_shape(problem.init, key))
