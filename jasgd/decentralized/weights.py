r"""Weights with which workers average: (n, n) float64 arrays W, node ``i`` takes :math:`\sum_j W_{ij} x_j`.

:math:`W_{ij} > 0` needs a link from j to i. How fast averaging alone brings all nodes together is the spectral gap; with
Metropolis weights, on the directed exponential graph with uniform ones, it is (derived)

============================  ================================
ring, n >= 3                  :math:`(2/3) (1 - \cos 2 \pi / n)`
torus, k x k, k >= 3          :math:`(2/5) (1 - \cos 2 \pi / k)`
star, n >= 3                  :math:`1 / n`
complete                      :math:`1`
exponential, n = 2^m          :math:`2 / (1 + m)`
============================  ================================

A. Bornstein, T. Rabbani, E. Wang, A. S. Bedi, F. Huang, "SWIFT: Rapid Decentralized Federated Learning via Wait-Free Model
Communication", ICLR 2023.
"""

import warnings
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from jasgd._checks import require_count
from jasgd.decentralized.topology import links, require_graph

if TYPE_CHECKING:
    import networkx

__all__ = [
    "metropolis",
    "one_peer_exponential",
    "push_sum",
    "require_doubly_stochastic",
    "spectral_gap",
    "swift",
    "uniform",
]


def metropolis(graph: "networkx.Graph") -> np.ndarray:
    r""":math:`W_{ij} = 1 / (1 + \max(d_i, d_j))` with the degrees of the two ends; a node keeps the rest. Symmetric.

    Example:
      >>> W = jasgd.decentralized.weights.metropolis(jasgd.decentralized.topology.ring(16))
      >>> round(jasgd.decentralized.weights.spectral_gap(W), 4)
      0.0507
    """
    _require_undirected("Metropolis weights", graph)
    senders, receivers, _ = links(graph)
    n = graph.number_of_nodes()
    degrees = np.bincount(receivers, minlength=n)
    weights = np.zeros((n, n))
    weights[receivers, senders] = 1 / (1 + np.maximum(degrees[senders], degrees[receivers]))
    return _keep_the_rest(weights)


def uniform(graph: "networkx.Graph") -> np.ndarray:
    r"""A node averages itself and those it hears from: :math:`W_{ij} = 1 / (1 + d_i)` with the degree of the receiver.

    Rows sum to one; on a regular graph, like the directed exponential one, columns too.

    Example:
      >>> W = jasgd.decentralized.weights.uniform(jasgd.decentralized.topology.exponential(16))
      >>> round(jasgd.decentralized.weights.spectral_gap(W), 4)
      0.4
    """
    weights = _adjacency(graph)
    return weights / weights.sum(axis=1, keepdims=True)


def push_sum(graph: "networkx.Graph") -> np.ndarray:
    r"""A node divides what it has among itself and those it sends to: :math:`W_{ij} = 1 / (1 + d_j)`.

    :math:`d_j` is the out-degree of the sender, as in the authors' code of stochastic gradient push. Columns sum to one; on
    a regular graph rows too.

    Example:
      >>> jasgd.decentralized.weights.push_sum(jasgd.decentralized.topology.star(3))[:, 0].round(3)
      array([0.333, 0.333, 0.333])
    """
    weights = _adjacency(graph)
    return weights / weights.sum(axis=0, keepdims=True)


def one_peer_exponential(n: int) -> np.ndarray:
    r"""In round k every node averages with one other: :math:`W_k = (I + P^{2^q}) / 2`, :math:`q = k \bmod m`.

    Node i takes half of node :math:`i - 2^q \bmod n`, along the links of
    :func:`~jasgd.decentralized.topology.exponential`; :math:`m = \lceil \log_2 n \rceil`. If n is a power of 2, the product
    of m rounds is the mean, exactly (derived).

    Returns:
      (m, n, n) float64; round k takes ``[k % m]``.

    Example:
      >>> rounds = jasgd.decentralized.weights.one_peer_exponential(4)
      >>> rounds[1] @ rounds[0] @ np.array([4.0, 8.0, 0.0, 0.0])
      array([3., 3., 3., 3.])
    """
    require_count("n", n)
    if n == 1:
        raise ValueError("`n` must be at least 2: one node has no peer.")
    own = np.eye(n)
    return np.stack([(own + np.roll(own, 2**q, axis=0)) / 2 for q in range((n - 1).bit_length())])


