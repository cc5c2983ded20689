"""Server steps that gather several gradients.

A protocol may gather gradients before it steps. A rule without the keyword ``apply`` sees one weighted sum per step, and
so any optimizer serves behind any protocol. A rule that asks for ``apply`` sees every gradient as it came, without a weight:
``apply`` says whether the server steps after this one. Where it does not, the rule must return zero. The pieces here make
such rules out of others.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jasgd.rules import _rows
from jasgd.rules._rows import cast_like


def when_applied(inner: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """Call ``inner`` only for the gradient that completes a server step; else return zero and leave its state alone.

    Returns:
      A transformation whose ``update`` needs the keyword ``apply``.

    Example:
      Asynchronous tables that step once per gathered set of workers:

      >>> rule = optax.chain(jasgd.rules.scale_by_dude(100), jasgd.rules.when_applied(optax.adam(1e-3)))
    """

    def completes(count: jax.Array, /, *, apply: Any, **extra_args: Any) -> jax.Array:
        del count, extra_args
        return jnp.asarray(apply)

    return optax.conditionally_mask(inner, completes, forward_extra_args=True)


class GatherState(NamedTuple):
    """State of :func:`gather`."""

    gathered_sum: optax.Updates  # like the parameters, in single precision at least
    gathered_count: jax.Array  # (), int32, gradients in the sum


def gather() -> optax.GradientTransformationExtraArgs:
    """Collect gradients; return their mean when the server steps, zero before.

    What stands before it in a chain sees every gradient with its own delay; what stands behind it, in
    :func:`when_applied`, sees the mean.

    Returns:
      A transformation whose ``update`` needs the keyword ``apply``.

    Example:
      >>> rule = jasgd.rules.gather()
      >>> update, state = rule.update(jnp.ones(1), rule.init(jnp.ones(1)), apply=False)
      >>> update, state = rule.update(3 * jnp.ones(1), state, apply=True)
      >>> float(update[0])
      2.0
    """

    def init_fn(params: optax.Params) -> GatherState:
        return GatherState(
            gathered_sum=_rows.sums_like(params),
            gathered_count=jnp.zeros([], jnp.int32),
        )

    def update_fn(updates: Any, state: GatherState, params: Any = None, *, apply: Any, **extra_args: Any) -> Any:
        del params, extra_args
        total = jax.tree.map(lambda t, g: t + g.astype(t.dtype), state.gathered_sum, updates)
        count = state.gathered_count + 1
        zero = optax.tree.zeros_like(total)
        out, kept = jax.lax.cond(
            jnp.asarray(apply),
            lambda: (jax.tree.map(lambda t: t / count.astype(t.dtype), total), GatherState(zero, jnp.zeros_like(count))),
            lambda: (zero, GatherState(total, count)),
        )
        return cast_like(out, updates), kept

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
