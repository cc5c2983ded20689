"""A few partial derivatives instead of a gradient.

Lian, Zhang, Hsieh, Huang, Liu, "A Comprehensive Linear Speedup Analysis for Asynchronous Stochastic Parallel Optimization
from Zeroth-Order to First-Order", NIPS 2016, https://arxiv.org/abs/1606.00498. The formula is recalled, not verified.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from jasgd._checks import require_count
from jasgd.compressors._tree import wide
from jasgd.oracles._agree import require_entries
from jasgd.oracles._drawn import block as draw
from jasgd.oracles._drawn import num_coordinates
from jasgd.oracles.gradient import require_one_gradient
from jasgd.oracles.oracle import Oracle
from jasgd.problems.problem import Problem

CITATION = """\
@inproceedings{lian2016comprehensive,
  title={A Comprehensive Linear Speedup Analysis for Asynchronous Stochastic Parallel Optimization from Zeroth-Order to First-Order},
  author={Lian, Xiangru and Zhang, Huan and Hsieh, Cho-Jui and Huang, Yijun and Liu, Ji},
  booktitle={Advances in Neural Information Processing Systems}, pages={3054--3062}, year={2016}, note={arXiv:1606.00498}}
"""  # noqa: E501


def coordinates(block: int = 1) -> Oracle:
    r"""A block of Y of the N coordinates, :math:`\frac{N}{Y} \sum_{i \in S} \partial_i F(x; \xi) \, e_i`.

    :math:`S` is a uniform set of Y coordinates of all leaves together, so that the mean over :math:`S` is the gradient.
    Samples are those without an oracle; :math:`S` has the key ``jax.random.fold_in(job_key, 2**32 - 3)``. A problem that
    offers ``partial`` computes only these entries; of another one the gradient is computed, and masked.

    A message is Y numbers, as :math:`S` is a function of the job's key. A job costs 3 ``forward_passes``, as a gradient
    does; with ``partial`` it may cost less.

    Args:
      block: Y.

    Example:
      >>> oracle = jasgd.oracles.coordinates(block=2)
      >>> schedule = jasgd.protocols.asynchronous(jasgd.fleet.equal(3), 20)
      >>> problem = jasgd.problems.quadratic(10)
      >>> run = jasgd.simulate(problem, optax.sgd(0.1), schedule, oracle=oracle, key=jax.random.key(0))
      >>> run.history["uploaded_bytes"]  # 20 messages with 2 numbers of 4 bytes
      array([  0., 160.])
    """
    require_count("block", block)

    def transform(problem: Problem) -> Problem:
        require_one_gradient(problem)
        require_entries(problem)
        n = num_coordinates(problem)
        if block > n:
            raise ValueError(f"`block` must not exceed the {n} coordinates of {problem.name}, got {block}.")

        def sample(key: jax.Array, worker: jax.Array) -> Any:
            return problem.sample(key, worker), draw(key, n, block)

        def gradient(params: optax.Params, job: Any) -> optax.Updates:
            batch, chosen = job
            x, unravel = ravel_pytree(params)
            if problem.partial is None:
                entries = ravel_pytree(problem.gradient(params, batch))[0][chosen]
            else:
                entries = problem.partial(params, batch, chosen)
            g = jnp.zeros(n, wide(x.dtype)).at[chosen].add(n / block * entries.astype(wide(x.dtype)))
            return unravel(g.astype(x.dtype))

        return dataclasses.replace(
            problem,
            sample=sample,
            gradient=gradient,
            mean_sample=None,
            partial=None,
            job_gradients=1,
            message_bytes=numbers(block),
        )

    return Oracle(transform=transform, name=f"coordinates(block={block})")


def numbers(count: int) -> Any:
    """The bytes of a message of so many numbers, in the widest dtype of the parameters."""
    return lambda params: count * jnp.result_type(*jax.tree.leaves(params)).itemsize
