"""DASGD: no server and no averaging; every node applies every gradient to its own replica, with the full step.

Tosi, Theobald, "Convergence Analysis of Decentralized ASGD", https://arxiv.org/abs/2309.03754, as in the authors' code,
TensAIR. Where a paper would average n gradients, n nodes that work in lock-step move by n steps: **the sum, not the mean**.
"""

import heapq

import numpy as np
from numpy.typing import ArrayLike

from jasgd.decentralized._links import pairwise
from jasgd.decentralized._table import Table
from jasgd.decentralized.execution import Execution
from jasgd.fleet import Fleet
from jasgd.protocols._checks import require_fleet, require_whole

CITATION = """\
@misc{tosi2023convergence,
  title={Convergence Analysis of Decentralized {ASGD}},
  author={Tosi, Mauro DL and Theobald, Martin}, year={2023}, note={arXiv:2309.03754}}
"""

_Terms = list[tuple[int, float]]
_FINISH, _DELIVER, _START = range(3)


def dasgd(
    fleet: Fleet, gradients: int, *, latencies: ArrayLike = 0.0, broadcast_every: int = 1, drain: bool = False, seed: int = 0
) -> Execution:
    """A node applies what has arrived, message after message, computes a gradient, applies it, and sends it to all others.

    At one time, gradients finish before messages are delivered, and these before computations start. Applying takes no time.

    Args:
      fleet: nodes and their speeds.
      gradients: how many are started, by all nodes together; all of them are finished.
      latencies: seconds from node i to node j, (N, N) or one number; of a network, its shortest paths:
        :func:`jasgd.decentralized.topology.latencies`.
      broadcast_every: gradients per message, which then holds their sum; a last, incomplete sum is never sent.
      drain: in the end, also apply all messages that are still under way or wait.
      seed: of the durations.

    Example:
      >>> execution = jasgd.decentralized.dasgd(jasgd.fleet.fixed([1.0, 1.5]), 4, latencies=0.2)
      >>> execution.node, execution.time, execution.job
      (array([0, 1, 1, 0, 1], dtype=int32), array([1. , 1.5, 1.5, 2. , 3. ]), array([ 0,  0, -1,  1,  1], dtype=int32))
    """
    require_fleet(fleet, seed)
    require_whole(gradients=gradients, broadcast_every=broadcast_every)
    n, clocks = fleet.num_workers, fleet.clocks(seed=seed)
    seconds = pairwise("latencies", latencies, n)
    table = Table(n)
    inbox: list[list[_Terms]] = [[] for _ in range(n)]
    unsent: list[_Terms] = [[] for _ in range(n)]
    started = [0.0] * n
    # (time, phase, node, serial, message, its seconds); the serial keeps messages in the order of sending.
    heap: list[tuple[float, int, int, int, _Terms, float]] = [(0.0, _START, i, 0, [], 0.0) for i in range(n)]
    begun = serial = 0

    def apply(node: int, time: float) -> None:
        for message in inbox[node]:
            table.add(node, time, push=message)
        inbox[node].clear()

    while heap:
        now, phase, node, _, message, under_way = heapq.heappop(heap)
        if now == np.inf:
            raise ValueError(
                f"node {node} never answers, but DASGD waits for all {gradients} gradients that are started; "
                "leave it out of the fleet."
            )
        if phase == _FINISH:
            own = (table.gradient, 1.0)
            table.add(node, now, push=[own], read=table.replica[node], start=started[node])
            unsent[node].append(own)
            if len(unsent[node]) == broadcast_every:
                for other in np.flatnonzero(np.isfinite(seconds[node])).tolist():
                    if other != node:
                        serial, wait = serial + 1, float(seconds[node, other])
                        heapq.heappush(heap, (now + wait, _DELIVER, other, serial, unsent[node], wait))
                unsent[node] = []
            heapq.heappush(heap, (now, _START, node, 0, [], 0.0))
        elif phase == _DELIVER:
            inbox[node].append(message)
            table.arrived(node, under_way)
        elif begun < gradients:
            apply(node, now)
            begun += 1
            started[node] = now
            heapq.heappush(heap, (clocks[node](now), _FINISH, node, 0, [], 0.0))
        last = now
    if drain:
        for node in range(n):
            apply(node, last)
    arguments = {"gradients": gradients, "broadcast_every": broadcast_every, "drain": drain, "seed": seed}
    return table.execution("dasgd", {**arguments, "fleet": fleet.name})
