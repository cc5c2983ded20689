r"""What each worker does in a round of Shadowheart SGD, what its messages weigh, and the server's steps.

Tyurin, Pozzi, Ilin, Richtárik 2024, https://arxiv.org/abs/2402.04785, as in the authors' code.
"""

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike

from jasgd.theory._checks import ceil, require_count, require_not_negative, require_positive
from jasgd.theory.equilibrium import checked_pair, equilibrium_time


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ShadowheartCounts:
    r"""A round of Shadowheart SGD: :math:`g = \frac1Z \sum_i w_i \sum_{j \le m_i} C_{ij}(S_i)`.

    :math:`S_i` is the sum of worker i's :math:`b_i` gradients at the common point, :math:`C_{ij}` its j-th compression.

    Attributes:
      time: the budget t: computing takes at most t seconds, and so does sending.
      gradients: (n,) int64, :math:`b_i`, 0 for workers that take no part.
      messages: (n,) int64, :math:`m_i`, likewise.
      weights: (n,) float64, :math:`w_i`, likewise.
      normaliser: :math:`Z = \sum_i w_i m_i b_i`.

    Example:
      >>> counts = jasgd.theory.shadowheart_counts(1.0, 1.0, [1.0], [1.0])
      >>> counts.time == 2 + 8**0.5, counts.gradients
      (True, array([4]))
    """

    time: float
    gradients: np.ndarray
    messages: np.ndarray
    weights: np.ndarray
    normaliser: float

    @property
    def active(self) -> np.ndarray:
        """(n,) bool, the workers that take part."""
        return self.gradients > 0


def shadowheart_counts(
    omega: float,
    noise_ratio: float,
    compute: ArrayLike,
    upload: ArrayLike,
    *,
    time: float | None = None,
    max_messages: int | None = None,
) -> ShadowheartCounts:
    r"""How many gradients and messages each worker fits into a round, and their weights.

    .. math:: b_i = \lfloor t / h_i \rfloor, \qquad m_i = \lfloor t / \tau_i \rfloor,
        \qquad w_i = \frac1{b_i \omega + \omega s + m_i s}, \qquad Z = \sum_i w_i m_i b_i

    over the workers with :math:`b_i, m_i \ge 1`; :math:`w_i = 1` if :math:`\omega = s = 0`. Then the variance of g is at
    most :math:`\max(\|\nabla f\|^2, \epsilon) / Z`, and :math:`Z \ge 1` for every :math:`t \ge t^*` (both derived).
    With ``max_messages`` of at least :math:`\omega`, only :math:`Z \ge 1/3` (derived).

    Args:
      omega: :math:`\omega`.
      noise_ratio: :math:`s = \sigma^2 / \epsilon`.
      compute: :math:`h_i`, seconds per gradient of every worker.
      upload: :math:`\tau_i`, seconds per message of every worker.
      time: t; by default :func:`equilibrium_time`.
      max_messages: the most messages of one worker, for RandK :math:`\lceil d / K \rceil` as in the authors' experiments:
        no worker then sends more than the gradient itself would take. Needed if sending takes no time.

    Example:
      >>> counts = shadowheart_counts(1.0, 2.0, [1.0, 1.0, 99.0], [1.0, 1.0, 0.0], max_messages=2)
      >>> counts.gradients, counts.messages, round(counts.normaliser, 3)
      (array([4, 4, 0]), array([2, 2, 0]), 1.6)
    """
    require_not_negative(omega=omega, noise_ratio=noise_ratio)
    h, tau = checked_pair(compute, upload)
    if time is None:
        time = equilibrium_time(omega, noise_ratio, h, tau)
        if time == math.inf:
            raise ValueError("no worker ever answers: each has an infinite `compute` or `upload`.")
    if max_messages is not None:
        require_count(max_messages=max_messages)
    most = math.inf if max_messages is None else max_messages
    if time:
        require_positive(time=time)
    gradients, messages = _floor(time, h), np.minimum(_floor(time, tau), most)
    active = (gradients > 0) & (messages > 0)
    if not active.any():
        raise ValueError(f"no worker computes a gradient and sends a message within `time`, got {time}.")
    gradients, messages = (np.where(active, counts, 0.0) for counts in (gradients, messages))
    for name, counts, seconds in (("compute", gradients, h), ("upload", messages, tau)):
        worker = int(np.argmax(counts))
        if counts[worker] >= 2**53:  # beyond, float64 has no whole numbers one by one
            raise ValueError(
                f"`{name}` must not vanish next to the {time} seconds of a round, worker {worker} has {seconds[worker]}."
            )
    spread = gradients * omega + omega * noise_ratio + messages * noise_ratio
    weights = np.where(active, 1 / np.where(spread > 0, spread, 1.0), 0.0)
    return ShadowheartCounts(
        time=float(time),
        gradients=gradients.astype(np.int64),
        messages=messages.astype(np.int64),
        weights=weights,
        normaliser=float(np.sum(weights * messages * gradients)),
    )


def shadowheart_step_size(smoothness: float) -> float:
    r"""Shadowheart SGD: :math:`1 / (2L)`, whatever the noise, for rounds whose normaliser is :math:`Z \ge 1`.

    Recalled for this paper; Tyurin, Richtárik 2024, https://arxiv.org/abs/2405.16218, state the same for Fragile SGD.

    Args:
      smoothness: L.

    Example:
      >>> shadowheart_step_size(smoothness=2.0)
      0.25
    """
    require_positive(smoothness=smoothness)
    return 1 / (2 * smoothness)


def shadowheart_iterations(smoothness: float, gap: float, accuracy: float) -> int:
    r"""Rounds of Shadowheart SGD until :math:`\frac1K \sum E \|\nabla f\|^2 \le \epsilon`.

    They are :math:`\lceil 8 L \Delta / \epsilon \rceil` (derived; the papers state 16), with :func:`shadowheart_step_size`:
    :math:`Z \ge 1` gives :math:`E \|g\|^2 \le 2 \|\nabla f\|^2 + \epsilon`, hence a mean of at most
    :math:`4 L \Delta / K + \epsilon / 2`. A round takes at most twice the :func:`equilibrium_time`.

    Args:
      smoothness, gap, accuracy: L, :math:`\Delta = f(x_0) - \inf f` and :math:`\epsilon`.

    Example:
      >>> shadowheart_iterations(smoothness=1.0, gap=2.0, accuracy=0.5)
      32
    """
    require_positive(smoothness=smoothness, gap=gap, accuracy=accuracy)
    return ceil(8 * smoothness * gap / accuracy)


def _floor(time: float, seconds: np.ndarray) -> np.ndarray:
    """How many fit, rounding errors forgiven: a worker that needs exactly the whole time does one."""
    with np.errstate(divide="ignore"):
        return np.floor(np.divide(time, seconds, out=np.full(len(seconds), np.inf), where=seconds > 0) * (1 + 1e-12))
