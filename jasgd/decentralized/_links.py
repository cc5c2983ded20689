"""Seconds between pairs of nodes."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jasgd._checks import numbers


def pairwise(name: str, values: ArrayLike, num_nodes: int) -> np.ndarray:
    """(N, N) numbers, none negative; infinite: never."""
    each = numbers(name, values)
    if each.shape not in ((), (num_nodes, num_nodes)):
        raise ValueError(f"`{name}` must be one number or of shape ({num_nodes}, {num_nodes}), got shape {each.shape}.")
    if not np.all(each >= 0):
        raise ValueError(f"`{name}` must not be negative, got {each[~(each >= 0)].ravel()[0]}.")
    return np.broadcast_to(each, (num_nodes, num_nodes))


def neighbours(graph: Any, num_nodes: int) -> list[np.ndarray]:
    """Of every node those that it is linked with, in both directions; no edges at all are meant, pieces are not."""
    if hasattr(graph, "to_undirected"):
        from jasgd.decentralized.topology import links

        if graph.is_directed():
            raise ValueError("two nodes that average both send: the graph must not be directed.")
        senders, receivers, _ = links(graph)
        linked = np.zeros((graph.number_of_nodes(),) * 2, bool)
        linked[senders, receivers] = True
    else:
        linked = np.asarray(graph) != 0
    if linked.shape != (num_nodes, num_nodes) or not np.array_equal(linked, linked.T):
        raise ValueError(
            f"`graph` must link {num_nodes} nodes symmetrically, got a matrix of shape {linked.shape}; "
            f"jasgd.decentralized.topology.ring({num_nodes}) is one."
        )
    others = [np.flatnonzero(row & (np.arange(num_nodes) != i)) for i, row in enumerate(linked)]
    reached = np.arange(num_nodes) == 0
    while (new := linked[reached].any(axis=0) & ~reached).any():
        reached |= new
    if any(map(len, others)) and not reached.all():
        raise ValueError(
            f"`graph` must be connected, but node {int(np.argmin(reached))} cannot be reached from node 0; add an edge."
        )
    return others


def row_weights(weights: ArrayLike, num_nodes: int, *, name: str = "rows of `weights`") -> np.ndarray:
    """(N, N) weights whose rows sum to one."""
    share = numbers("weights", weights)
    if share.shape != (num_nodes, num_nodes) or not np.all(np.isfinite(share)):
        raise ValueError(f"{name}: expected ({num_nodes}, {num_nodes}) finite numbers, got shape {share.shape}.")
    if not np.allclose(share.sum(axis=1), 1, rtol=0, atol=1e-9):
        i = int(np.argmax(np.abs(share.sum(axis=1) - 1)))
        raise ValueError(
            f"{name} must sum to one, but that of node {i} sums to {share[i].sum():.6g}; "
            "jasgd.decentralized.weights.metropolis(graph) does it."
        )
    return share
