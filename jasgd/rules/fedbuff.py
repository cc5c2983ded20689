r"""FedBuff: a buffer of client updates, each damped by its staleness.

Nguyen et al., "Federated Learning with Buffered Asynchronous Aggregation", AISTATS 2022, https://arxiv.org/abs/2106.06639;
read in Meta's simulator FLSim, whose default is the sum over the buffer, where the paper has the mean. Staleness is
counted in server steps.
"""

import optax

from jasgd.rules._learning_rate import scale_by_learning_rate
from jasgd.rules.delay_weights import Weight
from jasgd.rules.scale_by_delay import scale_by_delay
from jasgd.rules.when_applied import gather, when_applied

CITATION = """\
@inproceedings{nguyen2022federated,
  title={Federated Learning with Buffered Asynchronous Aggregation},
  author={Nguyen, John and Malik, Kshitiz and Zhan, Hongyuan and Yousefpour, Ashkan and Rabbat, Mike and Malek, Mani and Huba, Dzmitry},
  booktitle={AISTATS}, year={2022}, note={arXiv:2106.06639}}
"""  # noqa: E501


def fedbuff(
    learning_rate: optax.ScalarOrSchedule,
    *,
    weight: Weight | None = None,
    inner: optax.GradientTransformation | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Steps with :math:`\frac1K \sum_i w(\tau_i) \Delta_i` over a buffer; needs the keywords ``delay`` and ``apply``.

    Args:
      learning_rate: of the server.
      weight: of the staleness; by default :math:`(1 + \tau)^{-1/2}`.
      inner: a server optimizer for the mean, before the learning rate, e.g. ``optax.scale_by_adam()``.

    Example:
      >>> rule = jasgd.rules.fedbuff(0.7, inner=optax.trace(0.9))
    """
    step = scale_by_learning_rate(learning_rate)
    server = step if inner is None else optax.chain(inner, step)
    return optax.chain(scale_by_delay(weight), gather(), when_applied(server))
