r"""Seconds that the methods need until :math:`\frac1K \sum E \|\nabla F\|^2 \le \epsilon`, in the fixed computation model.

The unit is :math:`L \Delta / \epsilon`, the number of steps of gradient descent, and the noise enters as
:math:`s = \sigma^2 / \epsilon`. **All universal constants are set to 1**: these numbers compare methods, they do not predict
a run. Smooth functions, :math:`\Delta = F(x_0) - \inf F`, :math:`\sigma^2` the variance of a gradient,
:math:`H_m` of :func:`jasgd.theory.harmonic_mean`, :math:`\tau_A` the mean of the times.

The homogeneous lower bound and the methods that reach it: Tyurin, Richtárik 2023, Optimal Time Complexities of Parallel
Stochastic Optimization Methods Under a Fixed Computation Model, https://arxiv.org/abs/2305.12387 (Rennala, Malenia);
Maranjyan, Tyurin, Richtárik 2025, Ringmaster ASGD, https://arxiv.org/abs/2501.16168; Maranjyan, Richtárik 2025, Ringleader
ASGD, https://arxiv.org/abs/2509.22860.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from jasgd.theory._checks import checked_times, require_count, require_not_negative, require_positive
from jasgd.theory.times import harmonic_means


def optimal_time(times: ArrayLike, noise_ratio: float, *, heterogeneous: bool = False) -> float:
    r"""The least possible time: :math:`\min_m H_m (1 + s / m)`; with heterogeneous data :math:`\tau_n + \tau_A s / n`.

    In units of :math:`L \Delta / \epsilon`. Lower bounds of Tyurin, Richtárik 2023 up to constants, reached by Rennala SGD,
    Ringmaster ASGD and asynchronous SGD on the :func:`best_m` fastest workers; with heterogeneous data by Malenia SGD, and
    by Ringleader ASGD with its own smoothness constant in place of L. Finite as long as one worker answers, with
    heterogeneous data only if all do.

    Args:
      times: seconds per gradient of every worker.
      noise_ratio: :math:`s = \sigma^2 / \epsilon`.
      heterogeneous: whether each worker has its own data.

    Example:
      >>> optimal_time([1.0, 2.0], noise_ratio=4.0)
      4.0
      >>> optimal_time([1.0, 2.0], noise_ratio=4.0, heterogeneous=True)
      5.0
    """
    require_not_negative(noise_ratio=noise_ratio)
    return _least(times, 1.0, noise_ratio, heterogeneous)


def convex_optimal_time(
    times: ArrayLike,
    accuracy: float,
    *,
    smoothness: float,
    distance: float,
    noise: float = 0.0,
    heterogeneous: bool = False,
) -> float:
    r"""Seconds until :math:`E F - F^* \le \epsilon` for convex F, constants set to 1.

    .. math:: \min_m H_m \left(\frac{\sqrt L R}{\sqrt\epsilon} + \frac{\sigma^2 R^2}{m \epsilon^2}\right),
        \qquad \tau_n \frac{\sqrt L R}{\sqrt\epsilon} + \tau_A \frac{\sigma^2 R^2}{n \epsilon^2},

    the second with heterogeneous data. Accelerated Rennala and Malenia SGD, Tyurin, Richtárik 2023.

    Args:
      times: seconds per gradient of every worker.
      accuracy: :math:`\epsilon`, of the function value.
      smoothness, distance: L and :math:`R = \|x_0 - x^*\|`.
      noise: :math:`\sigma`.
      heterogeneous: whether each worker has its own data.

    Example:
      >>> convex_optimal_time([1.0, 1.0], 0.25, smoothness=1.0, distance=1.0, noise=0.5)
      4.0
    """
    require_positive(accuracy=accuracy, smoothness=smoothness, distance=distance)
    require_not_negative(noise=noise)
    steps = math.sqrt(smoothness / accuracy) * distance
    return _least(times, steps, (noise * distance / accuracy) ** 2, heterogeneous)


def strongly_convex_optimal_time(
    times: ArrayLike,
    accuracy: float,
    *,
    smoothness: float,
    strong_convexity: float,
    noise: float = 0.0,
    heterogeneous: bool = False,
) -> float:
    r"""Seconds until :math:`E F - F^* \le \epsilon` for strongly convex F, constants and logarithms set to 1.

    .. math:: \min_m H_m \left(\sqrt{\frac L\mu} + \frac{\sigma^2}{m \epsilon \mu}\right),
        \qquad \tau_n \sqrt{\frac L\mu} + \tau_A \frac{\sigma^2}{n \epsilon \mu},

    the second with heterogeneous data. Tyurin, Richtárik 2023.

    Args:
      times: seconds per gradient of every worker.
      accuracy: :math:`\epsilon`, of the function value.
      smoothness, strong_convexity: L and :math:`\mu \le L`.
      noise: :math:`\sigma`.
      heterogeneous: whether each worker has its own data.

    Example:
      >>> strongly_convex_optimal_time([1.0, 1.0], 0.5, smoothness=4.0, strong_convexity=1.0, noise=1.0)
      3.0
    """
    require_positive(accuracy=accuracy, smoothness=smoothness, strong_convexity=strong_convexity)
    require_not_negative(noise=noise)
    if strong_convexity > smoothness:
        raise ValueError(f"`strong_convexity` cannot exceed `smoothness`, got {strong_convexity} and {smoothness}.")
    steps = math.sqrt(smoothness / strong_convexity)
    return _least(times, steps, noise**2 / (accuracy * strong_convexity), heterogeneous)


def asynchronous_time(times: ArrayLike, noise_ratio: float) -> float:
    r"""Asynchronous SGD with delay-adaptive steps, homogeneous data: :math:`H_n (1 + s / n)` :math:`L \Delta / \epsilon`.

    Koloskova, Stich, Jaggi 2022 and Mishchenko et al. 2022, in seconds; constants set to 1.

    Args:
      times: seconds per gradient of every worker.
      noise_ratio: :math:`s = \sigma^2 / \epsilon`.

    Example:
      >>> asynchronous_time([1.0, 3.0], noise_ratio=2.0)
      3.0
    """
    require_not_negative(noise_ratio=noise_ratio)
    means = harmonic_means(times)
    return float(means[-1] * (1 + noise_ratio / len(means)))


def synchronous_time(times: ArrayLike, noise_ratio: float) -> float:
    r"""Minibatch SGD that waits for all workers: :math:`\tau_n (1 + s / n)` :math:`L \Delta / \epsilon`; constants set to 1.

    Args:
      times: seconds per gradient of every worker.
      noise_ratio: :math:`s = \sigma^2 / \epsilon`.

    Example:
      >>> synchronous_time([1.0, 3.0], noise_ratio=2.0)
      6.0
    """
    return m_synchronous_time(times, noise_ratio, m=len(checked_times(times)))


def m_synchronous_time(times: ArrayLike, noise_ratio: float, *, m: int | None = None) -> float:
    r"""Minibatch SGD with the first m arrivals of each round: :math:`\tau_m (1 + s / m)` :math:`L \Delta / \epsilon`.

    With the best m it is at most :func:`m_synchronous_factor` times the :func:`optimal_time` (our bound). The method is that
    of Begunov, Tyurin 2026, https://arxiv.org/abs/2602.03802; the constants, here 1, are not the paper's.

    Args:
      times: seconds per gradient of every worker.
      noise_ratio: :math:`s = \sigma^2 / \epsilon`.
      m: workers waited for; by default the best, :func:`best_m_synchronous`.

    Example:
      >>> m_synchronous_time([1.0, 3.0, 20.0], noise_ratio=6.0)
      7.0
      >>> m_synchronous_time([1.0, 3.0, 20.0], noise_ratio=6.0, m=2)
      12.0
    """
    require_not_negative(noise_ratio=noise_ratio)
    tau = np.sort(checked_times(times))
    seconds = tau * (1 + noise_ratio / np.arange(1, len(tau) + 1))
    if m is None:
        return float(seconds.min())
    require_count(m=m)
    if m > len(tau):
        raise ValueError(f"`m` must count some of the {len(tau)} workers, got {m}.")
    return float(seconds[m - 1])


def m_synchronous_factor(num_workers: int) -> float:
    r"""How much slower than optimal waiting for the best m workers can be: at most :math:`1 + \ln n`.

    Our bound. With :math:`T = \min_m \tau_m (1 + s / m)`, :math:`1 / \tau_j \le (j + s) / (j T)` for all j, hence
    :math:`H_m (1 + s / m) \ge T (m + s) / (m + s h_m) \ge T / h_m` for :math:`h_m = 1 + \frac12 + \dots + \frac1m`. With the
    times :math:`\tau_m = m / (m + s)` the factor tends to :math:`h_n` as s grows.

    Example:
      >>> round(m_synchronous_factor(100), 3)
      5.605
    """
    require_count(num_workers=num_workers)
    return 1 + math.log(num_workers)


def dude_time(times: ArrayLike, noise_ratio: float, *, smoothness_ratio: float = 1.0) -> float:
    r"""DuDe-ASGD, also called IA2SGD: :math:`\frac{L_\max}{L} \tau_n (1 + s / n)` :math:`L \Delta / \epsilon`.

    As stated by Maranjyan, Richtárik 2025, who compare with it; constants set to 1.

    Args:
      times: seconds per gradient of every worker.
      noise_ratio: :math:`s = \sigma^2 / \epsilon`.
      smoothness_ratio: :math:`L_\max / L` of the workers' functions and their mean.

    Example:
      >>> dude_time([1.0, 3.0], noise_ratio=2.0, smoothness_ratio=1.5)
      9.0
    """
    _require_ratio(smoothness_ratio)
    return smoothness_ratio * synchronous_time(times, noise_ratio)


def rescaled_time(
    times: ArrayLike,
    noise_ratio: float,
    *,
    heterogeneity_ratio: float = 0.0,
    growth: float = 0.0,
    smoothness_ratio: float = 1.0,
) -> float:
    r"""Rescaled ASGD, heterogeneous data, in units of :math:`L \Delta / \epsilon`.

    .. math:: \tau_A \frac sn + \frac{L_\max}{L} \left(\sqrt{s + z} \, \frac{\tau_n}{\tau_H} \tau_A
        + \rho \, \frac{\tau_n}{\tau_H} \tau_n \right) + \tau_n

    The first term is that of the lower bound; for it to lead, :math:`\epsilon` must be very small. Mahran, Maranjyan,
    Richtárik 2026, https://arxiv.org/abs/2605.13434; the paper's constants are not known to us and set to 1.

    Args:
      times: seconds per gradient of every worker.
      noise_ratio: :math:`s = \sigma^2 / \epsilon`.
      heterogeneity_ratio: :math:`z = \zeta^2 / \epsilon` for :math:`\|\nabla F_i\|^2 \le \zeta^2 + \rho^2 \|\nabla F\|^2`.
      growth: :math:`\rho`.
      smoothness_ratio: :math:`L_\max / L` of the workers' functions and their mean.

    Example:
      >>> rescaled_time([1.0, 1.0], noise_ratio=4.0)
      5.0
    """
    require_not_negative(noise_ratio=noise_ratio, heterogeneity_ratio=heterogeneity_ratio, growth=growth)
    _require_ratio(smoothness_ratio)
    tau = checked_times(times)
    if np.isinf(tau).any():
        return math.inf
    mean, largest, spread = tau.mean(), tau.max(), tau.max() * np.mean(1 / tau)
    late = math.sqrt(noise_ratio + heterogeneity_ratio) * mean + growth * largest
    return float(mean * noise_ratio / len(tau) + smoothness_ratio * spread * late + largest)


def _least(times: ArrayLike, steps: float, gradients: float, heterogeneous: bool) -> float:
    """Seconds for so many steps in a row and so many gradients in all."""
    if heterogeneous:
        tau = checked_times(times)
        if np.isinf(tau).any():
            return math.inf
        return float(tau.max() * steps + tau.mean() * gradients / len(tau))
    means = harmonic_means(times)
    return float(np.min(means * (steps + gradients / np.arange(1, len(means) + 1))))


def _require_ratio(smoothness_ratio: float) -> None:
    if not 1 <= smoothness_ratio < math.inf:
        raise ValueError(f"`smoothness_ratio` must be finite and at least 1, as L_max is, got {smoothness_ratio!r}.")
