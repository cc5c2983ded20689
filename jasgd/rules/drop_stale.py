"""Throw away gradients that are too old, and leave the optimizer behind it untouched.

Koloskova, Stich, Jaggi 2022, https://arxiv.org/abs/2206.08307, Theorem 8 with step 0.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jasgd._checks import require_not_negative
from jasgd.rules.delay_weights import KOLOSKOVA as CITATION  # noqa: F401


def drop_stale(inner: optax.GradientTransformation, max_delay: ArrayLike) -> optax.GradientTransformationExtraArgs:
    """Call ``inner`` for gradients of at most ``max_delay``; for others the update is zero and no state moves.

    The server's version still counts a dropped gradient. A protocol that drops them does not:
    ``jasgd.protocols.asynchronous(..., max_delay=...)``.

    Example:
      >>> rule = jasgd.rules.drop_stale(optax.sgd(0.1, momentum=0.9), max_delay=8)
      >>> updates, _ = rule.update(jnp.ones(1), rule.init(jnp.ones(1)), delay=9)
      >>> float(updates[0])
      0.0
    """
    require_not_negative("max_delay", max_delay)

    def fresh(count: jax.Array, /, *, delay: Any, **extra_args: Any) -> jax.Array:
        del count, extra_args
        return jnp.asarray(delay) <= max_delay

    return optax.conditionally_mask(inner, fresh, forward_extra_args=True)
