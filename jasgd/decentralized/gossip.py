r"""AD-PSGD: a node that has finished a gradient averages with a neighbour.

Lian, Zhang, Zhang, Liu, "Asynchronous Decentralized Parallel Stochastic Gradient Descent", ICML 2018,
https://arxiv.org/abs/1710.06952.

The average :math:`x_i, x_j \leftarrow (x_i + x_j) / 2` keeps the mean of all replicas, up to rounding, and a gradient moves
it by 1/n of the node's step.
"""

import heapq

import numpy as np
from numpy.typing import ArrayLike

from jasgd.decentralized._links import neighbours
from jasgd.decentralized._table import Table
from jasgd.decentralized.execution import Execution
from jasgd.fleet import Fleet
from jasgd.protocols._checks import require_fleet, require_whole

CITATION = """\
@inproceedings{lian2018asynchronous,
  title={Asynchronous Decentralized Parallel Stochastic Gradient Descent},
  author={Lian, Xiangru and Zhang, Wei and Zhang, Ce and Liu, Ji},
  booktitle={ICML}, year={2018}, note={arXiv:1710.06952}}
"""


def ad_psgd(fleet: Fleet, graph: ArrayLike, gradients: int, *, seed: int = 0) -> Execution:
    r"""A node that has finished a gradient averages with a random neighbour, then takes its step.

    .. math:: x_i, x_j \leftarrow (x_i + x_j) / 2, \qquad x_i \leftarrow x_i - \gamma g_i(\hat x_i),

    where :math:`\hat x_i` is what node i had when it began. Node j goes on with the gradient that it is at. The exchange
    takes no time; ties are broken by node.

    Args:
      fleet: nodes and their speeds.
      graph: of networkx, with nodes 0 to n - 1, or the (N, N) matrix of who may average with whom.
      gradients: how many are finished, by all nodes together.
      seed: of the durations and of the neighbours.

    Example:
      >>> execution = jasgd.decentralized.ad_psgd(jasgd.fleet.fixed([1.0, 1.5, 1.7]), np.ones((3, 3)), 3)
      >>> execution.node, execution.time
      (array([0, 2, 1, 2, 2, 1], dtype=int32), array([1. , 1. , 1.5, 1.5, 1.7, 1.7]))
    """
    require_fleet(fleet, seed)
    require_whole(gradients=gradients)
    n = fleet.num_workers
    near = neighbours(graph, n)
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    table, clocks = Table(n), fleet.clocks(seed=seed)
    heap = [(clock(0.0), i, 0.0, i) for i, clock in enumerate(clocks)]  # (finish, node, start, replica then)
    heapq.heapify(heap)
    for _ in range(gradients):
        now, i, start, read = heap[0]
        require_answer(now, i)
        mean, partner = None, int(rng.choice(near[i])) if len(near[i]) else i
        if partner != i:
            mean = [(table.replica[i], 0.5), (table.replica[partner], 0.5)]
            table.arrived(i, 0.0)
            table.arrived(partner, 0.0)
        table.add(i, now, mix=mean, push=[(table.gradient, 1.0)], read=read, start=start)
        if partner != i:
            table.add(partner, now, mix=mean)
        heapq.heapreplace(heap, (clocks[i](now), i, now, table.replica[i]))
    return table.execution("ad_psgd", {"gradients": gradients, "seed": seed, "fleet": fleet.name})


def require_answer(finish: float, node: int) -> None:
    """There is somebody left who finishes."""
    if finish == np.inf:
        raise ValueError(f"node {node} and all others never answer any more; give the fleet nodes that do.")
