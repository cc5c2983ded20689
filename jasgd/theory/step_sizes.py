r"""Step sizes for which the asynchronous methods are proven to converge.

Symbols: :math:`M` workers or concurrency, :math:`L` smoothness, :math:`\sigma^2` variance of a gradient,
:math:`\Delta = F(x_0) - \inf F`, :math:`K` updates, delays as in :mod:`jasgd.schedule`. Where a paper's constant is not
known to us the docstring says so, and names the bound that the constant here belongs to.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jasgd.theory._checks import checked_times, require_momentum, require_not_negative, require_positive


def stability_limit(smoothness: float, delay: int) -> float:
    r"""Largest stable step of SGD with a constant delay on a quadratic: :math:`\frac2L \sin \frac{\pi}{2 (2 \tau + 1)}`.

    Example:
      >>> round(stability_limit(1.0, delay=1), 6)
      1.0
    """
    require_positive(smoothness=smoothness)
    require_not_negative(delay=delay)
    return 2 / smoothness * math.sin(math.pi / (2 * (2 * delay + 1)))


def asynchronous_step_size(smoothness: float, concurrency: int, max_delay: int) -> float:
    r""":math:`\min(1/(2L), 1/(L \sqrt{8 (M - 1) \tau_\max}))`, for a constant step in the smooth non-convex case.

    Of the order of Koloskova, Stich, Jaggi 2022, Theorem 6, whose constant is not known to us; with this one
    :math:`\frac1K \sum E\|\nabla F\|^2 \le 8 \Delta' / (\gamma K) + 4 L \gamma \sigma^2 + 8 L^2 (M - 1) \gamma^2 \sigma^2`.

    Example:
      >>> asynchronous_step_size(smoothness=1.0, concurrency=9, max_delay=100)
      0.0125
    """
    require_positive(smoothness=smoothness, concurrency=concurrency)
    require_not_negative(max_delay=max_delay)
    late = 8 * (concurrency - 1) * max_delay
    return min(1 / (2 * smoothness), 1 / (smoothness * math.sqrt(late)) if late else math.inf)


def delay_adaptive_step_size(
    smoothness: float,
    concurrency: int,
    *,
    noise: float = 0.0,
    gap: float | None = None,
    updates: int | None = None,
) -> float:
    r""":math:`\min(1/(4LM), \sqrt{8 \Delta / (3 L K \sigma^2)})`: the largest step of the delay-adaptive rules.

    Mishchenko et al. 2022 and Koloskova et al. 2022, Theorem 8; the constant is that of our bound
    :math:`16 \Delta / (\gamma K) + 8 L M \gamma \sigma^2 / K + 6 L \gamma \sigma^2`.

    Args:
      smoothness, concurrency: L and M.
      noise: :math:`\sigma`; with it give ``gap`` and ``updates``.
      gap: :math:`\Delta`.
      updates: K.

    Example:
      >>> delay_adaptive_step_size(smoothness=0.25, concurrency=40)
      0.025
    """
    require_positive(smoothness=smoothness, concurrency=concurrency)
    require_not_negative(noise=noise)
    largest = 1 / (4 * smoothness * concurrency)
    if not (noise**2):
        return largest
    given = _given(gap=gap, updates=updates)
    return min(largest, math.sqrt(8 * given["gap"] / (3 * smoothness * given["updates"] * noise**2)))


def lipschitz_step_size(distance: float, lipschitz: float, concurrency: int, updates: int) -> float:
    r""":math:`D / (G \sqrt{2 M K})`, for convex functions with gradients bounded by G, whatever the delays.

    Mishchenko et al. 2022 up to the constant; then the average gap is at most about :math:`\sqrt2 G D \sqrt{M / K}`.

    Example:
      >>> lipschitz_step_size(distance=2.0, lipschitz=1.0, concurrency=2, updates=100)
      0.1
    """
    require_positive(distance=distance, lipschitz=lipschitz, concurrency=concurrency, updates=updates)
    return distance / (lipschitz * math.sqrt(2 * concurrency * updates))


def ormo_step_size(
    smoothness: float,
    momentum: float,
    num_workers: int,
    *,
    noise: float = 0.0,
    gap: float | None = None,
    updates: int | None = None,
) -> float:
    r""":math:`(1 - \beta) \min((1 - \beta) / (8 L K), \sqrt{2 \Delta / (L \sigma^2 T)})`, K workers, T updates.

    For ordered momentum, with or without delay-adaptive steps. The paper's constants are not known to us; these are those of
    our bound for it.

    Example:
      >>> round(ormo_step_size(smoothness=1.0, momentum=0.5, num_workers=4), 7)
      0.0078125
    """
    require_positive(smoothness=smoothness, num_workers=num_workers)
    require_momentum(momentum)
    require_not_negative(noise=noise)
    largest = (1 - momentum) / (8 * smoothness * num_workers)
    if noise**2:
        given = _given(gap=gap, updates=updates)
        largest = min(largest, math.sqrt(2 * given["gap"] / (smoothness * noise**2 * given["updates"])))
    return (1 - momentum) * largest


def dude_step_size(smoothness: float, num_workers: int, gap: float, max_delay: int, updates: int) -> float:
    r""":math:`\frac12 \sqrt{n \Delta / (L \tau_\max T)}`, Theorem 1 of DuDe-ASGD.

    It holds from :math:`T \ge 1024 L \Delta n \tau_\max` updates on; fewer are refused.

    Args:
      smoothness: L.
      num_workers: n.
      gap: :math:`\Delta`.
      max_delay: :math:`\tau_\max`, the largest age of a table entry in updates, counted from 1.
      updates: T.

    Example:
      >>> dude_step_size(smoothness=1.0, num_workers=4, gap=1.0, max_delay=8, updates=32768)
      0.001953125
    """
    require_positive(smoothness=smoothness, num_workers=num_workers, gap=gap, max_delay=max_delay, updates=updates)
    needed = 1024 * smoothness * gap * num_workers * max_delay
    if updates < needed:
        raise ValueError(f"the theorem needs at least 1024 L gap n tau_max = {needed:.6g} updates, got {updates}.")
    return 0.5 * math.sqrt(num_workers * gap / (smoothness * max_delay * updates))


def rescaled_step_size(
    times: ArrayLike,
    smoothness: float,
    accuracy: float,
    *,
    noise: float = 0.0,
    heterogeneity: float = 0.0,
    growth: float = 0.0,
    largest_smoothness: float | None = None,
) -> float:
    r"""The learning rate of Rescaled ASGD, harmonic normaliser, for :math:`E \|\nabla F\|^2 \le \epsilon`.

    .. math::
        \eta = \min\left( \frac{n \epsilon}{L \sigma^2 \tau_A},
            \frac{\sqrt\epsilon \, \tau_H}{L_\max \sqrt{\sigma^2 + \zeta^2} \, \tau_\max \tau_A},
            \frac{\tau_H}{L_\max \rho \, \tau_\max^2}, \frac{1}{L \tau_\max} \right)

    per second, and :math:`\eta \tau_H / n` per update. Read off the paper's time complexity with all constants set to 1:
    the paper's own are not known to us.

    Args:
      times: seconds per gradient of every worker, all finite.
      smoothness, accuracy: L of F and :math:`\epsilon`.
      noise: :math:`\sigma`.
      heterogeneity, growth: :math:`\zeta, \rho` of :math:`\|\nabla F_i\|^2 \le \zeta^2 + \rho^2 \|\nabla F\|^2`.
      largest_smoothness: :math:`L_\max` of the workers' functions; by default L.

    Example:
      >>> rescaled_step_size([1.0, 1.0], smoothness=2.0, accuracy=0.01)
      0.25
    """
    tau = checked_times(times, finite=True)
    require_positive(smoothness=smoothness, accuracy=accuracy)
    require_not_negative(noise=noise, heterogeneity=heterogeneity, growth=growth)
    n, harmonic, mean, largest = len(tau), 1 / np.mean(1 / tau), tau.mean(), tau.max()
    l_max = smoothness if largest_smoothness is None else largest_smoothness
    terms = [1 / (smoothness * largest)]
    if noise**2:
        terms.append(n * accuracy / (smoothness * noise**2 * mean))
    if noise or heterogeneity:
        terms.append(math.sqrt(accuracy) * harmonic / (l_max * math.hypot(noise, heterogeneity) * largest * mean))
    if growth:
        terms.append(harmonic / (l_max * growth * largest**2))
    return float(min(terms) * harmonic / n)


def _given(**values: Any) -> Mapping[str, float]:
    missing = [name for name, value in values.items() if value is None]
    if missing:
        raise ValueError(f"with `noise`, this step size also depends on `{'` and `'.join(missing)}`: please give them.")
    require_positive(**values)
    return values
