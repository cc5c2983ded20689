"""Which part of a schedule a picture shows, and the sentence that says so."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from jasgd.pictures.jobs import NOT_KNOWN, USED, Jobs, jobs
from jasgd.schedule import Schedule


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """A window of time and some workers, with their jobs.

    Attributes:
      begin, end: of the window.
      workers: numbers of the workers, ascending.
      jobs: all of theirs that are in the window, wholly or in part.
      row: (M,) for each job the place of its worker among them.
      track: (M,) which of its worker's tracks a job is on; others than 0 where a worker has several jobs at once.
      tracks: (rows,) how many tracks each worker needs.
      unit: of the clock, for labels.
      title: what is shown, and what not.
    """

    begin: float
    end: float
    workers: np.ndarray
    jobs: Jobs
    row: np.ndarray
    track: np.ndarray
    tracks: np.ndarray
    unit: str
    title: str


def view(
    schedule: Schedule,
    window: tuple[float, float] | None,
    workers: int | Sequence[int] | None,
    *,
    most_workers: int,
    most_jobs: int,
) -> View:
    """The part that is asked for; by default so many workers, spread evenly, from the start until they had so many jobs."""
    if not len(schedule):
        raise ValueError("an empty schedule has no picture.")
    who = chosen_workers(schedule, workers, most_workers)
    horizon = float(schedule.time[-1])
    if not horizon:
        raise ValueError("a schedule in which no time passes has no picture.")
    begin, end = _first_jobs(schedule, who, most_jobs) if window is None else _checked(window, horizon)
    found = jobs(schedule, window=(begin, end), workers=who.tolist())
    row = np.searchsorted(who, found.worker)
    track, tracks = _tracks(found, row, len(who)) if schedule.parallel else (np.zeros_like(row), np.ones(len(who), np.int64))
    return View(
        begin=begin,
        end=end,
        workers=who,
        jobs=found,
        row=row,
        track=track,
        tracks=tracks,
        unit="s" if schedule.clock == "seconds" else "server steps",
        title=_title(schedule, who, begin, end, found),
    )


def chosen_workers(schedule: Schedule, workers: int | Sequence[int] | None, most: int) -> np.ndarray:
    """Numbers of workers: all, or as many as asked for from the first to the last, or those that are listed."""
    n = schedule.num_workers
    if workers is None or isinstance(workers, int | np.integer):
        count = min(n, most) if workers is None else int(workers)
        if isinstance(workers, bool) or not 1 <= count <= n:
            raise ValueError(f"`workers` must be a number from 1 to {n}, or a list of workers, got {workers!r}.")
        return np.unique(np.round(np.linspace(0, n - 1, count)).astype(np.int64))
    who = np.unique(np.asarray(workers))
    if not len(who) or not np.issubdtype(who.dtype, np.integer) or who[0] < 0 or who[-1] >= n:
        raise ValueError(f"`workers` must be numbers of workers from 0 to {n - 1}, got {workers!r}.")
    return who


def _checked(window: Any, horizon: float) -> tuple[float, float]:
    try:
        begin, end = map(float, window)
    except (TypeError, ValueError):
        raise ValueError(f"`window` must be two times, (begin, end), got {window!r}.") from None
    if not 0 <= begin < end or begin > horizon:
        raise ValueError(
            f"`window` must satisfy 0 <= begin < end and begin by {horizon:g}, where the schedule ends, got {window!r}."
        )
    return begin, min(end, horizon)


def _first_jobs(schedule: Schedule, who: np.ndarray, most: int) -> tuple[float, float]:
    """Until these workers have delivered or lost so many jobs; the numbers of the jobs that are used tell how many."""
    chosen = np.zeros(schedule.num_workers, bool)
    chosen[who] = True
    rows = np.flatnonzero(chosen[schedule.worker])
    order = rows[np.lexsort((schedule.job[rows], schedule.worker[rows]))]
    first = np.diff(schedule.worker[order], prepend=-1) != 0
    jobs_of_row = np.zeros(len(schedule), np.int64)
    jobs_of_row[order] = np.where(first, schedule.job[order] + 1, np.diff(schedule.job[order], prepend=0))
    count, horizon = np.cumsum(jobs_of_row).astype(np.float64), float(schedule.time[-1])
    if schedule.ledger is not None:  # jobs that no later row tells of, as if spread evenly
        lost = int((schedule.ledger.dropped + schedule.ledger.cancelled)[who].sum())
        count += max(lost + len(rows) - count[-1], 0) * schedule.time / horizon
    late = np.flatnonzero(count > most)
    end = float(schedule.time[late[0]]) if len(late) else 0.0
    return 0.0, end or horizon


def _tracks(found: Jobs, row: np.ndarray, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Each job goes to the first track of its worker that is free."""
    track = np.zeros(len(found), np.int64)
    free: list[list[float]] = [[] for _ in range(rows)]
    for k, (i, start, end) in enumerate(zip(row.tolist(), found.start.tolist(), found.end.tolist(), strict=True)):
        place = next((t for t, until in enumerate(free[i]) if until <= start), len(free[i]))
        free[i][place : place + 1] = [end]
        track[k] = place
    return track, np.array([max(len(each), 1) for each in free])


def _title(schedule: Schedule, who: np.ndarray, begin: float, end: float, found: Jobs) -> str:
    n, unit = schedule.num_workers, "s" if schedule.clock == "seconds" else "steps"
    workers = f"all {n} workers" if len(who) == n else f"{len(who)} of {n} workers"
    horizon = float(schedule.time[-1])
    whole = begin == 0 and end == horizon
    time = f"all {horizon:.6g} {unit}" if whole else f"{begin:.6g} to {end:.6g} of {horizon:.6g} {unit}"
    used = int(np.count_nonzero(found.kind == USED))
    part = f"all {used} deliveries" if used == len(schedule) else f"{used} of {len(schedule)} deliveries"
    unknown = "; not known what came after last deliveries" if np.any(found.kind == NOT_KNOWN) else ""
    return f"{schedule.protocol}: {workers}, {time}, {part}{unknown}"


def last_versions(schedule: Schedule, shown: View) -> tuple[int, int]:
    """The versions that the shown jobs refer to, or that were made in the window: from the first to the last."""
    made, found = schedule.version_time, shown.jobs
    used = found.kind == USED
    low, high = np.searchsorted(made, [shown.begin, shown.end], side="right") - 1
    return int(min(low, found.read[used].min(initial=low))), int(max(high, found.made[used].max(initial=high)))
