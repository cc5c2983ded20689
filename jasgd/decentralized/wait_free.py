r"""Nodes that never wait: they average with the newest models that have reached them.

- SWIFT: Bornstein, Rabbani, Wang, Bedi, Huang, "SWIFT: Rapid Decentralized Federated Learning via Wait-Free Model
  Communication", ICLR 2023, as in the authors' code.
- ADSGD: https://arxiv.org/abs/2505.10322; its update as recalled, not verified.

Once models are stale or messages missing, no average here keeps the mean of all replicas.
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
@inproceedings{bornstein2023swift,
  title={{SWIFT}: Rapid Decentralized Federated Learning via Wait-Free Model Communication},
  author={Bornstein, Marco and Rabbani, Tahseen and Wang, Evan and Bedi, Amrit Singh and Huang, Furong},
  booktitle={ICLR}, year={2023}}
@misc{adsgd2025,
  title={{ADSGD}}, year={2025}, note={arXiv:2505.10322}}
"""


def swift(
    fleet: Fleet,
    weights: ArrayLike,
    gradients: int,
    *,
    latencies: ArrayLike = 0.0,
    average_every: int = 1,
    only_new: bool = False,
    seed: int = 0,
) -> Execution:
    r"""A node sends its model, averages what it has received, and takes the step of a gradient from before the average.

    .. math:: x_i \leftarrow \Big(1 - \sum_j w_{ij}\Big) x_i + \sum_j w_{ij} \hat x_j - \gamma g_i(x_i),

    where :math:`\hat x_j` is the last model that has come from j, at first the common start. At one time, all send before
    any averages.

    Args:
      fleet: nodes and their speeds.
      weights: (N, N) with rows that sum to one, e.g. of :mod:`jasgd.decentralized.weights`.
      gradients: how many are finished, by all nodes together.
      latencies: seconds from node i to node j, (N, N) or one number.
      average_every: a node averages in every so many steps only; it sends in each.
      only_new: of a neighbour from which nothing new has come, the node takes its own model instead (memory-efficient).
      seed: of the durations.

    Example:
      >>> weights = np.full((3, 3), 1 / 3)
      >>> execution = jasgd.decentralized.swift(jasgd.fleet.fixed([1.0, 1.5, 1.7]), weights, 3, latencies=0.1)
      >>> execution.mix[:3], execution.mix[3:6]  # nothing has come yet: all is from the start
      (array([0, 1, 2], dtype=int32), array([1, 0, 2], dtype=int32))
    """
    require_fleet(fleet, seed)
    require_whole(gradients=gradients, average_every=average_every)
    arguments: dict[str, object] = {"average_every": average_every, "only_new": only_new}
    given = (fleet, weights, gradients, latencies, seed, arguments)
    return _wait_free("swift", *given, every=average_every, only_new=only_new, send_before=True)


def adsgd(fleet: Fleet, weights: ArrayLike, gradients: int, *, latencies: ArrayLike = 0.0, seed: int = 0) -> Execution:
    r"""A node averages the newest models that it has, takes its step, and sends the result.

    .. math:: x_i \leftarrow \sum_j w_{ij} \hat x_j - \alpha g_i(x_i)

    Args:
      fleet, weights, gradients, latencies, seed: as for :func:`swift`.

    Example:
      >>> weights = np.full((3, 3), 1 / 3)
      >>> len(jasgd.decentralized.adsgd(jasgd.fleet.equal(3), weights, 6))
      6
    """
    require_fleet(fleet, seed)
    require_whole(gradients=gradients)
    return _wait_free("adsgd", fleet, weights, gradients, latencies, seed, {}, every=1, only_new=False, send_before=False)


def _wait_free(
    name: str,
    fleet: Fleet,
    weights: ArrayLike,
    gradients: int,
    latencies: ArrayLike,
    seed: int,
    arguments: dict[str, object],
    *,
    every: int,
    only_new: bool,
    send_before: bool,
) -> Execution:
    n, clocks = fleet.num_workers, fleet.clocks(seed=seed)
    share, seconds = row_weights(weights, n), pairwise("latencies", latencies, n)
    listens = [[j for j in np.flatnonzero(share[i]).tolist() if j != i] for i in range(n)]
    hears = [[j for j in range(n) if j != i and share[j, i] and seconds[i, j] < np.inf] for i in range(n)]
    table = Table(n)
    known = [dict.fromkeys(listens[i], -1) for i in range(n)]  # newest model of each neighbour; -1: that of the start
    fresh: list[set[int]] = [set() for _ in range(n)]
    mail: list[tuple[float, int, int, int, int]] = []  # (arrival, serial, to, from, model)
    jobs = [(clock(0.0), i, 0.0) for i, clock in enumerate(clocks)]
    heapq.heapify(jobs)
    serial = done = 0

    def send(i: int, now: float) -> None:
        nonlocal serial
        for j in hears[i]:
            serial += 1
            heapq.heappush(mail, (now + float(seconds[i, j]), serial, j, i, table.replica[i]))

    def deliver(until: float) -> None:
        while mail and mail[0][0] <= until:
            _, _, to, sender, model = heapq.heappop(mail)
            known[to][sender] = model
            fresh[to].add(sender)
            table.arrived(to, float(seconds[sender, to]))

    while done < gradients:
        now = jobs[0][0]
        if now == np.inf:
            raise ValueError("no node answers any more; give the fleet nodes that do.")
        together = []
        while jobs and jobs[0][0] == now:
            together.append(heapq.heappop(jobs))
        if send_before:
            for _, i, _ in together:
                send(i, now)
        deliver(now)
        for _, i, start in together:
            if done == gradients:
                break
            own, mix = table.replica[i], None
            if (table.jobs[i] + 1) % every == 0:
                others = [j for j in listens[i] if not only_new or j in fresh[i]]
                mix = [(own, 1.0 - float(sum(share[i, j] for j in others)))]
                mix += [(known[i][j] if known[i][j] >= 0 else j, float(share[i, j])) for j in others]
                fresh[i].clear()
            table.add(i, now, mix=mix, push=[(table.gradient, 1.0)], read=own, start=start)
            if not send_before:
                send(i, now)
            done += 1
            heapq.heappush(jobs, (clocks[i](now), i, now))
    return table.execution(name, {"gradients": gradients, **arguments, "seed": seed, "fleet": fleet.name})
