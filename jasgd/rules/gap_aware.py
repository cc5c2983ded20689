r"""Gap-Aware: every coordinate is damped by how far it has moved, in units of a typical step.

Barkai, Hakimi, Schuster, "Gap Aware Mitigation of Gradient Staleness", ICLR 2020, https://arxiv.org/abs/1909.10802; order of
the operations as in the public code FTPipe. Put ``optax.add_decayed_weights`` before it: weight decay is damped as well.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jasgd._checks import require_momentum
from jasgd.rules import _rows
from jasgd.rules._learning_rate import require_learning_rate, scale_by_learning_rate

CITATION = """\
@inproceedings{barkai2020gap,
  title={Gap Aware Mitigation of Gradient Staleness},
  author={Barkai, Saar and Hakimi, Ido and Schuster, Assaf},
  booktitle={ICLR}, year={2020}, note={arXiv:1909.10802}}
"""


class GapAwareState(NamedTuple):
    """State of :func:`scale_by_gap`."""

    gap_mean_square: optax.Updates  # average of v^2, like the parameters, in single precision at least
    gap_velocity: optax.Updates | None  # v, like the parameters; None without momentum
    largest_rate: jax.Array  # (), largest learning rate so far
    gap_count: jax.Array  # (), int32


def scale_by_gap(
    learning_rate: optax.ScalarOrSchedule, *, momentum: ArrayLike | None = None, decay: ArrayLike = 0.999
) -> optax.GradientTransformationExtraArgs:
    r""":math:`g \mapsto g / P`, :math:`P = 1 + |w - w_\text{stale}| / (\eta_\max (\sqrt{\hat a} + 10^{-8}))`, then momentum.

    :math:`\hat a` is the bias-corrected average of :math:`v^2`, with v the momentum before this step, or the gradient if
    there is none. A coordinate that has moved although its average is zero stays where it is.

    Args:
      learning_rate: a number or a schedule, by which the result is scaled afterwards.
      momentum: of the buffer v; None for none.
      decay: of the average.

    Returns:
      A transformation whose ``update`` needs ``params`` and the keyword ``stale_params``.

    Example:
      >>> rule = jasgd.rules.scale_by_gap(0.1)
      >>> gradient, _ = rule.update(
      ...     2 * jnp.ones(1), rule.init(jnp.ones(1)), 0.3 * jnp.ones(1), stale_params=jnp.zeros(1)
      ... )
      >>> round(float(gradient[0]), 4)
      0.8
    """
    require_momentum(decay, "decay")
    if momentum is not None:
        require_momentum(momentum)
    require_learning_rate(learning_rate)
    rate_at = learning_rate if callable(learning_rate) else optax.constant_schedule(learning_rate)

    def init_fn(params: optax.Params) -> GapAwareState:
        return GapAwareState(
            gap_mean_square=_rows.sums_like(params),
            gap_velocity=None if momentum is None else optax.tree.zeros_like(params),
            largest_rate=jnp.asarray(rate_at(jnp.zeros([], jnp.int32)), jnp.zeros([]).dtype),
            gap_count=jnp.zeros([], jnp.int32),
        )

    def update_fn(updates: Any, state: GapAwareState, params: Any = None, *, stale_params: Any, **extra_args: Any) -> Any:
        del extra_args
        if params is None:
            raise ValueError("the gap is that of `stale_params` to `params`: pass the current parameters to `update`.")
        v = updates if state.gap_velocity is None else state.gap_velocity
        average = jax.tree.map(
            lambda a, v: (decay * a + (1 - decay) * jnp.square(v.astype(a.dtype))).astype(a.dtype), state.gap_mean_square, v
        )
        count = optax.safe_increment(state.gap_count)
        correction = 1 - jnp.asarray(decay) ** count
        largest = state.largest_rate

        def damped(g: jax.Array, w: jax.Array, stale: jax.Array, a: jax.Array) -> jax.Array:
            typical = largest.astype(a.dtype) * (jnp.sqrt(a / correction.astype(a.dtype)) + 1e-8)
            penalty = 1 + jnp.abs(w - stale) / jnp.where(typical > 0, typical, 1)
            return (g / jnp.where(largest > 0, penalty, 1)).astype(g.dtype)

        out = jax.tree.map(damped, updates, params, stale_params, average)
        velocity = None
        if momentum is not None:
            velocity = out = jax.tree.map(lambda v, g: (momentum * v + g).astype(g.dtype), state.gap_velocity, out)
        rate = jnp.asarray(rate_at(state.gap_count), largest.dtype)
        return out, GapAwareState(
            gap_mean_square=average,
            gap_velocity=velocity,
            largest_rate=jnp.maximum(largest, rate),
            gap_count=count,
        )

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def gap_aware(
    learning_rate: optax.ScalarOrSchedule, *, momentum: ArrayLike | None = None, decay: ArrayLike = 0.999
) -> optax.GradientTransformationExtraArgs:
    """Gap-Aware SGD, with or without momentum; needs ``params`` and ``stale_params``.

    Example:
      >>> rule = jasgd.rules.gap_aware(0.1, momentum=0.9)
    """
    return optax.chain(scale_by_gap(learning_rate, momentum=momentum, decay=decay), scale_by_learning_rate(learning_rate))
