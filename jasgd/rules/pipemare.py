r"""PipeMare's learning rate: divided by the delay at first, and less and less so.

Yang, Zhang, Li, Re, Aberger, De Sa, "PipeMare: Asynchronous Pipeline Parallel DNN Training",
https://arxiv.org/abs/1910.05124; the rule of its public code, where delays count from 1: here :math:`\max(\tau, 1)`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jasgd._checks import require_positive

CITATION = """\
@article{yang2019pipemare,
  title={{PipeMare}: Asynchronous Pipeline Parallel {DNN} Training},
  author={Yang, Bowen and Zhang, Jian and Li, Jonathan and R{\\'e}, Christopher and Aberger, Christopher R. and De Sa, Christopher},
  journal={arXiv:1910.05124}, year={2019}}
"""  # noqa: E501


def scale_by_pipemare(anneal_steps: ArrayLike) -> optax.GradientTransformationExtraArgs:
    r""":math:`g \mapsto g / \max(\tau, 1)^{1 - \min(k / k_0, 1)}` at step :math:`k`.

    Args:
      anneal_steps: :math:`k_0`, after which delays change nothing.

    Returns:
      A transformation whose ``update`` needs the keywords ``step`` and ``delay``.

    Example:
      >>> rule = jasgd.rules.scale_by_pipemare(anneal_steps=100)
      >>> gradient, _ = rule.update(jnp.ones(1), rule.init(jnp.ones(1)), step=50, delay=4)
      >>> float(gradient[0])
      0.5
    """
    require_positive("anneal_steps", anneal_steps)

    def update_fn(updates: Any, state: Any, params: Any = None, *, step: Any, delay: Any, **extra_args: Any) -> Any:
        del params, extra_args
        power = 1.0 - jnp.minimum(1.0 * jnp.asarray(step) / anneal_steps, 1.0)  # int32 / int32 is single precision
        factor = jnp.maximum(delay, 1) ** -power
        return jax.tree.map(lambda g: factor.astype(g.dtype) * g, updates), state

    return optax.GradientTransformationExtraArgs(optax.init_empty_state, update_fn)
