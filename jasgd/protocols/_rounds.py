"""Rounds at a common point: the server sends one model to all workers and steps when it has what it wants.

A worker that delivers goes on at the same point. When the round closes, either all running jobs are cancelled and everybody
starts again ("interrupt"), or every worker first finishes the job it is at, whose result is thrown away.
"""

import heapq
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from jasgd.fleet import Fleet
from jasgd.ledger import Ledger
from jasgd.protocols import _too_slow
from jasgd.protocols._arrivals import arrivals, require_answer
from jasgd.protocols._checks import nobody_answers, require_whole
from jasgd.protocols._tally import Tally, table

# Made anew for every round; told of each arrival, it says whether the round closes with it.
Closes = Callable[[], Callable[[int], bool]]
Row = tuple[int, int, int, float, float]


def rounds(
    fleet: Fleet,
    updates: int,
    closes: Closes,
    *,
    interrupt: bool,
    longest: float = np.inf,
    need_all: bool = False,
    seed: int,
) -> tuple[dict[str, Any], Ledger]:
    """Columns without weights, and the ledger. No round of uninterrupted workers lasts more than ``longest`` seconds."""
    require_whole(updates=updates)
    if not interrupt:
        return _without_interrupts(fleet, updates, closes, longest, need_all, seed)
    if fleet.times is not None and not fleet.powers:
        return _repeated(fleet, updates, closes, need_all)
    return _with_interrupts(fleet, updates, closes, need_all, seed)


def _without_interrupts(
    fleet: Fleet, updates: int, closes: Closes, longest: float, need_all: bool, seed: int
) -> tuple[dict[str, Any], Ledger]:
    n = fleet.num_workers
    tally, rows, ends, made = Tally(fleet, updates), [], [], []
    version, read, jobs, busy_since = 0, [0] * n, [0] * n, [0.0] * n
    closed = closes()
    active, slow = _too_slow.split(fleet, longest)
    for now, worker, start in arrivals(fleet, seed=seed, workers=active, need_all=need_all):
        if read[worker] == version:
            rows.append((worker, jobs[worker], version, start, now))
            ends.append(closed(worker))
            if ends[-1]:
                made.append((now, worker))
                version, closed = version + 1, closes()
        else:
            tally.drop(worker, jobs[worker], read[worker], start, now, version)
        jobs[worker] += 1
        read[worker], busy_since[worker] = version, now
        if version == updates:
            running = [(i, read[i], busy_since[i]) for i in active] + _too_slow.drop_all(fleet, slow, made, tally)
            return _columns(rows, ends), tally.ledger(sorted(running))
    raise nobody_answers(version, updates)


def _with_interrupts(fleet: Fleet, updates: int, closes: Closes, need_all: bool, seed: int) -> tuple[dict[str, Any], Ledger]:
    n = fleet.num_workers
    tally, rows, ends, jobs = Tally(fleet, updates), [], [], [0] * n
    clocks = fleet.clocks(seed=seed)
    now = 0.0
    for version in range(updates):
        closed, began = closes(), now
        start = [began] * n
        for finish, worker in _one_round(n, lambda i: clocks[i](start[i]), start, need_all):  # noqa: B023
            if finish == np.inf:
                raise nobody_answers(version, updates)
            rows.append((worker, jobs[worker], version, start[worker], finish))
            jobs[worker] += 1
            ends.append(closed(worker))
            if ends[-1]:
                now = finish
                break
        closer = rows[-1][0]
        for i in range(n):
            if i != closer:
                tally.cancel(i, now - start[i], 1)
                jobs[i] += 1
    return _columns(rows, ends), tally.ledger((i, updates, now) for i in range(n))


def _one_round(n: int, finish_of: Callable[[int], float], start: list[float], need_all: bool) -> Iterator[tuple[float, int]]:
    """(finish, worker) in order, all jobs started at ``start``, which is kept up to date."""

    def job(worker: int) -> tuple[float, int]:
        finish = finish_of(worker)
        if need_all:
            require_answer(worker, finish)
        return finish, worker

    heap = [job(i) for i in range(n)]
    heapq.heapify(heap)
    while True:
        finish, worker = heap[0]
        yield finish, worker
        start[worker] = finish
        heapq.heapreplace(heap, job(worker))


def _repeated(fleet: Fleet, updates: int, closes: Closes, need_all: bool) -> tuple[dict[str, Any], Ledger]:
    """Where durations never change all rounds are alike: one of them, in seconds from its start, over and over."""
    times: Any = fleet.times
    n, closed, start, rows = fleet.num_workers, closes(), [0.0] * fleet.num_workers, []
    done = [0] * n
    for finish, worker in _one_round(n, lambda i: start[i] + float(times[i]), start, need_all):
        if finish == np.inf:
            raise nobody_answers(0, updates)
        rows.append((worker, done[worker], 0, start[worker], finish))
        done[worker] += 1
        if closed(worker):
            break
    length, closer = rows[-1][4], rows[-1][0]
    cancelled = np.arange(n) != closer
    who, job, _, began, finishes = (np.array(column) for column in zip(*rows, strict=True))
    begins = np.concatenate([[0.0], np.cumsum(np.full(updates, length))])
    version = np.arange(updates)[:, None]
    per_round = np.array(done) + cancelled  # jobs of every worker
    ends = np.zeros((updates, len(rows)), bool)
    ends[:, -1] = True
    wasted = np.where(cancelled, length - np.array(start), 0.0)
    wasted[closer] = 0.0
    tally = Tally(fleet, updates)
    tally.cancelled = (cancelled * updates).tolist()
    tally.cancelled_seconds = (wasted * updates).tolist()
    tally.lost_delay = (n - 1) * updates
    columns = {
        "worker": np.broadcast_to(who, ends.shape).ravel(),
        "job": (job + version * per_round[who]).ravel(),
        "read": np.broadcast_to(version, ends.shape).ravel(),
        "start": (begins[:-1, None] + began).ravel(),
        "time": (begins[:-1, None] + finishes).ravel(),
    }
    return ties_by_worker(columns) | {"apply": ends.ravel()}, tally.ledger((i, updates, float(begins[-1])) for i in range(n))


def ties_by_worker(columns: dict[str, Any]) -> dict[str, Any]:
    """Two seconds of one round may become the same time when the round's beginning is added: then the worker decides."""
    worker, time = columns["worker"], columns["time"]
    if not np.any((np.diff(time) == 0) & (np.diff(worker) < 0)):
        return columns
    order = np.lexsort((worker, time, columns["read"]))
    return {name: column[order] for name, column in columns.items()}


def _columns(rows: list[Row], ends: list[bool]) -> dict[str, Any]:
    return table(rows) | {"apply": np.array(ends)}
