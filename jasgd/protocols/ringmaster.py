"""Ringmaster ASGD: asynchronous SGD that takes no gradient older than a threshold; and its naive relative.

Maranjyan, Tyurin, Richtarik, "Ringmaster ASGD: The First Asynchronous SGD with Optimal Time Complexity", ICML 2025,
https://arxiv.org/abs/2501.16168. The public code has only the variant with stops. Naive Optimal ASGD, plain asynchronous SGD
on the fastest workers alone, is recalled from there.
"""

import heapq
from typing import Any

import numpy as np

from jasgd.fleet import Fleet
from jasgd.ledger import Ledger
from jasgd.protocols import _too_slow
from jasgd.protocols._arrivals import arrivals
from jasgd.protocols._checks import nobody_answers, require_fleet, require_whole
from jasgd.protocols._tally import Tally, table
from jasgd.protocols._too_slow import most_seconds_for
from jasgd.schedule import Schedule

CITATION = """\
@inproceedings{maranjyan2025ringmaster,
  title={{Ringmaster ASGD}: The First Asynchronous {SGD} with Optimal Time Complexity},
  author={Maranjyan, Artavazd and Tyurin, Alexander and Richt{\\'a}rik, Peter},
  booktitle={ICML}, year={2025}, note={arXiv:2501.16168}}
"""


def ringmaster(fleet: Fleet, updates: int, threshold: int, *, stop: bool = False, seed: int = 0) -> Schedule:
    """Asynchronous SGD in which every delay stays below a threshold.

    Args:
      fleet: workers and their speeds.
      updates: server steps.
      threshold: R. Without stops a gradient of delay R or more is thrown away when it arrives, which is no server step, and
        its worker starts again from the current model.
      stop: cancel a job the moment its delay reaches R, and start its worker again (the variant of the paper's figures).
      seed: of the durations.

    Example:
      >>> fleet = jasgd.fleet.fixed([1.0, 1.7, 2.3])
      >>> jasgd.protocols.ringmaster(fleet, 5, threshold=2).time
      array([1. , 1.7, 2. , 3. , 4. ])
      >>> jasgd.protocols.ringmaster(fleet, 6, threshold=2, stop=True).worker
      array([0, 1, 0, 0, 0, 1], dtype=int32)
    """
    require_fleet(fleet, seed)
    require_whole(updates=updates, threshold=threshold)
    columns, ledger = (_with_stops if stop else _without_stops)(fleet, updates, threshold, seed)
    return Schedule(
        **columns,
        weight=np.ones(updates, np.float32),
        apply=np.ones(updates, bool),
        num_workers=fleet.num_workers,
        wire_seconds=fleet.wire_seconds,
        protocol="ringmaster",
        arguments={"updates": updates, "threshold": threshold, "stop": stop, "seed": seed, "fleet": fleet.name},
        jobs_in_flight=fleet.num_workers - 1,
        ledger=ledger,
    )


def naive_optimal(fleet: Fleet, updates: int, workers: int, *, seed: int = 0) -> Schedule:
    """Plain asynchronous SGD on the fastest workers; the others do nothing.

    Args:
      fleet: of fixed times.
      updates: server steps.
      workers: how many; :func:`jasgd.theory.best_m` says how many are optimal.
      seed: of the durations.

    Example:
      >>> fleet = jasgd.fleet.fixed([5.0, 1.0, 1.7])
      >>> jasgd.protocols.naive_optimal(fleet, 4, workers=2).worker
      array([1, 2, 1, 1], dtype=int32)
    """
    require_fleet(fleet, seed)
    if fleet.times is None:
        raise ValueError("the fastest workers are those of fixed times; this fleet draws its durations.")
    if not 1 <= workers <= fleet.num_workers:
        raise ValueError(f"`workers` must lie between 1 and {fleet.num_workers}, got {workers}.")
    require_whole(updates=updates)
    require_whole(least=None, workers=workers)
    fastest = np.sort(np.argsort(fleet.times, kind="stable")[:workers])
    columns, ledger = _without_stops(fleet, updates, updates + 1, seed, fastest.tolist())
    return Schedule(
        **columns,
        weight=np.ones(updates, np.float32),
        apply=np.ones(updates, bool),
        num_workers=fleet.num_workers,
        wire_seconds=fleet.wire_seconds,
        protocol="naive_optimal",
        arguments={"updates": updates, "workers": workers, "seed": seed, "fleet": fleet.name},
        jobs_in_flight=workers - 1,
        ledger=ledger,
    )


