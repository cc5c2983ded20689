"""Configurations as simulated runs: how good is a method with these knobs after so many seconds?"""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jasgd import methods
from jasgd.fleet import Fleet
from jasgd.grid import names_asked_for
from jasgd.methods import Method
from jasgd.problems.problem import Problem
from jasgd.sweep_config import function_of
from jasgd.sweeps import sweep

Maker = Callable[..., Method]


class Objective:
    """What :func:`jasgd.tune.search` minimises: log10 of the mean metric over the last fifth of a simulated time.

    A configuration names a ``method`` of :mod:`jasgd.methods`; its other values are keywords of that function or of
    ``problem``. All configurations see the same seeds, so the same samples; the value is the mean over them. Configurations
    of one method are one sweep: what changes numbers alone shares a program.

    Args:
      problem: or a function that makes it from some of the knobs.
      fleet: the workers.
      seconds: of simulated time that every configuration gets.
      key: of everything random but the schedules.
      seeds: how many, or which, runs of every configuration.
      metric: of the problem, positive.
      goal: instead of the mean, log10 of the seconds until the metric is at most this; a four hundredth of ``seconds`` is
        the resolution.
      cap: the largest value; of runs that diverge, or miss the goal.
      makers: methods of one's own, functions ``(fleet, updates, **knobs) -> Method`` under their names.

    Attributes:
      gradients: how many have been simulated so far.

    Example:
      >>> fleet = jasgd.fleet.power_law(4, exponent=1.0)
      >>> objective = jasgd.tune.Objective(
      ...     jasgd.problems.quadratic(10), fleet, seconds=50.0, key=jax.random.key(0), metric="gap"
      ... )
      >>> points = [{"method": "asynchronous_sgd", "learning_rate": rate} for rate in (0.1, 100.0)]
      >>> [round(value, 1) for value in objective(points)]
      [-1.3, 4.0]
    """

    def __init__(
        self,
        problem: Problem | Callable[..., Problem],
        fleet: Fleet,
        *,
        seconds: float,
        key: jax.Array,
        seeds: int | Sequence[int] = 1,
        metric: str = "loss",
        goal: float | None = None,
        cap: float = 4.0,
        makers: Mapping[str, Maker] | None = None,
    ) -> None:
        if not 0 < seconds < math.inf:
            raise ValueError(f"`seconds` must be a positive number, got {seconds}.")
        self._problem, self._fleet, self._seconds = problem, fleet, seconds
        self._key, self._seeds = key, seeds
        self._metric, self._goal, self._cap = metric, goal, cap
        self._makers = {**{name: getattr(methods, name) for name in methods.__all__ if name != "Method"}, **(makers or {})}
        self.gradients = 0

    def __call__(self, configurations: Sequence[Mapping[str, Any]]) -> list[float]:
        """One value per configuration."""
        groups: dict[Any, list[int]] = {}
        for i, configuration in enumerate(configurations):
            if configuration.get("method") not in self._makers:
                raise ValueError(f"a configuration needs a `method` that there is, got {dict(configuration)}.")
            groups.setdefault((configuration["method"], *configuration), []).append(i)
        found = [math.nan] * len(configurations)
        for members in groups.values():
            for i, value in zip(members, self._of_one_method([configurations[i] for i in members]), strict=True):
                found[i] = value
        return found

    def _of_one_method(self, points: list[Mapping[str, Any]]) -> list[float]:
        """Of configurations with the same knobs."""
        method = points[0]["method"]
        made = _kept(self._makers[method], self._fleet, self._seconds)
        grid = [{name: value for name, value in point.items() if name != "method"} for point in points]
        of_problem = names_asked_for(self._problem) & grid[0].keys()
        if both := of_problem & inspect.signature(self._makers[method]).parameters.keys():
            raise ValueError(f"`{min(both)}` could belong to the problem or to the method {method!r}.")
        names = [name for name in grid[0] if name not in of_problem]
        oracle = made(**{name: grid[0][name] for name in names}).oracle
        start, records = (0.8 * self._seconds, 41) if self._goal is None else (0.0, 401)
        times = np.linspace(start, self._seconds, records)
        found = sweep(
            self._problem,
            function_of(method, names, lambda knobs: made(**knobs).rule),
            function_of(method, names, lambda knobs: made(**knobs).schedule),
            oracle=oracle if oracle is None else function_of(method, names, lambda knobs: made(**knobs).oracle),
            grid=grid if grid[0] else None,
            seeds=self._seeds,
            key=self._key,
            times=times[times > 0],
        )
        if self._metric not in found:
            known = ", ".join(map(str, found.data_vars))
            raise ValueError(f"`metric` must be one of {known}, got {self._metric!r}.")
        self.gradients += int(found.attrs["gradients"])
        curves = found[self._metric].sel(time=times).values.reshape(len(points), -1, records)
        return np.mean(_scores(curves, times, self._goal, self._cap, self._metric), axis=1).tolist()


def _scores(curves: np.ndarray, times: np.ndarray, goal: float | None, cap: float, metric: str) -> np.ndarray:
    """(points, seeds), of curves (points, seeds, times) with NaN where a run has diverged."""
    if goal is not None:
        reached = curves <= goal
        amounts = np.where(reached.any(axis=2), times[reached.argmax(axis=2)], np.inf)
        amounts = np.maximum(amounts, times[1])
    else:
        with np.errstate(over="ignore"):  # on the way to infinity
            amounts = curves.mean(axis=2)
        if (amounts <= 0).any():
            raise ValueError(f"the metric {metric!r} is not positive, so it has no logarithm; take 'gap' or 'grad_norm'.")
    return np.minimum(np.log10(np.where(np.isfinite(amounts), amounts, np.inf)), cap)


def _kept(make: Maker, fleet: Fleet, seconds: float) -> Callable[..., Method]:
    """A method that lasts so many seconds, made once for its rule, its schedule and its oracle."""
    found: dict[Any, Method] = {}

    def made(**knobs: Any) -> Method:
        case = tuple(sorted(knobs.items()))
        if case not in found:
            found[case] = _lasting(lambda updates: make(fleet, updates, **knobs), seconds)
        return found[case]

    return made


def _lasting(make: Callable[[int], Method], seconds: float) -> Method:
    """With just as many updates as it takes to get there."""
    updates = 64
    while (ends := make(updates).schedule.version_time)[-1] < seconds:
        updates *= 2
    return make(max(1, int(np.searchsorted(ends, seconds))))
