"""MindFlayer's cancelled trials, which its table leaves out.

Every round each worker makes its trials one after the other. One that is cut has lasted its allotted seconds; one that is
in the table ended when the table says so. The row of a round's last gradient lasts until the round ends, and hides the
trials that its worker makes meanwhile. Rounds in which nothing finishes have no version: all their trials are cut.
"""

from typing import Any

import numpy as np

from jasgd.schedule import Schedule


def cancelled_trials(schedule: Schedule, workers: np.ndarray, begin: float, end: float) -> dict[str, Any]:
    """Columns worker, job, read, start and end of the trials of these workers that were cut in a window, and not hidden."""
    tries, limits = (np.asarray(schedule.arguments[name]) for name in ("trials", "allotted"))
    times = dict(zip(zip(schedule.worker.tolist(), schedule.job.tolist(), strict=True), schedule.time.tolist(), strict=True))
    closing = np.flatnonzero(schedule.apply)
    last = set(zip(schedule.worker[closing].tolist(), schedule.job[closing].tolist(), strict=True))
    number = schedule.job[closing] // tries[schedule.worker[closing]]  # of the round that made each version
    shown = [(i, int(tries[i]), float(limits[i])) for i in workers[tries[workers] > 0].tolist()]
    made, cut = schedule.version_time, []
    first = max(int(np.searchsorted(made, begin, side="left")) - 1, 0)
    for version in range(first, min(int(np.searchsorted(made, end, side="right")), schedule.updates)):
        began = float(made[version])
        for round_ in range(int(number[version - 1]) + 1 if version else 0, int(number[version]) + 1):
            for i, count, limit in shown:
                start = began
                for job in range(round_ * count, (round_ + 1) * count):
                    if (i, job) in last:
                        break
                    if (i, job) in times:
                        start = times[i, job]
                    else:
                        cut.append((i, job, version, start, start + limit))
                        start += limit
            began = _end_without_gradient(began, tries, limits)  # not that of the last round, which is known
    columns = np.array(cut).reshape(-1, 5).T
    return dict(zip(("worker", "job", "read", "start", "end"), columns, strict=True))


def _end_without_gradient(began: float, tries: np.ndarray, limits: np.ndarray) -> float:
    """When a round ends in which all trials are cut, added up trial by trial."""
    end, active = np.full(len(tries), began), tries > 0
    for trial in range(int(tries.max())):
        end[active & (trial < tries)] += limits[active & (trial < tries)]
    return float(end[active].max())