def swift(graph: "networkx.Graph") -> np.ndarray:
    r"""The weights of SWIFT ("CCS"), as in the authors' code.

    Nodes in order of decreasing degree offer each remaining neighbour :math:`(1 - assigned) / (remaining + 1)`, where larger
    neighbours have assigned. Among equal degrees a node takes the smallest offer, its own included, unless none of its
    neighbours is larger: then its own stands. A node keeps the rest. On regular graphs :math:`1 / (1 + d)`.

    They are meant to be symmetric, but are not where equal degrees get different offers, and what a node keeps may be
    negative; a warning says so. That is the rule on random graphs, not on rings of cliques. Rows always sum to one.

    Example:
      >>> W = jasgd.decentralized.weights.swift(jasgd.decentralized.topology.ring_of_cliques(16, 4))
      >>> W[1, :4].round(2)
      array([0.2, 0.3, 0.3, 0.2])
    """
    _require_undirected("the weights of SWIFT", graph)
    n = graph.number_of_nodes()
    weights, offers = np.zeros((n, n)), np.zeros(n)
    degrees = np.array([graph.degree[i] for i in range(n)])
    for degree in np.unique(degrees)[::-1]:
        equals = np.flatnonzero(degrees == degree)
        for i in equals:
            larger = sum(degrees[j] > degree for j in graph[i])
            offers[i] = (1 - weights[i].sum()) / (degree - larger + 1)
        for i in equals:
            equal = [j for j in graph[i] if degrees[j] == degree]
            smaller = [j for j in graph[i] if degrees[j] < degree]
            stands = max((degrees[j] for j in graph[i]), default=0) <= degree
            weights[i, equal + smaller] = offers[i] if stands else offers[[i, *equal]].min()
            weights[smaller, i] = weights[i, smaller]
    weights = _keep_the_rest(weights)
    rounding = n * np.finfo(np.float64).eps
    difference = np.abs(weights - weights.T)
    if difference.max() > rounding:
        i, j = np.unravel_index(difference.argmax(), (n, n))
        warnings.warn(
            f"the weights of SWIFT are not symmetric on this graph: {weights[i, j]:.4g} from node {j} to node {i}, "
            f"{weights[j, i]:.4g} back; averaging does not keep the mean.",
            stacklevel=2,
        )
    if weights.min() < -rounding:
        warnings.warn(f"a weight of SWIFT is negative on this graph: {weights.min():.4g}.", stacklevel=2)
    return weights


def spectral_gap(weights: ArrayLike) -> float:
    r""":math:`1 - \|W - J\|_2` with :math:`J_{ij} = 1 / n`: averaging once shrinks the distance to the mean by that share.

    Example:
      >>> W = jasgd.decentralized.weights.metropolis(jasgd.decentralized.topology.mesh(10, 10))
      >>> round(jasgd.decentralized.weights.spectral_gap(W), 4)
      0.0205
    """
    weights = _square(weights)
    return float(1 - np.linalg.norm(weights - 1 / len(weights), 2))


def require_doubly_stochastic(weights: ArrayLike) -> None:
    """Refuse weights that are negative somewhere, or whose rows or columns do not sum to one: they do not keep the mean.

    Example:
      >>> star = jasgd.decentralized.topology.star(3)
      >>> jasgd.decentralized.weights.require_doubly_stochastic(jasgd.decentralized.weights.metropolis(star))
      >>> jasgd.decentralized.weights.require_doubly_stochastic([[1.0, 0.0], [0.5, 0.5]])
      Traceback (most recent call last):
      ValueError: rows and columns of the weights must sum to one, column 0 sums to 1.5.
    """
    weights = _square(weights)
    rounding = len(weights) * np.finfo(weights.dtype).eps
    if not (weights >= -rounding).all():
        i, j = np.argwhere(~(weights >= -rounding))[0].tolist()
        raise ValueError(f"weights must not be negative, that from node {j} to node {i} is {weights[i, j]:.6g}.")
    for name, axis in (("row", 1), ("column", 0)):
        sums = weights.sum(axis=axis)
        wrong = int(np.abs(sums - 1).argmax())
        if abs(sums[wrong] - 1) > rounding:
            raise ValueError(f"rows and columns of the weights must sum to one, {name} {wrong} sums to {sums[wrong]:.6g}.")


def _adjacency(graph: "networkx.Graph") -> np.ndarray:
    """Ones from each sender (column) to each receiver (row), and on the diagonal."""
    senders, receivers, _ = links(graph)
    ones = np.eye(graph.number_of_nodes())
    ones[receivers, senders] = 1
    return ones


def _keep_the_rest(weights: np.ndarray) -> np.ndarray:
    np.fill_diagonal(weights, 1 - weights.sum(axis=1))
    return weights


def _require_undirected(name: str, graph: "networkx.Graph") -> None:
    require_graph(graph)
    if graph.is_directed():
        raise ValueError(f"{name} need an undirected graph; directed ones have `uniform` and `push_sum`.")


def _square(weights: ArrayLike) -> np.ndarray:
    weights = np.asarray(weights)
    if not np.issubdtype(weights.dtype, np.floating):
        weights = weights.astype(np.float64)
    if weights.ndim != 2 or len(weights) != weights.shape[1] or not len(weights):
        raise ValueError(f"the weights must be an (n, n) array, got shape {weights.shape}.")
    return weights
