r"""A fixed matrix before the step.

For linear regression under covariate shift the matrix of :func:`jasgd.theory.shift_preconditioner` makes gradient steps end
at
the best linear estimator: Liu, Zhang, Chen, Fang, "Optimal Algorithms in Linear Regression under Covariate Shift: On the
Importance of Precondition", 2025, https://arxiv.org/abs/2502.09047.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from jasgd._checks import require, require_not_negative

CITATION = """\
@article{liu2025optimal,
  title={Optimal Algorithms in Linear Regression under Covariate Shift: On the Importance of Precondition},
  author={Liu and Zhang and Chen and Fang}, journal={arXiv:2502.09047}, year={2025}}
"""


def precondition(preconditioner: ArrayLike) -> optax.GradientTransformationExtraArgs:
    r""":math:`g \mapsto P g`, where g is all gradients as one vector, in the order of ``jax.flatten_util.ravel_pytree``.

    Args:
      preconditioner: P, a (d, d) matrix, a vector for a diagonal, or a number. It is given to the gradient's precision.

    Example:
      >>> rule = optax.chain(jasgd.rules.precondition([2.0, 0.5]), optax.sgd(0.1))
      >>> gradient = {"a": jnp.ones(1), "b": jnp.ones(1)}
      >>> updates, _ = rule.update(gradient, rule.init(gradient))
      >>> updates
      {'a': Array([-0.2], dtype=float32), 'b': Array([-0.05], dtype=float32)}
    """
    shape = np.shape(preconditioner)
    if len(shape) == 2:
        require("preconditioner", preconditioner, np.isfinite, "a square matrix of finite numbers")
    else:
        require_not_negative("preconditioner", preconditioner)
    if len(shape) > 2 or len(set(shape)) > 1:
        raise ValueError(f"`preconditioner` must be a square matrix, a vector or a number, got shape {shape}.")

    def update_fn(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> Any:
        del params, extra_args
        if not shape:
            return jax.tree.map(lambda g: (preconditioner * g).astype(g.dtype), updates), state
        gradient, unravel = ravel_pytree(updates)
        if gradient.shape != shape[:1]:
            raise ValueError(f"`preconditioner` is for {shape[0]} numbers, but there are {len(gradient)} parameters.")
        matrix = jnp.asarray(preconditioner, gradient.dtype)
        product = matrix * gradient if len(shape) == 1 else jnp.matmul(matrix, gradient, precision="highest")
        return unravel(product), state

    return optax.GradientTransformationExtraArgs(optax.init_empty_state, update_fn)
