"""Keeping count of the work that leaves no row."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from jasgd.schedule import Ledger


class Tally:
    """Jobs thrown away, per worker, and what they cost; plain lists, since they are changed one number at a time."""

    def __init__(self, num_workers: int) -> None:
        self.dropped, self.dropped_seconds = [0] * num_workers, [0.0] * num_workers
        self.cancelled, self.cancelled_seconds = [0] * num_workers, [0.0] * num_workers
        self.idle_seconds = [0.0] * num_workers
        self.lost_delay = 0

    def drop(self, worker: int, seconds: float, delay: int, *, jobs: int = 1) -> None:
        """A gradient that arrives and is not used; or several of them together."""
        self.dropped[worker] += jobs
        self.dropped_seconds[worker] += seconds
        self.lost_delay += delay

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
        )


def table(rows: Sequence[tuple[int, int, int, float, float]]) -> dict[str, Any]:
    """Columns of a schedule from rows of (worker, job, read, start, time)."""
    names = ("worker", "job", "read", "start", "time")
    return dict(zip(names, map(np.array, zip(*rows, strict=True)), strict=True))
