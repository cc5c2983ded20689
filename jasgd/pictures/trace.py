"""A schedule as a trace that Perfetto (https://ui.perfetto.dev) and chrome://tracing open, in the Trace Event Format.

Every worker is a thread with a slice per job; one that has several jobs at once has a thread for each. The server is a
process of its own, whose slices are the versions. A flow leads from the version that a job read through the job to the
version that its gradient became part of. Counters show the server's version and the jobs in flight. A simulated second is
a second of the trace, and so is a server step.
"""

import gzip
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from jasgd.pictures._view import View, last_versions, view
from jasgd.pictures.jobs import KINDS, USED
from jasgd.schedule import Schedule

_SERVER, _WORKERS = 1, 2  # processes


def trace(
    schedule: Schedule,
    path: str | os.PathLike[str],
    *,
    window: tuple[float, float] | None = None,
    workers: int | Sequence[int] | None = None,
) -> None:
    """Write a trace in the Trace Event Format; compressed if the path ends in ".gz", which both viewers open.

    A delivery takes about 750 bytes, 80 if compressed, and 0.1 ms; so 100 000 of them 74 MB or 8 MB. A window makes it
    small. Times are rounded to nanoseconds.

    Args:
      schedule: who delivers what when.
      path: of the file, such as "trace.json.gz".
      window: begin and end in the schedule's clock; jobs that are partly in it are there as a whole. By default all.
      workers: how many, spread evenly, or a list of their numbers; by default all.

    Example:
      >>> schedule = jasgd.protocols.asynchronous(jasgd.fleet.equal(3), 10)
      >>> jasgd.pictures.trace(schedule, tmp_path / "trace.json.gz")
    """
    span = (0.0, float(schedule.time[-1])) if window is None and len(schedule) else window
    shown = view(schedule, span, workers, most_workers=schedule.num_workers, most_jobs=0)
    name = os.fspath(path)
    with gzip.open(name, "wt", encoding="utf-8") if name.endswith(".gz") else open(name, "w", encoding="utf-8") as file:
        about = {"schedule": shown.title, "clock": f"1 s of the trace is 1 {shown.unit}"}
        file.write(f'{{"displayTimeUnit": "ms", "otherData": {json.dumps(about)}, "traceEvents": [\n')
        file.write(
            ",\n".join(json.dumps(event, separators=(",", ":"), ensure_ascii=False) for event in events(schedule, shown))
        )
        file.write("\n]}\n")


def events(schedule: Schedule, shown: View) -> Iterator[dict[str, Any]]:
    """Names first, then everything in the order of time; of what happens at one time versions first."""
    yield from _names(shown)
    timed = [*_versions(schedule, shown), *_jobs(schedule, shown), *_in_flight(shown)]
    yield from sorted(timed, key=lambda event: event["ts"])  # stable


def _microseconds(seconds: np.ndarray) -> list[float]:
    """Rounded to nanoseconds, so that what touches still touches and nothing overlaps."""
    return (np.round(np.asarray(seconds) * 1e9) / 1e3).tolist()


def _names(shown: View) -> Iterator[dict[str, Any]]:
    def named(kind: str, pid: int, tid: int, **arguments: Any) -> dict[str, Any]:
        return {"ph": "M", "name": kind, "pid": pid, "tid": tid, "args": arguments}

    for order, (pid, name) in enumerate(((_SERVER, "server"), (_WORKERS, "workers"))):
        yield named("process_name", pid, 0, name=name)
        yield named("process_sort_index", pid, 0, sort_index=order)
    yield named("thread_name", _SERVER, 0, name="versions")
    first = _first_thread(shown)
    for row, worker in enumerate(shown.workers.tolist()):
        for track in range(int(shown.tracks[row])):
            tid = int(first[row]) + track
            yield named(
                "thread_name", _WORKERS, tid, name=f"worker {worker}" + (f" ({track + 1})" if shown.tracks[row] > 1 else "")
            )
            yield named("thread_sort_index", _WORKERS, tid, sort_index=tid)


def _first_thread(shown: View) -> np.ndarray:
    """The thread of each worker's first track; 0 is none, as viewers give it a meaning of its own."""
    return np.cumsum(shown.tracks) - shown.tracks + 1


def _versions(schedule: Schedule, shown: View) -> Iterator[dict[str, Any]]:
    low, high = last_versions(schedule, shown)
    begins = schedule.version_time[low : high + 1]
    ends = np.append(begins[1:], max(float(schedule.time[-1]) if high == schedule.updates else float(begins[-1]), shown.end))
    ts, until = _microseconds(begins), _microseconds(np.maximum(ends, begins))
    for version, begin, end in zip(range(low, high + 1), ts, until, strict=True):
        slice_ = {"ph": "X", "name": f"version {version}", "cat": "server", "pid": _SERVER, "tid": 0, "ts": begin}
        yield slice_ | {"dur": round(end - begin, 3), "args": {"version": version}}
        yield {"ph": "C", "name": "version", "pid": _SERVER, "tid": 0, "ts": begin, "args": {"version": version}}


def _jobs(schedule: Schedule, shown: View) -> Iterator[dict[str, Any]]:
    found, made = shown.jobs, schedule.version_time
    thread = (_first_thread(shown)[shown.row] + shown.track).tolist()
    columns = [found.worker, found.job, found.read, found.made, found.delay, found.kind, found.count]
    starts, ends, at = _microseconds(found.start), _microseconds(found.end), _microseconds(made)
    for flow, (tid, ts, end, *numbers) in enumerate(zip(thread, starts, ends, *(c.tolist() for c in columns), strict=True)):
        worker, job, read, version, delay, kind, count = numbers
        arguments: dict[str, Any] = {"worker": worker, "became": KINDS[kind]}
        arguments |= {"job": job} if job >= 0 else {}
        arguments |= {"read": read} if read >= 0 else {}
        arguments |= {"delay": delay, "made": version} if kind == USED else {}
        arguments |= {"jobs": count} if count != 1 else {}
        name = f"{read} → {version}" if kind == USED else KINDS[kind]
        slice_ = {"ph": "X", "name": name, "cat": KINDS[kind], "pid": _WORKERS, "tid": tid, "ts": ts}
        yield slice_ | {"dur": round(end - ts, 3), "args": arguments}
        if kind == USED:
            step = {"name": "gradient", "cat": "flow", "id": flow}
            yield step | {"ph": "s", "pid": _SERVER, "tid": 0, "ts": at[read]}
            yield step | {"ph": "t", "pid": _WORKERS, "tid": tid, "ts": ts}
            yield step | {"ph": "f", "bp": "e", "pid": _SERVER, "tid": 0, "ts": at[version]}


def _in_flight(shown: View) -> Iterator[dict[str, Any]]:
    times = np.concatenate([shown.jobs.start, shown.jobs.end])
    single = np.where(shown.jobs.count == 1, 1, 0)  # what is not known in detail is not counted
    change = np.concatenate([single, -single])
    when, place = np.unique(np.round(times * 1e9), return_inverse=True)
    jobs = np.cumsum(np.bincount(place, change, minlength=len(when))).astype(np.int64)
    for ts, count in zip((when / 1e3).tolist(), jobs.tolist(), strict=True):
        yield {"ph": "C", "name": "jobs in flight", "pid": _WORKERS, "tid": 0, "ts": ts, "args": {"jobs": count}}
