r"""ATA: a fixed number of gradients per round, dealt out to workers whose speeds are being learnt.

Maranjyan, Saad, Richtarik, Orabona, "ATA: Adaptive Task Allocation for Efficient Resource Management in Distributed Machine
Learning", ICML 2025, https://arxiv.org/abs/2502.00775.

An allocation gives worker i :math:`a_i` tasks, B in all, so that :math:`\max_i a_i s_i` is least for scores s that are low
for fast workers. From the paper (as shown on its poster): the scores, lower confidence bounds of mean durations, and that a
greedy allocation is optimal. From the public code alone: workers never tried get one task each before all others, drawn if
they are too many; sampled workers of score zero share the remaining tasks equally, and what cannot be shared is drawn. Both
are among the paper's optimal choices, except when some worker is new, no score is zero and tasks are left over. The code's
rule for ties (fewest maximisers) never decides between two workers (derived): the lower number does, though the code draws
who gets the first task. Our own: tasks left over when all workers are new are shared like those of score zero.
"""

import heapq
import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from jasgd.fleet import Fleet
from jasgd.protocols._checks import require_fleet, require_whole
from jasgd.protocols._tally import Tally
from jasgd.schedule import Schedule

CITATION = """\
@inproceedings{maranjyan2025ata,
  title={{ATA}: Adaptive Task Allocation for Efficient Resource Management in Distributed Machine Learning},
  author={Maranjyan, Artavazd and Saad, El Mehdi and Richt{\\'a}rik, Peter and Orabona, Francesco},
  booktitle={ICML}, year={2025}, note={arXiv:2502.00775}}
"""


def ata(
    fleet: Fleet,
    updates: int,
    batch: int,
    *,
    allocation: Literal["ata", "empirical", "uniform", "fixed"] = "ata",
    alpha: float | None = None,
    means: ArrayLike | None = None,
    seed: int = 0,
) -> Schedule:
    r"""Every step is the mean of ``batch`` gradients at the current point, dealt out to workers in advance.

    A worker computes its share one after the other, then idles with those that got none; the round ends with the last. No
    gradient is wasted. After round k, with :math:`m_i` the mean of worker i's :math:`K_i` durations so far, the next
    allocation minimises :math:`\max_i a_i s_i`, for

    - "ata": :math:`s_i = \max(m_i - 2 \alpha c_i, 0)`, :math:`c_i = \sqrt{\ln(2 k^2) / K_i} + \ln(2 k^2) / K_i`.
    - "empirical" (ATA-E): :math:`s_i = m_i \max(1 - 2 \alpha c_i, 0)`; here :math:`\alpha` is a ratio, the paper's eta.
    - "fixed" (FTA): the true means, for ever.

    "uniform" (UTA) shares the tasks equally and draws who gets those left over. The greedy baseline GTA is
    :func:`jasgd.protocols.rennala` with interrupts.

    Args:
      fleet: workers and their speeds.
      updates: server steps.
      batch: B, gradients per step.
      allocation: how they are dealt out.
      alpha: how far durations deviate from their mean, in seconds, or for "empirical" in units of the mean. By default
        what the public experiments amount to: 4 e, for "ata" times the largest mean.
      means: mean seconds per gradient of each worker, for "fixed" and for the default of "ata"; known for fixed times.
      seed: of the durations and of the drawing.

    Example:
      >>> fleet = jasgd.fleet.fixed([1.0, 2.0, 4.0])
      >>> schedule = jasgd.protocols.ata(fleet, 2, batch=7, allocation="fixed")
      >>> np.bincount(schedule.worker), schedule.time[schedule.apply]
      (array([8, 4, 2]), array([4., 8.]))
    """
    require_fleet(fleet, seed)
    require_whole(updates=updates, batch=batch)
    n = fleet.num_workers
    known = _known_means(fleet, allocation, means)
    scale = _scale(allocation, alpha, known)
    always = _greedy(known, batch) if allocation == "fixed" and known is not None else None
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    clocks, tally, jobs = fleet.clocks(seed=seed), Tally(fleet, updates), [0] * n
    seconds, count, idle, now = np.zeros(n), np.zeros(n, np.int64), np.zeros(n), 0.0
    rows: list[tuple[int, int, int, float, float]] = []
    for version in range(updates):
        if always is not None:
            tasks = always
        elif allocation == "uniform":
            tasks = _shared(np.arange(n), batch, n, rng)
        else:
            tasks = _adapted(_scores(allocation, seconds, count, version, scale), count, batch, rng)
        ended = np.full(n, now)
        for i in np.flatnonzero(tasks).tolist():
            start, clock = now, clocks[i]
            for job in range(jobs[i], jobs[i] + int(tasks[i])):
                finish = clock(start)
                if finish == math.inf:
                    raise ValueError(
                        f"worker {i} never answers in round {version}, which therefore never ends; "
                        "leave it out of the fleet."
                    )
                rows.append((i, job, version, start, finish))
                start = finish
            jobs[i] += int(tasks[i])
            ended[i] = start
        seconds += ended - now
        count += tasks
        now = float(ended.max())
        idle += now - ended
    tally.idle_seconds = idle.tolist()
    worker, number, read, began, time = (np.array(column) for column in zip(*rows, strict=True))
    order = np.lexsort((number, worker, time, read))
    return Schedule(
        worker=worker[order],
        job=number[order],
        read=read[order],
        start=began[order],
        time=time[order],
        weight=np.full(len(rows), 1 / batch),
        apply=np.arange(len(rows)) % batch == batch - 1,
        num_workers=n,
        wire_seconds=fleet.wire_seconds,
        protocol="ata",
        arguments={
            "updates": updates,
            "batch": batch,
            "allocation": allocation,
            "alpha": scale,
            "means": None if means is None else np.asarray(means, np.float64).tolist(),
            "seed": seed,
            "fleet": fleet.name,
        },
        ledger=tally.ledger(()),
    )


