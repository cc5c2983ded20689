r"""Momentum that reduces its own variance, from two gradients on the same sample.

Cutkosky, Orabona, "Momentum-Based Variance Reduction in Non-Convex SGD" (STORM), https://arxiv.org/abs/1905.10018; formula
recalled, with constant coefficients in place of the paper's adaptive ones. Under delays the pair is that of the version that
was read and the one before it: ours.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jasgd._checks import require
from jasgd.rules._learning_rate import require_learning_rate

CITATION = """\
@inproceedings{cutkosky2019momentum,
  title={Momentum-Based Variance Reduction in Non-Convex {SGD}},
  author={Cutkosky, Ashok and Orabona, Francesco}, booktitle={NeurIPS}, year={2019}}
"""


class Pair(NamedTuple):
    """A point and the one before it, or what belongs to them.

    Example:
      >>> Pair(now=jnp.ones(2), before=jnp.zeros(2)).before
      Array([0., 0.], dtype=float32)
    """

    now: Any
    before: Any


class StormState(NamedTuple):
    """State of :func:`storm`."""

    made: jax.Array  # updates
    estimate: optax.Updates  # d, like the point


def storm(learning_rate: optax.ScalarOrSchedule, momentum: ArrayLike) -> optax.GradientTransformationExtraArgs:
    r"""Steps along an estimate that is corrected by how the gradient of one sample has changed.

    .. math:: d_k = g(x_k; \xi_k) + (1 - a) \big(d_{k-1} - g(x_{k-1}; \xi_k)\big), \qquad x_{k+1} = x_k - \gamma d_k

    with :math:`d_0 = g(x_0; \xi_0)`. With a = 1 this is SGD; without noise d is the gradient, whatever a is.

    Args:
      learning_rate: :math:`\gamma`, a number or a schedule of the updates made.
      momentum: a in [0, 1].

    Returns:
      A rule for parameters and gradients that are pairs, as :func:`jasgd.oracles.pairs` makes them; it needs ``params``.

    Example:
      >>> problem, oracle = jasgd.problems.quadratic(10, noise=0.1), jasgd.oracles.pairs()
      >>> schedule = jasgd.protocols.rennala(jasgd.fleet.equal(4), 20, 4)
      >>> rule = jasgd.rules.storm(0.1, momentum=0.2)
      >>> run = jasgd.simulate(problem, rule, schedule, oracle=oracle, key=jax.random.key(0))
      >>> run.params.now.shape
      (10,)
    """
    require_learning_rate(learning_rate)
    require("momentum", momentum, lambda a: 0 <= a <= 1, "a number from 0 to 1")

    def init_fn(params: Pair) -> StormState:
        _require_pair(params)
        return StormState(made=jnp.zeros((), jnp.int32), estimate=optax.tree.zeros_like(params.now))

    def update_fn(updates: Pair, state: StormState, params: Pair | None = None, **extra_args: Any) -> Any:
        del extra_args
        pair = _require_pair(params)

        def estimate(d: jax.Array, now: jax.Array, before: jax.Array) -> jax.Array:
            return jnp.where(state.made == 0, now, now + (1 - momentum) * (d - before)).astype(now.dtype)

        d = jax.tree.map(estimate, state.estimate, updates.now, updates.before)
        rate = learning_rate(state.made) if callable(learning_rate) else learning_rate
        step = jax.tree.map(lambda leaf: (-rate * leaf).astype(leaf.dtype), d)
        moved = Pair(now=step, before=optax.tree.sub(pair.now, pair.before))
        return moved, StormState(made=state.made + 1, estimate=d)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _require_pair(params: Any) -> Pair:
    if not isinstance(params, Pair):
        raise TypeError(
            f"`params` must be a jasgd.rules.Pair, as jasgd.oracles.pairs makes it; got {type(params).__name__}."
        )
    return params
