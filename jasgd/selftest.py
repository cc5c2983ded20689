"""A short proof that the compiled engine computes what the slow event loop computes, on the machine at hand."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jasgd import fleet, problems, protocols, reference
from jasgd.problems.problem import Problem
from jasgd.schedule import Schedule
from jasgd.simulation import simulate

_KEY = 7


@dataclasses.dataclass(frozen=True, kw_only=True)
class Agreement:
    """What the comparison found.

    Attributes:
      problems: sentences about what differs; none if all agrees.
      difference: the largest difference of final parameters, relative to their largest entry.
      simulations, gradients: how many were compared.
      seconds: it took, compilation included.
    """

    problems: tuple[str, ...]
    difference: float
    simulations: int
    gradients: int
    seconds: float

    @property
    def agrees(self) -> bool:
        """Whether nothing differs."""
        return not self.problems


def selftest() -> Agreement:
    """Compare the engine with :mod:`jasgd.reference`: who computed what when exactly, parameters to rounding.

    Example:
      >>> selftest().agrees
      True
    """
    began = time.perf_counter()
    found: list[str] = []
    largest, simulations, gradients = 0.0, 0, 0
    for name, problem, rule, schedule, slow in _cases():
        points, rows = slow()
        if rows is not None and rows != _rows(schedule):
            found.append(f"{name}: the schedule differs.")
        for lanes in (1, 4):
            run = simulate(problem, rule, schedule, key=jax.random.key(_KEY), lanes=lanes)
            difference = _difference(run.params, points[-1])
            simulations, gradients, largest = simulations + 1, gradients + len(schedule), max(largest, difference)
            # Every update contracts distances, so rounding errors add up and do not grow.
            tolerance = 2 * schedule.updates * float(jnp.finfo(jnp.result_type(float)).eps)
            if not difference <= tolerance:
                found.append(f"{name}, lanes={lanes}: parameters differ by {difference:.2g}, allowed are {tolerance:.2g}.")
            if int(run.history["version"][-1]) != len(points) - 1:
                found.append(f"{name}, lanes={lanes}: {run.history['version'][-1]} updates, not {len(points) - 1}.")
    return Agreement(
        problems=tuple(found),
        difference=largest,
        simulations=simulations,
        gradients=gradients,
        seconds=time.perf_counter() - began,
    )


_Slow = Callable[[], tuple[list[optax.Params], list[Any] | None]]


def _cases() -> list[tuple[str, Problem, optax.GradientTransformation, Schedule, _Slow]]:
    """Small simulations, and the same by the slow event loop: its points, and its rows if it finds them itself."""
    key = jax.random.key(_KEY)
    logistic, quadratic = _logistic(), problems.quadratic(12, 0.1)
    plain, momentum = optax.sgd(0.2), optax.sgd(0.05, momentum=0.9)
    skewed, random = fleet.power_law(5, 1.0), fleet.exponential([1.0, 1.5, 2.0, 6.0])
    every = protocols.asynchronous(skewed, 80)
    dropped = protocols.asynchronous(random, 60, max_delay=3, seed=1)
    gathered = protocols.rennala(skewed, 20, 3)

    def run(problem: Problem, rule: Any, workers: Any, updates: int, **options: Any) -> _Slow:
        def slow() -> tuple[list[optax.Params], list[Any]]:
            found = reference.asynchronous(problem, rule, workers, updates, key=key, **options)
            return found.points, found.rows

        return slow

    def replay() -> tuple[list[optax.Params], None]:
        return reference.replay(quadratic, momentum, gathered, key=key), None

    return [
        ("logistic regression, every gradient used", logistic, plain, every, run(logistic, plain, skewed, 80)),
        (
            "quadratic with momentum, late gradients dropped",
            quadratic,
            momentum,
            dropped,
            run(quadratic, momentum, random, 60, max_delay=3, seed=1),
        ),
        ("quadratic with momentum, three gradients gathered per update", quadratic, momentum, gathered, replay),
    ]


def _logistic() -> Problem:
    """Logistic regression whose examples are drawn, so that no data set is needed."""
    truth = jnp.linspace(-1.0, 1.0, 6)

    def sample(key: jax.Array, worker: jax.Array) -> tuple[jax.Array, jax.Array]:
        examples = jax.random.normal(key, (8, 6)) + worker / 10
        return examples, jnp.sign(examples @ truth)

    def loss(params: optax.Params, batch: tuple[jax.Array, jax.Array]) -> jax.Array:
        examples, labels = batch
        return jnp.mean(jax.nn.softplus(-labels * (examples @ params["w"]))) + 0.01 * jnp.sum(params["w"] ** 2)

    def metrics(params: optax.Params) -> dict[str, jax.Array]:
        value, gradient = jax.value_and_grad(loss)(params, sample(jax.random.key(0), jnp.int32(0)))
        return {"loss": value, "grad_norm": jnp.linalg.norm(gradient["w"])}

    return Problem(init=lambda key: {"w": jax.random.normal(key, (6,))}, loss=loss, sample=sample, metrics=metrics)


def _rows(schedule: Schedule) -> list[tuple[int, int, int, float, float]]:
    columns = (schedule.worker, schedule.job, schedule.read, schedule.start, schedule.time)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def _difference(fast: optax.Params, slow: optax.Params) -> float:
    fast_leaves, slow_leaves = (np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)]) for tree in (fast, slow))
    return float(np.max(np.abs(fast_leaves - slow_leaves)) / np.max(np.abs(slow_leaves)))
