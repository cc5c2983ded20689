"""The workers and how long each of their jobs takes.

Times are float64 seconds on the host. Job ``j`` of worker ``i`` takes the ``j``-th number of worker ``i``'s own random
stream, so its duration depends on (seed, worker, job) alone: adding workers or changing the protocol changes nothing.
"""

import csv
import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import ArrayLike

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
      name: how the fleet was made, for results.
    """

    num_workers: int
    draw: Draw
    times: np.ndarray | None = None
    powers: Mapping[int, Power] = dataclasses.field(default_factory=dict)
    name: str = "fleet"

    def durations(self, worker: int, count: int, *, seed: int = 0) -> np.ndarray:
        """The durations of a worker's first ``count`` jobs, at full power.

        Example:
          >>> jasgd.fleet.fixed([1.0, 2.5]).durations(1, 3)
          array([2.5, 2.5, 2.5])
        """
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
        return self._with_powers({_checked_worker(i, self.num_workers): outages(v) for i, v in intervals.items()})

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


def _checked_worker(worker: int, num_workers: int) -> int:
    if not 0 <= worker < num_workers:
        raise ValueError(f"worker {worker} does not exist; this fleet has workers 0 to {num_workers - 1}.")
    return worker


def _positive(name: str, values: ArrayLike, *, infinite: bool = False) -> np.ndarray:
    values = np.atleast_1d(np.asarray(values, np.float64))
    good = (values > 0) & (infinite | np.isfinite(values))
    if values.ndim != 1 or not len(values) or not good.all():
        where = f"worker {int(np.argmin(good))} has {values[np.argmin(good)]}" if values.ndim == 1 and len(values) else ""
        raise ValueError(f"`{name}` must hold one positive number for each worker; {where or 'it is empty or not flat'}.")
    return values


def _require(holds: ArrayLike, law: str) -> None:
    holds = np.atleast_1d(holds)
    if not holds.all():
        raise ValueError(f"{law}; broken for worker {int(np.argmin(holds))}.")


def _drawn(name: str, sample: Callable[..., np.ndarray], **parameters: ArrayLike) -> Fleet:
    """A fleet whose workers draw from one family with their own parameters (arrays that broadcast to (N,))."""
    arrays = dict(zip(parameters, np.broadcast_arrays(*map(np.atleast_1d, parameters.values())), strict=True))
    rows = {key: np.asarray(value, np.float64) for key, value in arrays.items()}
    for key, value in rows.items():
        if value.ndim != 1 or not np.isfinite(value).all():
            bad = int(np.argmin(np.isfinite(value))) if value.ndim == 1 else 0
            raise ValueError(f"`{key}` must hold one finite number for each worker; worker {bad} has {value.flat[bad]}.")

    def draw(rng: np.random.Generator, worker: int, jobs: np.ndarray) -> np.ndarray:
        return sample(rng, len(jobs), **{key: value[worker] for key, value in rows.items()})

    return Fleet(num_workers=len(next(iter(rows.values()))), draw=draw, name=name)


def fixed(times: ArrayLike) -> Fleet:
    """Worker ``i`` always needs ``times[i]`` seconds; infinite: it never answers.

    Example:
      >>> jasgd.fleet.fixed([1.0, 1.7, 2.3]).num_workers
      3
    """
    times = _positive("times", times, infinite=True)
    return Fleet(
        num_workers=len(times),
        draw=lambda _, worker, jobs: np.full(len(jobs), times[worker]),
        times=times,
        name="fixed",
    )


def equal(num_workers: int, time: float = 1.0) -> Fleet:
    """All workers need the same time.

    Example:
      >>> jasgd.fleet.equal(3, time=0.5).times
      array([0.5, 0.5, 0.5])
    """
    return dataclasses.replace(fixed(np.full(_count(num_workers), time)), name=f"equal(time={time})")


def power_law(num_workers: int, exponent: float) -> Fleet:
    r"""Worker :math:`i = 1..n` needs :math:`\tau_i = i^p` seconds.

    Example:
      >>> jasgd.fleet.power_law(3, exponent=2.0).times
      array([1., 4., 9.])
    """
    times = np.arange(1, _count(num_workers) + 1, dtype=np.float64) ** exponent
    return dataclasses.replace(fixed(times), name=f"power_law(exponent={exponent})")


def two_speed(num_workers: int, *, slow: int, slowdown: float, time: float = 1.0) -> Fleet:
    """The last ``slow`` workers need ``slowdown`` times as long as the others.

    Example:
      >>> jasgd.fleet.two_speed(4, slow=1, slowdown=6.0, time=10.0).times
      array([10., 10., 10., 60.])
    """
    if not 0 <= slow <= _count(num_workers):
        raise ValueError(f"`slow` must count some of the {num_workers} workers, got {slow}.")
    times = np.full(num_workers, float(time))
    times[num_workers - slow :] *= slowdown
    return dataclasses.replace(fixed(times), name=f"two_speed(slow={slow}, slowdown={slowdown})")


def exponential(means: ArrayLike) -> Fleet:
    """Every job takes an exponential time with the worker's mean.

    Example:
      >>> jasgd.fleet.exponential([1.0, 10.0]).durations(0, 5).shape
      (5,)
    """
    return _drawn("exponential", lambda rng, n, means: rng.exponential(means, n), means=_positive("means", means))


def lognormal(mu: ArrayLike, sigma: ArrayLike) -> Fleet:
    """Every job takes ``exp(N(mu, sigma^2))`` seconds.

    Example:
      >>> fleet = jasgd.fleet.lognormal(np.zeros(40), 1.0)
    """
    return _drawn("lognormal", lambda rng, n, mu, sigma: rng.lognormal(mu, sigma, n), mu=mu, sigma=sigma)


def pareto(shape: ArrayLike, scale: ArrayLike = 1.0, offset: ArrayLike | None = None) -> Fleet:
    """Every job takes ``offset + scale * Lomax(shape)`` seconds; without ``offset`` a Pareto law that starts at ``scale``.

    Example:
      >>> fleet = jasgd.fleet.pareto(np.full(40, 1.2), offset=0.001)
    """

    def sample(rng: np.random.Generator, n: int, shape: float, scale: float, offset: float) -> np.ndarray:
        return offset + scale * rng.pareto(shape, n)

    return _drawn("pareto", sample, shape=_positive("shape", shape), scale=scale, offset=scale if offset is None else offset)


def gamma(shape: ArrayLike, scale: ArrayLike) -> Fleet:
    """Every job takes a Gamma(shape, scale) time, of mean ``shape * scale``.

    Example:
      >>> fleet = jasgd.fleet.gamma(np.full(10, 4.0), 0.25)
    """
    return _drawn(
        "gamma", lambda rng, n, shape, scale: rng.gamma(shape, scale, n), shape=_positive("shape", shape), scale=scale
    )


def uniform(low: ArrayLike, high: ArrayLike) -> Fleet:
    """Every job takes a uniform time between ``low`` and ``high``.

    Example:
      >>> fleet = jasgd.fleet.uniform(np.ones(5), 2.0)
    """
    _require((np.asarray(low) >= 0) & (np.asarray(high) >= low), "`low` and `high` must satisfy 0 <= low <= high")
    return _drawn("uniform", lambda rng, n, low, high: rng.uniform(low, high, n), low=low, high=high)


def poisson(means: ArrayLike, offset: ArrayLike = 0.0) -> Fleet:
    """Every job takes ``offset + Poisson(mean)`` seconds; a job that draws zero is done at once.

    Example:
      >>> fleet = jasgd.fleet.poisson(np.arange(1, 11))
    """
    means = _positive("means", means)
    return _drawn("poisson", lambda rng, n, means, offset: offset + rng.poisson(means, n), means=means, offset=offset)


def truncated_normal(means: ArrayLike, scale: ArrayLike, minimum: ArrayLike = 0.0) -> Fleet:
    """Every job takes a normal time, drawn again while it is not above ``minimum``.

    Example:
      >>> fleet = jasgd.fleet.truncated_normal(np.ones(10), 0.2, minimum=0.05)
    """

    def sample(rng: np.random.Generator, n: int, means: float, scale: float, minimum: float) -> np.ndarray:
        # One accepted value after the other, so that the stream does not depend on how many are asked for at once.
        values = np.empty(n)
        for j in range(n):
            values[j] = rng.normal(means, scale)
            while not values[j] > minimum:
                values[j] = rng.normal(means, scale)
        return values

    _require(np.asarray(means) > np.asarray(minimum), "`means` must exceed `minimum`")
    return _drawn("truncated_normal", sample, means=_positive("means", means), scale=scale, minimum=minimum)


def jittered(times: ArrayLike, scale: ArrayLike) -> Fleet:
    """Every job takes ``times + |N(0, scale^2)|`` seconds; ``scale`` is a standard deviation.

    Example:
      >>> i = np.arange(1, 6175)
      >>> fleet = jasgd.fleet.jittered(i, np.sqrt(i))
    """
    times = np.asarray(times, np.float64)
    _require(times >= 0, "`times` must not be negative")
    return _drawn(
        "jittered", lambda rng, n, times, scale: times + np.abs(rng.normal(0.0, scale, n)), times=times, scale=scale
    )


def stragglers(times: ArrayLike, slowdown: ArrayLike, probability: ArrayLike) -> Fleet:
    """Every job takes ``times`` seconds, or with some probability ``slowdown`` times as long.

    Example:
      >>> fleet = jasgd.fleet.stragglers(np.ones(20), slowdown=400.0, probability=0.002)
    """

    def sample(rng: np.random.Generator, n: int, times: float, slowdown: float, probability: float) -> np.ndarray:
        return times * np.where(rng.random(n) < probability, slowdown, 1.0)

    return _drawn("stragglers", sample, times=_positive("times", times), slowdown=slowdown, probability=probability)


def drawn(num_workers: int, draw: Draw, *, name: str = "drawn") -> Fleet:
    """A fleet of your own: ``draw(rng, worker, jobs)`` returns the durations of these jobs of one worker.

    Example:
      >>> fleet = jasgd.fleet.drawn(10, lambda rng, worker, jobs: 1.0 + worker * rng.random(len(jobs)))
    """
    return Fleet(num_workers=_count(num_workers), draw=draw, name=name)


def from_trace(path: str | os.PathLike[str]) -> Fleet:
    """Measured durations from a CSV file with the columns ``worker`` and ``duration``.

    A worker's jobs take its measured durations in the order of the file, from the first again when all are used.

    Example:
      >>> fleet = jasgd.fleet.from_trace(trace_csv)
      >>> fleet.durations(0, 3)
      array([1. , 1.5, 1. ])
    """
    rows: dict[int, list[float]] = {}
    with open(path, newline="") as file:
        reader = csv.DictReader(file)
        if not {"worker", "duration"} <= set(reader.fieldnames or ()):
            raise ValueError(f"{path} must have the columns `worker` and `duration`, got {reader.fieldnames}.")
        for line, row in enumerate(reader, start=2):
            try:
                worker, duration = int(row["worker"]), float(row["duration"])
            except (TypeError, ValueError):
                raise ValueError(f"{path}, line {line}: expected a worker number and seconds, got {dict(row)}.") from None
            if worker < 0 or not duration > 0 or duration == np.inf:
                raise ValueError(f"{path}, line {line}: worker {worker} has the duration {duration}; it must be positive.")
            rows.setdefault(worker, []).append(duration)
    missing = sorted(set(range(max(rows, default=0) + 1)) - set(rows))
    if missing:
        raise ValueError(f"{path} has no duration for worker {missing[0]}; workers must be numbered 0, 1, 2, ...")
    measured = [np.array(rows[worker]) for worker in range(len(rows))]

    def draw(rng: np.random.Generator, worker: int, jobs: np.ndarray) -> np.ndarray:
        del rng
        return np.take(measured[worker], jobs, mode="wrap")

    return Fleet(num_workers=len(rows), draw=draw, name=f"from_trace({os.path.basename(path)})")


def _count(num_workers: int) -> int:
    if isinstance(num_workers, bool) or not isinstance(num_workers, int | np.integer) or num_workers < 1:
        raise ValueError(f"`num_workers` must be a positive whole number, got {num_workers!r}.")
    return int(num_workers)
