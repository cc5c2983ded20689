"""Synchronous minibatch SGD: every round waits for one gradient of every worker, all at the same point."""

import numpy as np

from jasgd.fleet import Fleet
from jasgd.schedule import Ledger, Schedule


def minibatch(fleet: Fleet, updates: int, *, seed: int = 0) -> Schedule:
    """Minibatch SGD: one step with the mean of all workers' gradients, as fast as the slowest worker.

    Args:
      fleet: workers and their speeds.
      updates: server steps, each of ``fleet.num_workers`` gradients.
      seed: of the durations.

    Example:
      >>> schedule = jasgd.protocols.minibatch(jasgd.fleet.fixed([1.0, 3.0]), 2)
      >>> schedule.time, schedule.read
      (array([1., 3., 4., 6.]), array([0, 0, 1, 1], dtype=int32))
    """
    if updates < 1:
        raise ValueError(f"`updates` must be at least 1, got {updates}.")
    n, now = fleet.num_workers, 0.0
    if fleet.times is not None and not np.isfinite(fleet.times).all():
        raise ValueError(f"worker {int(np.argmax(fleet.times))} never answers, so no round of minibatch SGD ever ends.")
    clocks = fleet.clocks(seed=seed)
    worker, time, start = np.empty((3, updates, n))
    idle = np.zeros(n)
    for round_ in range(updates):
        finish = np.array([clock(now) for clock in clocks])
        if not np.isfinite(finish).all():
            raise ValueError(f"worker {int(np.argmax(finish))} never answers in round {round_}, which therefore never ends.")
        order = np.argsort(finish, kind="stable")
        worker[round_], time[round_], start[round_] = order, finish[order], now
        idle += finish.max() - finish
        now = finish.max()
    rounds = np.repeat(np.arange(updates), n)
    return Schedule(
        worker=worker.ravel(),
        job=rounds,
        read=rounds,
        start=start.ravel(),
        time=time.ravel(),
        weight=np.full(updates * n, 1.0 / n),
        apply=np.arange(updates * n) % n == n - 1,
        num_workers=n,
        protocol="minibatch",
        arguments={"updates": updates, "seed": seed, "fleet": fleet.name},
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
