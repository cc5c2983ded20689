r"""Nodes that work in rounds: decentralized (local) SGD, and gossip whose models arrive rounds late.

- Decentralized local SGD: Koloskova, Loizou, Boreiri, Jaggi, Stich, "A Unified Theory of Decentralized SGD with Changing
  Topology and Local Updates", ICML 2020, https://arxiv.org/abs/2003.10422.
- Delayed gossip: Ortega, Jafarkhani, https://arxiv.org/abs/2401.11344; the form of the update is derived, not read.
"""

import numpy as np
from numpy.typing import ArrayLike

from jasgd.decentralized._links import row_weights
from jasgd.decentralized._table import Table
from jasgd.decentralized.execution import Execution
from jasgd.fleet import Fleet
from jasgd.protocols._checks import require_fleet, require_whole

CITATION = """\
@inproceedings{koloskova2020unified,
  title={A Unified Theory of Decentralized {SGD} with Changing Topology and Local Updates},
  author={Koloskova, Anastasia and Loizou, Nicolas and Boreiri, Sadra and Jaggi, Martin and Stich, Sebastian U.},
  booktitle={ICML}, year={2020}, note={arXiv:2003.10422}}
@misc{ortega2024delayed,
  author={Ortega, Tomas and Jafarkhani, Hamid}, title={Decentralized optimization with delayed gossip}, year={2024},
  note={arXiv:2401.11344}}
"""


def local_sgd(
    fleet: Fleet, weights: ArrayLike, rounds: int, *, local_steps: int = 1, latency: float = 0.0, seed: int = 0
) -> Execution:
    r"""Every node takes some steps of its own, then all average: :math:`X \leftarrow W^t (X - \eta G)`.

    With one local step it is decentralized SGD, and with :math:`W = 1 1^T / n` minibatch SGD. A round lasts as long as its
    slowest node, and the exchange.

    Args:
      fleet: nodes and their speeds.
      weights: (N, N) with rows that sum to one, or (M, N, N): round t takes the (t mod M)-th.
      rounds: how many.
      local_steps: gradients of each node per round.
      latency: seconds that the exchange takes.
      seed: of the durations.

    Example:
      >>> execution = jasgd.decentralized.local_sgd(jasgd.fleet.fixed([1.0, 2.0]), np.full((2, 2), 0.5), 2, latency=0.5)
      >>> execution.time[execution.job < 0]
      array([2.5, 2.5, 5. , 5. ])
    """
    require_fleet(fleet, seed)
    require_whole(rounds=rounds, local_steps=local_steps)
    if not (latency >= 0 and np.isfinite(latency)):
        raise ValueError(f"`latency` must be a number of seconds, not negative, got {latency}.")
    n, clocks = fleet.num_workers, fleet.clocks(seed=seed)
    several = np.asarray(weights, np.float64)
    each = [row_weights(one, n) for one in (several if several.ndim == 3 and len(several) else [several])]
    table, now = Table(n), 0.0
    for t in range(rounds):
        share, ended = each[t % len(each)], []
        begins = [now] * n
        steps: list[tuple[float, int, float]] = []
        for i, clock in enumerate(clocks):
            for _ in range(local_steps):
                finish = clock(begins[i])
                steps.append((finish, i, begins[i]))
                begins[i] = finish
            ended.append(begins[i])
        if max(ended) == np.inf:
            raise ValueError(
                f"node {int(np.argmax(ended))} never answers in round {t}, which therefore never ends; "
                "leave it out of the fleet."
            )
        for finish, i, begin in sorted(steps):
            table.add(i, finish, push=[(table.gradient, 1.0)], read=table.replica[i], start=begin)
        now = max(ended) + latency
        half = list(table.replica)
        for i in range(n):
            others = np.flatnonzero(share[i]).tolist()
            for _ in range(len(others) - (i in others)):
                table.arrived(i, latency)
            table.add(i, now, mix=[(half[j], float(share[i, j])) for j in others])
    arguments = {"rounds": rounds, "local_steps": local_steps, "latency": latency, "seed": seed}
    return table.execution("local_sgd", {**arguments, "fleet": fleet.name})


def delayed_gossip(fleet: Fleet, weights: ArrayLike, rounds: int, *, delays: ArrayLike = 0, seed: int = 0) -> Execution:
    r"""Gossip in rounds whose models are late: :math:`x_i^{t+1} = \sum_j w_{ij} x_j^{t - d_{ij}} - \gamma g_i(x_i^t)`.

    Before round 0 everybody has the start. A round lasts as long as its slowest node.

    Args:
      fleet: nodes and their speeds.
      weights: (N, N) with rows that sum to one.
      rounds: how many.
      delays: :math:`d_{ij}` rounds from node j to node i, (N, N), or one for all pairs; a node's own model is not late.
      seed: of the durations.

    Example:
      >>> execution = jasgd.decentralized.delayed_gossip(jasgd.fleet.equal(2), np.full((2, 2), 0.5), 3, delays=1)
      >>> execution.mix
      array([0, 1, 0, 1, 2, 1, 0, 3, 4, 3, 2, 5], dtype=int32)
    """
    require_fleet(fleet, seed)
    require_whole(rounds=rounds)
    n, clocks = fleet.num_workers, fleet.clocks(seed=seed)
    share = row_weights(weights, n)
    late = np.asarray(delays)
    if late.shape not in ((), (n, n)) or late.dtype.kind not in "iu" or np.any(late < 0):
        raise ValueError(
            f"`delays` must be whole, not negative, and one number or of shape ({n}, {n}), got {late.tolist()}."
        )
    late = np.where(np.eye(n, dtype=bool), 0, late)
    table, now = Table(n), 0.0
    history = [list(table.replica)]  # the replicas at the beginning of each round
    for t in range(rounds):
        finish = [clock(now) for clock in clocks]
        if max(finish) == np.inf:
            raise ValueError(
                f"node {int(np.argmax(finish))} never answers in round {t}, which therefore never ends; "
                "leave it out of the fleet."
            )
        for i in range(n):
            others = np.flatnonzero(share[i]).tolist()
            for _ in range(len(others) - (i in others)):
                table.arrived(i, 0.0)
            mix = [(history[max(t - int(late[i, j]), 0)][j], float(share[i, j])) for j in others]
            table.add(i, max(finish), mix=mix, push=[(table.gradient, 1.0)], read=history[t][i], start=now)
        now = max(finish)
        history.append(list(table.replica))
    return table.execution("delayed_gossip", {"rounds": rounds, "seed": seed, "fleet": fleet.name})
