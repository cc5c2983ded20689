"""What a schedule looks like in numbers."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from jasgd.schedule import Schedule

DELAY_QUANTILES = (0.1, 0.5, 0.9, 0.99)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
    """Statistics of a schedule.

    Attributes:
      deliveries, updates, workers, delivering: gradients used, server steps, workers, workers that were heard of.
      clock, seconds: simulated time, and whether it counts "seconds" or server "steps".
      mean_delay, max_delay, delay_quantiles: of the rows; quantiles at 10, 50, 90 and 99 percent.
      updates_per_worker: smallest, median and largest number of rows of a worker.
      concurrency: mean number of jobs under way that are used in the end.
      used_seconds, dropped_seconds, cancelled_seconds, idle_seconds: worker seconds; None where not known.
      dropped, cancelled: jobs; None where not known.
      critical_path: fewest steps in which the schedule can be computed, with any number of lanes.
      lanes: deliveries / critical path, how many gradients can be computed together on average.
      slots: snapshots that must be held at once.
      bytes: of these snapshots, if the size of one is known.
    """

    deliveries: int
    updates: int
    workers: int
    delivering: int
    clock: str
    seconds: float
    mean_delay: float
    max_delay: int
    delay_quantiles: tuple[float, float, float, float]
    updates_per_worker: tuple[int, float, int]
    concurrency: float
    used_seconds: float
    dropped_seconds: float | None
    cancelled_seconds: float | None
    idle_seconds: float | None
    dropped: int | None
    cancelled: int | None
    critical_path: int
    lanes: float
    slots: int
    bytes: int | None

    def __str__(self) -> str:
        low, middle, high, highest = self.delay_quantiles
        few, median, many = self.updates_per_worker
        unit = "s" if self.clock == "seconds" else "server steps"
        lines = [
            f"{self.deliveries} gradients in {self.updates} updates by {self.delivering} of {self.workers} workers, "
            f"{self.seconds:.6g} {unit}",
            f"delay        mean {self.mean_delay:.4g}, max {self.max_delay}; "
            f"10/50/90/99 %: {low:g} {middle:g} {high:g} {highest:g}",
            f"per worker   {few} to {many} gradients, median {median:g}",
            f"in flight    {self.concurrency:.4g} jobs on average",
        ]
        if self.dropped is not None and self.clock == "seconds":
            lines.append(
                f"worker time  used {self.used_seconds:.4g} s, dropped {self.dropped_seconds:.4g} s ({self.dropped} jobs), "
                f"cancelled {self.cancelled_seconds:.4g} s ({self.cancelled} jobs), idle {self.idle_seconds:.4g} s"
            )
        memory = "" if self.bytes is None else f", {self.bytes / 2**20:.1f} MiB"
        lines.append(
            f"simulation   critical path {self.critical_path} steps, {self.lanes:.3g} lanes, {self.slots} snapshots{memory}"
        )
        return "\n".join(lines)


def summarise(schedule: "Schedule", *, bytes_per_snapshot: int | None) -> Summary:
    """Compute the statistics of a schedule."""
    if not len(schedule):
        raise ValueError("an empty schedule has no summary.")
    ledger, seconds = schedule.ledger, float(schedule.time[-1])
    per_worker = np.bincount(schedule.worker, minlength=schedule.num_workers)
    path, slots = critical_path(schedule), snapshots(schedule)
    return Summary(
        deliveries=len(schedule),
        updates=schedule.updates,
        workers=schedule.num_workers,
        delivering=int(np.count_nonzero(per_worker)),
        clock=schedule.clock,
        seconds=seconds,
        mean_delay=float(schedule.delay.mean()),
        max_delay=int(schedule.delay.max()),
        delay_quantiles=tuple(np.quantile(schedule.delay, DELAY_QUANTILES).tolist()),
        updates_per_worker=(int(per_worker.min()), float(np.median(per_worker)), int(per_worker.max())),
        concurrency=float(schedule.duration.sum() / seconds) if seconds else 0.0,
        used_seconds=float(schedule.duration.sum()),
        dropped_seconds=None if ledger is None else float(ledger.dropped_seconds.sum()),
        cancelled_seconds=None if ledger is None else float(ledger.cancelled_seconds.sum()),
        idle_seconds=None if ledger is None else float(ledger.idle_seconds.sum()),
        dropped=None if ledger is None else int(ledger.dropped.sum()),
        cancelled=None if ledger is None else int(ledger.cancelled.sum()),
        critical_path=path,
        lanes=len(schedule) / path,
        slots=slots,
        bytes=None if bytes_per_snapshot is None else slots * bytes_per_snapshot,
    )


def described(schedule: "Schedule") -> dict[str, Any]:
    """Where a schedule comes from, how stale its gradients are, and how many make a step, as it is stored with results.

    Example:
      >>> found = described(jasgd.protocols.asynchronous(jasgd.fleet.equal(4), 100))
      >>> found["delay"], found["deliveries_per_update"]
      ({'mean': 2.94, 'quantiles': [3.0, 3.0, 3.0, 3.0], 'max': 3}, 1)
    """
    delay = schedule.delay
    quantiles = np.quantile(delay, DELAY_QUANTILES).tolist()
    gathered = np.diff(np.flatnonzero(schedule.apply), prepend=-1)
    return {
        "protocol": schedule.protocol,
        **schedule.arguments,
        "delay": {"mean": float(delay.mean()), "quantiles": quantiles, "max": int(delay.max())},
        "deliveries_per_update": int(gathered[0]) if np.all(gathered == gathered[0]) else None,
    }


def critical_path(schedule: "Schedule") -> int:
    """Length of the longest chain of gradients that wait for each other.

    With lanes without end, a step takes all deliveries that read versions made before it: it ends at the first one
    that reads a version of the same step.
    """
    newest, steps = -1, 0  # newest version that the current step may read
    for read, version in zip(schedule.read.tolist(), schedule.version.tolist(), strict=True):
        if read > newest:
            newest, steps = version, steps + 1
    return steps


def snapshots(schedule: "Schedule") -> int:
    """Largest number of versions that somebody still has to read, the current one included."""
    last_use = np.full(schedule.updates + 1, -1)
    np.maximum.at(last_use, schedule.read, np.arange(len(schedule)))
    born = np.concatenate([[-1], np.flatnonzero(schedule.apply)])
    alive = last_use >= 0
    change = np.zeros(len(schedule) + 2, np.int64)
    np.add.at(change, born[alive] + 1, 1)
    np.add.at(change, last_use[alive] + 1, -1)
    return int(np.cumsum(change).max())
