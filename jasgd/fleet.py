"""Builders of fleets: fixed speeds, random durations, measured ones.

Parameters are numbers or arrays with one number per worker; the longest array says how many workers there are.
"""

import csv
import dataclasses
import os
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from jasgd._checks import numbers, require_count, require_function, require_number, said
from jasgd.workers import Draw as Draw
from jasgd.workers import Fleet as Fleet


def _positive(name: str, values: ArrayLike, *, infinite: bool = False) -> np.ndarray:
    values = np.atleast_1d(numbers(name, values))
    good = (values > 0) & (infinite | np.isfinite(values))
    if values.ndim != 1 or not len(values) or not good.all():
        where = f"worker {int(np.argmin(good))} has {values[np.argmin(good)]}" if values.ndim == 1 and len(values) else ""
        raise ValueError(f"`{name}` must hold one positive number for each worker; {where or 'it is empty or not flat'}.")
    return values


def _require(holds: ArrayLike, law: str, values: np.ndarray | None = None) -> None:
    """Refuse parameters with the index of the first worker for which they are wrong."""
    holds = np.atleast_1d(holds)
    if not holds.all():
        worker = int(np.argmin(holds))
        raise ValueError(
            f"{law}; " + (f"broken for worker {worker}." if values is None else f"worker {worker} has {values[worker]}.")
        )


def _drawn(
    name: str,
    sample: Callable[..., np.ndarray],
    *,
    positive: tuple[str, ...] = (),
    signed: tuple[str, ...] = (),
    **parameters: ArrayLike,
) -> Fleet:
    """A fleet whose workers draw from one family, each with its own parameters (arrays that broadcast to (N,)).

    Parameters are positive, of either sign, or else not negative.
    """
    rows = {key: np.atleast_1d(numbers(key, value)) for key, value in parameters.items()}
    sizes = {key: value.shape for key, value in rows.items() if value.shape != (1,)}
    if any(len(shape) != 1 for shape in sizes.values()) or len(set(sizes.values())) > 1 or (0,) in sizes.values():
        raise ValueError(f"the parameters of {name} must be numbers or flat arrays of one length, got shapes {sizes}.")
    count = max(map(len, rows.values()))
    rows = {key: np.broadcast_to(value, count) for key, value in rows.items()}
    for key, value in rows.items():
        sign, holds = "not be negative", value >= 0
        if key in positive:
            sign, holds = "be positive", value > 0
        elif key in signed:
            sign, holds = "be finite", np.isfinite(value)
        _require(holds & np.isfinite(value), f"`{key}` of {name} must {sign}", value)

    def draw(rng: np.random.Generator, worker: int, jobs: np.ndarray) -> np.ndarray:
        return sample(rng, len(jobs), **{key: value[worker] for key, value in rows.items()})

    return Fleet(num_workers=count, draw=draw, name=name)


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
    require_count("num_workers", num_workers)
    return dataclasses.replace(fixed(np.full(num_workers, numbers("time", time))), name=f"equal(time={time})")


def power_law(num_workers: int, exponent: float) -> Fleet:
    r"""Worker :math:`i = 1..n` needs :math:`\tau_i = i^p` seconds.

    Example:
      >>> jasgd.fleet.power_law(3, exponent=2.0).times
      array([1., 4., 9.])
    """
    require_count("num_workers", num_workers)
    require_number("exponent", exponent)
    with np.errstate(over="ignore"):
        times = np.arange(1, num_workers + 1, dtype=np.float64) ** exponent
    return dataclasses.replace(fixed(times), name=f"power_law(exponent={exponent})")


def two_speed(num_workers: int, *, slow: int, slowdown: float, time: float = 1.0) -> Fleet:
    """The last ``slow`` workers need ``slowdown`` times as long as the others.

    Example:
      >>> jasgd.fleet.two_speed(4, slow=1, slowdown=6.0, time=10.0).times
      array([10., 10., 10., 60.])
    """
    require_count("num_workers", num_workers)
    if isinstance(slow, bool) or not isinstance(slow, int | np.integer) or not 0 <= slow <= num_workers:
        raise ValueError(f"`slow` must count some of the {num_workers} workers, got {said(slow)}.")
    times = np.full(num_workers, numbers("time", time))
    times[num_workers - slow :] *= numbers("slowdown", slowdown)
    return dataclasses.replace(fixed(times), name=f"two_speed(slow={slow}, slowdown={slowdown})")


def exponential(means: ArrayLike) -> Fleet:
    """Every job takes an exponential time with the worker's mean.

    Example:
      >>> jasgd.fleet.exponential([1.0, 10.0]).durations(0, 5).shape
      (5,)
    """
    return _drawn("exponential", lambda rng, n, means: rng.exponential(means, n), means=means, positive=("means",))


def lognormal(mu: ArrayLike, sigma: ArrayLike) -> Fleet:
    """Every job takes ``exp(N(mu, sigma^2))`` seconds.

    Example:
      >>> fleet = jasgd.fleet.lognormal(np.zeros(40), 1.0)
    """
    return _drawn("lognormal", lambda rng, n, mu, sigma: rng.lognormal(mu, sigma, n), mu=mu, sigma=sigma, signed=("mu",))


