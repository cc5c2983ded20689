"""Damp a gradient by its age, with any weight of :mod:`jasgd.rules.delay_weights`."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jasgd.rules import delay_weights
from jasgd.rules._learning_rate import scale_by_learning_rate
from jasgd.rules.delay_weights import CITATION as CITATION
from jasgd.rules.delay_weights import MISHCHENKO, ZHANG, Weight

CITATIONS = {"delay_adaptive_sgd": MISHCHENKO, "staleness_aware_sgd": ZHANG}


def scale_by_delay(weight: Weight | None = None) -> optax.GradientTransformationExtraArgs:
    r"""Multiply a gradient by a function of its delay: :math:`g \mapsto w(\tau) \, g`.

    Args:
      weight: ``weight(delay)``, for instance one of :mod:`jasgd.rules.delay_weights`; by default
        :math:`(1 + \tau)^{-1/2}`.

    Returns:
      A transformation whose ``update`` needs the keyword ``delay``.

    Example:
      >>> rule = jasgd.rules.scale_by_delay(jasgd.rules.delay_weights.reciprocal())
      >>> gradient, _ = rule.update(jnp.ones(2), rule.init(jnp.ones(2)), delay=4)
      >>> gradient
      Array([0.25, 0.25], dtype=float32)
    """
    weight = delay_weights.polynomial() if weight is None else weight
    if not callable(weight):
        raise TypeError(f"`weight` must be a function of the delay such as delay_weights.polynomial(0.5), got {weight!r}.")

    def update_fn(updates: Any, state: Any, params: Any = None, *, delay: Any, **extra_args: Any) -> Any:
        del params, extra_args
        factor = jnp.asarray(weight(delay))
        return jax.tree.map(lambda g: factor.astype(g.dtype) * g, updates), state

    return optax.GradientTransformationExtraArgs(optax.init_empty_state, update_fn)


def delay_weighted_sgd(learning_rate: optax.ScalarOrSchedule, weight: Weight) -> optax.GradientTransformationExtraArgs:
    r"""SGD with steps :math:`\eta \, w(\tau)`.

    Example:
      >>> rule = jasgd.rules.delay_weighted_sgd(0.1, jasgd.rules.delay_weights.hinge(slope=10.0, threshold=4))
    """
    return optax.chain(scale_by_delay(weight), scale_by_learning_rate(learning_rate))


def delay_adaptive_sgd(
    learning_rate: optax.ScalarOrSchedule, concurrency: ArrayLike
) -> optax.GradientTransformationExtraArgs:
    r"""SGD with steps :math:`\eta \, c / \max(c, \tau)`, Mishchenko et al. 2022 as in their public notebook.

    Args:
      learning_rate: the step of gradients that are not late.
      concurrency: jobs in flight, usually the number of workers.

    Example:
      >>> rule = jasgd.rules.delay_adaptive_sgd(0.43, concurrency=40)
      >>> updates, _ = rule.update(jnp.ones(1), rule.init(jnp.ones(1)), delay=80)
      >>> float(updates[0])
      -0.2150000035762787
    """
    return delay_weighted_sgd(learning_rate, delay_weights.delay_adaptive(concurrency))


def staleness_aware_sgd(learning_rate: optax.ScalarOrSchedule) -> optax.GradientTransformationExtraArgs:
    r"""SGD with steps :math:`\eta / \max(\tau, 1)`, Zhang, Gupta, Lian, Liu 2016.

    Example:
      >>> rule = jasgd.rules.staleness_aware_sgd(0.1)
      >>> updates, _ = rule.update(jnp.ones(1), rule.init(jnp.ones(1)), delay=2)
      >>> round(float(updates[0]), 3)
      -0.05
    """
    return delay_weighted_sgd(learning_rate, delay_weights.reciprocal())
