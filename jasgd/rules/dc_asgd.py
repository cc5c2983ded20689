r"""DC-ASGD: a delayed gradient, corrected to first order for how far the parameters have moved.

Zheng, Meng, Wang, Chen, Yu, Ma, Liu, "Asynchronous Stochastic Gradient Descent with Delay Compensation", ICML 2017,
https://arxiv.org/abs/1609.08326. The Hessian is replaced by the diagonal of the gradient's outer product.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jasgd._checks import require_momentum, require_not_negative, require_positive
from jasgd.rules import _rows
from jasgd.rules._learning_rate import scale_by_learning_rate

CITATION = """\
@inproceedings{zheng2017asynchronous,
  title={Asynchronous Stochastic Gradient Descent with Delay Compensation},
  author={Zheng, Shuxin and Meng, Qi and Wang, Taifeng and Chen, Wei and Yu, Nenghai and Ma, Zhi-Ming and Liu, Tie-Yan},
  booktitle={ICML}, year={2017}, note={arXiv:1609.08326}}
"""


def scale_by_delay_compensation(strength: ArrayLike) -> optax.GradientTransformationExtraArgs:
    r""":math:`g \mapsto g + \lambda \, g \odot g \odot (w - w_\text{stale})`.

    Args:
      strength: :math:`\lambda`.

    Returns:
      A transformation whose ``update`` needs ``params`` and the keyword ``stale_params``, what the worker was sent.

    Example:
      >>> rule = jasgd.rules.scale_by_delay_compensation(strength=0.5)
      >>> gradient, _ = rule.update(2 * jnp.ones(1), rule.init(jnp.ones(1)), jnp.ones(1), stale_params=jnp.zeros(1))
      >>> float(gradient[0])
      4.0
    """
    require_not_negative("strength", strength)

    def update_fn(updates: Any, state: Any, params: Any = None, *, stale_params: Any, **extra_args: Any) -> Any:
        del extra_args
        moved = optax.tree.sub(_required(params), stale_params)
        return jax.tree.map(lambda g, d: (g + strength * g * g * d).astype(g.dtype), updates, moved), state

    return optax.GradientTransformationExtraArgs(optax.init_empty_state, update_fn)


def dc_asgd(learning_rate: optax.ScalarOrSchedule, strength: ArrayLike) -> optax.GradientTransformationExtraArgs:
    """SGD with constant delay compensation; needs ``params`` and ``stale_params``.

    Example:
      >>> rule = jasgd.rules.dc_asgd(0.1, strength=0.04)
    """
    return optax.chain(scale_by_delay_compensation(strength), scale_by_learning_rate(learning_rate))


class AdaptiveCompensationState(NamedTuple):
    """State of :func:`scale_by_adaptive_delay_compensation`."""

    mean_square: optax.Updates  # like the parameters, in single precision at least


def scale_by_adaptive_delay_compensation(
    strength: ArrayLike, *, decay: ArrayLike = 0.95, eps: ArrayLike = 1e-7
) -> optax.GradientTransformationExtraArgs:
    r"""The same with :math:`\lambda / \sqrt{M + \epsilon}`, where :math:`M \leftarrow \rho M + (1 - \rho) g^2`.

    Example:
      >>> rule = jasgd.rules.scale_by_adaptive_delay_compensation(strength=1.0)
      >>> gradient, _ = rule.update(jnp.ones(1), rule.init(jnp.ones(1)), jnp.ones(1), stale_params=jnp.ones(1))
      >>> float(gradient[0])
      1.0
    """
    require_not_negative("strength", strength)
    require_momentum(decay, "decay")
    require_positive("eps", eps)

    def init_fn(params: optax.Params) -> AdaptiveCompensationState:
        return AdaptiveCompensationState(mean_square=_rows.sums_like(params))

    def update_fn(
        updates: Any, state: AdaptiveCompensationState, params: Any = None, *, stale_params: Any, **extra_args: Any
    ) -> Any:
        del extra_args
        squares = jax.tree.map(
            lambda m, g: (decay * m + (1 - decay) * jnp.square(g.astype(m.dtype))).astype(m.dtype),
            state.mean_square,
            updates,
        )
        moved = optax.tree.sub(_required(params), stale_params)

        def compensated(g: jax.Array, d: jax.Array, m: jax.Array) -> jax.Array:
            return (g + strength / jnp.sqrt(m + eps) * g * g * d).astype(g.dtype)

        return jax.tree.map(compensated, updates, moved, squares), AdaptiveCompensationState(squares)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def dc_asgd_adaptive(learning_rate: optax.ScalarOrSchedule, strength: ArrayLike) -> optax.GradientTransformationExtraArgs:
    """SGD with adaptive delay compensation; needs ``params`` and ``stale_params``.

    Example:
      >>> rule = jasgd.rules.dc_asgd_adaptive(0.1, strength=2.0)
    """
    return optax.chain(scale_by_adaptive_delay_compensation(strength), scale_by_learning_rate(learning_rate))


def _required(params: Any) -> Any:
    if params is None:
        raise ValueError(
            "delay compensation compares `stale_params` with `params`: pass the current parameters to `update`."
        )
    return params
