"""One worker alone: the fastest, which needs no server and sends nothing.

No method that goes through a server can be better when links are slow enough: Tyurin, Richtarik, "On the Optimal Time
Complexities in Decentralized Stochastic Asynchronous Optimization", NeurIPS 2024, https://arxiv.org/abs/2405.16218. It is a
baseline of the experiments of Tyurin, Pozzi, Ilin, Richtarik 2024, Shadowheart SGD, https://arxiv.org/abs/2402.04785.
"""

import numpy as np
from numpy.typing import ArrayLike

from jasgd.fleet import Fleet
from jasgd.ledger import Ledger
from jasgd.protocols._budget import nominal_times
from jasgd.protocols._checks import require_fleet, require_whole
from jasgd.schedule import Schedule
from jasgd.traffic import Contents


def fastest_worker(fleet: Fleet, updates: int, *, compute: ArrayLike | None = None, seed: int = 0) -> Schedule:
    """Plain SGD on the worker with the least seconds per gradient, whose links are not used.

    Args:
      fleet: workers and their speeds.
      updates: steps.
      compute: nominal seconds per gradient, by which the fastest is chosen, where the fleet draws its durations.
      seed: of the durations.

    Example:
      >>> fleet = jasgd.fleet.fixed([2.0, 1.0]).with_links(upload=[0.1, 9.0])
      >>> schedule = jasgd.protocols.fastest_worker(fleet, 3)
      >>> schedule.worker, schedule.time
      (array([1, 1, 1], dtype=int32), array([1., 2., 3.]))
    """
    require_fleet(fleet, seed)
    require_whole(updates=updates)
    n, alone = fleet.num_workers, fleet if fleet.computing is None else fleet.computing
    fastest = int(np.argmin(nominal_times(fleet, compute)[0]))
    seconds, power = alone.durations(fastest, updates, seed=seed), fleet.power_of(fastest)
    time = np.add.accumulate(seconds)
    if power is not None:
        now = 0.0
        time = np.array([now := power.finish(now, float(each)) for each in seconds])
    if not np.isfinite(time[-1]):
        raise ValueError(
            f"worker {fastest} never answers after update {np.argmax(~np.isfinite(time))}; leave it out of the fleet."
        )
    row, others = np.arange(updates), np.arange(n) != fastest
    nothing = np.zeros(n, np.int64)
    return Schedule(
        worker=np.full(updates, fastest),
        job=row,
        read=row,
        start=np.concatenate([[0.0], time[:-1]]),
        time=time,
        weight=np.ones(updates),
        apply=np.ones(updates, bool),
        num_workers=n,
        contents=Contents(gradients=np.where(others, 0, 1), messages=nothing, models=nothing),
        protocol="fastest_worker",
        arguments={"updates": updates, "seed": seed, "fleet": fleet.name},
        jobs_in_flight=0,
        ledger=Ledger(
            dropped=nothing,
            cancelled=nothing,
            dropped_seconds=np.zeros(n),
            cancelled_seconds=np.zeros(n),
            idle_seconds=np.where(others, time[-1], 0.0),
            lost_delay=0,
            pending_worker=np.array([fastest]),
            pending_read=np.array([updates]),
            pending_start=time[-1:],
        ),
    )
