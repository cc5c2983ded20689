r"""Fragile SGD: average at one node whatever can arrive there in time, over a tree. And minibatch SGD over the same tree.

Tyurin, Richtarik, "On the Optimal Time Complexities in Decentralized Stochastic Asynchronous Optimization", NeurIPS 2024,
https://arxiv.org/abs/2405.16218. All workers have the same data.

As in the authors' code, everything starts anew with a step: nothing of the last round occupies a link, so that all rounds
are alike; in the paper, what is under way goes on and is ignored. Also as there, one tree of fastest paths serves both ways
where the graph is undirected. Deviation: in that code, what a node receives while it sends waits for the node's next
gradient or message, unless a gradient of its own came in between; here it leaves when the link is free, as in the paper.
"""

import heapq
from collections import Counter
from typing import TYPE_CHECKING, Literal

import numpy as np

from jasgd.decentralized._trees import Trees, repeated, trees
from jasgd.fleet import Fleet
from jasgd.protocols._checks import require_fleet, require_whole
from jasgd.schedule import Schedule

if TYPE_CHECKING:
    import networkx

CITATION = """\
@inproceedings{tyurin2024optimal,
  title={On the Optimal Time Complexities in Decentralized Stochastic Asynchronous Optimization},
  author={Tyurin, Alexander and Richt{\\'a}rik, Peter},
  booktitle={Advances in Neural Information Processing Systems}, year={2024}, note={arXiv:2405.16218}}
"""

# What comes first of what happens at the same time; then the smaller worker.
_ORDERS = {
    "authors": {"arrive": 0, "send": 1, "finish": 2, "request": 3},
    "simple": {"finish": 0, "arrive": 1, "send": 2, "request": 3},
}


def fragile(
    fleet: Fleet,
    graph: "networkx.Graph",
    updates: int,
    batch: int,
    *,
    pivot: int | None = None,
    ties: Literal["authors", "simple"] = "authors",
) -> Schedule:
    r"""Rounds that end when S gradients are at the pivot; the step is the mean of the :math:`s^k \ge S` that are there.

    The pivot broadcasts the point. Who has it passes it on and computes one gradient after the other; the sum of all that a
    worker has, its own and what came from others, goes towards the pivot whenever its link is free.

    In the table, a job is a worker's whole part of a round, from when it has the point: :math:`c_i` gradients that are at
    the pivot at the end, with the weight :math:`c_i / s^k`; the time of gradients that are not is part of it too. Workers
    of whom nothing has arrived have a cancelled job. A job has one message; the other vectors that have gone over an edge,
    be they sums that a worker passes on, are counted in ``lost``. ``jasgd.oracles.gradient(schedule.contents.gradients)``
    computes the gradients, as :func:`jasgd.methods.fragile` has it.

    Args:
      fleet: workers of fixed speeds, without links.
      graph: of :mod:`jasgd.decentralized.topology`, with the seconds of a vector over each edge.
      updates: steps.
      batch: S, :func:`jasgd.theory.fragile_batch`.
      pivot: by default the first from which the furthest worker is nearest, there and back, as in the authors' code;
        :func:`jasgd.theory.fragile_pivot` is the paper's.
      ties: at one time, messages arrive and then leave before gradients finish ("authors"), so that a gradient which is
        ready just as a link becomes free for a sum that waits is not in it; or gradients finish first ("simple").

    Example:
      >>> graph = jasgd.decentralized.topology.with_seconds(jasgd.decentralized.topology.mesh(1, 3), 0.1)
      >>> schedule = jasgd.decentralized.fragile(jasgd.fleet.equal(3), graph, 2, batch=4)
      >>> schedule.contents.gradients, schedule.worker, schedule.time
      (array([1, 2, 1]), array([0, 1, 2, 0, 1, 2], dtype=int32), array([2., 2., 2., 4., 4., 4.]))
    """
    require_fleet(fleet)
    require_whole(updates=updates, batch=batch)
    if ties not in _ORDERS:
        raise ValueError(f"`ties` must be 'authors' or 'simple', got {ties!r}.")
    paths = trees(fleet, graph, pivot)
    length, gradients, sends = _round(paths, batch, ties)
    return repeated(
        "fragile",
        fleet,
        paths,
        updates,
        length=length,
        begin=paths.away,
        gradients=gradients,
        sends=sends,
        share=gradients / gradients.sum(),
        arguments={"batch": batch, "ties": ties, "graph": str(graph)},
    )


