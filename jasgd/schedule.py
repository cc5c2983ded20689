"""The record of one asynchronous execution: a table of deliveries.

One row per gradient that the server uses, in the order of use. *Version* ``v`` is the model after ``v`` server updates;
the *delay* of a row is the version just before its use minus the version it was computed at, so a lone worker has
delay 0. Papers that count from 1 (Mishchenko et al. 2022, Islamov et al. 2024) are converted where they enter.
"""

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from jasgd import schedule_file
from jasgd.ledger import DroppedJobs, Ledger
from jasgd.summary import Summary, summarise
from jasgd.traffic import Contents, Traffic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = {
    "worker": np.int32,
    "job": np.int32,
    "read": np.int32,
    "start": np.float64,
    "time": np.float64,
    "weight": np.float32,
    "apply": np.bool_,
}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Schedule:
    """Who delivered what when: the contract between timing and arithmetic.

    Attributes:
      worker: (K,) int32, who computed.
      job: (K,) int32, number of that job among all that the worker started, dropped and cancelled ones included.
      read: (K,) int32, server version of the snapshot it computed at.
      start, time: (K,) float64, when the job began and when the server uses its result.
      weight: (K,) float32, coefficient of the gradient in its server step.
      apply: (K,) bool, whether the server steps after this row; otherwise it is gathered into the next step.
      num_workers: number of workers of the fleet, delivering or not.
      clock: "seconds" of a fleet, or "steps" of the server where delays were given or drawn instead of speeds.
      protocol, arguments: where the schedule comes from.
      jobs_in_flight: number of *other* jobs under way at every delivery if that is constant, else None.
      parallel: whether one worker may have several jobs under way at once.
      ledger: what the table does not show; None where it is not known (imported logs, drawn delays).
      contents: what a job consists of, if not of one gradient, one message and one model.
      wire_seconds: (N,) float64, how long each worker's link is busy with a job; None: links take no time.
      lost: what the links carried in vain while each version was the newest, arrays (updates,); by default the ledger's.
      dropped_jobs: the jobs behind the ledger's counts of dropped ones, for pictures; by default the ledger's.
    """

    worker: np.ndarray
    job: np.ndarray
    read: np.ndarray
    start: np.ndarray
    time: np.ndarray
    weight: np.ndarray
    apply: np.ndarray
    num_workers: int
    clock: Literal["seconds", "steps"] = "seconds"
    protocol: str = "custom"
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    jobs_in_flight: int | None = None
    parallel: bool = False
    ledger: Ledger | None = None
    contents: Contents | None = None
    wire_seconds: np.ndarray | None = None
    lost: Traffic | None = None
    dropped_jobs: DroppedJobs | None = None

    def __post_init__(self) -> None:
        if self.lost is None and self.ledger is not None:
            object.__setattr__(self, "lost", self.ledger.lost)
        if self.dropped_jobs is None and self.ledger is not None:
            object.__setattr__(self, "dropped_jobs", self.ledger.dropped_jobs)
        for name, dtype in COLUMNS.items():
            column = np.asarray(getattr(self, name))
            if column.ndim != 1 or len(column) != len(np.asarray(self.worker)):
                raise ValueError(f"column `{name}` must be flat and as long as `worker`, got shape {column.shape}.")
            typed: np.ndarray = column.astype(dtype, copy=False)
            if dtype in (np.int32, np.bool_) and not np.array_equal(typed, column):
                raise ValueError(f"column `{name}` must hold values of type {np.dtype(dtype)}; some would be changed by it.")
            object.__setattr__(self, name, typed)

    def __len__(self) -> int:
        """Number of deliveries."""
        return len(self.worker)

    @functools.cached_property
    def version(self) -> np.ndarray:
        """(K,) int32, the server's version just before each row is used."""
        return (np.cumsum(self.apply, dtype=np.int32) - self.apply).astype(np.int32)

    @functools.cached_property
    def delay(self) -> np.ndarray:
        """(K,) int32, number of server updates between read and use."""
        return self.version - self.read

    @property
    def duration(self) -> np.ndarray:
        """(K,) float64, from the start of a job to the use of its result."""
        return self.time - self.start

    @functools.cached_property
    def updates(self) -> int:
        """Number of server steps."""
        return int(np.count_nonzero(self.apply))

    @property
    def gradients(self) -> int:
        """Number of gradients that the deliveries hold."""
        return len(self) if self.contents is None else int(self.contents.gradients[self.worker].sum())

    @functools.cached_property
    def version_time(self) -> np.ndarray:
        """(updates + 1,) float64, when each version came into being; version 0 at time 0."""
        return np.concatenate([[0.0], self.time[self.apply]])

    def __eq__(self, other: object) -> bool:
        """Equal tables of the same fleet size and clock; where they come from does not matter."""
        return (
            isinstance(other, Schedule)
            and (self.num_workers, self.clock) == (other.num_workers, other.clock)
            and all(np.array_equal(getattr(self, name), getattr(other, name)) for name in COLUMNS)
        )

    __hash__ = None  # type: ignore[assignment]

    def verify(self) -> "Schedule":
        """Check every law that a schedule must obey; a ``ValueError`` names the law and the row that breaks it.

        Example:
          >>> schedule = jasgd.protocols.asynchronous(jasgd.fleet.equal(3), 10).verify()
        """
        laws: list[tuple[str, np.ndarray]] = [
            (f"`worker` must lie in [0, {self.num_workers})", (self.worker >= 0) & (self.worker < self.num_workers)),
            ("`job` must not be negative", self.job >= 0),
            ("`read` must be a version that exists: 0 <= read <= version", (self.read >= 0) & (self.delay >= 0)),
            ("`weight` must be finite", np.isfinite(self.weight)),
            ("`start` and `time` must be finite, with 0 <= start <= time", self._times_are_sane()),
            ("`time` must not go backwards", np.diff(self.time, prepend=0.0) >= 0),
        ]
        for law, holds in laws:
            _require(law, holds)
        order = np.lexsort((self.job, self.worker))
        twice = (np.diff(self.worker[order]) == 0) & (np.diff(self.job[order]) == 0)
        _require("a (worker, job) pair must occur once", ~np.append(False, twice)[: len(self)], order)
        if len(self) and not self.apply[-1]:
            raise ValueError("the last row must have `apply` set: its gradient would never be used.")
        if self.clock == "seconds":
            self._verify_clock()
        if self.ledger is not None:
            pending = self.ledger.pending_read
            if np.any((pending < 0) | (pending > self.updates)):
                raise ValueError(
                    f"a job under way at the end must have read a version from 0 to {self.updates}, got {pending}."
                )
        self._verify_conservation()
        self._verify_links()
        self._verify_dropped()
        return self

    def _times_are_sane(self) -> np.ndarray:
        return np.isfinite(self.start) & np.isfinite(self.time) & (self.start >= 0) & (self.start <= self.time)

    def _verify_clock(self) -> None:
        _require("a job must not start before the version it reads exists", self.version_time[self.read] <= self.start)
        same_time = (np.diff(self.time) == 0) & (np.diff(self.worker) < 0) & (self.start[1:] < self.time[1:])
        _require("rows at the same time must be ordered by worker", ~np.append(False, same_time)[: len(self)])
        order = np.lexsort((self.job, self.worker))
        same_worker = np.diff(self.worker[order]) == 0
        if not self.parallel:
            early = same_worker & (self.start[order][1:] < self.time[order][:-1])
            _require("a worker must finish one job before it starts the next", ~np.append(False, early)[: len(self)], order)
        if self.ledger is not None and len(self) and not self.parallel:
            self._verify_seconds(self.ledger)

    def _verify_seconds(self, ledger: Ledger) -> None:
        """Every worker's seconds are used, dropped, cancelled, idle or under way; together they are the whole time."""
        horizon = self.time[-1]
        seconds = np.bincount(self.worker, self.duration, minlength=self.num_workers)
        seconds += ledger.dropped_seconds + ledger.cancelled_seconds + ledger.idle_seconds
        np.add.at(seconds, ledger.pending_worker, horizon - ledger.pending_start)
        bad = ~np.isclose(seconds, horizon, rtol=1e-6)
        if bad.any():
            worker = int(np.argmax(bad))
            raise ValueError(f"the seconds of worker {worker} add up to {seconds[worker]}, not to the {horizon} simulated.")

    def _verify_links(self) -> None:
        per_worker = [] if self.contents is None else list(vars(self.contents).items())
        per_worker += [] if self.wire_seconds is None else [("wire_seconds", self.wire_seconds)]
        per_version = [] if self.lost is None else list(vars(self.lost).items())
        for columns, length in ((per_worker, self.num_workers), (per_version, self.updates)):
            for name, column in columns:
                if column.shape != (length,) or not np.all(column >= 0):
                    raise ValueError(f"`{name}` must hold {length} numbers, none negative, got {column!r}.")

    def _verify_dropped(self) -> None:
        if self.dropped_jobs is None:
            return
        lengths = {len(column) for column in vars(self.dropped_jobs).values()}
        workers = self.dropped_jobs.worker
        if len(lengths) != 1 or np.any((workers < 0) | (workers >= self.num_workers)):
            raise ValueError(
                f"`dropped_jobs` needs columns of one length and workers from 0 to {self.num_workers - 1}, got {workers}."
            )

    def _verify_conservation(self) -> None:
        """Sum of used and lost delays + ages of jobs in flight = updates x (other jobs in flight)."""
        if self.jobs_in_flight is None or self.ledger is None:
            return
        total = int(self.delay.sum(dtype=np.int64)) + self.ledger.lost_delay
        total += int((self.updates - self.ledger.pending_read.astype(np.int64)).sum())
        if total != self.updates * self.jobs_in_flight:
            raise ValueError(
                f"delays are not conserved: {total} in all, expected {self.updates} updates x {self.jobs_in_flight} jobs."
            )

    def summary(self, *, bytes_per_snapshot: int | None = None) -> Summary:
        """Delays, load, lost work and what a simulation of this schedule will need; prints as a small table.

        Args:
          bytes_per_snapshot: size of one parameter vector, to predict memory.

        Example:
          >>> jasgd.protocols.asynchronous(jasgd.fleet.equal(4), 100).summary().mean_delay
          2.94
        """
        return summarise(self, bytes_per_snapshot=bytes_per_snapshot)

    def plot(self, *, window: tuple[float, float] | None = None, workers: int | Sequence[int] | None = None) -> "Figure":
        """Draw who computed what when, and what became of it: :func:`jasgd.pictures.timeline`.

        Args:
          window: begin and end; by default from the start for as long as the picture stays readable.
          workers: how many, or which; by default 40, from the first to the last.

        Example:
          >>> schedule = jasgd.protocols.asynchronous(jasgd.fleet.power_law(4, exponent=1.0), 30)
          >>> schedule.plot(window=(0, 8)).savefig(tmp_path / "timeline.png")
        """
        from jasgd.pictures.timeline import timeline

        return timeline(self, window=window, workers=workers)

    def first_updates(self, updates: int) -> "Schedule":
        """The schedule up to a server version; what happened to work that left no row is no longer known.

        Example:
          >>> len(jasgd.protocols.asynchronous(jasgd.fleet.equal(4), 100).first_updates(10))
          10
        """
        if updates != int(updates) or not 0 <= updates <= self.updates:
            raise ValueError(f"`updates` must be a whole number between 0 and {self.updates}, got {updates}.")
        rows = int(np.searchsorted(np.cumsum(self.apply), updates, side="left")) + 1 if updates else 0
        return self._head(rows)

    def until(self, time: float) -> "Schedule":
        """The schedule up to a simulated time, whole server steps only.

        Example:
          >>> jasgd.protocols.asynchronous(jasgd.fleet.equal(4), 100).until(2.5).updates
          8
        """
        if np.isnan(time):
            raise ValueError("`time` must be a number of seconds, got nan.")
        return self.first_updates(int(np.searchsorted(self.version_time, time, side="right")) - 1 if time >= 0 else 0)

    def _head(self, rows: int) -> "Schedule":
        columns = {name: getattr(self, name)[:rows] for name in COLUMNS}
        arguments = {**self.arguments, "cut_to_rows": rows}
        lost = None if self.lost is None else self.lost.first(int(np.count_nonzero(columns["apply"])))
        dropped = None if self.dropped_jobs is None else self.dropped_jobs.until(float(self.time[rows - 1]) if rows else 0.0)
        known = {**columns, "lost": lost, "dropped_jobs": dropped, "arguments": arguments}
        return dataclasses.replace(self, **known, ledger=None, jobs_in_flight=None)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the schedule to a compressed ``.npz`` file.

        Example:
          >>> schedule = jasgd.protocols.asynchronous(jasgd.fleet.equal(3), 10)
          >>> schedule.save(tmp_path / "schedule.npz")
          >>> jasgd.Schedule.load(tmp_path / "schedule.npz") == schedule
          True
        """
        schedule_file.write(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Schedule":
        """Read what :meth:`save` wrote, and verify it.

        Example:
          >>> jasgd.protocols.asynchronous(jasgd.fleet.equal(3), 10).save(tmp_path / "schedule.npz")
          >>> len(jasgd.Schedule.load(tmp_path / "schedule.npz"))
          10
        """
        return schedule_file.read(cls, path)

    @classmethod
    def from_events(
        cls,
        *,
        worker: ArrayLike,
        start: ArrayLike,
        finish: ArrayLike,
        version: ArrayLike | None = None,
        num_workers: int | None = None,
    ) -> "Schedule":
        """The schedule of a real cluster's log, one event per gradient, each applied as it arrived.

        Args:
          worker, start, finish: who computed, and when; any order. Ties are broken by worker.
          version: the server version at which each gradient was computed; without it, the last one that existed when
            the job started.
          num_workers: if more workers took part than have delivered.

        Example:
          >>> log = jasgd.Schedule.from_events(worker=[0, 1, 0], start=[0.0, 0.0, 1.0], finish=[1.0, 1.5, 2.0])
          >>> log.read, log.delay
          (array([0, 0, 1], dtype=int32), array([0, 1, 1], dtype=int32))
        """
        worker, start, finish = np.asarray(worker), np.asarray(start, np.float64), np.asarray(finish, np.float64)
        if not (worker.shape == start.shape == finish.shape) or worker.ndim != 1 or not len(worker):
            raise ValueError("`worker`, `start` and `finish` must be flat, of one length and not empty.")
        if not np.issubdtype(worker.dtype, np.integer) or worker.min() < 0:
            raise ValueError("`worker` must hold whole numbers from 0 on.")
        if not np.all(np.isfinite(start) & np.isfinite(finish) & (start >= 0) & (start <= finish)):
            row = int(np.argmin(np.isfinite(start) & np.isfinite(finish) & (start >= 0) & (start <= finish)))
            raise ValueError(f"event {row} must have 0 <= start <= finish, got {start[row]} and {finish[row]}.")
        if version is not None:
            version = np.asarray(version)
            if version.shape != worker.shape or not np.issubdtype(version.dtype, np.integer):
                raise ValueError("`version` must hold one whole number per event.")
        order = np.lexsort((worker, finish))
        worker, start, finish = worker[order], start[order], finish[order]
        by_start = np.lexsort((start, worker))
        first = np.r_[True, np.diff(worker[by_start]) != 0]
        number = np.arange(len(worker)) - np.maximum.accumulate(np.where(first, np.arange(len(worker)), 0))
        job = np.empty(len(worker), np.int32)
        job[by_start] = number
        if version is None:  # a job of no duration still reads what was there before itself
            read = np.minimum(np.searchsorted(finish, start, side="right"), np.arange(len(worker)))
        else:
            read = version[order]
        return cls(
            worker=worker,
            job=job,
            read=read,
            start=start,
            time=finish,
            weight=np.ones(len(worker)),
            apply=np.ones(len(worker), bool),
            num_workers=int(num_workers or worker.max() + 1),
            protocol="from_events",
        ).verify()


def _require(law: str, holds: np.ndarray, order: np.ndarray | None = None) -> None:
    holds = np.atleast_1d(holds)
    if not holds.all():
        row = int(np.argmin(holds))
        raise ValueError(f"{law}; broken in row {row if order is None else int(order[row])}.")
