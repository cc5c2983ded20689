r"""The equilibrium time: how long a round takes that balances computing and sending.

Worker i needs :math:`h_i` seconds per gradient and :math:`\tau_i` seconds per compressed message, of relative variance
:math:`\omega`; :math:`s = \sigma^2 / \epsilon`.

Reference: Tyurin, Pozzi, Ilin, Richtárik 2024, Shadowheart SGD: Distributed Asynchronous SGD with Optimal Time Complexity
Under Arbitrary Computation and Communication Heterogeneity, https://arxiv.org/abs/2402.04785.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from jasgd.theory._checks import require_not_negative


def equilibrium_time(omega: float, noise_ratio: float, compute: ArrayLike, upload: ArrayLike) -> float:
    r"""Seconds per round of Shadowheart SGD, up to a factor of 2, and of every centralized method, up to constants.

    With the workers sorted by :math:`M_i = \max(h_i, \tau_i)`,

    .. math:: t^* = \min_j \max(M_j, s^*_j), \qquad \Big( \sum_{i \le j}
        \frac1{2 \tau_i \omega + 4 \tau_i h_i s \omega / s^*_j + 2 h_i s} \Big)^{-1} = s^*_j,

    as in the authors' code; the optimality is the paper's, as recalled. It is evaluated as the least t with (derived)

    .. math:: \sum_{i : M_i \le t} \frac t{a_i + c_i / t} \ge 1,
        \qquad a_i = 2 \tau_i \omega + 2 h_i s, \quad c_i = 4 \tau_i h_i \omega s.

    Infinite if no worker ever answers, 0 if one needs no time at all. RandK messages of K out of d numbers have
    :math:`\omega = d / K - 1` and take K times as long as one number.

    Args:
      omega: :math:`\omega`, as an unbiased :class:`jasgd.compressors.Compressor` declares it.
      noise_ratio: :math:`s`.
      compute: :math:`h_i`, seconds per gradient of every worker.
      upload: :math:`\tau_i`, seconds per message of every worker.

    Example:
      >>> equilibrium_time(1.0, 2.0, compute=[1.0, 1.0], upload=[1.0, 1.0])
      4.0
      >>> equilibrium_time(1.0, 2.0, compute=[1.0, 1.0, 99.0], upload=[1.0, 1.0, 0.0])
      4.0
    """
    require_not_negative(omega=omega, noise_ratio=noise_ratio)
    h, tau = checked_pair(compute, upload)
    slower = np.maximum(h, tau)
    answers = np.isfinite(slower)
    if not answers.any():
        return math.inf
    unit = slower.min()
    if unit == 0:
        return 0.0
    # In units of the shortest M, where nothing depends on seconds or days.
    slower, h, tau = slower[answers], h[answers] / unit, tau[answers] / unit
    begins, a, c = slower / unit, 2 * (tau * omega + h * noise_ratio), 4 * (tau * omega) * (h * noise_ratio)

    def enough(t: float) -> bool:
        with np.errstate(divide="ignore"):
            return bool(np.sum((t / (a + c / t))[begins <= t]) >= 1)

    if enough(1.0):
        return float(unit)
    late = 2.0
    while late < math.inf and not enough(late):
        late *= 2
    early = late / 2
    for _ in range(90):
        middle = early + (late - early) / 2
        early, late = (early, middle) if enough(middle) else (middle, late)
    time = late * unit
    # A worker that just makes it must not be lost to rounding.
    nearest = slower[np.argmin(np.abs(slower - time))]
    return float(nearest if abs(nearest - time) <= 1e-12 * time else time)


def checked_pair(compute: ArrayLike, upload: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Seconds per gradient and per message as float64; 0 and infinity are allowed."""
    h, tau = np.asarray(compute, np.float64), np.asarray(upload, np.float64)
    for name, seconds in (("compute", h), ("upload", tau)):
        if seconds.ndim != 1 or not len(seconds):
            raise ValueError(f"`{name}` must hold one number per worker, got an array of shape {seconds.shape}.")
        if not np.all(seconds >= 0):
            worker = int(np.argmin(seconds >= 0))
            raise ValueError(f"`{name}` must not be negative, worker {worker} has {seconds[worker]}.")
    if len(h) != len(tau):
        raise ValueError(f"`compute` and `upload` must name the same workers, got {len(h)} and {len(tau)}.")
    return h, tau
