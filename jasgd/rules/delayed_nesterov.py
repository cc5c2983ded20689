r"""Delayed Nesterov, the outer optimizer of asynchronous Local-SGD.

Liu et al., "Asynchronous Local-SGD Training for Language Modeling", https://arxiv.org/abs/2401.09135. Formula recalled,
checked by the identity of its cycles. Another public server under the same name makes different steps in between.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jasgd._checks import require, require_count, require_momentum
from jasgd.rules._learning_rate import scale_by_learning_rate

CITATION = """\
@article{liu2024asynchronous,
  title={Asynchronous Local-{SGD} Training for Language Modeling},
  author={Liu, Bo and others}, journal={arXiv:2401.09135}, year={2024}}
"""


class DelayedNesterovState(NamedTuple):
    """State of :func:`scale_by_delayed_nesterov`."""

    outer_momentum: optax.Updates  # m, like the parameters
    outer_sum: optax.Updates  # gradients of the current cycle, like the parameters


def scale_by_delayed_nesterov(
    momentum: ArrayLike, num_workers: int, *, spread: ArrayLike = 0.0
) -> optax.GradientTransformationExtraArgs:
    r"""Momentum once per N gradients, :math:`m \leftarrow \beta m + \bar g`, plain steps :math:`g / N` in between.

    .. math::
        g \mapsto \begin{cases}
            (1 - c N + c) \beta m + g / N & \text{at the end of a cycle, with the new } m \cr
            c \beta m + g / N & \text{else} \end{cases}

    Args:
      momentum: :math:`\beta` in [0, 1).
      num_workers: N, gradients per cycle. The learning rate is per *mean* of N gradients.
      spread: :math:`c` in [0, 1/N], how much of the momentum is used in between.

    Returns:
      A transformation whose ``update`` needs the keyword ``step``, which must count every gradient that it gets: put
      rules that drop gradients before it, not around it.

    Example:
      >>> rule = jasgd.rules.scale_by_delayed_nesterov(momentum=0.5, num_workers=2)
      >>> update, state = rule.update(jnp.ones(1), rule.init(jnp.ones(1)), step=0)
      >>> float(update[0])
      0.5
    """
    require_momentum(momentum)
    require_count("num_workers", num_workers)
    require("spread", spread, lambda c: 0 <= c <= 1 / num_workers, f"a number in [0, 1/{num_workers}]")
    n = num_workers

    def init_fn(params: optax.Params) -> DelayedNesterovState:
        return DelayedNesterovState(outer_momentum=optax.tree.zeros_like(params), outer_sum=optax.tree.zeros_like(params))

    def update_fn(updates: Any, state: DelayedNesterovState, params: Any = None, *, step: Any, **extra_args: Any) -> Any:
        del params, extra_args
        ends = (jnp.asarray(step) + 1) % n == 0
        total = optax.tree.add(state.outer_sum, updates)
        m = jax.tree.map(lambda m, s: jnp.where(ends, momentum * m + s / n, m).astype(m.dtype), state.outer_momentum, total)
        on_m = jnp.where(ends, (1 - spread * n + spread) * momentum, spread * momentum)
        moved = jax.tree.map(lambda m, g: (on_m.astype(g.dtype) * m + g / n).astype(g.dtype), m, updates)
        total = jax.tree.map(lambda s: jnp.where(ends, jnp.zeros_like(s), s), total)
        return moved, DelayedNesterovState(outer_momentum=m, outer_sum=total)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def delayed_nesterov(
    learning_rate: optax.ScalarOrSchedule, momentum: ArrayLike, num_workers: int, *, spread: ArrayLike = 0.0
) -> optax.GradientTransformationExtraArgs:
    """Delayed Nesterov; needs the keyword ``step``.

    Example:
      >>> rule = jasgd.rules.delayed_nesterov(0.07, momentum=0.9, num_workers=4)
    """
    return optax.chain(
        scale_by_delayed_nesterov(momentum, num_workers, spread=spread), scale_by_learning_rate(learning_rate)
    )
