r"""Step sizes of the time-optimal methods, for :math:`\frac1K \sum E \|\nabla F\|^2 \le \epsilon`.

Symbols as in :mod:`jasgd.theory.step_sizes`: L smoothness, :math:`\epsilon` accuracy, :math:`\sigma` noise. The number of
steps that belongs to each: :mod:`jasgd.theory.iterations`. Without noise the second term of a minimum is absent.
"""

import math

from jasgd.theory._checks import require_count, require_not_negative, require_positive


def rennala_step_size(smoothness: float, accuracy: float, *, batch: int, noise: float = 0.0) -> float:
    r"""Rennala and Malenia SGD: :math:`\min(1 / L, \epsilon S / (2 L \sigma^2))` for the mean of S gradients.

    Tyurin, Richtárik 2023, as recalled and as in the public code of Ringmaster ASGD.

    Args:
      smoothness, accuracy: L and :math:`\epsilon`.
      batch: S, of :func:`rennala_batch` or :func:`malenia_batch`.
      noise: :math:`\sigma`.

    Example:
      >>> rennala_step_size(smoothness=2.0, accuracy=0.5, batch=1, noise=1.0)
      0.125
    """
    require_count(batch=batch)
    return _step(smoothness, accuracy, noise, largest=1.0, share=batch / 2)


def ringmaster_step_size(smoothness: float, accuracy: float, *, threshold: int, noise: float = 0.0) -> float:
    r"""Ringmaster ASGD: :math:`\min(1 / (2 R L), \epsilon / (4 L \sigma^2))`; Maranjyan, Tyurin, Richtárik 2025.

    Args:
      smoothness, accuracy: L and :math:`\epsilon`.
      threshold: R, of :func:`ringmaster_threshold`.
      noise: :math:`\sigma`.

    Example:
      >>> ringmaster_step_size(smoothness=1.0, accuracy=0.25, threshold=4, noise=1.0)
      0.0625
    """
    require_count(threshold=threshold)
    return _step(smoothness, accuracy, noise, largest=1 / (2 * threshold), share=1 / 4)


def ringleader_step_size(
    smoothness: float, accuracy: float, *, num_workers: int, noise: float = 0.0, batch: float = 1.0
) -> float:
    r"""Ringleader ASGD: :math:`\min(1 / (8 n L), \epsilon B / (10 L \sigma^2))`.

    Maranjyan, Richtárik 2025, from a summary.

    Args:
      smoothness: L with :math:`\|\nabla F(x) - \frac1n \sum \nabla F_i(y_i)\|^2 \le \frac{L^2}n \sum \|x - y_i\|^2`.
      accuracy: :math:`\epsilon`.
      num_workers: n.
      noise: :math:`\sigma`.
      batch: B, the least harmonic mean of a round's counts; at least :func:`ringleader_batch`.

    Example:
      >>> ringleader_step_size(smoothness=1.0, accuracy=0.1, num_workers=4)
      0.03125
    """
    require_count(num_workers=num_workers)
    require_positive(batch=batch)
    return _step(smoothness, accuracy, noise, largest=1 / (8 * num_workers), share=batch / 10)


def mindflayer_step_size(smoothness: float, accuracy: float, *, batch: float, noise: float = 0.0) -> float:
    r"""MindFlayer SGD: :math:`\frac1{2L} \min(1, \epsilon B / \sigma^2)`; Maranjyan, Omar, Richtárik 2024.

    Args:
      smoothness, accuracy: L and :math:`\epsilon`.
      batch: :math:`B = \sum_i p_i B_i`, the expected number of gradients per round, by which their sum is divided.
      noise: :math:`\sigma`.

    Example:
      >>> mindflayer_step_size(smoothness=1.0, accuracy=0.25, batch=2.0, noise=1.0)
      0.25
    """
    require_positive(batch=batch)
    return _step(smoothness, accuracy, noise, largest=1 / 2, share=batch / 2)


def birch_step_size(smoothness: float, accuracy: float, *, distance: int, noise: float = 0.0) -> float:
    r"""Any Birch SGD: :math:`\min(1 / (2L), 1 / (2 R L), \epsilon / (4 L \sigma^2))`.

    R bounds the tree distance between the point of a gradient and the point it is applied to: 0 for SGD, the largest
    delay for asynchronous SGD, S - 1 for Rennala SGD taken as S single steps per round. Birch SGD, 2025,
    https://arxiv.org/abs/2505.09218, from a summary.

    Args:
      smoothness, accuracy: L and :math:`\epsilon`.
      distance: R.
      noise: :math:`\sigma`.

    Example:
      >>> birch_step_size(smoothness=1.0, accuracy=0.1, distance=4)
      0.125
    """
    require_not_negative(distance=distance)
    return _step(smoothness, accuracy, noise, largest=1 / (2 * max(1, distance)), share=1 / 4)


def _step(smoothness: float, accuracy: float, noise: float, *, largest: float, share: float) -> float:
    """:math:`min(largest, share accuracy / noise^2) / L`."""
    require_positive(smoothness=smoothness, accuracy=accuracy)
    require_not_negative(noise=noise)
    return min(largest, share * accuracy / noise**2 if noise**2 else math.inf) / smoothness
