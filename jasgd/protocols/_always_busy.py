"""Workers that start their next job the moment they deliver one: no event loop is needed.

The finish times of a worker are the running sum of its durations, so the execution is all running sums, merged by
(time, worker). Sums run in the order of the jobs, as in the event loop, so both give the same bits.
"""

from typing import Any

import numpy as np

from jasgd.fleet import Fleet
from jasgd.ledger import Ledger
from jasgd.protocols._checks import nobody_answers


def always_busy(fleet: Fleet, updates: int, active: int, dispatch: str, seed: int) -> tuple[dict[str, Any], Ledger]:
    """Columns and ledger of asynchronous SGD in which the first ``active`` workers never pause."""
    if fleet.times is not None:
        times, counts = _fixed_finish_times(fleet.times[:active], updates)
    else:
        times, counts = _drawn_finish_times(fleet, updates, active, seed)
    # Worker after worker, job after job: a stable sort by time breaks ties by worker.
    order = np.argsort(times, kind="stable")[:updates]
    if len(order) < updates or times[order[-1]] == np.inf:
        answers = int(np.count_nonzero(np.isfinite(times[order])))
        raise nobody_answers(answers, updates)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    worker = np.repeat(np.arange(active, dtype=np.int32), counts)[order]
    job = (order - first[order]).astype(np.int32)
    use = np.full(len(times), -1, np.int64)
    use[order] = np.arange(updates)
    has_previous = job > 0
    previous = np.where(has_previous, order - 1, 0)
    read = np.where(has_previous, use[previous] + (dispatch == "after"), 0).astype(np.int32)
    start = np.where(has_previous, times[previous], 0.0)
    time = times[order]
    return (
        {"worker": worker, "job": job, "read": read, "start": start, "time": time},
        _ledger(fleet.num_workers, active, worker, time, dispatch),
    )


def _ledger(num_workers: int, active: int, worker: np.ndarray, time: np.ndarray, dispatch: str) -> Ledger:
    read, start, idle = np.zeros(active, np.int64), np.zeros(active), np.zeros(num_workers)
    read[worker] = np.arange(len(worker)) + (dispatch == "after")  # the last assignment to an index stays
    start[worker] = time
    idle[active:] = time[-1]
    return Ledger(
        dropped=np.zeros(num_workers, np.int64),
        cancelled=np.zeros(num_workers, np.int64),
        dropped_seconds=np.zeros(num_workers),
        cancelled_seconds=np.zeros(num_workers),
        idle_seconds=idle,
        lost_delay=0,
        pending_worker=np.arange(active),
        pending_read=read,
        pending_start=start,
    )


def _fixed_finish_times(durations: np.ndarray, updates: int) -> tuple[np.ndarray, np.ndarray]:
    """Finish times of enough jobs of each worker, worker after worker, and how many of each."""
    counts = _jobs_needed(durations, updates)
    ends = np.cumsum(counts)
    times = np.empty(ends[-1])
    # Workers of similar counts share one two-dimensional running sum.
    for group in _groups_of_similar(counts):
        sums = np.add.accumulate(np.repeat(durations[group, None], counts[group].max(), axis=1), axis=1)
        wanted = np.arange(sums.shape[1]) < counts[group, None]
        where = (ends - counts)[group, None] + np.arange(sums.shape[1])
        times[where[wanted]] = sums[wanted]
    return times, counts


def _jobs_needed(durations: np.ndarray, updates: int) -> np.ndarray:
    """Jobs of each worker until all together have surely delivered, and one more for rounding."""
    finite = np.isfinite(durations)
    if not finite.any():
        return np.ones(len(durations), np.int64)
    low, high = 0.0, float(durations[finite].min()) * (updates + 1)
    for _ in range(60):
        middle = 0.5 * (low + high)
        enough = np.floor(middle / durations).sum() >= updates
        low, high = (low, middle) if enough else (middle, high)
    return np.where(finite, np.floor(high / durations) + 2, 1).astype(np.int64)


def _groups_of_similar(counts: np.ndarray, ratio: float = 1.25) -> list[np.ndarray]:
    order = np.argsort(-counts, kind="stable")
    level = np.floor(np.log(counts[order]) / np.log(ratio))
    return np.split(order, np.flatnonzero(np.diff(level)) + 1)


def _drawn_finish_times(fleet: Fleet, updates: int, active: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """As above for random durations: draw until nobody's last job ends before the last delivery that is needed."""
    sums = [np.cumsum(fleet.durations(i, 8, seed=seed)) for i in range(active)]
    finite = np.array([np.isfinite(s).sum() for s in sums])
    mean = np.array([s[count - 1] / count if count else np.inf for s, count in zip(sums, finite, strict=True)])
    # Nobody delivers more than everything, and jobs of no duration must not ask for an endless number.
    counts = np.clip(_jobs_needed(np.maximum(mean, 1e-300), updates), 8, max(updates, 8))
    short = np.arange(active)
    while len(short):
        for i in short:
            sums[i] = np.cumsum(fleet.durations(int(i), int(counts[i]), seed=seed))
        times = np.concatenate(sums)
        finite_times = times[np.isfinite(times)]
        enough = len(finite_times) >= updates
        horizon = np.partition(finite_times, updates - 1)[updates - 1] if enough else np.inf
        # Equal times count too: a job of no duration may still follow at the horizon.
        last = np.array([s[-1] for s in sums])
        short = np.flatnonzero(np.isfinite(last) & (last <= horizon) & (counts < updates))
        counts[short] = np.minimum(2 * counts[short], updates)
    return times, np.array([len(s) for s in sums])
