r"""MindFlayer SGD: how many trials each worker gets, and what they cost.

A job of worker i takes :math:`\tau_i + \eta` seconds with random :math:`\eta \sim J_i`; a trial is cut at
:math:`\tau_i + t_i` seconds and succeeds with probability :math:`p_i = P(\eta \le t_i)`.

Reference: Maranjyan, Omar, Richtárik 2024, MindFlayer SGD: Efficient Parallel SGD in the Presence of Heterogeneous and
Random Worker Compute Times, https://arxiv.org/abs/2410.04285.
"""

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from jasgd.theory._checks import checked_times, first_minimum, require_not_negative, require_positive


def mindflayer_time(times: ArrayLike, noise_ratio: float, *, extra_time: ArrayLike, success: ArrayLike) -> float:
    r"""MindFlayer SGD, in units of :math:`L \Delta / \epsilon`, constants set to 1; also the length of its rounds.

    .. math:: \min_m T_m,
        \qquad T_m = \Big(\sum_{j \le m} \frac{p_j}{\tau_j + t_j}\Big)^{-1} \Big(S + \sum_{j \le m} p_j\Big),
        \qquad S = \max(1, s),

    workers sorted by :math:`\tau_j + t_j`.

    Args:
      times: :math:`\tau_i` of every worker.
      noise_ratio: :math:`s = \sigma^2 / \epsilon`.
      extra_time: :math:`t_i`, one for all workers or one for each.
      success: :math:`p_i`, likewise.

    Example:
      >>> mindflayer_time([1.0, 1.0], noise_ratio=9.0, extra_time=1.0, success=0.5)
      20.0
    """
    require_not_negative(noise_ratio=noise_ratio)
    return _best(*_trials(times, extra_time, success), max(1.0, noise_ratio))[0]


def mindflayer_trials(times: ArrayLike, batch: float, *, extra_time: ArrayLike, success: ArrayLike) -> np.ndarray:
    r"""How many trials each worker makes per round: :math:`B_i = \lceil T / (\tau_i + t_i) - 1 \rceil`, or none.

    T is the minimum of :func:`mindflayer_time`; workers beyond its m, and those that never succeed, make none. Then
    :math:`\sum_i p_i B_i \ge S`, and a round takes less than T seconds.

    Args:
      times: as for :func:`mindflayer_time`.
      batch: S.
      extra_time, success: as for :func:`mindflayer_time`.

    Returns:
      (n,) int64, in the order of ``times``.

    Example:
      >>> mindflayer_trials([1.0, 1.0, 50.0], batch=9, extra_time=1.0, success=0.5)
      array([9, 9, 0])
    """
    require_positive(batch=batch)
    limit, success = _trials(times, extra_time, success)
    total, used = _best(limit, success, batch)
    trials = np.zeros(len(limit), np.int64)
    # The ratio may miss a whole number by rounding.
    trials[used] = np.ceil(total / limit[used] * (1 - 1e-12)) - 1
    return trials


def mindflayer_gradient_time(time: float, extra: ArrayLike, *, extra_time: float = math.inf) -> float:
    r"""Expected seconds per gradient of one worker whose trials are cut: :math:`(\tau + E \min(\eta, t)) / P(\eta \le t)`.

    Args:
      time: :math:`\tau`.
      extra: values of :math:`\eta`, equally likely, for instance many draws.
      extra_time: t; infinite: no trial is cut.

    Example:
      >>> mindflayer_gradient_time(1.0, [0.0, 0.0, 0.0, 400.0])
      101.0
      >>> mindflayer_gradient_time(1.0, [0.0, 0.0, 0.0, 400.0], extra_time=1.0)
      1.6666666666666667
    """
    require_positive(time=time)
    eta = np.asarray(extra, np.float64)
    if eta.ndim != 1 or not len(eta) or not np.all(eta >= 0):
        raise ValueError("`extra` must be a list of seconds that are not negative.")
    if not extra_time >= 0:
        raise ValueError(f"`extra_time` must not be negative, got {extra_time!r}.")
    success = float(np.mean(eta <= extra_time))
    return float(time + np.minimum(eta, extra_time).mean()) / success if success else math.inf


def mindflayer_lognormal_gradient_time(time: float, sigma: float, *, extra_time: float = math.inf, mu: float = 0.0) -> float:
    r"""As :func:`mindflayer_gradient_time` for :math:`\eta = \exp(N(\mu, \sigma^2))`, exactly.

    .. math:: E \min(\eta, t) = e^{\mu + \sigma^2 / 2} \, \Phi\Big(\frac{\ln t - \mu}\sigma - \sigma\Big)
        + t \, \Phi\Big(\frac{\mu - \ln t}\sigma\Big)

    Args:
      time: :math:`\tau`.
      sigma, mu: of the normal law.
      extra_time: t; infinite: no trial is cut.

    Example:
      >>> round(mindflayer_lognormal_gradient_time(1.0, 2.5), 2)
      23.76
      >>> round(mindflayer_lognormal_gradient_time(1.0, 2.5, extra_time=1.0), 2)
      3.28
    """
    require_positive(time=time, sigma=sigma)
    mean = math.exp(mu + sigma**2 / 2)
    if extra_time == math.inf:
        return time + mean
    require_positive(extra_time=extra_time)
    normal, at = NormalDist(), (math.log(extra_time) - mu) / sigma
    if normal.cdf(at) == 0:
        return math.inf
    return (time + mean * normal.cdf(at - sigma) + extra_time * normal.cdf(-at)) / normal.cdf(at)


def _trials(times: ArrayLike, extra_time: ArrayLike, success: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """(n,) the longest a trial takes, (n,) the probability that it succeeds."""
    tau = checked_times(times)
    extra, success = np.asarray(extra_time, np.float64), np.asarray(success, np.float64)
    if extra.shape not in ((), tau.shape) or success.shape not in ((), tau.shape):
        raise ValueError(f"`extra_time` and `success` must be numbers or have one for each of the {len(tau)} workers.")
    if not np.all(extra >= 0):
        raise ValueError(f"`extra_time` must not be negative, got {extra_time!r}.")
    if not np.all((success >= 0) & (success <= 1)):
        raise ValueError(f"`success` must be in [0, 1], got {success!r}.")
    limit, success = tau + extra, np.broadcast_to(success, tau.shape)
    if not np.any((success > 0) & np.isfinite(limit)):
        raise ValueError("no worker ever finishes a trial: `success` is 0 or the trials never end.")
    return limit, success


def _best(limit: np.ndarray, success: np.ndarray, batch: float) -> tuple[float, np.ndarray]:
    """The least T_m and the workers that take part."""
    order = np.argsort(limit, kind="stable")
    order = order[success[order] > 0]
    p = success[order]
    seconds = (batch + np.cumsum(p)) / np.cumsum(p / limit[order])
    best = first_minimum(seconds)
    return float(seconds[best]), order[: best + 1]
