r"""Bounds for DASGD, with all constants; they are ours, as the constants of the paper are not known to us.

Tosi, Theobald 2023, https://arxiv.org/abs/2309.03754, states rates of the same shape. With :math:`S_k` gradients missing at
read k, :math:`R_s` later reads that miss gradient s (:func:`jasgd.decentralized.staleness`), a fixed step :math:`\eta`, the
virtual iterates :math:`\tilde x_k = x_0 - \eta \sum_{s < k} g_s` and the points :math:`z_k` at which gradients are computed,
both follow (derived) from

.. math:: \frac\eta4 \sum_k \|\nabla f(z_k)\|^2 \le \Delta + \sum_k \Big[\frac{\eta L^2}2 \|z_k - \tilde x_k\|^2
    + \frac{L \eta^2 \sigma^2}2\Big],
    \qquad E \|z_k - \tilde x_k\|^2 \le 2 \eta^2 \Big(\Big\|\sum_{M_k} \nabla f(z_s)\Big\|^2 + S_k \sigma^2\Big).
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from jasgd.theory._checks import require_not_negative, require_positive


def dasgd_bounded_gradient_bound(
    learning_rate: float, missing: ArrayLike, *, smoothness: float, gap: float, noise: float, gradient_bound: float
) -> float:
    r"""A bound on the mean of :math:`E \|\nabla f(z_k)\|^2` if gradients are bounded, :math:`\|\nabla f\| \le Q`.

    .. math:: \frac{4 \Delta}{\eta T} + 2 L \eta \sigma^2
        + 4 L^2 \eta^2 \big(\overline{S^2} Q^2 + \overline{S} \sigma^2\big).

    Args:
      learning_rate: :math:`\eta \le 1 / (2 L)`.
      missing: (T,) :math:`S_k`.
      smoothness: L.
      gap: :math:`\Delta = f(x_0) - f^*`.
      noise: :math:`\sigma`, whose square bounds the variance of a stochastic gradient.
      gradient_bound: Q.

    Example:
      >>> round(dasgd_bounded_gradient_bound(
      ...     0.1, [0, 1, 2], smoothness=1.0, gap=3.0, noise=1.0, gradient_bound=2.0
      ... ), 6)
      40.506667
    """
    require_positive(learning_rate=learning_rate, smoothness=smoothness)
    require_not_negative(gap=gap, noise=noise, gradient_bound=gradient_bound)
    S = _counts("missing", missing)
    eta, L, sigma, Q = learning_rate, smoothness, noise, gradient_bound
    if eta > 1 / (2 * L):
        raise ValueError(f"the bound needs a step of at most 1 / (2 L) = {1 / (2 * L):g}, got {eta:g}.")
    stale = np.mean(S**2) * Q**2 + np.mean(S) * sigma**2
    return float(4 * gap / (eta * len(S)) + 2 * L * eta * sigma**2 + 4 * L**2 * eta**2 * stale)


def dasgd_bound(
    learning_rate: float, missing: ArrayLike, missed: ArrayLike, *, smoothness: float, gap: float, noise: float
) -> float:
    r"""A bound on the mean of :math:`E \|\nabla f(z_k)\|^2` without bounded gradients.

    .. math:: \frac{16}3 \frac\Delta{\eta T} + 4 L \eta \sigma^2 \qquad\text{if}
        \quad \eta \le \min\Big(\frac1{2 L}, \frac1{4 L \sqrt{S_{max} R_{max}}}\Big).

    Args:
      learning_rate: :math:`\eta`.
      missing, missed: (T,) :math:`S_k` and :math:`R_s`.
      smoothness, gap, noise: as for :func:`dasgd_bounded_gradient_bound`.

    Example:
      >>> round(dasgd_bound(0.1, [0, 1, 2], [1, 1, 1], smoothness=1.0, gap=3.0, noise=1.0), 6)
      53.733333
    """
    require_positive(learning_rate=learning_rate, smoothness=smoothness)
    require_not_negative(gap=gap, noise=noise)
    S, R = _counts("missing", missing), _counts("missed", missed)
    most = dasgd_step_size(smoothness, S, R)
    if learning_rate > most * (1 + 1e-12):
        raise ValueError(f"the bound needs a step of at most {most:g} for this staleness, got {learning_rate:g}.")
    return float(16 / 3 * gap / (learning_rate * len(S)) + 4 * smoothness * learning_rate * noise**2)


def dasgd_step_size(smoothness: float, missing: ArrayLike, missed: ArrayLike) -> float:
    r"""The largest step for which :func:`dasgd_bound` holds.

    .. math:: \min\Big(\frac1{2 L}, \frac1{4 L \sqrt{S_{max} R_{max}}}\Big)

    Example:
      >>> dasgd_step_size(1.0, [0, 1, 4], [4, 1, 1])
      0.0625
    """
    require_positive(smoothness=smoothness)
    largest = float(_counts("missing", missing).max() * _counts("missed", missed).max())
    return 1 / (2 * smoothness) if largest <= 0.25 else min(0.5, 1 / (4 * math.sqrt(largest))) / smoothness


def _counts(name: str, values: ArrayLike) -> np.ndarray:
    counts = np.asarray(values, np.float64)
    if counts.ndim != 1 or not len(counts) or not np.all(counts >= 0):
        raise ValueError(f"`{name}` must hold one count per gradient, none negative, got {values!r}.")
    return counts
