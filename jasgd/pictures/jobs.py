"""All jobs of a stretch of a schedule: those that were used, and those that left no row in its table.

The table has the jobs that were used; what else happened follows from it.

- Dropped jobs were written down when they arrived. Workers too slow for any of their jobs to be used compute back to back.
- A job that is cancelled for its age ends when its version is so many versions old, and its worker begins anew with the
  newest version: after one version in interrupted rounds, after as many as the threshold in Ringmaster with stops.
- A cancelled trial of MindFlayer lasts exactly its allotted seconds (:mod:`jasgd.pictures._trials`).
- Jobs under way at the end are in the ledger.

Where none of this says when a job ended, the numbers of a worker's jobs still say how many were lost between two others.
These are one entry of the kind "lost", as long as the gap, with their number; nothing is guessed.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from jasgd.pictures._trials import cancelled_trials
from jasgd.schedule import Schedule

KINDS = ("used", "dropped", "cancelled", "lost", "under way", "not known")
USED, DROPPED, CANCELLED, LOST, UNDER_WAY, NOT_KNOWN = range(6)

_MOST = 20_000_000  # jobs that fit into memory with ease


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Jobs:
    """Jobs by worker and start; of an entry of the kind "lost" its first job, and of "not known" none.

    Attributes:
      worker, job: (M,) int32; a job of -1 is not known.
      read, made: (M,) int32, the version a job computed at and the version that its gradient became part of; -1 where there
        is none or it is not known.
      start, end: (M,) float64.
      kind: (M,) int8, index into :data:`KINDS`.
      count: (M,) int64, jobs that the entry stands for.

    Example:
      >>> found = jasgd.pictures.jobs(jasgd.protocols.asynchronous(jasgd.fleet.equal(2), 4))
      >>> late = found.where(found.delay == 1)
      >>> late.worker, late.read, late.made
      (array([0, 1, 1], dtype=int32), array([1, 0, 2], dtype=int32), array([3, 2, 4], dtype=int32))
    """

    worker: np.ndarray
    job: np.ndarray
    read: np.ndarray
    made: np.ndarray
    start: np.ndarray
    end: np.ndarray
    kind: np.ndarray
    count: np.ndarray

    def __len__(self) -> int:
        """Number of entries."""
        return len(self.worker)

    @property
    def delay(self) -> np.ndarray:
        """(M,) int32, server updates between read and use; -1 where a job was not used."""
        return np.where(self.kind == USED, self.made - 1 - self.read, -1)

    def where(self, which: np.ndarray) -> "Jobs":
        """Some of the jobs, by mask or index."""
        return Jobs(**{name: column[which] for name, column in vars(self).items()})


def jobs(schedule: Schedule, *, window: tuple[float, float] | None = None, workers: Sequence[int] | None = None) -> Jobs:
    """What workers did in a window of time, whether or not it was used.

    Args:
      schedule: who delivered what when.
      window: begin and end in the schedule's clock; jobs that are partly in it are there as a whole. By default all.
      workers: which; by default all.

    Example:
      >>> schedule = jasgd.protocols.ringmaster(jasgd.fleet.fixed([1.0, 3.5]), 4, threshold=2, stop=True)
      >>> found = jasgd.pictures.jobs(schedule)
      >>> for worker, start, end, kind in zip(found.worker, found.start, found.end, found.kind):
      ...     print(worker, start, end, jasgd.pictures.KINDS[kind])
      0 0.0 1.0 used
      0 1.0 2.0 used
      0 2.0 3.0 used
      0 3.0 4.0 used
      1 0.0 2.0 cancelled
      1 2.0 4.0 cancelled
    """
    if not len(schedule):
        raise ValueError("an empty schedule has no jobs to show.")
    begin, end = (0.0, float(schedule.time[-1])) if window is None else window
    chosen = np.zeros(schedule.num_workers, bool)
    chosen[np.arange(schedule.num_workers) if workers is None else np.asarray(workers, np.int64)] = True
    known = _join([_used(schedule, chosen), _dropped(schedule, chosen)])
    parts = [known, _under_way(schedule, chosen, known)]
    if not schedule.parallel:
        parts += _lost(schedule, known, chosen, begin, end)
    if schedule.ledger is None and schedule.clock == "seconds":
        parts.append(_not_known(schedule, known, chosen))
    found = _join(parts)
    instant = (found.start == found.end) & (found.start >= begin) & (found.start <= end)
    found = found.where(instant | ((found.start < end) & (found.end > begin)))
    return found.where(np.lexsort((found.job, found.end, found.start, found.worker)))


def _used(schedule: Schedule, chosen: np.ndarray) -> Jobs:
    rows = np.flatnonzero(chosen[schedule.worker])
    return _made(
        USED,
        worker=schedule.worker[rows],
        job=schedule.job[rows],
        read=schedule.read[rows],
        made=schedule.version[rows] + 1,
        start=schedule.start[rows],
        end=schedule.time[rows],
    )


def _dropped(schedule: Schedule, chosen: np.ndarray) -> Jobs:
    if schedule.dropped_jobs is None:
        return _made(DROPPED, worker=np.zeros(0, np.int32), start=np.zeros(0), end=np.zeros(0))
    rows = chosen[schedule.dropped_jobs.worker]
    columns = {name: column[rows] for name, column in vars(schedule.dropped_jobs).items()}
    return _made(DROPPED, end=columns.pop("time"), **columns)


def _under_way(schedule: Schedule, chosen: np.ndarray, known: Jobs) -> Jobs:
    """Jobs in flight at the end; those that begin at that very moment have not been seen."""
    ledger, horizon = schedule.ledger, float(schedule.time[-1])
    if ledger is None:
        return _made(UNDER_WAY, worker=np.zeros(0, np.int32), start=np.zeros(0), end=np.zeros(0))
    rows = np.flatnonzero(chosen[ledger.pending_worker] & (ledger.pending_start < horizon))
    worker = ledger.pending_worker[rows]
    if schedule.parallel:  # the numbers that the others leave free, in order
        job = np.zeros(len(rows), np.int64)
        for i in np.unique(worker).tolist():
            mine, taken = np.flatnonzero(worker == i), known.job[known.worker == i]
            job[mine] = np.setdiff1d(np.arange(len(taken) + len(mine)), taken)[: len(mine)]
    else:
        job = _finished(schedule)[worker]
    start = ledger.pending_start[rows]
    return _made(
        UNDER_WAY, worker=worker, job=job, read=ledger.pending_read[rows], start=start, end=np.full(len(rows), horizon)
    )


def _finished(schedule: Schedule) -> np.ndarray:
    """How many jobs of each worker have come to an end, good or bad."""
    assert schedule.ledger is not None
    used = np.bincount(schedule.worker, minlength=schedule.num_workers)
    return used + schedule.ledger.dropped + schedule.ledger.cancelled


def _not_known(schedule: Schedule, known: Jobs, chosen: np.ndarray) -> Jobs:
    """Without a ledger nobody knows what a worker did after its last delivery."""
    last = np.zeros(schedule.num_workers)
    np.maximum.at(last, known.worker, known.end)
    worker = np.flatnonzero(chosen & (last < schedule.time[-1]))
    return _made(NOT_KNOWN, worker=worker, start=last[worker], end=np.full(len(worker), schedule.time[-1]), count=0)


def _lost(schedule: Schedule, known: Jobs, chosen: np.ndarray, begin: float, end: float) -> list[Jobs]:
    """Jobs whose numbers are missing between those that are known."""
    gaps = _gaps(schedule, known, chosen)
    gaps = gaps.where((gaps.start <= end) & (gaps.end >= begin))
    if schedule.protocol == "mindflayer":
        cut = cancelled_trials(schedule, np.flatnonzero(chosen), begin, end)
        return [_made(CANCELLED, **cut)]
    steps = _versions_until_cancelled(schedule)
    clear = np.zeros(len(gaps), bool) if steps is None else _is_clear(schedule, gaps, steps)
    steady = np.zeros(len(gaps), bool)
    if schedule.ledger is not None and schedule.dropped_jobs is not None:
        seen = np.zeros(schedule.num_workers, bool)
        seen[known.worker] = True
        steady = ~clear & ~seen[gaps.worker] & (gaps.count == schedule.ledger.dropped[gaps.worker])
    parts = [gaps.where(~clear & ~steady)]
    if clear.any():
        assert steps is not None
        parts.append(_cancelled(schedule, gaps.where(clear), steps, begin, end))
    if steady.any():
        parts.append(_equally_long(gaps.where(steady), begin, end))
    return parts


def _gaps(schedule: Schedule, known: Jobs, chosen: np.ndarray) -> Jobs:
    """Where numbers are missing: first number, how many, from when to when, and the version that the next job read."""
    who, horizon = np.flatnonzero(chosen), float(schedule.time[-1])
    parts = [known, _made(LOST, worker=who, start=np.zeros(len(who)), end=np.zeros(len(who)))]
    if schedule.ledger is not None:
        begins, reads = np.full(schedule.num_workers, horizon), np.full(schedule.num_workers, schedule.updates)
        pending = slice(None, None, -1)  # of several the first, which is the one that runs
        begins[schedule.ledger.pending_worker[pending]] = schedule.ledger.pending_start[pending]
        reads[schedule.ledger.pending_worker[pending]] = schedule.ledger.pending_read[pending]
        after = _finished(schedule)[who]
        parts.append(_made(LOST, worker=who, job=after, read=reads[who], start=begins[who], end=begins[who]))
    chain = _join(parts)
    chain = chain.where(np.lexsort((chain.job, chain.worker)))
    missing = np.diff(chain.job) - 1
    last = np.flatnonzero((np.diff(chain.worker) == 0) & (missing > 0))
    return _made(
        LOST,
        worker=chain.worker[last],
        job=chain.job[last] + 1,
        read=chain.read[last + 1],
        start=chain.end[last],
        end=chain.start[last + 1],
        count=missing[last],
    )


def _versions_until_cancelled(schedule: Schedule) -> int | None:
    """How old its version is when a job is cancelled, where that is why jobs are lost."""
    if schedule.protocol == "ringmaster" and schedule.arguments.get("stop"):
        return int(schedule.arguments["threshold"])
    if schedule.protocol in ("rennala", "malenia", "m_synchronous") and schedule.arguments.get("interrupt"):
        return 1
    return None


def _is_clear(schedule: Schedule, gaps: Jobs, steps: int) -> np.ndarray:
    """Whether a gap is filled with jobs that were cancelled for their age, the last of them when the next job began."""
    first, made = gaps.read - gaps.count * steps, schedule.version_time
    fits = (first >= 0) & (made[gaps.read] == gaps.end)
    return fits & (made[np.clip(first + steps, 0, len(made) - 1)] >= gaps.start)


def _cancelled(schedule: Schedule, gaps: Jobs, steps: int, begin: float, end: float) -> Jobs:
    """One job after the other, each from a version to the one so many steps later."""
    made, first = schedule.version_time, gaps.read - gaps.count * steps
    low = -((first - np.searchsorted(made, begin, side="left")) // steps) - 1
    high = (np.searchsorted(made, end, side="right") - 1 - first) // steps
    gap, number = _spread(low, high, gaps.count)
    read = first[gap] + number * steps
    # The first of an interrupted round's jobs begins when its worker has delivered, amid the round.
    start = np.where(number == 0, np.maximum(made[read], gaps.start[gap]), made[read])
    job = gaps.job[gap] + number
    return _made(CANCELLED, worker=gaps.worker[gap], job=job, read=read, start=start, end=made[read + steps])


def _equally_long(gaps: Jobs, begin: float, end: float) -> Jobs:
    """Jobs of workers that never pause and always take as long."""
    seconds = (gaps.end - gaps.start) / gaps.count
    low, high = (np.floor((time - gaps.start) / seconds).astype(np.int64) for time in (begin, end))
    gap, number = _spread(low - 1, high + 1, gaps.count)
    start = gaps.start[gap] + number * seconds[gap]
    end_ = np.where(number + 1 == gaps.count[gap], gaps.end[gap], gaps.start[gap] + (number + 1) * seconds[gap])
    return _made(DROPPED, worker=gaps.worker[gap], job=gaps.job[gap] + number, start=start, end=end_)


def _spread(low: np.ndarray, high: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For every gap the numbers from low to high that exist: (gap, number) of each."""
    low, high = np.maximum(low, 0), np.minimum(high, count - 1)
    many = np.maximum(high - low + 1, 0)
    if many.sum() > _MOST:
        raise ValueError(
            f"this window holds {many.sum()} cancelled or dropped jobs; give a shorter `window` or fewer `workers`."
        )
    gap = np.repeat(np.arange(len(many)), many)
    return gap, low[gap] + np.arange(len(gap)) - np.repeat(np.cumsum(many) - many, many)


def _made(
    kind: int,
    *,
    worker: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    job: np.ndarray | int = -1,
    read: np.ndarray | int = -1,
    made: np.ndarray | int = -1,
    count: np.ndarray | int = 1,
) -> Jobs:
    """Jobs of one kind, with what is not given not known."""
    columns = {"worker": worker, "job": job, "read": read, "made": made}
    typed = {name: np.broadcast_to(np.asarray(column, np.int32), len(worker)) for name, column in columns.items()}
    counts = np.broadcast_to(np.asarray(count, np.int64), len(worker))
    return Jobs(**typed, start=start, end=end, kind=np.full(len(worker), kind, np.int8), count=counts)


def _join(parts: Sequence[Jobs]) -> Jobs:
    return Jobs(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])})
