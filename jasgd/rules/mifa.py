r"""MIFA: the mean of every device's latest update, however long it has been away.

Gu, Huang, Zhang, Huang, "Fast Federated Learning in the Presence of Arbitrary Device Unavailability",
https://arxiv.org/abs/2106.04159. The table of :func:`jasgd.rules.scale_by_dude`, one server step per round.
"""

import optax

from jasgd.rules.dude import Start, semi_asynchronous_dude

CITATION = """\
@inproceedings{gu2021fast,
  title={Fast Federated Learning in the Presence of Arbitrary Device Unavailability},
  author={Gu, Xinran and Huang, Kaixuan and Zhang, Jingzhao and Huang, Longbo},
  booktitle={Advances in Neural Information Processing Systems}, year={2021}, note={arXiv:2106.04159}}
"""


def mifa(
    learning_rate: optax.ScalarOrSchedule, num_workers: int, *, start: Start = "wait"
) -> optax.GradientTransformationExtraArgs:
    """Steps with the mean of a table of all devices, once per round; needs ``worker`` and ``apply``.

    Args:
      learning_rate: the paper's decays like one over the round.
      num_workers: devices.
      start: "wait" until every device was seen once, as in the paper, or start from "zero".

    Example:
      >>> rule = jasgd.rules.mifa(lambda t: 0.1 / (1 + t), num_workers=100)
    """
    return semi_asynchronous_dude(learning_rate, num_workers, start=start)
