r"""AGRAF: asynchronous SGD with any sequence of averages.

Even, Koloskova, Massoulié, "Asynchronous SGD on Graphs: a Unified Framework for Asynchronous Decentralized and Federated
Optimization", AISTATS 2024, https://arxiv.org/abs/2311.00465; its update as recalled, not verified.
"""

import heapq
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import ArrayLike

from jasgd.decentralized._links import neighbours, row_weights
from jasgd.decentralized._table import Table
from jasgd.decentralized.execution import Execution
from jasgd.decentralized.gossip import require_answer
from jasgd.fleet import Fleet
from jasgd.protocols._checks import require_fleet, require_whole

CITATION = """\
@inproceedings{even2024asynchronous,
  title={Asynchronous {SGD} on Graphs: a Unified Framework for Asynchronous Decentralized and Federated Optimization},
  author={Even, Mathieu and Koloskova, Anastasia and Massouli{\\'e}, Laurent},
  booktitle={AISTATS}, year={2024}, note={arXiv:2311.00465}}
"""


def agraf(fleet: Fleet, gossip: Iterable[tuple[float, ArrayLike]], gradients: int, *, seed: int = 0) -> Execution:
    r"""Gradients and averages at times of their own.

    .. math:: X^{k+1} = W^k (X^k - \gamma G^k),

    where :math:`G^k` has a row for every node that finishes a gradient at k, taken at what it had when it began, and
    :math:`W^k` is the average of that time, or the identity. At one time nodes that finish take their steps, in order;
    then come the averages; then these nodes begin anew. The averages of the last gradient's time are the end.

    With averages of all nodes that have finished it is decentralized or local SGD, with averages of pairs just before steps
    AD-PSGD, and with averages of all nodes at all steps asynchronous SGD with a server and the step :math:`\gamma / N`.

    Args:
      fleet: nodes and their speeds.
      gossip: pairs (seconds, W), finite or endless, in the order of their times; W is (N, N), with rows and columns that sum
        to one, none negative. A node whose row is the identity's gets no message.
      gradients: how many are finished, by all nodes together.
      seed: of the durations.

    Example:
      >>> everybody = np.full((3, 3), 1 / 3)
      >>> execution = jasgd.decentralized.agraf(jasgd.fleet.fixed([1.0, 1.5, 1.7]), [(1.2, everybody)], 3)
      >>> execution.node, execution.time
      (array([0, 0, 1, 2, 1, 2], dtype=int32), array([1. , 1.2, 1.2, 1.2, 1.5, 1.7]))
    """
    require_fleet(fleet, seed)
    require_whole(gradients=gradients)
    n = fleet.num_workers
    table, clocks, done, averages = Table(n), fleet.clocks(seed=seed), 0, 0
    heap = [(clock(0.0), i, 0.0, i) for i, clock in enumerate(clocks)]  # (finish, node, start, replica then)
    heapq.heapify(heap)
    meetings = _checked(gossip, n)
    meeting, share = next(meetings)
    while done < gradients:
        now, idle = min(heap[0][0], meeting), []
        require_answer(*heap[0][:2])
        while heap and heap[0][0] == now and done < gradients:
            _, i, start, read = heapq.heappop(heap)
            table.add(i, now, push=[(table.gradient, 1.0)], read=read, start=start)
            idle.append(i)
            done += 1
        while meeting == now:
            _average(table, now, share)
            averages += 1
            meeting, share = next(meetings)
        for i in idle:
            heapq.heappush(heap, (clocks[i](now), i, now, table.replica[i]))
    arguments = {"gradients": gradients, "averages": averages, "seed": seed, "fleet": fleet.name}
    return table.execution("agraf", arguments)


def poisson_gossip(graph: ArrayLike, rate: float, *, seed: int = 0) -> Iterator[tuple[float, np.ndarray]]:
    """Averages for :func:`agraf`: every edge averages its two ends at the points of a Poisson process of its own.

    Args:
      graph: of networkx, with nodes 0 to N - 1, or the (N, N) matrix of who may average with whom.
      rate: averages per second of every edge; 0: none.
      seed: of the times and edges.

    Returns:
      Pairs (seconds, W) without end; none if the rate is 0 or no edge is there.

    Example:
      >>> gossip = jasgd.decentralized.poisson_gossip(np.ones((2, 2)), rate=0.5)
      >>> next(gossip)[1]
      array([[0.5, 0.5],
             [0.5, 0.5]])
      >>> execution = jasgd.decentralized.agraf(jasgd.fleet.equal(2), gossip, 40)
    """
    if not (rate >= 0 and np.isfinite(rate)):
        raise ValueError(f"`rate` must be a number of averages per second, not negative, got {rate}.")
    n = graph.number_of_nodes() if hasattr(graph, "number_of_nodes") else len(np.atleast_1d(np.asarray(graph)))
    near = neighbours(graph, n)
    edges = [(i, int(j)) for i in range(n) for j in near[i] if i < j]
    return _poisson(n, edges, rate * len(edges), np.random.default_rng(np.random.SeedSequence(seed)))


def _poisson(
    n: int, edges: list[tuple[int, int]], total: float, rng: np.random.Generator
) -> Iterator[tuple[float, np.ndarray]]:
    now = 0.0
    while total:
        now += rng.exponential(1 / total)
        pair = np.array(edges[rng.integers(len(edges))])
        share = np.eye(n)
        share[pair[:, None], pair] = 0.5
        yield now, share


def _checked(gossip: Iterable[tuple[float, ArrayLike]], n: int) -> Iterator[tuple[float, np.ndarray]]:
    """The averages, and infinity after the last."""
    before = 0.0
    for time, weights in gossip:
        if not before <= time < np.inf:
            raise ValueError(f"times of `gossip` must not be negative nor go backwards, got {time} after {before}.")
        share = row_weights(weights, n, name=f"rows of the average at {time}")
        row_weights(share.T, n, name=f"columns of the average at {time}")
        if np.any(share < 0):
            raise ValueError(f"weights of the average at {time} must not be negative, got {share.min()}.")
        yield time, share
        before = time
    yield np.inf, np.eye(n)


def _average(table: Table, now: float, share: np.ndarray) -> None:
    n = len(share)
    half = list(table.replica)
    for i in np.flatnonzero(np.any(share != np.eye(n), axis=1)).tolist():
        others = np.flatnonzero(share[i]).tolist()
        for _ in range(len(others) - (i in others)):
            table.arrived(i, 0.0)
        table.add(i, now, mix=[(half[j], float(share[i, j])) for j in others])
