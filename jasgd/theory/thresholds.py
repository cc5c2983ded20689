r"""Batch sizes, delay thresholds and numbers of workers that the time-optimal methods ask for.

:math:`s = \sigma^2 / \epsilon`, where :math:`\epsilon` is the target for the expected squared norm of the gradient.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from jasgd.theory._checks import ceil, checked_times, first_minimum, require_count, require_not_negative
from jasgd.theory.times import harmonic_means


def best_m(times: ArrayLike, noise_ratio: float) -> int:
    r"""How many of the fastest workers to use: the smallest minimiser of :math:`H_m (1 + s / m)`.

    The number of workers of Naive Optimal ASGD in Maranjyan, Tyurin, Richtárik 2025 (recalled), good only as long as
    speeds do not change.

    Args:
      times: seconds per gradient of every worker.
      noise_ratio: :math:`s = \sigma^2 / \epsilon`.

    Example:
      >>> best_m(np.sqrt(np.arange(1, 101)), noise_ratio=17.29)
      23
    """
    require_not_negative(noise_ratio=noise_ratio)
    means = harmonic_means(times)
    return first_minimum(means * (1 + noise_ratio / np.arange(1, len(means) + 1))) + 1


def best_m_synchronous(times: ArrayLike, noise_ratio: float) -> int:
    r"""How many arrivals m-Synchronous SGD should wait for: the smallest minimiser of :math:`\tau_m (1 + s / m)`.

    Args:
      times: seconds per gradient of every worker.
      noise_ratio: :math:`s = \sigma^2 / \epsilon`.

    Example:
      >>> best_m_synchronous(np.sqrt(np.arange(1, 101)), noise_ratio=17.29)
      17
    """
    require_not_negative(noise_ratio=noise_ratio)
    tau = np.sort(checked_times(times))
    return first_minimum(tau * (1 + noise_ratio / np.arange(1, len(tau) + 1))) + 1


def ringmaster_threshold(noise_ratio: float, *, times: ArrayLike | None = None) -> int:
    r"""Ringmaster ASGD's delay threshold: :math:`R = \max(1, \lceil s \rceil)`, for any speeds.

    With ``times``, :math:`\max(1, \lceil \sqrt{m s} \, \rceil)` for m of :func:`best_m`, the minimiser of
    :math:`(1 + R / m)(1 + s / R)` (derived; Maranjyan, Tyurin, Richtárik 2025 mention the same formula, as we recall).

    Args:
      noise_ratio: :math:`s = \sigma^2 / \epsilon`.
      times: seconds per gradient of every worker, if they are known.

    Example:
      >>> ringmaster_threshold(17.29)
      18
      >>> ringmaster_threshold(17.29, times=np.sqrt(np.arange(1, 101)))
      20
    """
    require_not_negative(noise_ratio=noise_ratio)
    return max(1, ceil(noise_ratio if times is None else math.sqrt(best_m(times, noise_ratio) * noise_ratio)))


def rennala_batch(noise_ratio: float) -> int:
    r"""Rennala SGD's batch: :math:`S = \max(1, \lceil s \rceil)` gradients per step.

    Tyurin, Richtárik 2023, as recalled.

    Example:
      >>> rennala_batch(17.29)
      18
    """
    require_not_negative(noise_ratio=noise_ratio)
    return max(1, ceil(noise_ratio))


def malenia_batch(noise_ratio: float, num_workers: int) -> int:
    r"""Malenia SGD's batch: :math:`S = \max(n, \lceil s \rceil)`; a round ends when the counts' harmonic mean is S / n.

    Tyurin, Richtárik 2023, as recalled.

    Example:
      >>> malenia_batch(17.29, num_workers=100)
      100
    """
    require_count(num_workers=num_workers)
    return max(num_workers, rennala_batch(noise_ratio))


def ringleader_batch(times: ArrayLike) -> float:
    r"""What the harmonic mean of Ringleader ASGD's counts is at least: :math:`\max(1, \tau_n / (2 \tau_A))`.

    The second is Maranjyan, Richtárik 2025, from a summary; the first holds because every count is at least 1.

    Args:
      times: seconds per gradient of every worker, all finite.

    Example:
      >>> ringleader_batch([1.0] * 9 + [91.0])
      4.55
    """
    tau = checked_times(times, finite=True)
    return max(1.0, float(tau.max() / (2 * tau.mean())))
