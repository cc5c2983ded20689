"""m-Synchronous SGD: every round takes the first m workers that answer.

Begunov, Tyurin, https://arxiv.org/abs/2602.03802; backup workers: Chen, Pan, Monga, Bengio, Jozefowicz 2016,
https://arxiv.org/abs/1604.00981. Whether late jobs are cancelled, or finished and thrown away, is not known to us of the
first.
"""

import heapq
from collections.abc import Callable
from typing import Any

import numpy as np

from jasgd.fleet import Fleet
from jasgd.ledger import Ledger
from jasgd.protocols import _too_slow
from jasgd.protocols._checks import require_fleet, require_whole
from jasgd.protocols._rounds import ties_by_worker
from jasgd.protocols._tally import Tally, table
from jasgd.schedule import Schedule

CITATION = """\
@article{begunov2026synchronous,
  author={Begunov and Tyurin}, journal={arXiv:2602.03802}, year={2026}}
@article{chen2016revisiting,
  title={Revisiting Distributed Synchronous {SGD}},
  author={Chen, Jianmin and Pan, Xinghao and Monga, Rajat and Bengio, Samy and Jozefowicz, Rafal},
  journal={arXiv:1604.00981}, year={2016}}
"""


def m_synchronous(fleet: Fleet, updates: int, m: int, *, interrupt: bool = True, seed: int = 0) -> Schedule:
    """Every step is the mean of one gradient each of the first m workers to answer; these wait for the step.

    Args:
      fleet: workers and their speeds.
      updates: server steps.
      m: how many; all of them is synchronous SGD.
      interrupt: cancel the jobs of the others when a round closes; else they are finished and thrown away, and those workers
        take part again from then on.
      seed: of the durations.

    Example:
      >>> schedule = jasgd.protocols.m_synchronous(jasgd.fleet.fixed([1.0, 1.7, 2.3]), 3, m=2)
      >>> np.round(schedule.time[schedule.apply], 1)
      array([1.7, 3.4, 5.1])
    """
    require_fleet(fleet, seed)
    n = fleet.num_workers
    require_whole(updates=updates)
    require_whole(least=None, m=m)
    if not 1 <= m <= n:
        raise ValueError(f"`m` must lie between 1 and the {n} workers, got {m}.")
    if not interrupt:
        columns, ledger = _finished(fleet, updates, m, seed)
    elif fleet.times is not None and not fleet.powers:
        columns, ledger = _repeated(fleet, fleet.times, updates, m)
    else:
        columns, ledger = _cancelled(fleet, updates, m, seed)
    return Schedule(
        **columns,
        weight=np.full(updates * m, 1 / m),
        apply=np.arange(updates * m) % m == m - 1,
        num_workers=n,
        wire_seconds=fleet.wire_seconds,
        protocol="m_synchronous",
        arguments={"updates": updates, "m": m, "interrupt": interrupt, "seed": seed, "fleet": fleet.name},
        ledger=ledger,
    )


def _repeated(fleet: Fleet, times: np.ndarray, updates: int, m: int) -> tuple[dict[str, Any], Ledger]:
    """Where durations never change, all rounds are alike."""
    n = len(times)
    order = np.argsort(times, kind="stable")
    fast, slow, length = order[:m], order[m:], float(times[order[m - 1]])
    if length == np.inf:
        raise _too_few(0, m)
    begins = np.concatenate([[0.0], np.cumsum(np.full(updates, length))])
    version = np.repeat(np.arange(updates), m)
    tally = Tally(fleet, updates)
    idle, cancelled = np.zeros(n), np.zeros(n, np.int64)
    idle[fast], cancelled[slow] = updates * (length - times[fast]), updates
    tally.idle_seconds, tally.cancelled = idle.tolist(), cancelled.tolist()
    tally.cancelled_seconds = (cancelled * length).tolist()
    tally.lost_delay = updates * (n - m)
    columns = {
        "worker": np.tile(fast, updates),
        "job": version,
        "read": version,
        "start": np.repeat(begins[:-1], m),
        "time": (begins[:-1, None] + times[fast]).ravel(),
    }
    return ties_by_worker(columns), tally.ledger((i, updates, float(begins[-1])) for i in range(n))


def _cancelled(fleet: Fleet, updates: int, m: int, seed: int) -> tuple[dict[str, Any], Ledger]:
    n, now = fleet.num_workers, 0.0
    clocks, tally, rows = fleet.clocks(seed=seed), Tally(fleet, updates), []
    for version in range(updates):
        finish = np.array([clock(now) for clock in clocks])
        order = np.argsort(finish, kind="stable")
        fast, slow, end = order[:m], order[m:], float(finish[order[m - 1]])
        if end == np.inf:
            raise _too_few(version, m)
        for i in fast.tolist():
            rows.append((i, version, version, now, float(finish[i])))
            tally.idle_seconds[i] += end - float(finish[i])
        for i in slow.tolist():
            tally.cancel(i, end - now, 1)
        now = end
    return table(rows), tally.ledger((i, updates, now) for i in range(n))


def _finished(fleet: Fleet, updates: int, m: int, seed: int) -> tuple[dict[str, Any], Ledger]:
    n = fleet.num_workers
    clocks: list[Callable[[float], float]] = fleet.clocks(seed=seed)
    tally, rows, made = Tally(fleet, updates), [], []
    jobs, read, start = [0] * n, [0] * n, [0.0] * n
    # The m fastest are through with what they are at, and with one job more, after twice the time of one.
    longest = np.inf if fleet.times is None else 2 * float(np.sort(fleet.times)[m - 1])
    active, slow = _too_slow.split(fleet, longest)
    heap = [(clocks[i](0.0), i) for i in active]
    heapq.heapify(heap)
    version, waiting = 0, []
    while version < updates:
        now, worker = heapq.heappop(heap) if heap else (np.inf, 0)
        if now == np.inf:
            raise _too_few(version, m)
        if read[worker] == version:
            rows.append((worker, jobs[worker], version, start[worker], now))
            waiting.append(worker)
        else:
            tally.drop(worker, jobs[worker], read[worker], start[worker], now, version)
            read[worker], start[worker] = version, now
            heapq.heappush(heap, (clocks[worker](now), worker))
        jobs[worker] += 1
        if len(waiting) == m:
            version += 1
            made.append((now, worker))
            for i, row in zip(waiting, rows[-m:], strict=True):
                tally.idle_seconds[i] += now - row[4]
                read[i], start[i] = version, now
                heapq.heappush(heap, (clocks[i](now), i))
            waiting = []
    running = [(i, read[i], start[i]) for i in active] + _too_slow.drop_all(fleet, slow, made, tally)
    return table(rows), tally.ledger(sorted(running))


def _too_few(version: int, m: int) -> ValueError:
    return ValueError(f"fewer than m = {m} workers answer after update {version}, so its round never closes.")
