"""MindFlayer SGD: rounds of trials that are cut when they take too long.

Maranjyan, Omar, Richtarik, "MindFlayer SGD: Efficient Parallel SGD in the Presence of Heterogeneous and Random Worker
Compute Times", UAI 2025, https://arxiv.org/abs/2410.04285. In its public code workers without trials make one per round all
the same, which may enter the divisor; here they do nothing.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jasgd.fleet import Fleet
from jasgd.protocols._checks import require_fleet, require_whole
from jasgd.protocols._tally import Tally
from jasgd.schedule import Schedule

CITATION = """\
@inproceedings{maranjyan2025mindflayer,
  title={{MindFlayer SGD}: Efficient Parallel {SGD} in the Presence of Heterogeneous and Random Worker Compute Times},
  author={Maranjyan, Artavazd and Omar, Omar Shaikh and Richt{\\'a}rik, Peter},
  booktitle={UAI}, year={2025}, note={arXiv:2410.04285}}
"""

Row = tuple[int, int, int, float, float]

_FRUITLESS = 1_000_000  # trials cut in a row, about a second of computation, before we believe that none will ever finish


def mindflayer(
    fleet: Fleet,
    updates: int,
    trials: ArrayLike,
    allotted: ArrayLike,
    *,
    success: ArrayLike | None = None,
    seed: int = 0,
) -> Schedule:
    r"""Every step is what finishes of :math:`B_i` trials of each worker i at the current point, over the expected number.

    A worker makes its trials one after the other. A trial that has run for its allotted seconds is cancelled and the next
    begins; one that finishes at that very moment counts. Then the worker waits until all have made theirs, and the server
    steps with :math:`\frac{1}{B} \sum g`, :math:`B = \sum_i p_i B_i`, over the gradients that were finished: without bias
    over all rounds, those of size zero included, however short the allotted times are.

    The server steps when the round ends, so the row of a round's last gradient lasts until then, even if its worker makes
    other trials in between; their seconds are in that row and not in the ledger. A round in which nothing finishes is a
    step of size zero: it leaves no row and no version, the ledger has its seconds, and the next round begins at the same
    point. A worker's power that changes makes trials longer; then ``success`` is no longer true, nor is the step unbiased.

    Args:
      fleet: workers and their speeds.
      updates: server steps, those of size zero not counted.
      trials: :math:`B_i`, trials per round of every worker, or of all; workers with none idle.
        :func:`jasgd.theory.mindflayer_trials` says how many are good.
      allotted: seconds until a trial is cut, of every worker or of all: the whole trial, :math:`\tau_i + t_i` in the paper.
        Infinite: never.
      success: :math:`p_i`, the probability that a trial finishes in the allotted time; not needed if none is ever cut.
      seed: of the durations.

    Example:
      >>> fleet = jasgd.fleet.stragglers([1.0, 1.0], slowdown=100.0, probability=0.5)
      >>> schedule = jasgd.protocols.mindflayer(fleet, 10, trials=2, allotted=1.0, success=0.5)
      >>> schedule.weight[0], schedule.duration.max() <= 2.0, schedule.ledger.cancelled.sum() > 0
      (np.float32(0.5), np.True_, np.True_)
    """
    require_fleet(fleet, seed)
    require_whole(updates=updates)
    n = fleet.num_workers
    tries, limits, chance = _checked(n, trials, allotted, success)
    rows, ends, tally = _run(fleet, updates, tries, limits, seed)
    names = ("worker", "job", "read", "start", "time")
    columns: dict[str, Any] = dict(zip(names, map(np.array, zip(*rows, strict=True)), strict=True))
    order = np.lexsort((columns["job"], columns["worker"], columns["time"], columns["read"]))
    columns = {name: column[order] for name, column in columns.items()}
    apply = np.diff(columns["read"], append=updates) > 0
    columns["time"][apply] = ends
    return Schedule(
        **columns,
        weight=np.full(len(rows), 1 / float(np.sum(chance * tries))),
        apply=apply,
        num_workers=n,
        wire_seconds=fleet.wire_seconds,
        protocol="mindflayer",
        arguments={
            "updates": updates,
            "trials": tries.tolist(),
            "allotted": limits.tolist(),
            "success": chance.tolist(),
            "seed": seed,
            "fleet": fleet.name,
        },
        ledger=tally.ledger(()),
    )


def _run(
    fleet: Fleet, updates: int, tries: np.ndarray, limits: np.ndarray, seed: int
) -> tuple[list[Row], list[float], Tally]:
    """Rows, when each round with a gradient ended, and the rest of the books."""
    active = np.flatnonzero(tries).tolist()
    _require_hope(fleet, active, limits)
    settled = max((float(fleet.powers[i].times[-1]) for i in active if i in fleet.powers), default=0.0)
    clocks, tally, jobs = fleet.clocks(seed=seed), Tally(fleet, updates), [0] * fleet.num_workers
    workers = [(i, int(tries[i]), float(limits[i]), clocks[i]) for i in active]
    rows: list[Row] = []
    ends: list[float] = []
    now, fruitless = 0.0, 0
    while len(ends) < updates:
        version, first = len(ends), len(rows)
        books = []  # of each worker: seconds cut, of these since its last gradient, and when it was through
        for i, count, limit, clock in workers:
            start, cut, cut_since = now, 0.0, 0.0
            for job in range(jobs[i], jobs[i] + count):
                finish, last = clock(start), start + limit
                if finish <= last and finish < math.inf:
                    rows.append((i, job, version, start, finish))
                    start, cut_since = finish, 0.0
                elif last == math.inf:
                    raise ValueError(
                        f"worker {i} never answers after update {version}, and its trials are never cut; "
                        "leave it out of the fleet."
                    )
                else:
                    tally.cancelled[i] += 1
                    cut, cut_since, start = cut + last - start, cut_since + last - start, last
            jobs[i] += count
            books.append((i, cut, cut_since, start))
        began, now = now, max(through for *_, through in books)
        closer = max((finish, i) for i, *_, finish in rows[first:])[1] if len(rows) > first else None
        for i, cut, cut_since, through in books:
            tally.cancelled_seconds[i] += cut - cut_since if i == closer else cut
            tally.idle_seconds[i] += 0.0 if i == closer else now - through
        if closer is not None:
            ends.append(now)
            fruitless = 0
        elif began >= settled or now == began:  # before that, a worker's power may yet come back
            fruitless += sum(count for _, count, _, _ in workers)
            if fruitless >= _FRUITLESS:
                raise ValueError(f"{fruitless} trials in a row were cut after update {version}: they never finish in time.")
    for i in np.flatnonzero(tries == 0).tolist():
        tally.idle_seconds[i] = now
    return rows, ends, tally


def _checked(
    n: int, trials: ArrayLike, allotted: ArrayLike, success: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One number of each per worker; what belongs to workers without trials does not matter."""
    tries, limits = _per_worker("trials", trials, n), _per_worker("allotted", allotted, n)
    bad = ~((tries >= 0) & (tries == np.floor(tries)) & np.isfinite(tries))
    if bad.any():
        i = int(np.argmax(bad))
        raise ValueError(f"`trials` must be whole numbers and not negative, but worker {i} has {tries[i]}.")
    active = tries > 0
    if not active.any():
        raise ValueError("`trials` must be positive for some worker; nobody would compute anything.")
    bad = active & ~(limits > 0)
    if bad.any():
        i = int(np.argmax(bad))
        raise ValueError(f"`allotted` must be positive, but that of worker {i} is {limits[i]}.")
    if success is None:
        cut = active & np.isfinite(limits)
        if cut.any():
            i = int(np.argmax(cut))
            raise ValueError(
                f"`success` is needed, the probability that a trial finishes in time: that of worker {i} is cut after"
                f" {limits[i]} seconds."
            )
        return tries.astype(np.int64), limits, np.ones(n)
    chance = _per_worker("success", success, n)
    bad = active & ~((chance > 0) & (chance <= 1))
    if bad.any():
        i = int(np.argmax(bad))
        raise ValueError(
            f"`success` of a worker that makes trials must be above 0 and at most 1; worker {i} has {chance[i]}."
        )
    return tries.astype(np.int64), limits, np.where(active, chance, 0.0)


def _per_worker(name: str, values: ArrayLike, n: int) -> np.ndarray:
    each = np.asarray(values, np.float64)
    if each.shape not in ((), (n,)):
        raise ValueError(f"`{name}` must be a number or one per worker ({n}), got shape {each.shape}.")
    return np.broadcast_to(each, (n,))


def _require_hope(fleet: Fleet, active: list[int], limits: np.ndarray) -> None:
    """Where durations never change it is known from the start whether any trial can finish."""
    if fleet.times is None or fleet.powers:
        return
    if not np.any((fleet.times[active] <= limits[active]) & np.isfinite(fleet.times[active])):
        i = active[0]
        raise ValueError(
            f"no trial ever finishes in its allotted time: worker {i} needs {fleet.times[i]} seconds and has {limits[i]}."
        )