def minibatch(fleet: Fleet, graph: "networkx.Graph", updates: int, *, pivot: int | None = None) -> Schedule:
    r"""Minibatch SGD over a tree: broadcast, one gradient of everybody, and their sum goes back to the pivot.

    All start together, when the last one has the point. A round takes :math:`2 \rho \, \mathrm{ecc} + h` seconds where
    workers and edges are alike. That is ideal: in the authors' code, nodes of a mesh may send twice, which takes longer.

    Args:
      fleet, graph, updates, pivot: as for :func:`fragile`; all workers must answer.

    Example:
      >>> graph = jasgd.decentralized.topology.with_seconds(jasgd.decentralized.topology.mesh(1, 3), 0.1)
      >>> jasgd.decentralized.minibatch(jasgd.fleet.equal(3), graph, 2).time
      array([1.2, 1.2, 1.2, 2.4, 2.4, 2.4])
    """
    require_fleet(fleet)
    require_whole(updates=updates)
    paths, n = trees(fleet, graph, pivot), fleet.num_workers
    compute = [ticks for ticks in paths.compute if ticks is not None]
    if len(compute) < n:
        raise ValueError(
            f"worker {paths.compute.index(None)} never answers, so no round of minibatch SGD ever ends; "
            "leave it out of the fleet."
        )
    begin = max(paths.away)
    return repeated(
        "minibatch on a graph",
        fleet,
        paths,
        updates,
        length=begin + max(compute) + max(paths.back),
        begin=[begin] * n,
        gradients=np.ones(n, np.int64),
        sends=np.where(np.arange(n) == paths.pivot, 0, 1),
        share=np.full(n, 1 / n),
        arguments={"graph": str(graph)},
    )


def _round(paths: Trees, batch: int, ties: str) -> tuple[int, np.ndarray, np.ndarray]:
    """Ticks of a round, gradients of every worker that are at the pivot, and vectors that every worker has sent."""
    order, n = _ORDERS[ties], len(paths.parent)
    finish, arrive, send, request = (order[event] for event in ("finish", "arrive", "send", "request"))
    held: list[Counter[int]] = [Counter() for _ in range(n)]  # gradients of each worker in the sum that a node has
    sending: list[Counter[int]] = [Counter() for _ in range(n)]
    free_at, asked, sends = [0] * n, [False] * n, np.zeros(n, np.int64)
    events = [(paths.away[v] + h, finish, v) for v, h in enumerate(paths.compute) if h is not None]
    if not events:
        raise ValueError("no worker ever answers, so no round of Fragile SGD ever ends.")
    heapq.heapify(events)
    now = 0
    while held[paths.pivot].total() < batch:
        now, event, v = heapq.heappop(events)
        if event == finish:
            held[v][v] += 1
            heapq.heappush(events, (now + (paths.compute[v] or 0), finish, v))
            heapq.heappush(events, (now, request, v))
        elif event == arrive:
            held[paths.parent[v]] += sending[v]
            sends[v] += 1
            heapq.heappush(events, (now, request, paths.parent[v]))
        elif event == send:
            sending[v], held[v], asked[v] = held[v], Counter(), False
            free_at[v] = now + paths.link[v]
            heapq.heappush(events, (free_at[v], arrive, v))
        elif v != paths.pivot and held[v] and not asked[v]:
            asked[v] = True
            heapq.heappush(events, (max(now, free_at[v]), send, v))
    return now, np.array([held[paths.pivot][v] for v in range(n)], np.int64), sends
