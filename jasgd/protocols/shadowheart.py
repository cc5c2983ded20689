r"""Shadowheart SGD: every worker computes for about t seconds, then sends for about t seconds, as many messages as it can.

Tyurin, Pozzi, Ilin, Richtarik, "Shadowheart SGD: Distributed Asynchronous SGD with Optimal Time Complexity Under Arbitrary
Computation and Communication Heterogeneity", NeurIPS 2024, https://arxiv.org/abs/2402.04785, as in the authors' code. The
paper's adaptive version is not here, as we do not know its steps; :func:`jasgd.protocols.doubling_budget` is ours.

In the table, a job is a worker's whole part of a round: :math:`b_i` gradients and :math:`m_i` messages about their mean,
with the weight :math:`\alpha_i = w_i m_i b_i / Z`. Deviation: messages are about the mean, not the sum; that is the same
where a compressor commutes with positive factors, as all but natural compression do, and has the same constants always.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from jasgd.fleet import Fleet
from jasgd.protocols._budget import contents, ledger, nominal_times, shares, times
from jasgd.protocols._checks import require_fleet, require_whole
from jasgd.schedule import Schedule
from jasgd.theory.shadowheart import shadowheart_counts

CITATION = """\
@inproceedings{tyurin2024shadowheart,
  title={{Shadowheart SGD}: Distributed Asynchronous {SGD} with Optimal Time Complexity Under Arbitrary Computation and
    Communication Heterogeneity},
  author={Tyurin, Alexander and Pozzi, Marta and Ilin, Ivan and Richt{\\'a}rik, Peter},
  booktitle={Advances in Neural Information Processing Systems}, year={2024}, note={arXiv:2402.04785}}
"""


def shadowheart(
    fleet: Fleet,
    updates: int,
    omega: float,
    noise_ratio: float,
    *,
    time: float | None = None,
    max_messages: int | None = None,
    compute: ArrayLike | None = None,
    seed: int = 0,
) -> Schedule:
    r"""Rounds at a common point: :math:`b_i` gradients, then :math:`m_i` messages of every worker that is fast enough.

    A round takes :math:`\max_i (b_i h_i + m_i \tau_i) \le 2 t` seconds, and the time of a model on its way to the workers
    where the fleet has one. The gradients and messages themselves are the oracle's: ``jasgd.oracles.compressed(
    jasgd.oracles.gradient(schedule.contents.gradients), compressor, messages=schedule.contents.messages)``, which
    :func:`jasgd.methods.shadowheart` puts together.

    Args:
      fleet: workers, their speeds, and as ``upload`` of ``with_links`` the seconds :math:`\tau_i` of one compressed message.
      updates: server steps.
      omega, noise_ratio: of the compressor, and :math:`s = \sigma^2 / \epsilon`.
      time, max_messages: of :func:`jasgd.theory.shadowheart_counts`, which says how much each worker does.
      compute: nominal seconds per gradient :math:`h_i`, by which it is decided, where the fleet draws its durations.
      seed: of the durations.

    Example:
      >>> fleet = jasgd.fleet.fixed([1.0, 1.0, 99.0]).with_links(upload=[1.0, 1.0, 0.5])
      >>> schedule = jasgd.protocols.shadowheart(fleet, 2, omega=1.0, noise_ratio=2.0)
      >>> schedule.contents.gradients, schedule.contents.messages, schedule.time
      (array([4, 4, 0]), array([4, 4, 0]), array([ 8.,  8., 16., 16.]))
    """
    require_fleet(fleet, seed)
    require_whole(updates=updates)
    h, tau = nominal_times(fleet, compute)
    counts = shadowheart_counts(omega, noise_ratio, h, tau, time=time, max_messages=max_messages)
    active = np.flatnonzero(counts.active)
    sending = times(counts.messages, tau) + (0 if fleet.download is None else times(counts.active, fleet.download))
    computing = [_computing(fleet, i, int(counts.gradients[i]), updates, seed) for i in active.tolist()]
    begins, finish = _rounds(fleet, active, np.stack(computing, axis=1) + sending[active])
    idle = np.full(fleet.num_workers, begins[-1])
    idle[active] = np.sum(begins[1:, None] - finish, axis=0)
    order = np.argsort(finish, axis=1, kind="stable")
    return Schedule(
        worker=active[order].ravel(),
        job=np.repeat(np.arange(updates), len(active)),
        read=np.repeat(np.arange(updates), len(active)),
        start=np.repeat(begins[:-1], len(active)),
        time=np.take_along_axis(finish, order, axis=1).ravel(),
        weight=shares(counts)[active[order]].ravel(),
        apply=np.tile(np.arange(len(active)) == len(active) - 1, updates),
        num_workers=fleet.num_workers,
        wire_seconds=sending,
        contents=contents(counts),
        protocol="shadowheart",
        arguments={
            "updates": updates,
            "omega": omega,
            "noise_ratio": noise_ratio,
            "time": counts.time,
            "max_messages": max_messages,
            "seed": seed,
            "fleet": fleet.name,
        },
        ledger=ledger(idle),
    )


def _computing(fleet: Fleet, worker: int, gradients: int, rounds: int, seed: int) -> np.ndarray:
    """(rounds,) seconds of so many gradients each."""
    alone = fleet if fleet.computing is None else fleet.computing
    if alone.times is not None:
        return np.full(rounds, gradients * alone.times[worker])
    return alone.durations(worker, rounds * gradients, seed=seed).reshape(rounds, gradients).sum(axis=1)


def _rounds(fleet: Fleet, active: np.ndarray, seconds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """When each round begins (updates + 1,), and when in it each active worker is done (updates, active)."""
    begins, finish = np.zeros(len(seconds) + 1), np.empty_like(seconds)
    changing = [(j, power) for j, i in enumerate(active.tolist()) if (power := fleet.power_of(i)) is not None]
    for k, needed in enumerate(seconds):
        finish[k] = begins[k] + needed
        for j, power in changing:
            finish[k, j] = power.finish(float(begins[k]), float(needed[j]))
        begins[k + 1] = finish[k].max()
        if begins[k + 1] == math.inf:
            late = int(active[np.argmax(finish[k])])
            raise ValueError(
                f"worker {late} never answers in round {k}, which therefore never ends; leave it out of the fleet."
            )
    return begins, finish
