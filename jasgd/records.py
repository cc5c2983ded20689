"""Which versions are recorded, and how long a chunk may be so that they can be."""

from typing import Any

import numpy as np

from jasgd import engine
from jasgd.lanes import seconds_per_delivery
from jasgd.schedule import Schedule

_MOST_RECORDS = 16  # per chunk: each holds a slot until the chunk ends
_RECORD_BYTES = 2**28
_CHUNK_SECONDS = 0.5


def record_points(schedule: Schedule, every: int | None, times: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Versions to record, and the times that were asked for."""
    if times is None:
        inner = np.arange(every, schedule.updates, every) if every else np.zeros(0, np.int64)
        return np.concatenate([[0], inner, [schedule.updates]]), None
    wanted = np.asarray(times, np.float64)
    end = schedule.time[-1]
    if wanted.ndim != 1 or not np.all(np.diff(wanted, prepend=0.0) >= 0) or np.any(wanted > end):
        raise ValueError(f"`times` must increase from 0 to at most {end:.6g}, the end of the schedule, got {times!r}.")
    wanted = np.concatenate([wanted[(wanted > 0) & (wanted < end)], [end]])
    at = np.searchsorted(schedule.version_time, wanted, side="right") - 1
    return np.concatenate([[0], at]), np.concatenate([[0.0], wanted])


def steps_per_chunk(program: engine.Traced, schedule: Schedule, lanes: int, records: np.ndarray, *, runs: int = 1) -> int:
    """About half a second of work, a power of two, and not too many records in any chunk."""
    deliveries = min(_CHUNK_SECONDS / seconds_per_delivery(program) / runs, len(schedule))
    steps = 1 << (max(1, int(deliveries / lanes)).bit_length() - 1)
    most = max(1, min(_MOST_RECORDS, _RECORD_BYTES // max(runs * engine.tree_bytes(program.snapshots), 1)))
    row = np.searchsorted(np.cumsum(schedule.apply), records)
    while steps > 1 and np.bincount(row // (steps * lanes)).max() > most:
        steps //= 2
    return steps
