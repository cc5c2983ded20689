r"""Weights from the delay: functions :math:`\tau \mapsto w(\tau)` for :func:`jasgd.rules.scale_by_delay`.

:math:`\tau` is the true delay: server updates between the version that a gradient was computed at and its use, 0 if fresh.

- :func:`delay_adaptive`: public notebook of Mishchenko, Bach, Even, Woodworth 2022 (https://arxiv.org/abs/2206.07638).
- :func:`smoothness_capped`, :func:`reciprocal_beyond`, :func:`drop_beyond`: Koloskova, Stich, Jaggi 2022
  (https://arxiv.org/abs/2206.08307), Theorem 8 and the remark on tuning.
- :func:`reciprocal`: staleness-aware SGD, Zhang, Gupta, Lian, Liu 2016 (https://arxiv.org/abs/1511.05950).
- :func:`polynomial`, :func:`hinge`: FedAsync, Xie, Koyejo, Gupta 2019; ``polynomial(0.5)`` is also FedBuff's weight.
- :func:`two_level`, :func:`normalised`: Meta's simulator FLSim.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jasgd._checks import require_not_negative, require_positive

MISHCHENKO = """\
@inproceedings{mishchenko2022asynchronous,
  title={Asynchronous {SGD} Beats Minibatch {SGD} Under Arbitrary Delays},
  author={Mishchenko, Konstantin and Bach, Francis and Even, Mathieu and Woodworth, Blake},
  booktitle={Advances in Neural Information Processing Systems}, year={2022}, note={arXiv:2206.07638}}
"""
KOLOSKOVA = """\
@inproceedings{koloskova2022sharper,
  title={Sharper Convergence Guarantees for Asynchronous {SGD} for Distributed and Federated Learning},
  author={Koloskova, Anastasia and Stich, Sebastian U. and Jaggi, Martin},
  booktitle={Advances in Neural Information Processing Systems}, year={2022}, note={arXiv:2206.08307}}
"""
ZHANG = """\
@inproceedings{zhang2016staleness,
  title={Staleness-aware {Async-SGD} for Distributed Deep Learning},
  author={Zhang, Wei and Gupta, Suyog and Lian, Xiangru and Liu, Ji},
  booktitle={IJCAI}, year={2016}, note={arXiv:1511.05950}}
"""
XIE = """\
@article{xie2019asynchronous,
  title={Asynchronous Federated Optimization},
  author={Xie, Cong and Koyejo, Sanmi and Gupta, Indranil}, journal={arXiv:1903.03934}, year={2019}}
"""
CITATION = MISHCHENKO + KOLOSKOVA + ZHANG + XIE
CITATIONS = {
    "delay_adaptive": MISHCHENKO,
    "smoothness_capped": KOLOSKOVA,
    "reciprocal_beyond": KOLOSKOVA,
    "drop_beyond": KOLOSKOVA,
    "reciprocal": ZHANG,
    "polynomial": XIE,
    "hinge": XIE,
}

Weight = Callable[[Any], jax.Array]


def delay_adaptive(concurrency: ArrayLike) -> Weight:
    r""":math:`c / \max(c, \tau)`: leaves delays up to the number of jobs in flight alone.

    Example:
      >>> float(delay_adaptive(4)(8))
      0.5
    """
    require_positive("concurrency", concurrency)
    # JAX divides two int32 in single precision, double precision enabled or not: hence the 1.0 here and below.
    return lambda delay: jnp.asarray(concurrency / jnp.maximum(1.0 * jnp.asarray(concurrency), delay))


def smoothness_capped(
    learning_rate: ArrayLike, smoothness: ArrayLike, *, threshold: ArrayLike | None = None, kappa: float = 0.25
) -> Weight:
    r""":math:`\min(1, \kappa / (L \eta \max(\tau, 1)))`: the step is at most :math:`\kappa / (L \max(\tau, 1))`.

    Args:
      learning_rate, smoothness: :math:`\eta` and L.
      threshold: leave delays up to this one alone; None caps all steps.
      kappa: 1/4 in the theory.

    Example:
      >>> float(smoothness_capped(learning_rate=0.25, smoothness=1.0)(2))
      0.5
    """
    require_positive("learning_rate", learning_rate)
    require_positive("smoothness", smoothness)
    require_positive("kappa", kappa)
    if threshold is not None:
        require_not_negative("threshold", threshold)

    def weight(delay: Any) -> jax.Array:
        capped = jnp.minimum(1.0, kappa / (smoothness * learning_rate * jnp.maximum(delay, 1.0)))
        return capped if threshold is None else jnp.where(jnp.asarray(delay) > threshold, capped, 1.0)

    return weight


def reciprocal_beyond(concurrency: ArrayLike) -> Weight:
    r"""1 up to :math:`c`, then :math:`1 / \tau`: it jumps at :math:`c + 1`.

    Example:
      >>> [float(reciprocal_beyond(3)(delay)) for delay in (3, 4)]
      [1.0, 0.25]
    """
    require_not_negative("concurrency", concurrency)
    return lambda delay: jnp.where(jnp.asarray(delay) <= concurrency, 1.0, 1.0 / jnp.maximum(delay, 1))


def drop_beyond(max_delay: ArrayLike) -> Weight:
    r"""1 up to a largest delay, then 0. The rule's state still moves: see :func:`jasgd.rules.drop_stale`.

    Example:
      >>> [float(drop_beyond(3)(delay)) for delay in (3, 4)]
      [1.0, 0.0]
    """
    require_not_negative("max_delay", max_delay)
    return two_level(max_delay, 0.0)


def two_level(cutoff: ArrayLike, value: ArrayLike) -> Weight:
    """1 up to a cutoff, then a constant.

    Example:
      >>> float(two_level(3, 0.5)(4))
      0.5
    """
    require_not_negative("cutoff", cutoff)
    require_not_negative("value", value)
    return lambda delay: jnp.where(jnp.asarray(delay) <= cutoff, 1.0, value)


def reciprocal() -> Weight:
    r""":math:`1 / \max(\tau, 1)`.

    Example:
      >>> [float(reciprocal()(delay)) for delay in (0, 1, 2)]
      [1.0, 1.0, 0.5]
    """
    return lambda delay: 1.0 / jnp.maximum(delay, 1)


def polynomial(power: ArrayLike = 0.5) -> Weight:
    r""":math:`(1 + \tau)^{-p}`.

    Example:
      >>> float(polynomial(0.5)(3))
      0.5
    """
    require_not_negative("power", power)
    return lambda delay: (1.0 + jnp.asarray(delay)) ** -jnp.asarray(power)


def hinge(slope: ArrayLike, threshold: ArrayLike) -> Weight:
    r"""1 up to :math:`b`, then :math:`1 / (a (\tau - b) + 1)`.

    Example:
      >>> float(hinge(slope=1.0, threshold=2)(5))
      0.25
    """
    require_not_negative("slope", slope)
    require_not_negative("threshold", threshold)
    return lambda delay: jnp.asarray(1.0 / (slope * jnp.maximum(jnp.asarray(delay) - threshold, 0) + 1.0))


def normalised(weight: Weight, average_delay: ArrayLike = 1) -> Weight:
    """A weight divided by its own value at an average delay.

    Example:
      >>> float(normalised(polynomial(1.0), average_delay=3)(3))
      1.0
    """
    return lambda delay: weight(delay) / weight(average_delay)
