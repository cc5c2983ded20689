r"""FedAsync: the server mixes every arriving *model* into its own.

Xie, Koyejo, Gupta, "Asynchronous Federated Optimization", https://arxiv.org/abs/1903.03934. Workers return
:math:`\Delta = x_\text{stale} - y`, the way from the model they were sent to the one they found (for one plain gradient
step: step size times gradient).
"""

from typing import Any

import jax
import optax
from jax.typing import ArrayLike

from jasgd._checks import require
from jasgd.rules.delay_weights import XIE as CITATION  # noqa: F401
from jasgd.rules.delay_weights import Weight
from jasgd.rules.scale_by_delay import scale_by_delay


def scale_by_mixing() -> optax.GradientTransformationExtraArgs:
    r""":math:`\Delta \mapsto x - y = (x - x_\text{stale}) + \Delta`: the way from the server's model to the worker's.

    Returns:
      A transformation whose ``update`` needs ``params`` and the keyword ``stale_params``.

    Example:
      >>> rule = jasgd.rules.scale_by_mixing()
      >>> update, _ = rule.update(jnp.ones(1), rule.init(jnp.ones(1)), 3 * jnp.ones(1), stale_params=jnp.ones(1))
      >>> float(update[0])
      3.0
    """

    def update_fn(updates: Any, state: Any, params: Any = None, *, stale_params: Any, **extra_args: Any) -> Any:
        del extra_args
        if params is None:
            raise ValueError("mixing compares `stale_params` with `params`: pass the current parameters to `update`.")
        return jax.tree.map(lambda d, x, s: (x - s + d).astype(d.dtype), updates, params, stale_params), state

    return optax.GradientTransformationExtraArgs(optax.init_empty_state, update_fn)


def fedasync(mixing: ArrayLike, *, weight: Weight | None = None) -> optax.GradientTransformationExtraArgs:
    r""":math:`x \leftarrow (1 - \alpha_t) x + \alpha_t y` with :math:`\alpha_t = \alpha \, w(\tau)`.

    Args:
      mixing: :math:`\alpha` in (0, 1].
      weight: of the staleness; by default constant. The paper's are ``delay_weights.polynomial(0.5)`` and
        ``delay_weights.hinge``.

    Returns:
      An optimizer that needs ``params`` and the keywords ``stale_params`` and, with a weight, ``delay``.

    Example:
      >>> rule = jasgd.rules.fedasync(0.6, weight=jasgd.rules.delay_weights.polynomial(0.5))
    """
    require("mixing", mixing, lambda a: 0 < a <= 1, "a number in (0, 1]")
    weighting = optax.identity() if weight is None else scale_by_delay(weight)
    return optax.chain(scale_by_mixing(), weighting, optax.scale(-1.0 * mixing))
