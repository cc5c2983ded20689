"""A fleet: the workers and how long each of their jobs takes.

Times are float64 seconds on the host. Job ``j`` of worker ``i`` takes the ``j``-th number of worker ``i``'s own random
stream, so its duration depends on (seed, worker, job) alone: adding workers or changing the protocol changes nothing.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import ArrayLike

from jasgd._checks import numbers, said
from jasgd.power import Power, outages, power

Draw = Callable[[np.random.Generator, int, np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Fleet:
    """Workers and their speeds.

    Attributes:
      num_workers: how many workers there are.
      draw: ``draw(rng, worker, jobs)`` returns the durations in seconds of the worker's jobs with these consecutive
        numbers. The worker's stream ``rng`` is read in the order of the jobs; how many are asked for at once must
        not matter.
      times: (N,) seconds per job where they never change, else None. Infinite: the worker never answers.
      powers: computing power over time of the workers that do not always run at full speed.
      upload, download: (N,) seconds that each worker's messages take within a job; None: links take no time.
      computing: the same workers without their links; None where links take no time.
      name: how the fleet was made, for results.
    """

    num_workers: int
    draw: Draw
    times: np.ndarray | None = None
    powers: Mapping[int, Power] = dataclasses.field(default_factory=dict)
    upload: np.ndarray | None = None
    download: np.ndarray | None = None
    computing: "Fleet | None" = None
    name: str = "fleet"

    @property
    def wire_seconds(self) -> np.ndarray | None:
        """(N,) seconds of each job that its worker's link is busy."""
        return None if self.upload is None or self.download is None else self.upload + self.download

    def durations(self, worker: int, count: int, *, seed: int = 0) -> np.ndarray:
        """The durations of a worker's first ``count`` jobs, at full power.

        Example:
          >>> jasgd.fleet.fixed([1.0, 2.5]).durations(1, 3)
          array([2.5, 2.5, 2.5])
        """
        _checked_worker(worker, self.num_workers)
        return self._checked(worker, self.draw(_stream(seed, worker), worker, np.arange(count)), count)

    def clocks(self, *, seed: int = 0) -> list[Callable[[float], float]]:
        """One function per worker that starts the worker's next job: start time in, finish time out."""
        return [_finish(self.power_of(i), self._jobs(i, seed)) for i in range(self.num_workers)]

    def power_of(self, worker: int) -> Power | None:
        """A worker's power over time; None: always one."""
        return self.powers.get(worker)

    def with_power(self, worker: int, times: ArrayLike, values: ArrayLike) -> "Fleet":
        """Let a worker's speed change: ``values[j]`` times the normal speed from ``times[j]`` on.

        Example:
          >>> fleet = jasgd.fleet.equal(2).with_power(1, [0.0, 10.0], [1.0, 0.25])
        """
        return self._with_powers({_checked_worker(worker, self.num_workers): power(times, values)})

    def with_outages(self, intervals: Mapping[int, Iterable[tuple[float, float]]]) -> "Fleet":
        """Workers that compute nothing for a while; a job that is under way waits and then goes on.

        Args:
          intervals: for each affected worker its outages ``(begin, end)`` in seconds.

        Example:
          >>> fleet = jasgd.fleet.equal(3).with_outages({0: [(5.0, 9.0)], 2: [(1.0, float("inf"))]})
        """
        if not isinstance(intervals, Mapping):
            raise TypeError(f"`intervals` must map workers to outages, such as {{0: [(5.0, 9.0)]}}, got {said(intervals)}.")
        return self._with_powers({_checked_worker(i, self.num_workers): outages(v) for i, v in intervals.items()})

    def with_links(self, *, upload: ArrayLike = 0.0, download: ArrayLike = 0.0, size: float = 1.0) -> "Fleet":
        """Messages take time: a job is the download of the model, the computation and the upload of the gradient.

        A server that needs nobody's answer to go on, and all protocols, see only the whole: it becomes the duration of the
        job. While a worker's power changes, its links change with it; in an outage they are down.

        Args:
          upload, download: seconds per message of every worker, or of all.
          size: floats per message, if those are seconds per float.

        Example:
          >>> jasgd.fleet.fixed([1.0, 2.0]).with_links(upload=0.5, download=[0.25, 1.0]).times
          array([1.75, 3.5 ])
        """
        if not size >= 0:
            raise ValueError(f"`size` must not be negative, got {size!r}.")
        if self.computing is not None:
            raise ValueError("this fleet has links already; give `upload` and `download` in one call.")
        up, down = (_link(name, each, self.num_workers) for name, each in (("upload", upload), ("download", download)))
        up, down = (each * size if size else np.zeros(self.num_workers) for each in (up, down))  # nothing takes no time
        seconds, draw = up + down, self.draw
        return dataclasses.replace(
            self,
            draw=lambda rng, worker, jobs: draw(rng, worker, jobs) + seconds[worker],
            times=None if self.times is None else self.times + seconds,
            upload=up,
            download=down,
            computing=self,
            name=f"{self.name} with links",
        )

    def _with_powers(self, powers: dict[int, Power]) -> "Fleet":
        twice = sorted(set(powers) & set(self.powers))
        if twice:
            raise ValueError(f"worker {twice[0]} has a changing power already; give all its changes in one call.")
        return dataclasses.replace(self, powers={**self.powers, **powers})

    def _jobs(self, worker: int, seed: int) -> Iterator[float]:
        rng, first, count = _stream(seed, worker), 0, 16
        while True:
            jobs = np.arange(first, first + count)
            yield from self._checked(worker, self.draw(rng, worker, jobs), count).tolist()
            first, count = first + count, min(2 * count, 1024)

    def _checked(self, worker: int, durations: np.ndarray, count: int) -> np.ndarray:
        durations = np.asarray(durations, np.float64)
        if durations.shape != (count,):
            raise ValueError(f"`draw` must return {count} durations for worker {worker}, got shape {durations.shape}.")
        if not np.all(durations >= 0):
            bad = durations[~(durations >= 0)][0]
            raise ValueError(f"a job of worker {worker} was given the duration {bad}; durations must not be negative.")
        return durations


def _stream(seed: int, worker: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(worker,)))


def _finish(power: Power | None, jobs: Iterator[float]) -> Callable[[float], float]:
    if power is None:
        return lambda start: start + next(jobs)
    return lambda start: power.finish(start, next(jobs))


def _link(name: str, seconds: ArrayLike, num_workers: int) -> np.ndarray:
    each = numbers(name, seconds)
    if each.shape not in ((), (num_workers,)):
        raise ValueError(f"`{name}` must be a number or one per worker ({num_workers}), got shape {each.shape}.")
    each = np.broadcast_to(each, (num_workers,))
    wrong = np.flatnonzero(~(each >= 0))
    if len(wrong):
        raise ValueError(f"`{name}` must not be negative, but that of worker {wrong[0]} is {each[wrong[0]]}.")
    return each


def _checked_worker(worker: int, num_workers: int) -> int:
    if not isinstance(worker, int | np.integer) or not 0 <= worker < num_workers:
        raise ValueError(f"worker {worker!r} does not exist; this fleet has workers 0 to {num_workers - 1}.")
    return worker