def _scores(allocation: str, seconds: np.ndarray, count: np.ndarray, rounds: int, scale: float | None) -> np.ndarray:
    """Scores after some rounds; that of a worker never tried is infinite here, since it is served apart."""
    if not rounds:
        return np.full(len(count), np.inf)
    samples = np.maximum(count, 1)
    mean = seconds / samples
    logarithm = math.log(2 * rounds**2) / samples
    margin = 2 * float(scale or 0.0) * (np.sqrt(logarithm) + logarithm)
    bound = mean - margin if allocation == "ata" else mean * (1 - margin)
    return np.where(count > 0, np.maximum(bound, 0.0), np.inf)


def _adapted(scores: np.ndarray, count: np.ndarray, batch: int, rng: np.random.Generator) -> np.ndarray:
    """New workers first; then those of score zero; or else by score."""
    n = len(scores)
    new = np.flatnonzero(count == 0)
    first = min(len(new), batch)
    tasks = _shared(new, first, n, rng) if first else np.zeros(n, np.int64)
    left = batch - first
    if not left:
        return tasks
    equals = np.arange(n) if len(new) == n else np.flatnonzero(scores == 0)
    return tasks + (_shared(equals, left, n, rng) if len(equals) else _greedy(scores, left))


def _shared(workers: np.ndarray, tasks: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """Equal shares for some of the n workers; who gets one more is drawn."""
    each, left = divmod(tasks, len(workers))
    shares = np.zeros(n, np.int64)
    shares[workers] = each
    if left:
        shares[rng.choice(workers, left, replace=False)] += 1
    return shares


def _greedy(scores: np.ndarray, tasks: int) -> np.ndarray:
    r"""The allocation of least :math:`\max_i a_i s_i`: task after task to the worker whose :math:`(a_i + 1) s_i` is least.

    Example:
      >>> _greedy(np.array([1.0, 2.0, 4.0]), 7)
      array([4, 2, 1])
    """
    # Nobody gets a second task before all better workers have their first, so only so many can get any.
    heap = [(float(scores[i]), int(i)) for i in np.argsort(scores, kind="stable")[:tasks]]  # sorted, thus a heap
    if heap[0][0] == math.inf:
        raise ValueError("no worker ever answers: all mean durations are infinite.")
    shares = np.zeros(len(scores), np.int64)
    for _ in range(tasks):
        i = heap[0][1]
        shares[i] += 1
        heapq.heapreplace(heap, (float((shares[i] + 1) * scores[i]), i))
    return shares


def _known_means(fleet: Fleet, allocation: str, means: ArrayLike | None) -> np.ndarray | None:
    if allocation not in ("ata", "empirical", "uniform", "fixed"):
        raise ValueError(f"`allocation` must be 'ata', 'empirical', 'uniform' or 'fixed', got {allocation!r}.")
    if means is None:
        if allocation == "fixed" and fleet.times is None:
            raise ValueError("allocation 'fixed' needs `means`: this fleet draws its durations.")
        return fleet.times
    if allocation in ("empirical", "uniform"):
        raise ValueError(f"allocation {allocation!r} does not use `means`.")
    known = np.asarray(means, np.float64)
    if known.shape != (fleet.num_workers,) or not np.all(known > 0):
        raise ValueError(f"`means` must hold a positive number for each of the {fleet.num_workers} workers, got {means!r}.")
    return known


def _scale(allocation: str, alpha: float | None, known: np.ndarray | None) -> float | None:
    """Alpha; its default makes 2 alpha what the public code has: 4 e times twice the (largest) mean."""
    if allocation in ("uniform", "fixed"):
        if alpha is not None:
            raise ValueError(f"allocation {allocation!r} does not use `alpha`, got {alpha}.")
        return None
    if alpha is not None:
        if not 0 <= alpha < math.inf:
            raise ValueError(f"`alpha` must not be negative, nor infinite, got {alpha}.")
        return float(alpha)
    if allocation == "empirical":
        return 4 * math.e
    if known is None:
        raise ValueError("allocation 'ata' needs `alpha`, or `means` for its default: this fleet draws its durations.")
    return 4 * math.e * float(np.max(known, where=np.isfinite(known), initial=0.0))
