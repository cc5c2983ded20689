"""Keeping count of the work that leaves no row."""

from array import array
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from jasgd.fleet import Fleet
from jasgd.ledger import DroppedJobs, Ledger
from jasgd.traffic import Traffic


class Tally:
    """Jobs thrown away, per worker, and what they cost; plain lists, since they are changed one number at a time."""

    def __init__(self, fleet: Fleet, updates: int) -> None:
        num_workers = fleet.num_workers
        wire = fleet.wire_seconds
        self._wire = [0.0] * num_workers if wire is None else wire.tolist()
        self._arrived_in_vain, self._seconds_in_vain = [0] * updates, [0.0] * updates  # while each version was the newest
        self.dropped, self.dropped_seconds = [0] * num_workers, [0.0] * num_workers
        self.cancelled, self.cancelled_seconds = [0] * num_workers, [0.0] * num_workers
        self.idle_seconds = [0.0] * num_workers
        # Of every dropped job, what DroppedJobs says of it; compact, as there may be as many as rows.
        self._dropped_jobs = (array("i"), array("i"), array("i"), array("d"), array("d"))
        self.lost_delay = 0

    def drop(self, worker: int, job: int, read: int, start: float, now: float, version: int) -> None:
        """A gradient of the point ``read`` that arrives when ``version`` is the newest, and is not used."""
        self.dropped[worker] += 1
        self.dropped_seconds[worker] += now - start
        who, jobs, reads, starts, times = self._dropped_jobs
        who.append(worker)
        jobs.append(job)
        reads.append(read)
        starts.append(start)
        times.append(now)
        self.lost_delay += version - read
        self._arrived_in_vain[version] += 1
        self._seconds_in_vain[version] += self._wire[worker]

    def drop_many(self, worker: int, seconds: float, delay: int, versions: np.ndarray) -> None:
        """Several of one worker, of this delay in all; of each the newest version when it arrives."""
        self.dropped[worker] += len(versions)
        self.dropped_seconds[worker] += seconds
        self.lost_delay += delay
        when, jobs = np.unique(versions, return_counts=True)
        for version, count in zip(when.tolist(), jobs.tolist(), strict=True):
            self._arrived_in_vain[version] += count
            self._seconds_in_vain[version] += count * self._wire[worker]

    def cancel(self, worker: int, seconds: float, delay: int) -> None:
        """A job that is stopped before it has finished."""
        self.cancelled[worker] += 1
        self.cancelled_seconds[worker] += seconds
        self.lost_delay += delay

    def ledger(self, pending: Iterable[tuple[int, int, float]]) -> Ledger:
        """The ledger; ``pending`` lists (worker, read, start) of the jobs under way at the end."""
        jobs = list(pending)
        return Ledger(
            dropped=np.array(self.dropped, np.int64),
            cancelled=np.array(self.cancelled, np.int64),
            dropped_seconds=np.array(self.dropped_seconds, np.float64),
            cancelled_seconds=np.array(self.cancelled_seconds, np.float64),
            idle_seconds=np.array(self.idle_seconds, np.float64),
            lost_delay=int(self.lost_delay),
            pending_worker=np.array([worker for worker, _, _ in jobs], np.int64),
            pending_read=np.array([read for _, read, _ in jobs], np.int64),
            pending_start=np.array([start for _, _, start in jobs], np.float64),
            dropped_jobs=self._jobs(),
            lost=self._lost(),
        )

    def _jobs(self) -> DroppedJobs | None:
        if not any(self.dropped):
            return None
        names = ("worker", "job", "read", "start", "time")
        return DroppedJobs(**{name: np.array(column) for name, column in zip(names, self._dropped_jobs, strict=True)})

    def _lost(self) -> Traffic | None:
        if not any(self.dropped):
            return None
        jobs = np.array(self._arrived_in_vain, np.int64)
        return Traffic(messages=jobs, models=jobs, seconds=np.array(self._seconds_in_vain, np.float64))


def table(rows: Sequence[tuple[int, int, int, float, float]]) -> dict[str, Any]:
    """Columns of a schedule from rows of (worker, job, read, start, time)."""
    names = ("worker", "job", "read", "start", "time")
    return dict(zip(names, map(np.array, zip(*rows, strict=True)), strict=True))
