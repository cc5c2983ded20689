"""Plain asynchronous SGD: every gradient is one server step, whoever delivers it.

- Own worker: the worker that delivered gets the new model (Mishchenko, Bach, Even, Woodworth 2022,
  https://arxiv.org/abs/2206.07638, Algorithm 1; Koloskova, Stich, Jaggi 2022, https://arxiv.org/abs/2206.08307,
  Algorithm 1).
- Random worker, with queues: Koloskova et al. 2022, Algorithm 2. Shuffled workers, and waiting for ``b`` arrivals:
  Islamov, Safaryan, Alistarh 2024, AsGrad, https://arxiv.org/abs/2310.20452.
- A common first round: Wang, Sun, Wai, Zhang 2024, DuDe-ASGD, https://arxiv.org/abs/2405.16966.
- Dropping by age: Koloskova et al. 2022, Theorem 8 with step 0; with arrivals as the clock it is the clock of
  Cohen et al. 2021 (Picky SGD).
"""

import heapq
from collections import deque
from typing import Any, Literal

import numpy as np

from jasgd.fleet import Fleet
from jasgd.protocols._always_busy import always_busy
from jasgd.schedule import Ledger, Schedule

Assignment = Literal["own", "random", "shuffled"]


def asynchronous(
    fleet: Fleet,
    updates: int,
    *,
    assignment: Assignment = "own",
    wait_for: int = 1,
    concurrency: int | None = None,
    parallel: bool = False,
    dispatch: Literal["after", "before"] = "after",
    max_delay: int | None = None,
    age_in: Literal["updates", "arrivals"] = "updates",
    first_round: Literal["apart", "together"] = "apart",
    seed: int = 0,
) -> Schedule:
    """Asynchronous SGD: one server step per delivered gradient.

    Args:
      fleet: workers and their speeds.
      updates: server steps.
      assignment: who gets the new model: the worker that delivered ("own"), a uniformly drawn worker, busy or not
        ("random"), or the next one of a permutation that is drawn anew every ``num_workers`` assignments ("shuffled").
        A job given to a busy worker waits in its queue; it computes at the model it was sent with.
      wait_for: ``b``: new jobs are given out only after every ``b``-th step, ``b`` of them at a time.
      concurrency: jobs in flight; by default as many as workers. With fewer, "own" starts the first ones, the
        other two a uniformly drawn set.
      parallel: let a worker compute several jobs at once instead of queueing them.
      dispatch: whether a worker gets its next model "after" its gradient is applied, as in the papers, or "before",
        as in Mishchenko et al.'s public notebook, which makes every delay one larger.
      max_delay: older gradients are thrown away when they arrive, and the worker starts again.
      age_in: whether ``max_delay`` counts server "updates" or all "arrivals", thrown away ones included.
      first_round: whether workers go on by themselves from the start ("apart"), or all wait until each has delivered
        its first gradient and start again "together", as gradient tables are filled.
      seed: of the durations and of the assignment.

    Returns:
      The schedule. ``read`` and ``delay`` count server updates in every case.

    Example:
      >>> schedule = jasgd.protocols.asynchronous(jasgd.fleet.fixed([1.0, 1.7]), 4)
      >>> schedule.worker, schedule.delay
      (array([0, 1, 0, 0], dtype=int32), array([0, 1, 1, 0], dtype=int32))
    """
    arguments = {key: value for key, value in locals().items() if key != "fleet"} | {"fleet": fleet.name}
    jobs = fleet.num_workers if concurrency is None else concurrency
    _check(fleet.num_workers, updates, assignment, wait_for, jobs, parallel, dispatch, max_delay, age_in, first_round)
    apart = first_round == "apart"
    if assignment == "own" and wait_for == 1 and max_delay is None and apart and not fleet.powers:
        columns, ledger = always_busy(fleet, updates, jobs, dispatch, seed)
    else:
        server = _Server(fleet, jobs, assignment, wait_for, parallel, dispatch, max_delay, age_in, seed)
        columns, ledger = server.run(updates, first_wait=wait_for if apart else jobs)
    return Schedule(
        **columns,
        weight=np.ones(updates, np.float32),
        apply=np.ones(updates, bool),
        num_workers=fleet.num_workers,
        protocol="asynchronous",
        arguments=arguments,
        jobs_in_flight=(jobs - (dispatch == "after")) if wait_for == 1 and apart else None,
        parallel=parallel,
        ledger=ledger,
    )


