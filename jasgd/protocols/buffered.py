"""A server that gathers several gradients before it steps, while the others go on.

- FedBuff: Nguyen et al. 2022, https://arxiv.org/abs/2106.06639; clients are drawn at random, a step is the mean of a buffer.
- FADAS: Wang, Wang, Lu, Chen 2024, https://arxiv.org/abs/2407.18365; clients are drawn among the idle ones.
- n-softsync: Zhang, Gupta, Lian, Liu 2016, https://arxiv.org/abs/1511.05950; a worker restarts at once, with the server's
  current model.
- Semi-asynchronous DuDe-ASGD: Wang, Sun, Wai, Zhang 2024, https://arxiv.org/abs/2405.16966; those who delivered wait for
  the step that they are part of.
"""

from typing import Any, Literal

import numpy as np

from jasgd.fleet import Fleet
from jasgd.ledger import Ledger
from jasgd.protocols._checks import require_fleet, require_whole
from jasgd.protocols._event_loop import Server
from jasgd.rules.dude import CITATION as DUDE
from jasgd.rules.fedbuff import CITATION as CITATION
from jasgd.schedule import Schedule

CITATIONS = {"semi_asynchronous": DUDE}


def buffered(
    fleet: Fleet,
    updates: int,
    buffer: int,
    *,
    assignment: Literal["random", "idle", "shuffled", "own"] = "random",
    concurrency: int | None = None,
    parallel: bool = False,
    max_delay: int | None = None,
    seed: int = 0,
) -> Schedule:
    """Every ``buffer`` gradients are one server step, with weight 1 / ``buffer`` each; delays count server steps.

    Args:
      fleet: clients and their speeds.
      updates: server steps.
      buffer: gradients per step.
      assignment: who gets the current model when a client has delivered: a uniformly drawn client, busy or not
        ("random"), one that is idle ("idle"), the next of a permutation ("shuffled"), or the same one ("own").
      concurrency: clients that compute at a time; by default all.
      parallel: let a client compute several jobs at once instead of queueing them.
      max_delay: older gradients are thrown away when they arrive; they do not fill the buffer.
      seed: of the durations and of the drawing.

    Example:
      >>> schedule = jasgd.protocols.buffered(jasgd.fleet.equal(8), 3, buffer=4, assignment="own")
      >>> schedule.apply.sum(), schedule.weight[0], schedule.delay.max()
      (np.int64(3), np.float32(0.25), np.int32(2))
    """
    require_fleet(fleet, seed)
    n = fleet.num_workers
    jobs = n if concurrency is None else concurrency
    arguments = {key: value for key, value in locals().items() if key not in ("fleet", "n", "jobs")} | {"fleet": fleet.name}
    require_whole(updates=updates, buffer=buffer)
    require_whole(least=None, concurrency=jobs)
    if assignment not in ("random", "idle", "shuffled", "own"):
        raise ValueError(f"`assignment` must be 'random', 'idle', 'shuffled' or 'own', got {assignment!r}.")
    if not 1 <= jobs <= n:
        raise ValueError(f"`concurrency` must lie between 1 and the {n} workers, got {jobs}.")
    if parallel and assignment in ("own", "idle"):
        raise ValueError("`parallel` jobs need assignment 'random' or 'shuffled': the others never choose a busy client.")
    if max_delay is not None and not max_delay >= 0:
        raise ValueError(f"`max_delay` must not be negative, got {max_delay}.")
    server = Server(fleet, jobs, assignment, 1, parallel, "after", max_delay, "updates", seed, gather=buffer)
    columns, ledger = server.run(updates)
    return _gathered("buffered", fleet, columns, ledger, buffer, arguments, jobs_in_flight=jobs - 1, parallel=parallel)


def semi_asynchronous(
    fleet: Fleet,
    updates: int,
    wait_for: int,
    *,
    first_round: Literal["apart", "together"] = "apart",
    seed: int = 0,
) -> Schedule:
    """The server steps when ``wait_for`` workers have delivered; these start again together, the others go on.

    Args:
      fleet: workers and their speeds.
      updates: server steps.
      wait_for: c, gradients per step, with weight 1 / c each.
      first_round: "together" makes the first step one of all workers, as gradient tables are filled.
      seed: of the durations.

    Example:
      >>> schedule = jasgd.protocols.semi_asynchronous(jasgd.fleet.fixed([1.0, 1.7, 9.0]), 3, wait_for=2)
      >>> schedule.worker, schedule.read
      (array([0, 1, 0, 1, 0, 1], dtype=int32), array([0, 0, 1, 1, 2, 2], dtype=int32))
    """
    require_fleet(fleet, seed)
    n = fleet.num_workers
    require_whole(updates=updates)
    require_whole(least=None, wait_for=wait_for)
    if not 1 <= wait_for <= n:
        raise ValueError(f"`wait_for` must lie between 1 and the {n} workers, got {wait_for}.")
    if first_round not in ("apart", "together"):
        raise ValueError(f"`first_round` must be 'apart' or 'together', got {first_round!r}.")
    first = n if first_round == "together" else wait_for
    server = Server(fleet, n, "own", wait_for, False, "after", None, "updates", seed, gather=wait_for)
    columns, ledger = server.run(updates, first_wait=first, first_gather=first)
    arguments: dict[str, object] = {
        "updates": updates,
        "wait_for": wait_for,
        "first_round": first_round,
        "seed": seed,
        "fleet": fleet.name,
    }
    return _gathered("semi_asynchronous", fleet, columns, ledger, wait_for, arguments, first=first)


def _gathered(
    name: str,
    fleet: Fleet,
    columns: dict[str, Any],
    ledger: Ledger,
    size: int,
    arguments: dict[str, object],
    *,
    first: int | None = None,
    jobs_in_flight: int | None = None,
    parallel: bool = False,
) -> Schedule:
    first = size if first is None else first
    row = np.arange(len(columns["worker"]))
    return Schedule(
        **columns,
        weight=np.where(row < first, 1 / first, 1 / size),
        apply=(row >= first - 1) & ((row - (first - 1)) % size == 0),
        num_workers=fleet.num_workers,
        wire_seconds=fleet.wire_seconds,
        protocol=name,
        arguments=arguments,
        jobs_in_flight=jobs_in_flight,
        parallel=parallel,
        ledger=ledger,
    )
