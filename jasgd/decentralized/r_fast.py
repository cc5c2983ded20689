r"""R-FAST: gradients are tracked through running sums, so that late messages do no harm, and lost ones would not either.

Zhu, Tian, Huang, Xu, He, "R-FAST: Robust Fully-Asynchronous Stochastic Gradient Tracking over General Topology",
https://arxiv.org/abs/2307.11617; the update as recalled, not verified.
"""

import heapq

import numpy as np
from numpy.typing import ArrayLike

from jasgd.decentralized._links import pairwise, row_weights
from jasgd.decentralized._table import Table
from jasgd.decentralized.execution import Execution
from jasgd.fleet import Fleet
from jasgd.protocols._checks import require_fleet, require_whole

CITATION = """\
@misc{zhu2023rfast,
  title={{R-FAST}: Robust Fully-Asynchronous Stochastic Gradient Tracking over General Topology},
  author={Zhu, Zehan and Tian, Ye and Huang, Yan and Xu, Jinming and He, Shibo}, year={2023}, note={arXiv:2307.11617}}
"""


def r_fast(
    fleet: Fleet,
    weights: ArrayLike,
    shares: ArrayLike,
    gradients: int,
    *,
    latencies: ArrayLike = 0.0,
    seed: int = 0,
) -> Execution:
    r"""Nodes average models and pass on what they track of all gradients, as running sums.

    Whenever node i has finished a gradient :math:`g_i` at its :math:`x_i`,

    .. math:: z_i^{1/2} = z_i + \sum_j (\rho_{ij} - \tilde\rho_{ij}) + g_i - g_i^{old},
        \qquad z_i = a_{ii} z_i^{1/2}, \quad \rho_{ji} \mathrel{+}= a_{ji} z_i^{1/2}, \quad \tilde\rho_{ij} = \rho_{ij},

    .. math:: v_i = x_i - \gamma z_i, \qquad x_i = w_{ii} v_i + \sum_j w_{ij} v_j

    with the last :math:`v_j` and :math:`\rho_{ij}` that have come from node j. The rule is given :math:`z_i`. At first all
    trackers are zero and every :math:`v_j` is the start. Always
    :math:`\sum_i z_i + \sum_{ij} (\rho_{ij} - \tilde\rho_{ij}) = \sum_i g_i^{last}` (derived).

    Args:
      fleet: nodes and their speeds.
      weights: :math:`w_{ij}`, (N, N) with rows that sum to one.
      shares: :math:`a_{ji}`, (N, N) with columns that sum to one: how node i divides its tracker.
      gradients: how many are finished, by all nodes together.
      latencies: seconds from node i to node j, (N, N) or one number.
      seed: of the durations.

    Example:
      >>> weights = np.full((3, 3), 1 / 3)
      >>> execution = jasgd.decentralized.r_fast(jasgd.fleet.equal(3), weights, weights, 6)
      >>> int((execution.job >= 0).sum()), int(execution.replica.sum())
      (6, 6)
    """
    require_fleet(fleet, seed)
    require_whole(gradients=gradients)
    n, clocks = fleet.num_workers, fleet.clocks(seed=seed)
    w, seconds = row_weights(weights, n), pairwise("latencies", latencies, n)
    a = row_weights(np.asarray(shares).T, n, name="columns of `shares`").T
    table = Table(n)
    model = [[-1] * n for _ in range(n)]  # v_j as node i knows it; -1: the start
    mass = [[-1] * n for _ in range(n)]  # rho_ij as node i knows it; -1: zero
    used = [[-1] * n for _ in range(n)]  # rho-tilde_ij
    sent = [[-1] * n for _ in range(n)]  # rho_ji as node i has it
    tracker, old = [-1] * n, [0] * n  # z_i; the value of g_i^old, 0: none
    mail: list[tuple[float, int, int, int, int, int]] = []  # (arrival, serial, to, from, v, rho)
    jobs = [(clock(0.0), i, 0.0) for i, clock in enumerate(clocks)]
    heapq.heapify(jobs)
    serial = 0
    for _ in range(gradients):
        now, i, start = heapq.heappop(jobs)
        if now == np.inf:
            raise ValueError("no node answers any more; give the fleet nodes that do.")
        while mail and mail[0][0] <= now:
            _, _, to, sender, v, rho = heapq.heappop(mail)
            model[to][sender], mass[to][sender] = max(model[to][sender], v), max(mass[to][sender], rho)
            table.arrived(to, float(seconds[sender, to]))
        new = table.gradient
        terms = [(tracker[i], 1.0)] + [(mass[i][j], 1.0) for j in range(n)] + [(used[i][j], -1.0) for j in range(n)]
        terms = [(value, weight) for value, weight in terms if value >= 0] + [(new, 1.0)]
        terms += [(old[i], -1.0)] if old[i] < 0 else []
        half = table.add(i, now, mix=terms, read=table.replica[i], start=start, replica=False)
        old[i], used[i] = table.gradient_of(half), list(mass[i])
        tracker[i] = table.add(i, now, mix=[(half, float(a[i, i]))], replica=False)
        v = table.add(i, now, push=[(tracker[i], 1.0)], replica=False)
        for j in range(n):
            if j == i or (a[j, i] == 0 and w[j, i] == 0) or seconds[i, j] == np.inf:
                continue
            if a[j, i]:
                before = [(sent[i][j], 1.0)] if sent[i][j] >= 0 else []
                sent[i][j] = table.add(i, now, mix=[*before, (half, float(a[j, i]))], replica=False)
            serial += 1
            heapq.heappush(mail, (now + float(seconds[i, j]), serial, j, i, v if w[j, i] else -1, sent[i][j]))
        models = {j: v if j == i else model[i][j] if model[i][j] >= 0 else j for j in np.flatnonzero(w[i]).tolist()}
        table.add(i, now, mix=[(value, float(w[i, j])) for j, value in models.items()])
        heapq.heappush(jobs, (clocks[i](now), i, now))
    return table.execution("r_fast", {"gradients": gradients, "seed": seed, "fleet": fleet.name})