def _check(
    num_workers: int,
    updates: int,
    assignment: str,
    wait_for: int,
    jobs: int,
    parallel: bool,
    dispatch: str,
    max_delay: int | None,
    age_in: str,
    first_round: str,
) -> None:
    if updates < 1:
        raise ValueError(f"`updates` must be at least 1, got {updates}.")
    for name, value, choices in (
        ("assignment", assignment, ("own", "random", "shuffled")),
        ("dispatch", dispatch, ("after", "before")),
        ("age_in", age_in, ("updates", "arrivals")),
        ("first_round", first_round, ("apart", "together")),
    ):
        if value not in choices:
            raise ValueError(f"`{name}` must be one of {choices}, got {value!r}.")
    if not 1 <= jobs <= num_workers:
        raise ValueError(f"`concurrency` must lie between 1 and the {num_workers} workers, got {jobs}.")
    if not 1 <= wait_for <= jobs:
        raise ValueError(f"`wait_for` must lie between 1 and the {jobs} jobs in flight, got {wait_for}.")
    if max_delay is not None and max_delay < 0:
        raise ValueError(f"`max_delay` must not be negative, got {max_delay}.")
    if wait_for > 1 and (max_delay is not None or dispatch == "before"):
        raise ValueError("`wait_for` above 1 cannot be combined with `max_delay` or with dispatch before apply.")
    if first_round == "together" and (max_delay is not None or dispatch == "before"):
        raise ValueError("a first round together cannot be combined with `max_delay` or with dispatch before apply.")
    if assignment == "own" and parallel:
        raise ValueError("`parallel` jobs need assignment 'random' or 'shuffled': an own worker is never busy.")


class _Server:
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
    ) -> None:
        n = fleet.num_workers
        self.fleet, self.jobs, self.assignment, self.wait_for = fleet, jobs, assignment, wait_for
        self.parallel, self.before, self.max_delay, self.age_in = parallel, dispatch == "before", max_delay, age_in
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
        self.dropped, self.dropped_seconds, self.lost_delay = np.zeros(n, np.int64), np.zeros(n), 0

    def run(self, updates: int, *, first_wait: int = 1) -> tuple[dict[str, Any], Ledger]:
        rows = []
        version = arrivals = dropped_in_a_row = 0
        # While nothing is applied no gradient ages in updates; in arrivals, all may age for ever.
        most_in_a_row = 1000 * (len(self.clocks) + self.jobs)
        waiting: list[int] = []
        wait_for = first_wait
        for worker in self._first_workers():
            self._assign(worker, 0, 0, 0.0)
        while version < updates:
            now, worker, job = heapq.heappop(self.heap)
            if now == np.inf:
                raise ValueError(f"no worker answers any more after update {version}; {updates} were asked for.")
            read, then, start = self.running.pop((worker, job))
            age = version - read if self.age_in == "updates" else arrivals - then
            arrivals += 1
            version_before = version
            if self.max_delay is not None and age > self.max_delay:
                self.dropped[worker] += 1
                self.dropped_seconds[worker] += now - start
                self.lost_delay += version - read
                dropped_in_a_row += 1
                if dropped_in_a_row > most_in_a_row:
                    raise ValueError(
                        f"`max_delay` {self.max_delay} drops every gradient after update {version}: "
                        f"{dropped_in_a_row} arrivals in a row; use a larger one, or age_in='updates'."
                    )
            else:
                rows.append((worker, job, read, start, now))
                version, dropped_in_a_row = version + 1, 0
            self._finish(worker, now)
            waiting.append(worker)
            if len(waiting) == wait_for:
                sent = version_before if self.before else version
                for next_worker in self._next_workers(waiting):
                    self._assign(next_worker, sent, arrivals, now)
                waiting, wait_for = [], self.wait_for
        names = ("worker", "job", "read", "start", "time")
        return dict(zip(names, map(np.array, zip(*rows, strict=True)), strict=True)), self._ledger(now)

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

    def _ledger(self, now: float) -> Ledger:
        n = self.fleet.num_workers
        for worker in range(n):
            if not self.busy[worker]:
                self.idle[worker] += now - self.idle_since[worker]
        pending = [(worker, read, start) for (worker, _), (read, _, start) in sorted(self.running.items())]
        pending += [(worker, read, now) for worker in range(n) for read, _ in self.queues[worker]]
        columns = [[job[i] for job in pending] for i in range(3)]
        return Ledger(
            dropped=self.dropped,
            cancelled=np.zeros(n, np.int64),
            dropped_seconds=self.dropped_seconds,
            cancelled_seconds=np.zeros(n),
            idle_seconds=self.idle,
            lost_delay=self.lost_delay,
            pending_worker=np.array(columns[0], np.int64),
            pending_read=np.array(columns[1], np.int64),
            pending_start=np.array(columns[2], np.float64),
        )
