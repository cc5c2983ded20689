r"""Weight prediction: workers compute where momentum will have carried the parameters when their gradient arrives.

The "msnag" rule of FTPipe, read in its public code (saareliad/FTPipe). With an
expected delay of 1 and the momentum as dampening it is Nesterov's method for pipelines, Ajanthan et al. 2025,
https://arxiv.org/abs/2505.01099: :func:`pipeline_nesterov`.
"""

from typing import Any, NamedTuple

import jax
import optax
from jax.typing import ArrayLike

from jasgd._checks import require_momentum, require_not_negative
from jasgd.rules._learning_rate import scale_by_learning_rate

CITATION = """\
@inproceedings{eliad2021fine,
  title={Fine-tuning Giant Neural Networks on Commodity Hardware with Automatic Pipeline Model Parallelism},
  author={Eliad, Saar and Hakimi, Ido and De Jagger, Alon and Silberstein, Mark and Schuster, Assaf},
  booktitle={USENIX Annual Technical Conference}, year={2021}}
"""
CITATIONS = {
    "pipeline_nesterov": """\
@inproceedings{ajanthan2025nesterov,
  title={Nesterov Method for Asynchronous Pipeline Parallel Optimization},
  author={Ajanthan, Thalaiyasingam and others}, booktitle={ICML}, year={2025}, note={arXiv:2505.01099}}
"""
}


class WeightPredictionState(NamedTuple):
    """State of :func:`scale_by_weight_prediction`."""

    predicted_momentum: optax.Updates  # m, like the parameters
    sent_offset: optax.Updates  # like the parameters: what is sent, minus the parameters


def scale_by_weight_prediction(
    momentum: ArrayLike, expected_delay: ArrayLike, *, learning_rate: ArrayLike, dampening: ArrayLike = 0.0
) -> optax.GradientTransformationExtraArgs:
    r""":math:`m \leftarrow \gamma m + (1 - d) g`, :math:`g \mapsto m`, and a prediction is sent.

    Workers are sent :math:`w - \eta (\gamma + \dots + \gamma^s) m`, where s is the expected delay.

    Args:
      momentum: :math:`\gamma` in [0, 1).
      expected_delay: :math:`s`, for instance the number of workers minus 1.
      learning_rate: the constant :math:`\eta` by which the result is scaled afterwards; here it only enters what is sent.
      dampening: :math:`d`.

    Example:
      >>> rule = jasgd.rules.scale_by_weight_prediction(0.5, expected_delay=1, learning_rate=0.1)
      >>> update, state = rule.update(jnp.ones(1), rule.init(jnp.ones(1)))
      >>> round(float(state.sent_offset[0]), 3)
      -0.05
    """
    require_momentum(momentum)
    require_momentum(dampening, "dampening")
    require_not_negative("expected_delay", expected_delay)
    require_not_negative("learning_rate", learning_rate)

    def init_fn(params: optax.Params) -> WeightPredictionState:
        return WeightPredictionState(
            predicted_momentum=optax.tree.zeros_like(params), sent_offset=optax.tree.zeros_like(params)
        )

    def update_fn(updates: Any, state: WeightPredictionState, params: Any = None, **extra_args: Any) -> Any:
        del params, extra_args
        m = jax.tree.map(
            lambda m, g: (momentum * m + (1 - dampening) * g).astype(g.dtype), state.predicted_momentum, updates
        )
        ahead = learning_rate * (momentum - momentum ** (expected_delay + 1)) / (1 - momentum)
        offset = jax.tree.map(lambda m: (-ahead * m).astype(m.dtype), m)
        return m, WeightPredictionState(predicted_momentum=m, sent_offset=offset)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def weight_prediction(
    learning_rate: ArrayLike, momentum: ArrayLike, expected_delay: ArrayLike
) -> optax.GradientTransformationExtraArgs:
    """Momentum SGD whose workers compute at the predicted point; gradients at :func:`jasgd.rules.sent_params`.

    Example:
      >>> rule = jasgd.rules.weight_prediction(0.01, momentum=0.9, expected_delay=15)
    """
    return optax.chain(
        scale_by_weight_prediction(momentum, expected_delay, learning_rate=learning_rate),
        scale_by_learning_rate(learning_rate),
    )


def pipeline_nesterov(learning_rate: ArrayLike, momentum: ArrayLike) -> optax.GradientTransformationExtraArgs:
    r""":math:`d_t = \gamma (w_t - w_{t-1})`, :math:`w_{t+1} = w_t + d_t - \eta (1 - \gamma) g`; :math:`w + d` is sent.

    Formula recalled; with :math:`\gamma = 0` it is delayed SGD.

    Example:
      >>> rule = jasgd.rules.pipeline_nesterov(0.01, momentum=0.9)
    """
    return optax.chain(
        scale_by_weight_prediction(momentum, 1, learning_rate=learning_rate, dampening=momentum),
        scale_by_learning_rate(learning_rate),
    )
