"""Synchronous minibatch SGD: every round waits for one gradient of every worker, all at the same point.

With partial participation a round has only some of them, as clients are sampled in federated averaging: McMahan, Moore,
Ramage, Hampson, Aguera y Arcas, "Communication-Efficient Learning of Deep Networks from Decentralized Data", AISTATS 2017.
"""

import numpy as np

from jasgd.fleet import Fleet
from jasgd.ledger import Ledger
from jasgd.protocols._checks import require_fleet, require_whole
from jasgd.schedule import Schedule


def minibatch(fleet: Fleet, updates: int, *, participants: int | None = None, seed: int = 0) -> Schedule:
    """Minibatch SGD: one step with the mean of the participants' gradients, as fast as the slowest of them.

    Args:
      fleet: workers and their speeds.
      updates: server steps.
      participants: how many workers are drawn for each round, uniformly and without replacement; the others idle. By default
        all take part.
      seed: of the durations and of the drawing.

    Example:
      >>> schedule = jasgd.protocols.minibatch(jasgd.fleet.fixed([1.0, 3.0]), 2)
      >>> schedule.time, schedule.read
      (array([1., 3., 4., 6.]), array([0, 0, 1, 1], dtype=int32))
      >>> jasgd.protocols.minibatch(jasgd.fleet.equal(100), 5, participants=10).summary().deliveries
      50
    """
    require_fleet(fleet, seed)
    require_whole(updates=updates)
    n, now = fleet.num_workers, 0.0
    m = n if participants is None else participants
    if not 1 <= m <= n:
        raise ValueError(f"`participants` must lie between 1 and the {n} workers, got {participants}.")
    if m == n and fleet.times is not None and not np.isfinite(fleet.times).all():
        raise ValueError(
            f"worker {int(np.argmax(fleet.times))} never answers, so no round of minibatch SGD ever ends; "
            "leave it out of the fleet."
        )
    clocks = fleet.clocks(seed=seed)
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    worker, job = np.empty((2, updates, m), np.int64)
    time, start = np.empty((2, updates, m))
    idle, jobs, everybody = np.zeros(n), np.zeros(n, np.int64), np.arange(n)
    for round_ in range(updates):
        drawn = everybody if m == n else np.sort(rng.choice(n, m, replace=False))
        finish = np.array([clocks[i](now) for i in drawn.tolist()])
        if not np.isfinite(finish).all():
            late = int(drawn[np.argmax(finish)])
            raise ValueError(
                f"worker {late} never answers in round {round_}, which therefore never ends; leave it out of the fleet."
            )
        order = np.argsort(finish, kind="stable")
        end = finish.max()
        worker[round_], job[round_], time[round_], start[round_] = drawn[order], jobs[drawn[order]], finish[order], now
        jobs[drawn] += 1
        wait = np.full(n, end - now)
        wait[drawn] = end - finish
        idle += wait
        now = end
    return Schedule(
        worker=worker.ravel(),
        job=job.ravel(),
        read=np.repeat(np.arange(updates), m),
        start=start.ravel(),
        time=time.ravel(),
        weight=np.full(updates * m, 1.0 / m),
        apply=np.arange(updates * m) % m == m - 1,
        num_workers=n,
        wire_seconds=fleet.wire_seconds,
        protocol="minibatch",
        arguments={"updates": updates, "participants": participants, "seed": seed, "fleet": fleet.name},
        ledger=Ledger(
            dropped=np.zeros(n, np.int64),
            cancelled=np.zeros(n, np.int64),
            dropped_seconds=np.zeros(n),
            cancelled_seconds=np.zeros(n),
            idle_seconds=idle,
            lost_delay=0,
            pending_worker=np.zeros(0, np.int64),
            pending_read=np.zeros(0, np.int64),
            pending_start=np.zeros(0),
        ),
    )
