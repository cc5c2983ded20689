"""Differences of values instead of gradients.

Lian, Zhang, Hsieh, Huang, Liu, "A Comprehensive Linear Speedup Analysis for Asynchronous Stochastic Parallel Optimization
from Zeroth-Order to First-Order", NIPS 2016, https://arxiv.org/abs/1606.00498. The formula is recalled, not verified.
"""

import dataclasses
import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from numpy.typing import ArrayLike

from jasgd._checks import require, require_count
from jasgd.compressors._tree import wide
from jasgd.oracles._agree import require_slopes
from jasgd.oracles._drawn import block, normals, num_coordinates
from jasgd.oracles.coordinates import CITATION as CITATION
from jasgd.oracles.coordinates import numbers
from jasgd.oracles.gradient import require_one_gradient
from jasgd.oracles.oracle import Oracle
from jasgd.problems.problem import Problem


def zeroth_order(
    mu: ArrayLike, directions: int = 1, scheme: Literal["coordinate", "gaussian", "sphere"] = "coordinate"
) -> Oracle:
    r"""Central differences along Y directions, with the same sample on both sides.

    With :math:`\Delta_u = \frac{F(x + \mu u; \xi) - F(x - \mu u; \xi)}{2 \mu}` a job sends

    .. math::
        \frac{N}{Y} \sum_{i \in S} \Delta_{e_i} e_i \text{ (coordinate)},
        \qquad \frac{1}{Y} \sum_{j \le Y} \Delta_{u_j} u_j \text{ (gaussian)},
        \qquad \frac{N}{Y} \sum_{j \le Y} \Delta_{u_j} u_j \text{ (sphere)},

    where :math:`S` is a uniform set of Y of the N coordinates of all leaves together, the same as that of
    :func:`jasgd.oracles.coordinates` for the same key; or :math:`u_j` are independent, normal or uniform on the unit sphere.
    Samples are those without an oracle; directions have the key ``jax.random.fold_in(job_key, 2**32 - 3)``.

    Values are those of ``problem.loss``. A problem whose own ``gradient`` is not that of its loss is refused where a few
    differences at the start tell. Where they do not, because both agree there or because the loss stops gradients inside,
    what is estimated is the slope of the values.

    A message is Y numbers, as directions are a function of the job's key. A job costs 2 Y ``forward_passes``.

    Args:
      mu: :math:`\mu`, a number, or one for each coordinate with the scheme "coordinate". The bias is of order
        :math:`\mu^2`, and 0 on quadratics; the rounding error grows as :math:`1 / \mu`. In single precision 5e-3 to 1e-2
        times the scale of the parameters is a good choice, on quadratics much more (derived).
      directions: Y.
      scheme: of the directions.

    Example:
      >>> oracle = jasgd.oracles.zeroth_order(0.5, directions=2)
      >>> schedule = jasgd.protocols.asynchronous(jasgd.fleet.equal(3), 20)
      >>> problem = jasgd.problems.quadratic(10)
      >>> run = jasgd.simulate(problem, optax.sgd(0.1), schedule, oracle=oracle, key=jax.random.key(0))
      >>> oracle.forward_passes
      4
    """
    require("mu", mu, lambda m: 0 < m < math.inf, "a positive number, finite")
    require_count("directions", directions)
    if scheme not in ("coordinate", "gaussian", "sphere"):
        raise ValueError(f"`scheme` must be 'coordinate', 'gaussian' or 'sphere', got {scheme!r}.")
    if np.ndim(mu) and scheme != "coordinate":
        raise ValueError(f"`mu` must be one number with the scheme {scheme!r}, got shape {np.shape(mu)}.")

    def transform(problem: Problem) -> Problem:
        require_one_gradient(problem)
        require_slopes(problem)
        n = num_coordinates(problem)
        if scheme == "coordinate" and directions > n:
            raise ValueError(f"`directions` must not exceed the {n} coordinates of {problem.name}, got {directions}.")
        if np.shape(mu) not in ((), (n,)):
            raise ValueError(f"`mu` must be a number or one for each of {n} coordinates, got shape {np.shape(mu)}.")

        def sample(key: jax.Array, worker: jax.Array) -> Any:
            if scheme == "coordinate":
                return problem.sample(key, worker), block(key, n, directions)
            u = normals(key, n, directions)
            return problem.sample(key, worker), u if scheme == "gaussian" else u / jnp.linalg.norm(u, axis=1, keepdims=True)

        def gradient(params: optax.Params, job: Any) -> optax.Updates:
            batch, drawn = job
            x, unravel = ravel_pytree(params)

            def slope(step: jax.Array, mu: Any) -> jax.Array:
                up, down = (problem.loss(unravel(point), batch).astype(wide(x.dtype)) for point in (x + step, x - step))
                return (up - down) / (2 * mu)

            if scheme == "coordinate":
                mus = jnp.broadcast_to(jnp.asarray(mu, x.dtype), n)[drawn]
                slopes = jax.vmap(lambda i, mu: slope(jnp.zeros_like(x).at[i].set(mu), mu))(drawn, mus)
                g = jnp.zeros(n, slopes.dtype).at[drawn].add(n / directions * slopes)
            else:
                u, factor = drawn.astype(x.dtype), 1 if scheme == "gaussian" else n
                slopes = jax.vmap(lambda each: slope(mu * each, mu))(u)
                g = factor / directions * slopes @ u.astype(slopes.dtype)
            return unravel(g.astype(x.dtype))

        return dataclasses.replace(
            problem,
            sample=sample,
            gradient=gradient,
            mean_sample=None,
            partial=None,
            job_gradients=1,
            message_bytes=numbers(directions),
        )

    size = mu if np.ndim(mu) == 0 else f"{np.size(mu)} numbers"
    name = f"zeroth_order(mu={size}, directions={directions}, scheme={scheme!r})"
    return Oracle(transform=transform, name=name, forward_passes=2 * directions)
