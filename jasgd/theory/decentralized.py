r"""Seconds, batches and steps of Fragile SGD and Amelie SGD, on networks without a server.

Worker i needs :math:`h_i` seconds per gradient, and :math:`\tau_{i \to j}` are the seconds that a vector needs from i to j
on the fastest path. :math:`s = \sigma^2 / \epsilon`. Times are in units of :math:`L \Delta / \epsilon`, **with all
universal constants set to 1**, as in :mod:`jasgd.theory.time_complexity`: they compare methods and do not predict a run.

Reference: Tyurin, Richtárik 2024, On the Optimal Time Complexities in Decentralized Stochastic Asynchronous Optimization,
https://arxiv.org/abs/2405.16218.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from jasgd.theory._checks import ceil, first_minimum, require_count, require_not_negative, require_positive


def decentralized_equilibrium_time(noise_ratio: float, compute: ArrayLike, distances: ArrayLike) -> float:
    r"""How long it takes until one node has gathered enough gradients of the workers around it.

    .. math:: t^*(s, h, \bar\tau) = \min_k \max\Big( \max(\bar\tau_{\pi_k}, h_{\pi_k}),
        \; s \Big( \sum_{i \le k} \frac1{h_{\pi_i}} \Big)^{-1} \Big),

    where :math:`\pi` sorts :math:`\max(\bar\tau_i, h_i)`. Infinite if no worker ever answers.

    Args:
      noise_ratio: :math:`s`.
      compute: :math:`h_i`, seconds per gradient of every worker.
      distances: :math:`\bar\tau_i`, seconds between every worker and the node.

    Example:
      >>> decentralized_equilibrium_time(4.0, compute=[1.0, 1.0, 1.0], distances=[0.0, 2.0, 9.0])
      2.0
    """
    require_not_negative(noise_ratio=noise_ratio)
    h = _seconds("compute", compute, 1)
    away = _seconds("distances", distances, 1, len(h))
    slower = np.maximum(h, away)
    order = np.argsort(slower, kind="stable")[: np.count_nonzero(np.isfinite(slower))]
    if not len(order):
        return math.inf
    with np.errstate(divide="ignore"):
        gathering = noise_ratio / np.cumsum(1 / h[order])
    return float(np.maximum(slower[order], gathering).min())


def fragile_time(noise_ratio: float, compute: ArrayLike, latencies: ArrayLike) -> float:
    r"""Fragile SGD: :math:`\min_j t^*(s, h, [\tau_{i \to j} + \tau_{j \to i}]_i)` :math:`L \Delta / \epsilon`.

    The paper's lower bound for homogeneous data is the same with :math:`\tau_{i \to j}` alone, but for a factor
    :math:`1 / (\log n + 1)`. Without latencies, that of Rennala SGD, :func:`optimal_time`, is one to two times it (derived).

    Args:
      noise_ratio: :math:`s`.
      compute: :math:`h_i`, seconds per gradient of every worker.
      latencies: (n, n), :math:`\tau_{i \to j}`, as :func:`jasgd.decentralized.latencies` has them.

    Example:
      >>> fragile_time(3.0, [1.0, 1.0, 1.0], [[0.0, 0.5, 1.0], [0.5, 0.0, 0.5], [1.0, 0.5, 0.0]])
      1.0
    """
    return float(_times_of_pivots(noise_ratio, compute, latencies).min())


def fragile_pivot(noise_ratio: float, compute: ArrayLike, latencies: ArrayLike) -> int:
    """The first pivot at which Fragile SGD attains :func:`fragile_time`; the arguments are the same.

    Example:
      >>> fragile_pivot(3.0, [1.0, 1.0, 1.0], [[0.0, 0.5, 1.0], [0.5, 0.0, 0.5], [1.0, 0.5, 0.0]])
      1
    """
    times = _times_of_pivots(noise_ratio, compute, latencies)
    if not np.isfinite(times).any():
        raise ValueError("no worker ever answers, so no pivot is better than another.")
    return first_minimum(times)


def amelie_time(noise_ratio: float, compute: ArrayLike, latencies: ArrayLike) -> float:
    r"""Amelie SGD: :math:`\max(\max_{i, j} \tau_{i \to j}, \max_i h_i, \frac sn \bar h)` :math:`L \Delta / \epsilon`.

    :math:`\bar h` is the mean of the :math:`h_i`. It is optimal up to constants where every worker has its own data.
    Arguments as for :func:`fragile_time`.

    Example:
      >>> amelie_time(8.0, [1.0, 3.0], [[0.0, 5.0], [5.0, 0.0]])
      8.0
    """
    h, tau = _network(noise_ratio, compute, latencies)
    if np.isinf(h).any():
        return math.inf
    return float(max(tau.max(), h.max(), noise_ratio / len(h) * h.mean()))


def graph_minibatch_time(noise_ratio: float, compute: ArrayLike, latencies: ArrayLike) -> float:
    r"""Minibatch SGD on a graph: :math:`\max(\max_{i, j} \tau_{i \to j}, \max_i h_i) (1 + s / n)`.

    In units of :math:`L \Delta / \epsilon`. Arguments as for :func:`fragile_time`.

    Example:
      >>> graph_minibatch_time(8.0, [1.0, 3.0], [[0.0, 5.0], [5.0, 0.0]])
      25.0
    """
    h, tau = _network(noise_ratio, compute, latencies)
    return float(max(tau.max(), h.max()) * (1 + noise_ratio / len(h)))


def mesh_time(noise_ratio: float, compute: float, edge: float, *, num_workers: int, dimensions: int = 1) -> float:
    r"""Fragile SGD on a line or circle, mesh or torus of N dimensions, all workers and edges alike.

    .. math:: h + \begin{cases} s h & m \le 1 \cr \rho^{N / (N + 1)} (s h)^{1 / (N + 1)} & m < n \cr s h / n & \text{else}
        \end{cases}, \qquad m = (s h / \rho)^{N / (N + 1)},

    in units of :math:`L \Delta / \epsilon`. About m workers contribute, but at least one
    and at most all (derived).

    Args:
      noise_ratio: :math:`s`.
      compute: h, seconds per gradient.
      edge: :math:`\rho`, seconds per edge.
      num_workers: n.
      dimensions: N.

    Example:
      >>> mesh_time(400.0, 1.0, 1.0, num_workers=101)
      21.0
    """
    require_not_negative(noise_ratio=noise_ratio, edge=edge)
    require_positive(compute=compute)
    require_count(num_workers=num_workers, dimensions=dimensions)
    share, work = dimensions / (dimensions + 1), noise_ratio * compute
    if work <= edge:
        return compute + work
    if edge == 0 or (work / edge) ** share >= num_workers:
        return compute + work / num_workers
    return compute + edge**share * work ** (1 - share)


def fragile_batch(noise_ratio: float) -> int:
    r"""Fragile SGD's batch: :math:`S = \max(\lceil s \rceil, 1)`. That of Amelie SGD is :func:`malenia_batch`.

    Example:
      >>> fragile_batch(17.29)
      18
    """
    require_not_negative(noise_ratio=noise_ratio)
    return max(ceil(noise_ratio), 1)


def fragile_step_size(smoothness: float) -> float:
    r"""Fragile SGD and Amelie SGD: :math:`1 / (2L)`, whatever the noise.

    Args:
      smoothness: L.

    Example:
      >>> fragile_step_size(smoothness=2.0)
      0.25
    """
    require_positive(smoothness=smoothness)
    return 1 / (2 * smoothness)


def fragile_iterations(smoothness: float, gap: float, accuracy: float) -> int:
    r"""Rounds of Fragile SGD and Amelie SGD: :math:`\lceil 16 L \Delta / \epsilon \rceil`.

    With :func:`fragile_step_size` and batches of :func:`fragile_batch` or :func:`malenia_batch`.

    Args:
      smoothness, gap, accuracy: L, :math:`\Delta = f(x_0) - \inf f` and :math:`\epsilon`.

    Example:
      >>> fragile_iterations(smoothness=1.0, gap=2.0, accuracy=0.5)
      64
    """
    require_positive(smoothness=smoothness, gap=gap, accuracy=accuracy)
    return ceil(16 * smoothness * gap / accuracy)


def _times_of_pivots(noise_ratio: float, compute: ArrayLike, latencies: ArrayLike) -> np.ndarray:
    h, tau = _network(noise_ratio, compute, latencies)
    return np.array([decentralized_equilibrium_time(noise_ratio, h, there_and_back) for there_and_back in tau + tau.T])


def _network(noise_ratio: float, compute: ArrayLike, latencies: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    require_not_negative(noise_ratio=noise_ratio)
    h = _seconds("compute", compute, 1)
    return h, _seconds("latencies", latencies, 2, len(h))


def _seconds(name: str, values: ArrayLike, axes: int, size: int | None = None) -> np.ndarray:
    """Seconds as float64, as many along each axis as there are workers; 0 and infinity are allowed."""
    seconds = np.asarray(values, np.float64)
    if seconds.ndim != axes or not seconds.size or (size is not None and seconds.shape != (size,) * axes):
        workers = "one number per worker" if size is None or axes == 1 else f"one number per pair of the {size} workers"
        raise ValueError(f"`{name}` must hold {workers}, got an array of shape {seconds.shape}.")
    if not np.all(seconds >= 0):
        raise ValueError(f"`{name}` must not be negative, got {seconds[~(seconds >= 0)][0]}.")
    return seconds
