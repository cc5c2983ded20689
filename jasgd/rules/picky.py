"""Drop a gradient by distance, not by age.

Cohen, Daniely, Drori, Koren, Schain, "Asynchronous Stochastic Optimization Robust to Arbitrary Delays", NeurIPS 2021.
The paper's threshold is a multiple of the target accuracy over the smoothness; here the radius is an argument. Every
received gradient counts as a server version, as in the paper.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jasgd._checks import require_not_negative

CITATION = """\
@inproceedings{cohen2021asynchronous,
  title={Asynchronous Stochastic Optimization Robust to Arbitrary Delays},
  author={Cohen, Alon and Daniely, Amit and Drori, Yoel and Koren, Tomer and Schain, Mariano},
  booktitle={Advances in Neural Information Processing Systems}, year={2021}}
"""


class PickyState(NamedTuple):
    """State of :func:`picky`."""

    rejected: jax.Array  # (), int32, gradients thrown away so far
    picky_inner: optax.OptState


def picky(inner: optax.GradientTransformation, radius: ArrayLike) -> optax.GradientTransformationExtraArgs:
    r"""Call ``inner`` if :math:`\|x_t - x_{t - \tau}\| \le r`; else the update is zero and no state of it moves.

    Args:
      inner: what to do with accepted gradients.
      radius: how far the parameters may have moved since the gradient was computed.

    Returns:
      A transformation whose ``update`` needs ``params`` and the keyword ``stale_params``.

    Example:
      >>> rule = jasgd.rules.picky(optax.sgd(0.1), radius=1.0)
      >>> params = jnp.ones(1)
      >>> updates, state = rule.update(params, rule.init(params), params, stale_params=params + 2.0)
      >>> float(updates[0]), int(state.rejected)
      (0.0, 1)
    """
    require_not_negative("radius", radius)
    inner = optax.with_extra_args_support(inner)

    def init_fn(params: optax.Params) -> PickyState:
        return PickyState(rejected=jnp.zeros([], jnp.int32), picky_inner=inner.init(params))

    def update_fn(updates: Any, state: PickyState, params: Any = None, *, stale_params: Any, **extra_args: Any) -> Any:
        if params is None:
            raise ValueError("`picky` compares `stale_params` with `params`: pass the current parameters to `update`.")
        distance = optax.tree.norm(optax.tree.sub(params, stale_params))
        accepted = distance <= radius
        updates, inner_state = jax.lax.cond(
            accepted,
            lambda: inner.update(updates, state.picky_inner, params, stale_params=stale_params, **extra_args),
            lambda: (optax.tree.zeros_like(updates), state.picky_inner),
        )
        rejected = jnp.where(accepted, state.rejected, optax.safe_increment(state.rejected))
        return updates, PickyState(rejected=rejected, picky_inner=inner_state)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
