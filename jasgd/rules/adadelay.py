r"""AdaDelay: steps that decay in time plus delay.

Sra, Yu, Li, Smola, "AdaDelay: Delay Adaptive Distributed Stochastic Optimization", AISTATS 2016. Steps are counted from 1.
The projection of the paper is left to ``optax.projections``.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jasgd._checks import require_not_negative, require_positive
from jasgd.rules import _rows

CITATION = """\
@inproceedings{sra2016adadelay,
  title={{AdaDelay}: Delay Adaptive Distributed Stochastic Optimization},
  author={Sra, Suvrit and Yu, Adams Wei and Li, Mu and Smola, Alexander J.},
  booktitle={AISTATS}, year={2016}}
"""


def scale_by_adadelay(smoothness: ArrayLike, scale: ArrayLike) -> optax.GradientTransformationExtraArgs:
    r""":math:`g \mapsto g / (L + c \sqrt{t + \tau})`, with t counted from 1.

    Args:
      smoothness: :math:`L`.
      scale: :math:`c`.

    Returns:
      A transformation whose ``update`` needs the keywords ``step`` and ``delay``.

    Example:
      >>> rule = jasgd.rules.scale_by_adadelay(smoothness=1.0, scale=0.5)
      >>> gradient, _ = rule.update(jnp.ones(1), rule.init(jnp.ones(1)), step=0, delay=3)
      >>> float(gradient[0])
      0.5
    """
    require_not_negative("smoothness", smoothness)
    require_positive("scale", scale)

    def update_fn(updates: Any, state: Any, params: Any = None, *, step: Any, delay: Any, **extra_args: Any) -> Any:
        del params, extra_args
        factor = 1.0 / (smoothness + scale * jnp.sqrt(1.0 + jnp.asarray(step) + delay))
        return jax.tree.map(lambda g: factor.astype(g.dtype) * g, updates), state

    return optax.GradientTransformationExtraArgs(optax.init_empty_state, update_fn)


def adadelay(smoothness: ArrayLike, scale: ArrayLike) -> optax.GradientTransformationExtraArgs:
    r"""SGD with the step :math:`1 / (L + c \sqrt{t + \tau})`.

    Example:
      >>> rule = jasgd.rules.adadelay(smoothness=1.0, scale=0.5)
    """
    return optax.chain(scale_by_adadelay(smoothness, scale), optax.scale(-1.0))


class AdaDelayState(NamedTuple):
    """State of :func:`scale_by_adadelay_per_coordinate`."""

    delayed_squares: optax.Updates  # like the parameters, in single precision at least: sum of s / (s + tau_s) g_s^2


def scale_by_adadelay_per_coordinate(smoothness: ArrayLike) -> optax.GradientTransformationExtraArgs:
    r""":math:`g_j \mapsto g_j / (L + c_j \sqrt{t + \tau})` with a scale for every coordinate.

    .. math::
        c_j^2 = \frac1t \sum_{s \le t} \frac{s}{s + \tau_s} g_{j,s}^2

    Returns:
      A transformation whose ``update`` needs the keywords ``step`` and ``delay``.

    Example:
      >>> rule = jasgd.rules.scale_by_adadelay_per_coordinate(smoothness=1.0)
      >>> gradient, _ = rule.update(3 * jnp.ones(1), rule.init(jnp.ones(1)), step=0, delay=0)
      >>> float(gradient[0])
      0.75
    """
    require_positive("smoothness", smoothness)

    def init_fn(params: optax.Params) -> AdaDelayState:
        return AdaDelayState(delayed_squares=_rows.sums_like(params))

    def update_fn(
        updates: Any, state: AdaDelayState, params: Any = None, *, step: Any, delay: Any, **extra_args: Any
    ) -> Any:
        del params, extra_args
        now = 1.0 + jnp.asarray(step)
        share = now / (now + delay)
        squares = jax.tree.map(
            lambda a, g: a + share.astype(a.dtype) * jnp.square(g.astype(a.dtype)), state.delayed_squares, updates
        )

        def scale(g: jax.Array, square: jax.Array) -> jax.Array:
            c = jnp.sqrt(square / now.astype(square.dtype))
            return g / (smoothness + c * jnp.sqrt(now + delay).astype(square.dtype))

        return jax.tree.map(lambda g, a: scale(g, a).astype(g.dtype), updates, squares), AdaDelayState(squares)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
