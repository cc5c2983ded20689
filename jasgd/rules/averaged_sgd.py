r"""SGD with an average of its points, as PyTorch's ``ASGD``, after Polyak and Juditsky 1992.

Formulas and defaults as in the PyTorch code, single-tensor branch. A version of its multi-tensor branch computes
:math:`\eta / (1 + \lambda \eta k^\alpha)` instead.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jasgd._checks import require_not_negative
from jasgd.rules._rows import sum_dtype

CITATION = """\
@article{polyak1992acceleration,
  title={Acceleration of Stochastic Approximation by Averaging},
  author={Polyak, Boris T. and Juditsky, Anatoli B.},
  journal={SIAM Journal on Control and Optimization}, volume={30}, number={4}, year={1992}}
"""


class AverageState(NamedTuple):
    """The part of the state of :func:`averaged_sgd` that holds the average."""

    average_step: jax.Array  # (), int32, k
    reported_params: optax.Params  # a, like the parameters, in single precision at least


def averaged_sgd(
    learning_rate: ArrayLike = 1e-2,
    *,
    decay: ArrayLike = 1e-4,
    power: ArrayLike = 0.75,
    start: ArrayLike = 1e6,
) -> optax.GradientTransformationExtraArgs:
    r"""SGD with weight decay and a falling step; the estimate to report is the mean of the later points.

    .. math:: \eta_k = \frac{\eta}{(1 + \lambda \eta k)^\alpha}, \quad w \leftarrow (1 - \lambda \eta_k) w - \eta_k g,
        \quad a \leftarrow a + \frac{w - a}{\max(1, k - t_0)}, \quad k = 0, 1, \dots

    After K updates a is the mean of :math:`w_{t_0 + 2}, \dots, w_K`, where :math:`w_j` are the parameters after j updates,
    and :math:`w_K` if :math:`K \le t_0 + 1`: with the default start a short run is never averaged.
    :func:`jasgd.rules.reported_params` reads a from the state; ``jasgd.rules.report(averaged_sgd(...))`` has it as its
    parameters.

    Args:
      learning_rate: :math:`\eta`.
      decay: :math:`\lambda`, of the weights and of the step; 0 is plain SGD with averaging.
      power: :math:`\alpha`.
      start: :math:`t_0`, a whole number of updates.

    Returns:
      A rule that needs ``params``.

    Example:
      >>> rule = jasgd.rules.averaged_sgd(0.1, decay=0.0, start=500)
    """
    for name, value in (("learning_rate", learning_rate), ("decay", decay), ("power", power), ("start", start)):
        require_not_negative(name, value)

    def step_size(k: jax.Array) -> Any:
        return learning_rate / (1 + decay * learning_rate * k) ** power

    return optax.chain(optax.add_decayed_weights(decay), optax.scale_by_learning_rate(step_size), _average(start))


def _average(start: ArrayLike) -> optax.GradientTransformationExtraArgs:
    """Leaves the updates alone and keeps the mean of the parameters that they make."""

    def init_fn(params: optax.Params) -> AverageState:
        return AverageState(
            average_step=jnp.zeros([], jnp.int32),
            reported_params=jax.tree.map(lambda p: p.astype(sum_dtype(p)), params),
        )

    def update_fn(updates: Any, state: AverageState, params: Any = None, **extra_args: Any) -> Any:
        del extra_args
        share = 1.0 / jnp.maximum(1, state.average_step - start)
        average = jax.tree.map(
            lambda a, w: (a + share.astype(a.dtype) * (w - a)).astype(a.dtype),
            state.reported_params,
            optax.apply_updates(params, updates),
        )
        step = optax.safe_increment(state.average_step)
        return updates, AverageState(average_step=step, reported_params=average)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
