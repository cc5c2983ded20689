r"""Averages of the workers' seconds per gradient.

Notation of all of :mod:`jasgd.theory`: worker :math:`i = 1..n` needs :math:`\tau_i` seconds per stochastic gradient; in
formulas :math:`\tau_1 \le \dots \le \tau_n`, and the functions sort for themselves. An infinite time is a worker that never
answers. Communication takes no time.
"""

import numpy as np
from numpy.typing import ArrayLike

from jasgd.theory._checks import checked_times


def harmonic_mean(times: ArrayLike, m: int | None = None) -> float:
    r"""The harmonic mean of the m fastest workers' times: :math:`H_m = m / \sum_{i \le m} 1 / \tau_i`.

    Together they deliver :math:`m / H_m` gradients per second.

    Args:
      times: seconds per gradient of every worker.
      m: how many of the fastest; by default all, :math:`\tau_H = H_n`.

    Example:
      >>> harmonic_mean([8.0, 1.0])
      1.7777777777777777
      >>> harmonic_mean([8.0, 1.0], m=1)
      1.0
    """
    means = harmonic_means(times)
    if m is None:
        m = len(means)
    if not 1 <= m <= len(means):
        raise ValueError(f"`m` must count some of the {len(means)} workers, got {m!r}.")
    return float(means[m - 1])


def harmonic_means(times: ArrayLike) -> np.ndarray:
    r"""All of them: :math:`H_1, \dots, H_n`.

    Example:
      >>> harmonic_means([2.0, float("inf"), 1.0])
      array([1.        , 1.33333333, 2.        ])
    """
    tau = np.sort(checked_times(times))
    with np.errstate(divide="ignore"):
        return np.arange(1, len(tau) + 1) / np.cumsum(1 / tau)


def mean_time(times: ArrayLike) -> float:
    r"""The arithmetic mean :math:`\tau_A = \frac1n \sum_i \tau_i`; infinite if some worker never answers.

    Example:
      >>> mean_time([8.0, 1.0])
      4.5
    """
    return float(checked_times(times).mean())


def update_shares(times: ArrayLike) -> np.ndarray:
    r"""The share of asynchronous SGD's updates that each worker makes: :math:`p_i = \tau_H / (n \tau_i)`.

    With heterogeneous data it therefore goes to the minimum of :math:`\sum_i p_i F_i`.

    Args:
      times: seconds per gradient of every worker, not all infinite.

    Example:
      >>> update_shares([3.0, 1.0])
      array([0.25, 0.75])
    """
    tau = checked_times(times)
    if np.isinf(tau).all():
        raise ValueError("nobody ever answers: all `times` are infinite.")
    return 1 / tau / np.sum(1 / tau)
