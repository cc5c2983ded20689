r"""Seconds that the methods need when sending takes time too, in units of :math:`L \Delta / \epsilon`.

Worker i needs :math:`h_i` seconds per gradient and :math:`\dot\tau_i` seconds to send one number to the server, whose
answers take no time: :math:`d \dot\tau_i` for a whole gradient, :math:`K \dot\tau_i` for a RandK message, of relative
variance :math:`\omega = d / K - 1`. All workers have the same function; :math:`s = \sigma^2 / \epsilon`. **All universal
constants are set to 1**, as in :mod:`jasgd.theory.time_complexity`: they compare methods and do not predict a run.

Methods that send every gradient whole, at any time, need the seconds of :func:`jasgd.theory.optimal_time` (Rennala SGD) and
:func:`jasgd.theory.asynchronous_time` for :math:`h_i + d \dot\tau_i` seconds per gradient. Shadowheart SGD needs the
:func:`jasgd.theory.equilibrium_time`.

The methods are those with which Tyurin, Pozzi, Ilin, Richtárik 2024, Shadowheart SGD, https://arxiv.org/abs/2402.04785,
compare; the numbers are not those of the paper's tables.
"""

import numpy as np
from numpy.typing import ArrayLike

from jasgd.theory._checks import require_count, require_not_negative
from jasgd.theory.equilibrium import checked_pair, equilibrium_time
from jasgd.theory.time_complexity import asynchronous_time, optimal_time


def linked_minibatch_time(omega: float, noise_ratio: float, compute: ArrayLike, upload: ArrayLike) -> float:
    r"""Minibatch SGD that waits for one message of every worker, compressed or whole.

    .. math:: \max_i \max(h_i, \tau_i) \left(1 + \frac\omega n + (\omega + 1) \frac sn\right),
        \qquad E \|C(g) - \nabla f\|^2 \le \omega \|\nabla f\|^2 + (\omega + 1) \sigma^2,

    derived from the inequality on the right. Whole gradients have :math:`\omega = 0`, which leaves
    :math:`\max_i \max(h_i, \tau_i) (1 + s / n)`, recalled for this paper, not verified. Infinite if one worker never
    answers.

    Args:
      omega: :math:`\omega`, as an unbiased :class:`jasgd.compressors.Compressor` declares it.
      noise_ratio: :math:`s = \sigma^2 / \epsilon`.
      compute: :math:`h_i`, seconds per gradient of every worker.
      upload: :math:`\tau_i`, seconds per message of every worker.

    Example:
      >>> linked_minibatch_time(0.0, 2.0, compute=[1.0, 1.0], upload=[4.0, 12.0])  # whole gradients of 4 numbers
      24.0
      >>> linked_minibatch_time(3.0, 2.0, compute=[1.0, 1.0], upload=[1.0, 3.0])  # one number of each
      19.5
    """
    require_not_negative(omega=omega, noise_ratio=noise_ratio)
    h, tau = checked_pair(compute, upload)
    return float(np.maximum(h, tau).max() * (1 + omega / len(h) + (omega + 1) * noise_ratio / len(h)))


def communication_times(
    dim: int, noise_ratio: float, compute: ArrayLike, upload_per_number: ArrayLike, *, k: int = 1
) -> dict[str, float]:
    r"""The seconds of Shadowheart SGD and of what it is compared with, by name.

    - Shadowheart SGD: :math:`t^*(\omega, s, h, K \dot\tau)` of :func:`equilibrium_time`, as in the authors' code.
    - minibatch SGD and QSGD (RandK): :func:`linked_minibatch_time` with 0 and :math:`d \dot\tau` (recalled, not verified),
      with :math:`\omega` and :math:`K \dot\tau` (derived).
    - Rennala SGD: :math:`\min_m H_m (1 + s / m)` for :math:`h + d \dot\tau`, the formula of its paper, sending counted as
      computing.
    - asynchronous SGD: :math:`H_n (1 + s / n)` for :math:`h + d \dot\tau`, nothing dropped (recalled, not verified).
    - fastest worker alone: :math:`\min_i h_i (1 + s)`, nothing sent (derived).
    - any method without compression, at least: :math:`t^*(0, s, h, d \dot\tau)` (derived).

    The last and the optimality of the first are about methods that work through the server: the fastest worker alone can
    be faster. If one worker never answers, minibatch SGD and QSGD take for ever, the others do not.

    Args:
      dim: d, how many numbers a gradient has.
      noise_ratio: :math:`s = \sigma^2 / \epsilon`.
      compute: :math:`h_i`, seconds per gradient of every worker.
      upload_per_number: :math:`\dot\tau_i`, seconds per number that a worker sends.
      k: K, numbers per RandK message; 1 is best for Shadowheart SGD, up to a constant (recalled).

    Example:
      >>> for name, seconds in communication_times(4, 2.0, [1.0, 1.0], [1.0, 3.0]).items():
      ...     print(f"{name:40} {seconds:6.2f}")
      Shadowheart SGD                            8.92
      minibatch SGD                             24.00
      QSGD (RandK)                              19.50
      Rennala SGD                               14.44
      asynchronous SGD                          14.44
      fastest worker alone                       3.00
      any method without compression, at least   4.00
    """
    require_count(dim=dim, k=k)
    if k > dim:
        raise ValueError(f"`k` must count some of the {dim} numbers, got {k}.")
    require_not_negative(noise_ratio=noise_ratio)
    h, tau = checked_pair(compute, upload_per_number)
    omega, whole = dim / k - 1, h + dim * tau
    if whole.all():
        rennala, asynchronous = optimal_time(whole, noise_ratio), asynchronous_time(whole, noise_ratio)
    else:  # who needs no time at all delivers everything at once
        rennala = asynchronous = 0.0
    return {
        "Shadowheart SGD": equilibrium_time(omega, noise_ratio, h, k * tau),
        "minibatch SGD": linked_minibatch_time(0.0, noise_ratio, h, dim * tau),
        "QSGD (RandK)": linked_minibatch_time(omega, noise_ratio, h, k * tau),
        "Rennala SGD": rennala,
        "asynchronous SGD": asynchronous,
        "fastest worker alone": float(h.min() * (1 + noise_ratio)),
        "any method without compression, at least": equilibrium_time(0.0, noise_ratio, h, dim * tau),
    }
