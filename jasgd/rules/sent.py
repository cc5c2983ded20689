"""Where workers compute, when that is not the server's own point.

A rule that sends its workers somewhere else keeps the displacement in its state, in a field called ``sent_offset``. The
simulator stores ``sent_params`` in its ring, and measures the loss at the parameters themselves.
"""

from typing import Any

import jax
import optax


def sent_params(state: optax.OptState, params: optax.Params) -> optax.Params:
    """The point at which the next gradient is computed: ``params`` for most rules.

    Args:
      state: the state of any rule, also inside ``optax.chain``.
      params: the server's parameters.

    Example:
      >>> rule = jasgd.rules.dana_zero(0.1, momentum=0.5, num_workers=2)
      >>> params = jnp.zeros(1)
      >>> updates, state = rule.update(jnp.ones(1), rule.init(params), params, worker=0)
      >>> params = optax.apply_updates(params, updates)
      >>> jnp.round(params, 3), jnp.round(jasgd.rules.sent_params(state, params), 3)
      (Array([-0.1], dtype=float32), Array([-0.15], dtype=float32))
    """
    offset = sent_offset(state)
    if offset is None:
        return params

    def displaced(o: Any, p: Any) -> Any:
        return p if _is_masked(o) else p + o.astype(p.dtype)

    return jax.tree.map(displaced, offset, params, is_leaf=_is_masked)


def _is_masked(node: Any) -> bool:
    """A part of the parameters that the rule does not see, under ``optax.masked`` or ``optax.partition``."""
    return isinstance(node, optax.MaskedNode)


def sent_offset(state: optax.OptState) -> Any:
    """The displacement that a rule's state holds, or None."""
    return optax.tree.get(state, "sent_offset", default=None)
