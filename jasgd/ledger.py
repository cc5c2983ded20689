"""The work of an execution that left no row in its table."""

import dataclasses

import numpy as np

from jasgd.traffic import Traffic


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Ledger:
    """Work that left no row in the table, and jobs still under way when the last row was used.

    Attributes:
      dropped, cancelled: (N,) int64, jobs whose gradient was thrown away on arrival, or that were stopped early.
      dropped_seconds, cancelled_seconds, idle_seconds: (N,) float64.
      lost_delay: sum of the delays of dropped gradients and of the ages of cancelled jobs, in versions.
      pending_worker, pending_read, pending_start: the jobs in flight at the end.
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
    lost: Traffic | None = None