def pareto(shape: ArrayLike, scale: ArrayLike = 1.0, offset: ArrayLike | None = None) -> Fleet:
    """Every job takes ``offset + scale * Lomax(shape)`` seconds; without ``offset`` a Pareto law that starts at ``scale``.

    Example:
      >>> fleet = jasgd.fleet.pareto(np.full(40, 1.2), offset=0.001)
    """

    def sample(rng: np.random.Generator, n: int, shape: float, scale: float, offset: float) -> np.ndarray:
        return offset + scale * rng.pareto(shape, n)

    start = scale if offset is None else offset
    return _drawn("pareto", sample, shape=shape, scale=scale, offset=start, positive=("shape", "scale"))


def gamma(shape: ArrayLike, scale: ArrayLike) -> Fleet:
    """Every job takes a Gamma(shape, scale) time, of mean ``shape * scale``.

    Example:
      >>> fleet = jasgd.fleet.gamma(np.full(10, 4.0), 0.25)
    """
    both = ("shape", "scale")
    return _drawn("gamma", lambda rng, n, shape, scale: rng.gamma(shape, scale, n), shape=shape, scale=scale, positive=both)


def uniform(low: ArrayLike, high: ArrayLike) -> Fleet:
    """Every job takes a uniform time between ``low`` and ``high``.

    Example:
      >>> fleet = jasgd.fleet.uniform(np.ones(5), 2.0)
    """
    _require((numbers("low", low) >= 0) & (numbers("high", high) >= low), "`low` and `high` must satisfy 0 <= low <= high")
    return _drawn("uniform", lambda rng, n, low, high: rng.uniform(low, high, n), low=low, high=high)


def poisson(means: ArrayLike, offset: ArrayLike = 0.0) -> Fleet:
    """Every job takes ``offset + Poisson(mean)`` seconds; a job that draws zero is done at once.

    Example:
      >>> fleet = jasgd.fleet.poisson(np.arange(1, 11))
    """

    def sample(rng: np.random.Generator, n: int, means: float, offset: float) -> np.ndarray:
        return offset + rng.poisson(means, n)

    return _drawn("poisson", sample, means=means, offset=offset, positive=("means",))


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

    _require(numbers("means", means) > numbers("minimum", minimum), "`means` must exceed `minimum`")
    return _drawn("truncated_normal", sample, means=means, scale=scale, minimum=minimum, positive=("means",))


def jittered(times: ArrayLike, scale: ArrayLike) -> Fleet:
    """Every job takes ``times + |N(0, scale^2)|`` seconds; ``scale`` is a standard deviation.

    Example:
      >>> i = np.arange(1, 6175)
      >>> fleet = jasgd.fleet.jittered(i, np.sqrt(i))
    """

    def sample(rng: np.random.Generator, n: int, times: float, scale: float) -> np.ndarray:
        return times + np.abs(rng.normal(0.0, scale, n))

    return _drawn("jittered", sample, times=times, scale=scale)


def stragglers(times: ArrayLike, slowdown: ArrayLike, probability: ArrayLike) -> Fleet:
    """Every job takes ``times`` seconds, or with some probability ``slowdown`` times as long.

    Example:
      >>> fleet = jasgd.fleet.stragglers(np.ones(20), slowdown=400.0, probability=0.002)
    """

    def sample(rng: np.random.Generator, n: int, times: float, slowdown: float, probability: float) -> np.ndarray:
        return times * np.where(rng.random(n) < probability, slowdown, 1.0)

    _require(numbers("probability", probability) <= 1, "`probability` must not exceed 1")
    both = ("times", "slowdown")
    return _drawn("stragglers", sample, times=times, slowdown=slowdown, probability=probability, positive=both)


def drawn(num_workers: int, draw: Draw, *, name: str = "drawn") -> Fleet:
    """A fleet of your own: ``draw(rng, worker, jobs)`` returns the durations of these jobs of one worker.

    Example:
      >>> fleet = jasgd.fleet.drawn(10, lambda rng, worker, jobs: 1.0 + worker * rng.random(len(jobs)))
    """
    require_count("num_workers", num_workers)
    require_function("draw", draw, "rng", "worker", "jobs")
    return Fleet(num_workers=int(num_workers), draw=draw, name=name)


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
        for row in reader:
            line = reader.line_num
            try:
                worker, duration = int(row["worker"]), float(row["duration"])
            except (TypeError, ValueError):
                raise ValueError(f"{path}, line {line}: expected a worker number and seconds, got {dict(row)}.") from None
            if worker < 0 or not duration > 0 or duration == np.inf:
                raise ValueError(f"{path}, line {line}: worker {worker} has the duration {duration}; it must be positive.")
            rows.setdefault(worker, []).append(duration)
    if sorted(rows) != list(range(len(rows))) or not rows:
        missing = next(worker for worker in range(len(rows) + 1) if worker not in rows)
        raise ValueError(f"{path} has no duration for worker {missing}; workers must be numbered 0, 1, 2, ...")
    measured = [np.array(rows[worker]) for worker in range(len(rows))]

    def draw(rng: np.random.Generator, worker: int, jobs: np.ndarray) -> np.ndarray:
        del rng
        return np.take(measured[worker], jobs, mode="wrap")

    return Fleet(num_workers=len(rows), draw=draw, name=f"from_trace({os.path.basename(path)})")
