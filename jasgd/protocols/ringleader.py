"""Ringleader ASGD: rounds in which every worker causes one step, with gradients of all workers in every step.

Maranjyan, Richtarik, "Ringleader ASGD: The First Asynchronous SGD with Optimal Time Complexity under Data Heterogeneity",
ICLR 2026, https://arxiv.org/abs/2509.22860. The arithmetic is :func:`jasgd.rules.ringleader`. The paper's timeline and its
public code differ in what a worker is sent that has delivered without causing a step: see ``restart``.
"""

from typing import Any, Literal

import numpy as np

from jasgd.fleet import Fleet
from jasgd.protocols._arrivals import arrivals
from jasgd.protocols._checks import require_fleet, require_whole
from jasgd.protocols._tally import Tally
from jasgd.rules.ringleader import CITATION as CITATION
from jasgd.schedule import Schedule


def ringleader(
    fleet: Fleet, updates: int, *, restart: Literal["server point", "own model"] = "server point", seed: int = 0
) -> Schedule:
    """Phase 1 collects a gradient of every worker; in phase 2 each worker, as it arrives, causes one step.

    Rows without ``apply`` are gradients that are only stored, for this round or for the next; a version is a step.

    Args:
      fleet: workers and their speeds; all must answer.
      updates: server steps, ``num_workers`` of them per round.
      restart: where a worker goes on that caused no step: at the "server point", as in the public code, or at its "own
        model", the last one it was sent, as in the paper's timeline.
      seed: of the durations.

    Example:
      >>> schedule = jasgd.protocols.ringleader(jasgd.fleet.fixed([1.0, 1.44, 2.05]), 4)
      >>> np.round(schedule.time[schedule.apply], 2), schedule.worker[schedule.apply]
      (array([2.05, 2.88, 3.  , 4.32]), array([2, 1, 0, 1], dtype=int32))
    """
    require_fleet(fleet, seed)
    require_whole(updates=updates)
    if restart not in ("server point", "own model"):
        raise ValueError(f"`restart` must be 'server point' or 'own model', got {restart!r}.")
    n = fleet.num_workers
    rows: list[tuple[Any, ...]] = []
    version, read, jobs, busy_since = 0, [0] * n, [0] * n, [0.0] * n
    arrived, missing = [False] * n, n  # who is in this round's table
    following: set[int] = set()  # who is in the next one's
    marked = [False] * n
    unmarked = n
    for now, worker, start in arrivals(fleet, seed=seed, need_all=True):
        if marked[worker]:
            following.add(worker)
        elif not arrived[worker]:
            arrived[worker] = True
            missing -= 1
        steps = not marked[worker] and not missing
        rows.append((worker, jobs[worker], read[worker], start, now, steps))
        jobs[worker] += 1
        busy_since[worker] = now
        if steps:
            version += 1
            marked[worker] = True
            unmarked -= 1
        if steps or restart == "server point":
            read[worker] = version
        if version == updates:
            break
        if not unmarked:
            arrived = [i in following for i in range(n)]
            missing, unmarked, marked = n - len(following), n, [False] * n
            following = set()
    names = ("worker", "job", "read", "start", "time", "apply")
    columns: dict[str, Any] = dict(zip(names, map(np.array, zip(*rows, strict=True)), strict=True))
    return Schedule(
        **columns,
        weight=np.ones(len(rows), np.float32),
        num_workers=n,
        wire_seconds=fleet.wire_seconds,
        protocol="ringleader",
        arguments={"updates": updates, "restart": restart, "seed": seed, "fleet": fleet.name},
        ledger=Tally(fleet, updates).ledger((i, read[i], busy_since[i]) for i in range(n)),
    )
