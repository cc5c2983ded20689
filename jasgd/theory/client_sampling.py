r"""Clients drawn at random: what their slowness costs with and without waiting for each other.

Client i needs :math:`\tau_i` seconds, C jobs are in flight. Koloskova, Stich, Jaggi 2022, Sharper Convergence Guarantees for
Asynchronous SGD, https://arxiv.org/abs/2206.08307, Lemma 11, compares asynchronous SGD, which after each update gives the
next job to a uniformly drawn client, with minibatches of C uniformly drawn clients.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from jasgd.theory._checks import checked_times, require_count


def random_assignment_time(times: ArrayLike, concurrency: int, *, queues: bool = False) -> float:
    r"""Expected seconds per C gradients when every job goes to a uniformly drawn client.

    Without queues (a client computes several jobs at once), :math:`\frac1n \sum_i \tau_i`, as in Lemma 11. With queues (it
    computes one after the other) it is longer; exactly, for *exponential* durations of means :math:`\tau_i`, it is
    :math:`C g_C / g_{C-1}` with :math:`\sum_c g_c z^c = \prod_i (1 - \tau_i z / n)^{-1}` (derived), evaluated by mean value
    analysis: :math:`\sum_i W_i`, where a job spends :math:`W_i = \frac{\tau_i}n (1 + Q_i)` seconds at client i, and
    :math:`Q_i` jobs are there on average if one fewer is in flight.

    Args:
      times: seconds per gradient of every client.
      concurrency: C.
      queues: whether a client's jobs wait for each other.

    Example:
      >>> times = [10.0] * 900 + [60.0] * 100
      >>> random_assignment_time(times, concurrency=10)
      15.0
      >>> round(random_assignment_time(times, concurrency=10, queues=True), 3)
      15.273
    """
    require_count(concurrency=concurrency)
    tau = checked_times(times)
    if not queues or np.isinf(tau).any():
        return float(tau.mean())
    demand, queue = tau / len(tau), np.zeros(len(tau))
    wait = demand
    for jobs in range(1, concurrency + 1):
        wait = demand * (1 + queue)
        queue = jobs * wait / wait.sum()
    return float(wait.sum())


def sampled_minibatch_time(times: ArrayLike, batch: int) -> float:
    r"""Expected seconds per minibatch of C clients drawn with replacement, all of which are waited for.

    :math:`\sum_i \alpha_i \tau_i` with :math:`\alpha_i = (i^C - (i-1)^C) / n^C`, times sorted: the mean of the slowest of C.
    Never less than :func:`random_assignment_time` without queues. Koloskova, Stich, Jaggi 2022, Lemma 11.

    Args:
      times: seconds per gradient of every client.
      batch: C.

    Example:
      >>> round(sampled_minibatch_time([10.0] * 900 + [60.0] * 100, batch=10), 3)
      42.566
    """
    require_count(batch=batch)
    tau = np.sort(checked_times(times))
    if np.isinf(tau[-1]):
        return math.inf
    below = (np.arange(len(tau) + 1) / len(tau)) ** batch
    return float(np.diff(below) @ tau)
