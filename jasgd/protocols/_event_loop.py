"""Jobs that are handed out one by one, event after event."""

import heapq
from collections import deque
from typing import Any, Literal

import numpy as np

from jasgd.fleet import Fleet
from jasgd.ledger import Ledger
from jasgd.protocols._checks import nobody_answers
from jasgd.protocols._tally import Tally, table

Assignment = Literal["own", "random", "shuffled", "idle"]


class Server:
    """The event loop: a heap of (finish time, worker, job), so that ties are broken by worker."""

    def __init__(
        self,
        fleet: Fleet,
        jobs: int,
        assignment: Assignment,
        wait_for: int,
        parallel: bool,
        dispatch: str,
        max_delay: int | None,
        age_in: str,
        seed: int,
        gather: int = 1,
    ) -> None:
        n = fleet.num_workers
        self.fleet, self.jobs, self.assignment, self.wait_for = fleet, jobs, assignment, wait_for
        self.parallel, self.before, self.max_delay, self.age_in = parallel, dispatch == "before", max_delay, age_in
        self.gather = gather  # gradients per server step
        self.rng = np.random.default_rng(np.random.SeedSequence(seed))
        self.permutation: deque[int] = deque()
        self.clocks = fleet.clocks(seed=seed)
        self.heap: list[tuple[float, int, int]] = []
        self.running: dict[tuple[int, int], tuple[int, int, float]] = {}  # (worker, job) -> read, arrivals then, start
        self.queues: list[deque[tuple[int, int]]] = [deque() for _ in range(n)]  # (read, arrivals then) of waiting jobs
        self.started = [0] * n
        self.busy = [0] * n
        self.idle_since = [0.0] * n
        self.idle = np.zeros(n)

    def run(
        self, updates: int, *, first_wait: int | None = None, first_gather: int | None = None
    ) -> tuple[dict[str, Any], Ledger]:
        rows, tally = [], Tally(self.fleet, updates)
        version = arrivals = gathered = dropped_in_a_row = 0
        # While nothing is applied no gradient ages in updates; in arrivals, all may age for ever.
        most_in_a_row = 1000 * (len(self.clocks) + self.jobs)
        waiting: list[int] = []
        wait_for = self.wait_for if first_wait is None else first_wait
        gather = self.gather if first_gather is None else first_gather
        for worker in self._first_workers():
            self._assign(worker, 0, 0, 0.0)
        while version < updates:
            now, worker, job = heapq.heappop(self.heap)
            if now == np.inf:
                raise nobody_answers(version, updates)
            read, then, start = self.running.pop((worker, job))
            age = version - read if self.age_in == "updates" else arrivals - then
            arrivals += 1
            version_before = version
            if self.max_delay is not None and age > self.max_delay:
                tally.drop(worker, job, read, start, now, version)
                dropped_in_a_row += 1
                if dropped_in_a_row > most_in_a_row:
                    raise ValueError(
                        f"`max_delay` {self.max_delay} drops every gradient after update {version}: "
                        f"{dropped_in_a_row} arrivals in a row; use a larger one, or age_in='updates'."
                    )
            else:
                rows.append((worker, job, read, start, now))
                gathered, dropped_in_a_row = gathered + 1, 0
                if gathered == gather:
                    version, gathered, gather = version + 1, 0, self.gather
            self._finish(worker, now)
            waiting.append(worker)
            if len(waiting) == wait_for:
                sent = version_before if self.before else version
                for next_worker in self._next_workers(waiting):
                    self._assign(next_worker, sent, arrivals, now)
                waiting, wait_for = [], self.wait_for
        return table(rows), self._ledger(tally, now)

    def _first_workers(self) -> list[int]:
        n = self.fleet.num_workers
        if self.assignment == "own" or self.jobs == n:
            return list(range(self.jobs))
        return sorted(self.rng.choice(n, self.jobs, replace=False).tolist())

    def _next_workers(self, finished: list[int]) -> list[int]:
        if self.assignment == "own":
            return finished
        if self.assignment == "random":
            return self.rng.integers(self.fleet.num_workers, size=len(finished)).tolist()
        if self.assignment == "idle":
            idle = [i for i, busy in enumerate(self.busy) if not busy]
            return self.rng.choice(idle, size=len(finished), replace=False).tolist()
        while len(self.permutation) < len(finished):
            self.permutation.extend(self.rng.permutation(self.fleet.num_workers).tolist())
        return [self.permutation.popleft() for _ in finished]

    def _assign(self, worker: int, version: int, arrivals: int, now: float) -> None:
        if self.busy[worker] and not self.parallel:
            self.queues[worker].append((version, arrivals))
        else:
            self._start(worker, version, arrivals, now)

    def _start(self, worker: int, version: int, arrivals: int, now: float) -> None:
        job = self.started[worker]
        self.started[worker] += 1
        if not self.busy[worker]:
            self.idle[worker] += now - self.idle_since[worker]
        self.busy[worker] += 1
        self.running[worker, job] = (version, arrivals, now)
        heapq.heappush(self.heap, (self.clocks[worker](now), worker, job))

    def _finish(self, worker: int, now: float) -> None:
        self.busy[worker] -= 1
        self.idle_since[worker] = now
        if self.queues[worker]:
            self._start(worker, *self.queues[worker].popleft(), now)

    def _ledger(self, tally: Tally, now: float) -> Ledger:
        n = self.fleet.num_workers
        for worker in range(n):
            if not self.busy[worker]:
                self.idle[worker] += now - self.idle_since[worker]
        tally.idle_seconds = self.idle.tolist()
        pending = [(worker, read, start) for (worker, _), (read, _, start) in sorted(self.running.items())]
        return tally.ledger(pending + [(worker, read, now) for worker in range(n) for read, _ in self.queues[worker]])
