"""Workers that never pause: their arrivals do not depend on what the server does with them."""

import heapq
from collections.abc import Iterable, Iterator

import numpy as np

from jasgd.fleet import Fleet

_BLOCK = 200_000  # arrivals that are sorted at a time, at most; fewer at first, for short schedules


def arrivals(
    fleet: Fleet, *, seed: int, workers: Iterable[int] | None = None, need_all: bool = False
) -> Iterator[tuple[float, int, float]]:
    """(finish, worker, start) of one job after the other, in the order of (finish, worker).

    It ends when no worker answers any more; or raises as soon as one does not, if all are needed.
    """
    active = np.arange(fleet.num_workers) if workers is None else np.sort(np.fromiter(workers, np.int64))
    if fleet.times is not None and not fleet.powers:
        if need_all:
            for worker in active:
                require_answer(worker, fleet.times[worker])
        yield from _fixed(fleet.times[active], active)
        return
    clocks = fleet.clocks(seed=seed)

    def job(worker: int, start: float) -> tuple[float, int, float]:
        finish = clocks[worker](start)
        if need_all:
            require_answer(worker, finish)
        return finish, worker, start

    heap = [job(worker, 0.0) for worker in active.tolist()]
    heapq.heapify(heap)
    while heap[0][0] < np.inf:
        finish, worker, start = heap[0]
        yield finish, worker, start
        heapq.heapreplace(heap, job(worker, finish))


def require_answer(worker: int, finish: float) -> None:
    """Raise if a job never ends."""
    if finish == np.inf:
        raise ValueError(
            f"worker {worker} never answers, and this protocol waits for every worker; leave it out of the fleet."
        )


def _fixed(times: np.ndarray, workers: np.ndarray) -> Iterator[tuple[float, int, float]]:
    """Window after window; within one, the j-th jobs of all workers at a time. Finish times are running sums."""
    answers = np.isfinite(times)
    times, workers = times[answers], workers[answers]
    if not len(times):
        return
    start, finish = np.zeros(len(times)), times.copy()
    block, end, rate = 256, 0.0, np.sum(1 / times)
    while True:
        block = min(2 * block, _BLOCK)
        end += block / rate
        columns: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        active = np.flatnonzero(finish <= end)
        while len(active):
            now = finish[active]
            columns.append((now, workers[active], start[active]))
            start[active], finish[active] = now, now + times[active]
            active = active[finish[active] <= end]
        if columns:
            finished, who, started = map(np.concatenate, zip(*columns, strict=True))
            order = np.lexsort((who, finished))
            yield from zip(finished[order].tolist(), who[order].tolist(), started[order].tolist(), strict=True)
