"""Shadowheart's rounds by trial: a budget of seconds that is doubled until it is enough. Ours, not the paper's.

The estimator is that of Tyurin, Pozzi, Ilin, Richtarik 2024, Shadowheart SGD, https://arxiv.org/abs/2402.04785. The paper
has an adaptive version that needs no times either; we do not know its steps, and this is another one.
"""

import math

import numpy as np

from jasgd.fleet import Fleet
from jasgd.protocols._budget import contents, ledger, nominal_times, shares, times
from jasgd.protocols._checks import require_fleet, require_whole
from jasgd.schedule import Schedule
from jasgd.theory.shadowheart import ShadowheartCounts, shadowheart_counts
from jasgd.traffic import Traffic


def doubling_budget(
    fleet: Fleet, updates: int, omega: float, noise_ratio: float, *, first: float, max_messages: int | None = None
) -> Schedule:
    r"""Shadowheart's rounds without knowing :math:`h` and :math:`\tau`, by doubling a budget.

    In a stage of budget T every worker computes fresh gradients for T seconds and sends messages for T seconds. If
    :math:`Z(T) \ge 1` the server steps with them, otherwise it throws them away and doubles T. Every round begins again with
    ``first``. As :math:`Z \ge 1` for :math:`T \ge t^*`, a round takes at most :math:`8 t^*` seconds if
    ``first`` :math:`\le t^*` (derived). Whether a stage is used depends on counts alone, so the estimator stays unbiased.

    Args:
      fleet: of fixed times, with ``upload`` of ``with_links``; models on their way take no time.
      updates: server steps.
      omega, noise_ratio, max_messages: as for :func:`shadowheart`; with a limit on messages Z may stay below 1 for long.
      first: the budget that is tried first, in seconds.

    Example:
      >>> fleet = jasgd.fleet.fixed([1.0, 1.0]).with_links(upload=1.0)
      >>> schedule = jasgd.protocols.doubling_budget(fleet, 1, omega=1.0, noise_ratio=2.0, first=1.0)
      >>> schedule.contents.gradients, schedule.time[-1], schedule.ledger.dropped
      (array([2, 2]), np.float64(6.0), array([1, 1]))
    """
    require_fleet(fleet)
    require_whole(updates=updates)
    if not (first > 0 and math.isfinite(first)):
        raise ValueError(f"`first` must be a positive number of seconds, got {first}.")
    if fleet.times is None or fleet.powers:
        raise ValueError("a doubled budget needs a fleet of fixed times: with others, every round would have other counts.")
    if fleet.download is not None and fleet.download.any():
        raise ValueError("a doubled budget has no time for models on their way: give a fleet without `download`.")
    stages = _stages(fleet, omega, noise_ratio, first, max_messages)
    counts, n = stages[-1], fleet.num_workers
    _, tau = nominal_times(fleet, None)
    active = np.flatnonzero(counts.active)
    arrival = counts.time + times(counts.messages, tau)  # from the beginning of a stage, in which sending begins at t
    vain = stages[:-1]
    before = sum(2 * stage.time for stage in vain)
    length = before + 2 * counts.time
    ends = length * np.arange(1, updates + 1)
    begins = length * np.arange(updates) + before  # of the last stages
    finish = np.minimum(begins[:, None] + arrival[active], ends[:, None])
    order = np.argsort(finish, axis=1, kind="stable")  # in every round: rounding may make two times one
    time, worker = np.take_along_axis(finish, order, axis=1), active[order]
    time[:, -1] = ends  # the server waits until the stage is over
    dropped = np.sum([np.zeros(n, np.int64), *(stage.active for stage in vain)], axis=0)
    wasted = np.sum([np.zeros(n), *((stage.time + times(stage.messages, tau)) * stage.active for stage in vain)], axis=0)
    idle = updates * (length - wasted - arrival * counts.active)
    np.subtract.at(idle, worker[:, -1], 2 * counts.time - arrival[worker[:, -1]])
    lost = Traffic(
        messages=np.full(updates, sum(int(stage.messages.sum()) for stage in vain)),
        models=np.zeros(updates, np.int64),  # all stages of a round share the point
        seconds=np.full(updates, sum(float(times(stage.messages, tau).sum()) for stage in vain)),
    )
    return Schedule(
        worker=worker.ravel(),
        job=(dropped[worker] + (dropped[worker] + 1) * np.arange(updates)[:, None]).ravel(),
        read=np.repeat(np.arange(updates), len(active)),
        start=np.repeat(begins, len(active)),
        time=time.ravel(),
        weight=shares(counts)[worker].ravel(),
        apply=np.tile(np.arange(len(active)) == len(active) - 1, updates),
        num_workers=n,
        wire_seconds=times(counts.messages, tau),
        contents=contents(counts),
        protocol="doubling_budget",
        arguments={
            "updates": updates,
            "omega": omega,
            "noise_ratio": noise_ratio,
            "first": first,
            "max_messages": max_messages,
            "fleet": fleet.name,
        },
        ledger=ledger(idle, dropped=updates * dropped, dropped_seconds=updates * wasted, lost=lost),
    )


def _stages(
    fleet: Fleet, omega: float, noise_ratio: float, first: float, max_messages: int | None
) -> list[ShadowheartCounts]:
    """The budgets that a round tries, the last of which is enough."""
    h, tau = nominal_times(fleet, None)
    slower = np.maximum(h, tau)
    if slower.min() == math.inf:
        raise ValueError("no worker ever answers: each has an infinite time per gradient or per message.")
    most = math.inf if max_messages is None else max_messages
    if omega and np.isfinite(slower).sum() * most <= omega:
        raise ValueError(f"Z never reaches 1: `max_messages` must be larger for omega = {omega:g}, got {max_messages}.")
    nothing = np.zeros(fleet.num_workers, np.int64)
    stages: list[ShadowheartCounts] = []
    time = first
    while not stages or stages[-1].normaliser < 1 - 1e-12:  # a sum that is 1 may be rounded down
        if time < slower.min():
            none = ShadowheartCounts(time=time, gradients=nothing, messages=nothing, weights=0.0 * nothing, normaliser=0.0)
            stages.append(none)
        else:
            stages.append(shadowheart_counts(omega, noise_ratio, h, tau, time=time, max_messages=max_messages))
        time *= 2
    return stages
