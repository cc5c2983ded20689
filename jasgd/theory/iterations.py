r"""How many server steps until :math:`\frac1K \sum E \|\nabla F\|^2 \le \epsilon`, smooth non-convex F.

Symbols as in :mod:`jasgd.theory.step_sizes`. The first functions have the constants of a theorem and return whole numbers;
the last three are orders with all constants set to 1, because the theorems' are not known to us, and return floats.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from jasgd.theory._checks import ceil, require_count, require_not_negative, require_positive


def rennala_iterations(smoothness: float, gap: float, accuracy: float) -> int:
    r"""Rounds of Rennala or Malenia SGD: :math:`\lceil 24 L \Delta / \epsilon \rceil`.

    Tyurin, Richtárik 2023, as recalled, with :func:`rennala_step_size`.

    Example:
      >>> rennala_iterations(smoothness=1.0, gap=2.0, accuracy=0.5)
      96
    """
    return ceil(24 * _steps(smoothness, gap, accuracy))


def ringmaster_iterations(smoothness: float, gap: float, accuracy: float, *, threshold: int, noise: float = 0.0) -> int:
    r"""Updates of Ringmaster ASGD: :math:`8 R L \Delta / \epsilon + 16 \sigma^2 L \Delta / \epsilon^2`.

    Maranjyan, Tyurin, Richtárik 2025, with :func:`ringmaster_step_size`.

    Args:
      smoothness, gap, accuracy: L, :math:`\Delta` and :math:`\epsilon`.
      threshold: R.
      noise: :math:`\sigma`.

    Example:
      >>> ringmaster_iterations(smoothness=1.0, gap=1.0, accuracy=0.5, threshold=2, noise=1.0)
      96
    """
    require_count(threshold=threshold)
    return ceil(_steps(smoothness, gap, accuracy) * (8 * threshold + 16 * _ratio(noise, accuracy)))


def ringleader_iterations(
    smoothness: float, gap: float, accuracy: float, *, num_workers: int, noise: float = 0.0, batch: float = 1.0
) -> int:
    r"""Updates of Ringleader ASGD: :math:`32 n L \Delta / \epsilon + 40 \sigma^2 L \Delta / (B \epsilon^2)`.

    Maranjyan, Richtárik 2025, as recalled, with :func:`ringleader_step_size`. n updates take at most :math:`2 \tau_n`.

    Args:
      smoothness, gap, accuracy: L, :math:`\Delta` and :math:`\epsilon`.
      num_workers: n.
      noise: :math:`\sigma`.
      batch: B, the least harmonic mean of a round's counts; at least :func:`ringleader_batch`.

    Example:
      >>> ringleader_iterations(smoothness=1.0, gap=1.0, accuracy=0.5, num_workers=3)
      192
    """
    require_count(num_workers=num_workers)
    require_positive(batch=batch)
    return ceil(_steps(smoothness, gap, accuracy) * (32 * num_workers + 40 * _ratio(noise, accuracy) / batch))


def mindflayer_iterations(smoothness: float, gap: float, accuracy: float, *, batch: float, noise: float = 0.0) -> int:
    r"""Rounds of MindFlayer SGD: :math:`\max(1, \sigma^2 / (\epsilon B)) \, 8 L \Delta / \epsilon`.

    Maranjyan, Omar, Richtárik 2024, with :func:`mindflayer_step_size`.

    Args:
      smoothness, gap, accuracy: L, :math:`\Delta` and :math:`\epsilon`.
      batch: :math:`B = \sum_i p_i B_i`, the expected number of gradients per round.
      noise: :math:`\sigma`.

    Example:
      >>> mindflayer_iterations(smoothness=1.0, gap=1.0, accuracy=0.5, batch=1.0, noise=1.0)
      32
    """
    require_positive(batch=batch)
    return ceil(_steps(smoothness, gap, accuracy) * 8 * max(1.0, _ratio(noise, accuracy) / batch))


def birch_iterations(smoothness: float, gap: float, accuracy: float, *, distance: int, noise: float = 0.0) -> int:
    r"""Steps of any Birch SGD: :math:`4 (R + 1) L \Delta / \epsilon + 8 \sigma^2 L \Delta / \epsilon^2`.

    Birch SGD, 2025, https://arxiv.org/abs/2505.09218, from a summary, with :func:`birch_step_size`.

    Args:
      smoothness, gap, accuracy: L, :math:`\Delta` and :math:`\epsilon`.
      distance: R, the largest tree distance; for asynchronous SGD the largest delay.
      noise: :math:`\sigma`.

    Example:
      >>> birch_iterations(smoothness=1.0, gap=1.0, accuracy=0.5, distance=4)
      40
    """
    require_not_negative(distance=distance)
    return ceil(_steps(smoothness, gap, accuracy) * (4 * (distance + 1) + 8 * _ratio(noise, accuracy)))


def dude_iterations(smoothness: float, gap: float, *, num_workers: int, max_delay: int) -> int:
    r"""The fewest steps for which DuDe-ASGD's Theorem 1 holds: :math:`1024 L \Delta n \tau_\max`.

    Wang, Sun, Wai, Zhang 2024, https://arxiv.org/abs/2405.16966, from a summary, with :func:`dude_step_size`.

    Args:
      smoothness, gap: L and :math:`\Delta`.
      num_workers: n.
      max_delay: :math:`\tau_\max`, the largest age of a table entry in updates, counted from 1.

    Example:
      >>> dude_iterations(smoothness=1.0, gap=1.0, num_workers=4, max_delay=8)
      32768
    """
    require_positive(smoothness=smoothness, gap=gap)
    require_count(num_workers=num_workers, max_delay=max_delay)
    return ceil(1024 * smoothness * gap * num_workers * max_delay)


def asynchronous_iterations(
    smoothness: float,
    gap: float,
    accuracy: float,
    *,
    concurrency: int,
    noise: float = 0.0,
    max_delay: float | None = None,
    lipschitz: float | None = None,
) -> float:
    r"""Order of the updates of asynchronous SGD with a constant step, homogeneous data.

    .. math:: L \Delta \left(\frac{\sigma^2}{\epsilon^2} + \frac{\sqrt{C \tau_\max}}\epsilon\right),
        \qquad L \Delta \left(\frac{\sigma^2}{\epsilon^2} + \frac{C G}{\epsilon^{3/2}} + \frac C\epsilon\right),

    the second, without delays, for gradients bounded by G. Koloskova, Stich, Jaggi 2022, Theorem 6; our factor
    :math:`L \Delta`; constants set to 1.

    Args:
      smoothness, gap, accuracy: L, :math:`\Delta` and :math:`\epsilon`.
      concurrency: C, jobs in flight.
      noise: :math:`\sigma`.
      max_delay: :math:`\tau_\max`, at least 1, or
      lipschitz: G.

    Example:
      >>> asynchronous_iterations(smoothness=1.0, gap=1.0, accuracy=0.5, concurrency=4, max_delay=9)
      12.0
    """
    steps, ratio = _steps(smoothness, gap, accuracy), _ratio(noise, accuracy)
    require_count(concurrency=concurrency)
    if max_delay is not None and lipschitz is None:
        require_positive(max_delay=max_delay)
        late = math.sqrt(concurrency * max_delay)
    elif lipschitz is not None and max_delay is None:
        require_not_negative(lipschitz=lipschitz)
        late = concurrency * (lipschitz / math.sqrt(accuracy) + 1)
    else:
        raise ValueError("give either `max_delay` or `lipschitz`: the theorem has one bound for each.")
    return steps * (ratio + late)


def delay_adaptive_iterations(
    smoothness: float, gap: float, accuracy: float, *, concurrency: int, noise: float = 0.0
) -> float:
    r"""Order of the updates of delay-adaptive SGD, any delays: :math:`L \Delta (\sigma^2 / \epsilon^2 + C / \epsilon)`.

    Koloskova, Stich, Jaggi 2022, Theorem 8, homogeneous data; our factor :math:`L \Delta`; constants set to 1. Minibatch SGD
    with batches of C needs as many gradients.

    Args:
      smoothness, gap, accuracy: L, :math:`\Delta` and :math:`\epsilon`.
      concurrency: C, jobs in flight.
      noise: :math:`\sigma`.

    Example:
      >>> delay_adaptive_iterations(smoothness=1.0, gap=1.0, accuracy=0.5, concurrency=4, noise=1.0)
      12.0
    """
    require_count(concurrency=concurrency)
    return _steps(smoothness, gap, accuracy) * (_ratio(noise, accuracy) + concurrency)


def random_assignment_iterations(
    smoothness: float,
    gap: float,
    accuracy: float,
    *,
    mean_delays: ArrayLike,
    heterogeneity: ArrayLike,
    max_delay: float,
    noise: float = 0.0,
) -> float:
    r"""Order of the updates of asynchronous SGD that gives every new job to a uniformly drawn client, heterogeneous data.

    .. math:: L \Delta \left(\frac{\sigma^2 + \zeta^2}{\epsilon^2}
        + \frac{\sqrt{\bar\tau \frac1n \sum_i \zeta_i^2 \bar\tau_i}}{\epsilon^{3/2}}
        + \frac{\sqrt{\bar\tau \tau_\max}}\epsilon\right), \qquad \zeta^2 = \frac1n \sum_i \zeta_i^2

    Koloskova, Stich, Jaggi 2022, Theorem 10, constant step; our factor :math:`L \Delta`; constants set to 1.

    Args:
      smoothness, gap, accuracy: L, :math:`\Delta` and :math:`\epsilon`.
      mean_delays: :math:`\bar\tau_i`, of each client's gradients; their mean stands for :math:`\bar\tau`, as every client
        gets equally many jobs.
      heterogeneity: :math:`\zeta_i`, :math:`\|\nabla F_i - \nabla F\| \le \zeta_i`, one for all clients or one for each.
      max_delay: :math:`\tau_\max`.
      noise: :math:`\sigma`.

    Example:
      >>> random_assignment_iterations(1.0, 1.0, accuracy=0.25, mean_delays=[1.0, 1.0], heterogeneity=0.0, max_delay=4.0)
      8.0
    """
    steps, ratio = _steps(smoothness, gap, accuracy), _ratio(noise, accuracy)
    require_not_negative(max_delay=max_delay)
    delays, zeta = np.asarray(mean_delays, np.float64), np.asarray(heterogeneity, np.float64)
    if delays.ndim != 1 or not len(delays) or zeta.shape not in ((), delays.shape):
        raise ValueError("`mean_delays` must have one number for each client, `heterogeneity` one in all or one for each.")
    if not (np.all(delays >= 0) and np.all(delays <= max_delay) and np.all(zeta >= 0)):
        raise ValueError("`mean_delays` must be between 0 and `max_delay`, and `heterogeneity` must not be negative.")
    drift = math.sqrt(delays.mean() * np.mean(zeta**2 * delays) / accuracy)
    noisy = ratio + float(np.mean(zeta**2)) / accuracy
    return float(steps * (noisy + drift + math.sqrt(delays.mean() * max_delay)))


def _steps(smoothness: float, gap: float, accuracy: float) -> float:
    require_positive(smoothness=smoothness, gap=gap, accuracy=accuracy)
    return smoothness * gap / accuracy


def _ratio(noise: float, accuracy: float) -> float:
    require_not_negative(noise=noise)
    require_positive(accuracy=accuracy)
    return noise**2 / accuracy
