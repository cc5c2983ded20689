"""The work of an execution that left no row in its table."""

import dataclasses

import numpy as np

from jasgd.traffic import Traffic


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class DroppedJobs:
    """Jobs whose gradient arrived and was thrown away, one row each, in order of arrival.

    Workers that are too slow for anything they compute to be used are not in it: all that they do is dropped, and where
    there are such workers, all jobs of one take equally long.

    Attributes:
      worker, job, read: (D,) int32.
      start, time: (D,) float64, when the job began and when it arrived in vain.
    """

    worker: np.ndarray
    job: np.ndarray
    read: np.ndarray
    start: np.ndarray
    time: np.ndarray

    def __eq__(self, other: object) -> bool:
        """The same jobs."""
        return isinstance(other, DroppedJobs) and all(np.array_equal(a, vars(other)[name]) for name, a in vars(self).items())

    __hash__ = None  # type: ignore[assignment]

    def until(self, time: float) -> "DroppedJobs":
        """Those that arrived by then."""
        count = int(np.searchsorted(self.time, time, side="right"))
        return DroppedJobs(**{name: column[:count] for name, column in vars(self).items()})


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Ledger:
    """Work that left no row in the table, and jobs still under way when the last row was used.

    Attributes:
      dropped, cancelled: (N,) int64, jobs whose gradient was thrown away on arrival, or that were stopped early.
      dropped_seconds, cancelled_seconds, idle_seconds: (N,) float64.
      lost_delay: sum of the delays of dropped gradients and of the ages of cancelled jobs, in versions.
      pending_worker, pending_read, pending_start: the jobs in flight at the end.
      dropped_jobs: the dropped ones, job by job; None where nobody wrote them down.
      lost: what the links carried in vain while each version was the newest: the messages of dropped jobs; None for nothing.
    """

    dropped: np.ndarray
    cancelled: np.ndarray
    dropped_seconds: np.ndarray
    cancelled_seconds: np.ndarray
    idle_seconds: np.ndarray
    lost_delay: int
    pending_worker: np.ndarray
    pending_read: np.ndarray
    pending_start: np.ndarray
    dropped_jobs: DroppedJobs | None = None
    lost: Traffic | None = None
