r"""Accelerated SGD with a short and a long step.

Jain, Kakade, Kidambi, Netrapalli, Sidford, "Accelerating Stochastic Gradient Descent for Least Squares Regression", COLT
2018, https://arxiv.org/abs/1704.08227. The form with four numbers is recalled from there and from Li et al.,
https://arxiv.org/abs/2311.14222; its equivalences are derived. The public code AccSGD with the numbers lr,
:math:`\kappa, \xi` and :math:`k = 0.7` is the rule with :math:`\delta = lr`, :math:`\gamma = k \xi \, lr`,
:math:`\beta = k^2 \xi / \kappa` and :math:`\alpha = k / (k + \beta)`.
"""

from typing import Any, NamedTuple

import jax
import optax
from jax.typing import ArrayLike

from jasgd._checks import require, require_positive

CITATION = """\
@inproceedings{jain2018accelerating,
  title={Accelerating Stochastic Gradient Descent for Least Squares Regression},
  author={Jain, Prateek and Kakade, Sham M. and Kidambi, Rahul and Netrapalli, Praneeth and Sidford, Aaron},
  booktitle={Conference on Learning Theory}, year={2018}, note={arXiv:1704.08227}}
"""


class AcceleratedSgdState(NamedTuple):
    """State of :func:`accelerated_sgd`; both start at the initial parameters."""

    reported_params: optax.Params  # w, like the parameters: the estimate
    long_point: optax.Params  # v, like the parameters


def accelerated_sgd(
    delta: ArrayLike, gamma: ArrayLike, alpha: ArrayLike, beta: ArrayLike
) -> optax.GradientTransformationExtraArgs:
    r"""A short step for the estimate w, a long one for v; gradients g are taken at the parameters u in between.

    .. math:: w \leftarrow u - \delta g, \qquad v \leftarrow \beta u + (1 - \beta) v - \gamma g,
        \qquad u \leftarrow \alpha w + (1 - \alpha) v.

    The estimate to report is w, not u: :func:`jasgd.rules.reported_params` reads it from the state, and
    ``jasgd.rules.report(accelerated_sgd(...))`` is the same rule with w as its parameters, which metrics of a problem then
    see.

    Both steps only multiply g: a schedule for them is ``optax.chain(optax.scale_by_schedule(factor),
    accelerated_sgd(...))``, e.g. with the factor ``optax.exponential_decay(1.0, steps_of_a_stage, 0.25, staircase=True)``.
    What the rule returns is the whole change of the parameters: scale gradients before it, not after.

    With :math:`\gamma = \delta` or :math:`\alpha = 1` it is SGD with the step :math:`\delta`, with :math:`\beta = 1` SGD
    with the step :math:`\alpha \delta + (1 - \alpha) \gamma`; with :math:`\alpha = 1 / (1 + \beta)`,
    :math:`\gamma = \delta / \beta` it is ``optax.sgd(delta, momentum=(1 - beta) / (1 + beta), nesterov=True)``.

    Args:
      delta, gamma: the short and the long step, usually :math:`\gamma \ge \delta`.
      alpha, beta: in (0, 1], usually :math:`\alpha = 1 / (1 + \beta)`.

    Returns:
      A rule that needs ``params``.

    Example:
      >>> rule = jasgd.rules.accelerated_sgd(delta=0.1, gamma=0.5, alpha=0.5, beta=0.25)
      >>> params = jnp.zeros(1)
      >>> updates, state = rule.update(jnp.ones(1), rule.init(params), params)
      >>> params = optax.apply_updates(params, updates)
      >>> params, jasgd.rules.reported_params(state, params)
      (Array([-0.3], dtype=float32), Array([-0.1], dtype=float32))
    """
    require_positive("delta", delta)
    require_positive("gamma", gamma)
    require("alpha", alpha, lambda a: 0 < a <= 1, "a number in (0, 1]")
    require("beta", beta, lambda b: 0 < b <= 1, "a number in (0, 1]")

    def init_fn(params: optax.Params) -> AcceleratedSgdState:
        return AcceleratedSgdState(reported_params=params, long_point=params)

    def update_fn(updates: Any, state: AcceleratedSgdState, params: Any = None, **extra_args: Any) -> Any:
        del extra_args
        if params is None:
            raise ValueError("`accelerated_sgd` steps from `params`: pass the current parameters to `update`.")
        w = jax.tree.map(lambda u, g: (u - delta * g).astype(u.dtype), params, updates)
        v = jax.tree.map(
            lambda u, v, g: (beta * u + (1 - beta) * v - gamma * g).astype(v.dtype), params, state.long_point, updates
        )
        moved = jax.tree.map(lambda w, v, u, g: (alpha * w + (1 - alpha) * v - u).astype(g.dtype), w, v, params, updates)
        return moved, AcceleratedSgdState(reported_params=w, long_point=v)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
