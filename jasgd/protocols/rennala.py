"""Rennala and Malenia: rounds at a common point that take as many gradients as arrive.

Tyurin, Richtarik, "Optimal Time Complexities of Parallel Stochastic Optimization Methods Under a Fixed Computation Model",
NeurIPS 2023, https://arxiv.org/abs/2305.12387. Rennala is for equal data: its batch comes from whoever is fast. Malenia is
for different data: every worker weighs the same, however many gradients it delivers.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from jasgd.fleet import Fleet
from jasgd.protocols._checks import require_fleet, require_whole
from jasgd.protocols._rounds import rounds
from jasgd.protocols._too_slow import most_seconds_for
from jasgd.schedule import Schedule

CITATION = """\
@inproceedings{tyurin2023optimal,
  title={Optimal Time Complexities of Parallel Stochastic Optimization Methods Under a Fixed Computation Model},
  author={Tyurin, Alexander and Richt{\\'a}rik, Peter},
  booktitle={Advances in Neural Information Processing Systems}, year={2023}, note={arXiv:2305.12387}}
"""


def rennala(fleet: Fleet, updates: int, batch: int, *, interrupt: bool = True, seed: int = 0) -> Schedule:
    """Every step is the mean of the first ``batch`` gradients at the current point, whoever they come from.

    Args:
      fleet: workers and their speeds.
      updates: server steps.
      batch: S, gradients per step.
      interrupt: cancel what is running when a round closes; else it is finished and thrown away.
      seed: of the durations.

    Example:
      >>> schedule = jasgd.protocols.rennala(jasgd.fleet.fixed([1.0, 1.7, 2.3]), 2, batch=4)
      >>> schedule.worker, schedule.time[schedule.apply]
      (array([0, 1, 0, 2, 0, 1, 0, 2], dtype=int32), array([2.3, 4.6]))
    """
    require_fleet(fleet, seed)
    require_whole(batch=batch)

    def closes() -> Callable[[int], bool]:
        left = [batch]

        def closed(worker: int) -> bool:
            del worker
            left[0] -= 1
            return left[0] == 0

        return closed

    longest = most_seconds_for(batch, fleet)
    columns, ledger = rounds(fleet, updates, closes, interrupt=interrupt, longest=longest, seed=seed)
    arguments = {"updates": updates, "batch": batch, "interrupt": interrupt, "seed": seed, "fleet": fleet.name}
    weight = np.full(len(columns["worker"]), 1 / batch)
    return _schedule("rennala", fleet, columns, weight, arguments, ledger)


def malenia(fleet: Fleet, updates: int, batch: float | None = None, *, interrupt: bool = True, seed: int = 0) -> Schedule:
    r"""Every step is the mean over all workers of the mean of each one's gradients at the current point.

    A round closes when every worker has delivered and the harmonic mean of their counts is at least S / n.

    Args:
      fleet: workers and their speeds; all must answer.
      updates: server steps.
      batch: S; None closes a round as soon as every worker has delivered, which is the parameter-free form.
      interrupt: cancel what is running when a round closes; else it is finished and thrown away.
      seed: of the durations.

    Example:
      >>> schedule = jasgd.protocols.malenia(jasgd.fleet.fixed([1.0, 1.7, 2.3]), 1, batch=6)
      >>> schedule.time[-1], schedule.weight[:2]
      (np.float64(4.6), array([0.08333334, 0.16666667], dtype=float32))
    """
    require_fleet(fleet, seed)
    if batch is not None and not batch > 0:
        raise ValueError(f"`batch` must be positive, or None, got {batch}.")
    n = fleet.num_workers
    least = 0.0 if batch is None else batch / n * (1 - 1e-12)  # the means below are rounded

    def closes() -> Callable[[int], bool]:
        counts, missing = [0] * n, [n]

        def closed(worker: int) -> bool:
            counts[worker] += 1
            if counts[worker] == 1:
                missing[0] -= 1
            if missing[0]:
                return False
            return least <= 1 or n / math.fsum(1 / count for count in counts) >= least

        return closed

    columns, ledger = rounds(fleet, updates, closes, interrupt=interrupt, need_all=True, seed=seed)
    _, place, count = np.unique(
        columns["read"].astype(np.int64) * n + columns["worker"], return_inverse=True, return_counts=True
    )
    arguments = {"updates": updates, "batch": batch, "interrupt": interrupt, "seed": seed, "fleet": fleet.name}
    return _schedule("malenia", fleet, columns, 1 / (n * count[place]), arguments, ledger)


def _schedule(
    name: str, fleet: Fleet, columns: dict[str, Any], weight: np.ndarray, arguments: dict[str, Any], ledger: Any
) -> Schedule:
    return Schedule(
        **columns,
        weight=weight,
        num_workers=fleet.num_workers,
        wire_seconds=fleet.wire_seconds,
        protocol=name,
        arguments=arguments,
        ledger=ledger,
    )
