"""Workers so slow that whatever they compute comes too late: nothing depends on them, so they are counted afterwards.

Such a worker delivers, is thrown away and starts again, for ever. Its arrivals are the running sum of its duration.
"""

from collections.abc import Sequence

import numpy as np

from jasgd.fleet import Fleet
from jasgd.protocols._tally import Tally

_BLOCK = 1_000_000  # arrivals of one worker that are summed up at a time


def most_seconds_for(count: int, fleet: Fleet) -> float:
    r"""Seconds in which workers that never pause surely deliver ``count`` gradients of jobs that began meanwhile.

    In t seconds worker i begins and ends :math:`\lfloor t / \tau_i \rfloor - 1 \ge t / \tau_i - 2` jobs, so any m workers
    need at most :math:`(S + 2 m) / \sum_i 1 / \tau_i`.
    """
    if fleet.times is None:
        return np.inf
    workers = np.arange(1, fleet.num_workers + 1)
    with np.errstate(divide="ignore"):
        rate = np.cumsum(1 / np.sort(fleet.times))
        return float(np.min((count + 2 * workers) / rate))


def split(fleet: Fleet, longest: float) -> tuple[list[int], list[int]]:
    """Workers that matter, and those whose every job outlasts ``longest``, the seconds after which it is of no use.

    Durations that change cannot be judged so: then all workers matter.
    """
    if fleet.times is None or fleet.powers:
        return list(range(fleet.num_workers)), []
    slow = fleet.times > longest * (1 + 1e-6)  # times of arrival are rounded
    return np.flatnonzero(~slow).tolist(), np.flatnonzero(slow).tolist()


def drop_all(
    fleet: Fleet, slow: Sequence[int], updates: Sequence[tuple[float, int]], tally: Tally
) -> list[tuple[int, int, float]]:
    """Throw away all jobs of the slow workers that arrive before the last update; (worker, read, start) of what then runs.

    Args:
      fleet: of fixed times.
      slow: the workers.
      updates: (time, worker) of the arrival that made each version, in order.
      tally: where the loss is counted.
    """
    if fleet.times is None or not slow:
        return []
    end, closer = updates[-1]
    times, closers = (np.array(column) for column in zip(*updates, strict=True))
    pending = []
    for worker in slow:
        duration, last, seconds, versions = float(fleet.times[worker]), 0.0, 0.0, []
        while duration < np.inf:
            count = min(int((end - last) / duration) + 2, _BLOCK)
            arrivals = np.add.accumulate(np.concatenate([[last], np.full(count, duration)]))
            before = int(np.searchsorted(arrivals[1:], end, side="right" if worker < closer else "left"))
            versions.append(_newest(arrivals[1 : before + 1], worker, times, closers))
            seconds, last = seconds + float(arrivals[before] - last), float(arrivals[before])
            if before < count:
                break
        # Every job reads the version that its predecessor found on arrival, so its delays add up to the last of these.
        dropped = np.concatenate(versions) if versions else np.zeros(0, np.int64)
        read = int(dropped[-1]) if len(dropped) else 0
        tally.drop_many(worker, seconds, read, dropped)
        pending.append((worker, read, last))
    return pending


def _newest(arrivals: np.ndarray, worker: int, times: np.ndarray, closers: np.ndarray) -> np.ndarray:
    """The newest version when each arrives: how many updates come before (arrival, worker)."""
    version = np.searchsorted(times, arrivals, side="left")
    while len(version):
        here = np.minimum(version, len(times) - 1)
        earlier = (version < len(times)) & (times[here] == arrivals) & (closers[here] < worker)
        if not earlier.any():
            break
        version += earlier
    return version
