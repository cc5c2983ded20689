r"""How long the methods' rounds take when speeds do not change: exact, or with the papers' guarantee.

All workers start a round together and the last arrival ends it; jobs under way are cancelled. Times in seconds.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from jasgd.theory._checks import checked_times, require_count
from jasgd.theory.time_complexity import m_synchronous_time, optimal_time
from jasgd.theory.universal import at_least, at_least_balanced, first_round


def rennala_round_time(times: ArrayLike, batch: int) -> float:
    r"""A round of Rennala SGD with interrupts: first t with :math:`\sum_i \lfloor t / \tau_i \rfloor \ge S`, exactly.

    At most :math:`\min_m H_m (1 + S / m)`, which is ``optimal_time(times, batch)``; without interrupts at most twice that
    (derived).

    Args:
      times: seconds per gradient of every worker.
      batch: S.

    Example:
      >>> rennala_round_time([1.0, 1.7, 2.3], batch=4)
      2.3
    """
    require_count(batch=batch)
    return first_round(checked_times(times), at_least(batch))


def malenia_round_time(times: ArrayLike, batch: int | None = None) -> float:
    r"""A round of Malenia SGD with interrupts: first t with :math:`\frac1n \sum_i 1 / \lfloor t / \tau_i \rfloor \le n / S`.

    Exactly; at most :math:`\max(\tau_n, 2 \tau_A S / n)` (derived).

    Args:
      times: seconds per gradient of every worker.
      batch: S; by default n, when a round ends as soon as everybody has delivered.

    Example:
      >>> malenia_round_time([1.0, 1.7, 2.3], batch=6)
      4.6
    """
    tau = checked_times(times)
    if batch is None:
        return float(tau.max())
    require_count(batch=batch)
    return first_round(tau, at_least_balanced(batch))


def m_synchronous_round_time(times: ArrayLike, m: int) -> float:
    r"""A round of m-Synchronous SGD: :math:`\tau_m`, the m-th fastest worker's time.

    Args:
      times: seconds per gradient of every worker.
      m: arrivals that are waited for; n of them make synchronous SGD.

    Example:
      >>> m_synchronous_round_time([2.3, 1.0, 1.7], m=2)
      1.7
    """
    return m_synchronous_time(times, 0.0, m=m)


def ringmaster_block_time(times: ArrayLike, threshold: int) -> float:
    r"""Any R consecutive updates of Ringmaster ASGD take at most :math:`t(R) = 2 \min_m H_m (1 + R / m)` seconds.

    Maranjyan, Tyurin, Richtárik 2025, with the constant. K updates take at most :math:`\lceil K / R \rceil t(R)`.

    Args:
      times: seconds per gradient of every worker.
      threshold: R.

    Example:
      >>> ringmaster_block_time([1.0, 1.0], threshold=2)
      4.0
    """
    require_count(threshold=threshold)
    return 2 * optimal_time(times, threshold)


def ringmaster_lmo_time(times: ArrayLike, updates: int) -> float:
    r"""What K updates of Ringmaster LMO take at most when its threshold grows as :math:`R_k = \lfloor \sqrt{k + 1} \rfloor`.

    .. math:: T(K) \le \sum_r \lceil |\lbrace k < K : R_k = r\rbrace| / r \rceil \, t(r) \le 6 \min_m H_m (\sqrt K + K / m)

    with t(r) of :func:`ringmaster_block_time`; this is the sum. Sadiev, Maranjyan, Ilin, Richtárik 2026,
    https://arxiv.org/abs/2605.18174, a draft.

    Args:
      times: seconds per gradient of every worker.
      updates: K.

    Example:
      >>> ringmaster_lmo_time([1.0], updates=3)
      12.0
    """
    require_count(updates=updates)
    last = math.isqrt(updates)
    sizes = 2 * np.arange(1, last + 1) + 1
    sizes[-1] = updates - last**2 + 1
    return float(sum(-(-int(size) // r) * ringmaster_block_time(times, r) for r, size in enumerate(sizes, start=1)))