def _without_stops(
    fleet: Fleet, updates: int, threshold: int, seed: int, workers: list[int] | None = None
) -> tuple[dict[str, Any], Ledger]:
    n = fleet.num_workers
    active, slow = (workers, []) if workers is not None else _too_slow.split(fleet, most_seconds_for(threshold, fleet))
    tally, rows = Tally(fleet, updates), []
    version, read, jobs, busy_since = 0, [0] * n, [0] * n, [0.0] * n
    now = 0.0
    for now, worker, start in arrivals(fleet, seed=seed, workers=active):
        delay = version - read[worker]
        if delay < threshold:
            rows.append((worker, jobs[worker], read[worker], start, now))
            version += 1
        else:
            tally.drop(worker, jobs[worker], read[worker], start, now, version)
        jobs[worker] += 1
        read[worker], busy_since[worker] = version, now
        if version == updates:
            break
    else:
        raise nobody_answers(version, updates)
    for worker in set(range(n)) - {*active, *slow}:
        tally.idle_seconds[worker] = now
    running = [(i, read[i], busy_since[i]) for i in active]
    running += _too_slow.drop_all(fleet, slow, [(finish, worker) for worker, *_, finish in rows], tally)
    return table(rows), tally.ledger(sorted(running))


class _Cohort:
    """Workers that started together, from the same version. When they are cancelled together they stay together.

    So one heap serves them for ever, and what is cancelled is counted once for all of them: a member remembers the counts
    of the moment when it joined. Where durations never change, the heap holds (duration, worker), and starting again
    touches nobody; else it holds (finish, worker).
    """

    def __init__(self, fleet: Fleet, clocks: list[Any]) -> None:
        self.fixed = None if fleet.powers else fleet.times
        self.clocks = clocks
        self.heap: list[tuple[float, int]] = []
        self.next: tuple[float, int] | None = None  # the first to finish; not in the heap
        self.start = 0.0
        self.cancelled, self.cancelled_seconds = 0, 0.0

    def add(self, worker: int, now: float) -> None:
        """A worker joins the moment the cohort starts."""
        key = self.clocks[worker](now) if self.fixed is None else float(self.fixed[worker])
        heapq.heappush(self.heap, (key, worker))

    def cancel(self, now: float) -> None:
        """Stop all jobs and start again."""
        self.cancelled += 1
        self.cancelled_seconds += now - self.start
        self.start = now
        if self.next is not None:
            heapq.heappush(self.heap, self.next)
            self.next = None
        if self.fixed is None:
            self.heap = [(self.clocks[worker](now), worker) for _, worker in self.heap]
            heapq.heapify(self.heap)

    def finish(self, key: float) -> float:
        """When a job ends."""
        return key if self.fixed is None else self.start + key

    def first(self) -> tuple[float, int] | None:
        """(finish, worker) of the next to finish; workers whose finish is the same by rounding go by their number."""
        if not self.heap:
            return None
        best = heapq.heappop(self.heap)
        finish, same = self.finish(best[0]), []
        while self.heap and self.finish(self.heap[0][0]) == finish:
            same.append(heapq.heappop(self.heap))
        for other in same:
            worse, best = (other, best) if best[1] < other[1] else (best, other)
            heapq.heappush(self.heap, worse)
        self.next = best
        return finish, best[1]

    def members(self) -> list[int]:
        """All workers."""
        return sorted(worker for _, worker in (*self.heap, *([self.next] if self.next else [])))


def _with_stops(fleet: Fleet, updates: int, threshold: int, seed: int) -> tuple[dict[str, Any], Ledger]:
    n, now = fleet.num_workers, 0.0
    clocks = fleet.clocks(seed=seed)
    tally, rows = Tally(fleet, updates), []
    jobs, joined = [0] * n, [(0, 0.0)] * n
    cohorts = {0: _Cohort(fleet, clocks)}  # by the version that they compute at: at most as many as the threshold
    for worker in range(n):
        cohorts[0].add(worker, 0.0)
    heads: list[tuple[float, int, int]] = []  # (finish, worker, version) of the first of every cohort

    def announce(version: int) -> None:
        first = cohorts[version].first()
        if first is not None:
            heapq.heappush(heads, (*first, version))

    def leave(worker: int, cohort: _Cohort) -> None:
        """Book what was cancelled since the worker joined; these jobs had numbers of their own."""
        count, seconds = cohort.cancelled - joined[worker][0], cohort.cancelled_seconds - joined[worker][1]
        tally.cancelled[worker] += count
        tally.cancelled_seconds[worker] += seconds
        tally.lost_delay += count * threshold
        jobs[worker] += count

    announce(0)
    for version in range(updates):
        while heads and heads[0][2] not in cohorts:  # cancelled meanwhile
            heapq.heappop(heads)
        if not heads or heads[0][0] == np.inf:
            raise nobody_answers(version, updates)
        now, worker, read = heapq.heappop(heads)
        cohort = cohorts[read]
        cohort.next = None
        announce(read)
        leave(worker, cohort)
        rows.append((worker, jobs[worker], read, cohort.start, now))
        jobs[worker] += 1
        late = cohorts.pop(version + 1 - threshold, None)
        if late is None:
            late = _Cohort(fleet, clocks)
            late.start = now
        else:
            late.cancel(now)
        late.add(worker, now)
        joined[worker] = (late.cancelled, late.cancelled_seconds)
        cohorts[version + 1] = late
        announce(version + 1)
    pending = []
    for read, cohort in cohorts.items():
        for worker in cohort.members():
            leave(worker, cohort)
            pending.append((worker, read, cohort.start))
    return table(rows), tally.ledger(sorted(pending))
