"""Asynchronous SGD as the papers write it: slow, plain Python, one event at a time.

The fast path must agree with this file: integers and times exactly, floats to rounding. It shares with the simulator only
the fleet's durations and the keys of the jobs.
"""

import dataclasses
import functools
import heapq
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import DTypeLike

from jasgd.extra_args import trace_rule
from jasgd.fleet import Fleet
from jasgd.precision import checked_dtype
from jasgd.problems.problem import Problem
from jasgd.read_models import read_key
from jasgd.rules.sent import sent_params
from jasgd.schedule import Schedule


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """What the reference found.

    Attributes:
      params: the last point.
      points: all versions, from version 0 on.
      rows: (worker, job, read, start, time) of every gradient that was used.

    Example:
      >>> problem, fleet = jasgd.problems.quadratic(dim=5), jasgd.fleet.equal(2)
      >>> found = jasgd.reference.asynchronous(problem, optax.sgd(0.1), fleet, 2, key=jax.random.key(0))
      >>> len(found.points)
      3
    """

    params: optax.Params
    points: list[optax.Params]
    rows: list[tuple[int, int, int, float, float]]


def asynchronous(
    problem: Problem,
    rule: optax.GradientTransformation,
    fleet: Fleet,
    updates: int,
    *,
    key: jax.Array,
    seed: int = 0,
    assignment: Literal["own", "random", "shuffled"] = "own",
    wait_for: int = 1,
    concurrency: int | None = None,
    parallel: bool = False,
    dispatch: Literal["after", "before"] = "after",
    max_delay: int | None = None,
    age_in: Literal["updates", "arrivals"] = "updates",
    first_round: Literal["apart", "together"] = "apart",
) -> Reference:
    """Run asynchronous SGD event by event; the arguments are those of :func:`jasgd.protocols.asynchronous`.

    Example:
      >>> problem = jasgd.problems.quadratic(dim=5)
      >>> fleet = jasgd.fleet.fixed([1.0, 1.7])
      >>> jasgd.reference.asynchronous(problem, optax.sgd(0.1), fleet, 2, key=jax.random.key(0)).rows
      [(0, 0, 0, 0.0, 1.0), (1, 0, 0, 0.0, 1.7)]
    """
    n = fleet.num_workers
    init_key, job_key = jax.random.split(key)
    server = _Server(problem, rule, job_key, problem.init(init_key))
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    next_duration = [_durations(fleet, i, seed) for i in range(n)]
    events: list[tuple[float, int, int]] = []  # (finish time, worker, job)
    jobs: dict[tuple[int, int], dict[str, Any]] = {}
    queue: list[list[dict[str, Any]]] = [[] for _ in range(n)]
    jobs_started, running = [0] * n, [0] * n
    rows = []

    def start(worker: int, job: dict[str, Any], now: float) -> None:
        number = jobs_started[worker]
        jobs_started[worker] += 1
        running[worker] += 1
        duration = next(next_duration[worker])
        power = fleet.power_of(worker)
        finish = now + duration if power is None else power.finish(now, duration)
        jobs[worker, number] = {**job, "start": now}
        heapq.heappush(events, (finish, worker, number))

    def send(worker: int, version: int, arrivals: int, now: float) -> None:
        job = {"read": version, "arrivals": arrivals}
        if running[worker] and not parallel:
            queue[worker].append(job)
        else:
            start(worker, job, now)

    def choose(finished: list[int]) -> list[int]:
        if assignment == "own":
            return finished
        if assignment == "random":
            return [int(i) for i in rng.integers(n, size=len(finished))]
        chosen = []
        for _ in finished:
            if not permutation:
                permutation.extend(int(i) for i in rng.permutation(n))
            chosen.append(permutation.pop(0))
        return chosen

    permutation: list[int] = []
    active = n if concurrency is None else concurrency
    everybody = assignment == "own" or active == n
    for worker in range(active) if everybody else sorted(int(i) for i in rng.choice(n, active, replace=False)):
        send(worker, 0, 0, 0.0)
    arrivals, finished, needed = 0, [], wait_for if first_round == "apart" else active
    while server.version < updates:
        now, worker, number = heapq.heappop(events)
        job = jobs.pop((worker, number))
        running[worker] -= 1
        model_before = server.version
        age = server.version - job["read"] if age_in == "updates" else arrivals - job["arrivals"]
        arrivals += 1
        if max_delay is None or age <= max_delay:
            rows.append((worker, number, job["read"], job["start"], now))
            server.use(worker, number, job["read"], start=job["start"], now=now)
        if queue[worker]:
            start(worker, queue[worker].pop(0), now)
        finished.append(worker)
        if len(finished) == needed:
            for next_worker in choose(finished):
                send(next_worker, server.version if dispatch == "after" else model_before, arrivals, now)
            finished, needed = [], wait_for
    return Reference(params=server.points[-1], points=server.points, rows=rows)


def replay(
    problem: Problem,
    rule: optax.GradientTransformation,
    schedule: Schedule,
    *,
    key: jax.Array,
    params: optax.Params | None = None,
    snapshot_dtype: DTypeLike | None = None,
) -> list[optax.Params]:
    """All versions of a schedule, one gradient at a time; gathered rows are summed with their weights.

    The versions are those of the server, not rounded to ``snapshot_dtype``.

    Example:
      >>> schedule = jasgd.protocols.asynchronous(jasgd.fleet.equal(2), 3)
      >>> points = jasgd.reference.replay(jasgd.problems.quadratic(dim=5), optax.sgd(0.1), schedule, key=jax.random.key(0))
      >>> len(points)
      4
    """
    init_key, job_key = jax.random.split(key)
    server = _Server(problem, rule, job_key, problem.init(init_key) if params is None else params, snapshot_dtype)
    for k in range(len(schedule)):
        server.use(
            int(schedule.worker[k]),
            int(schedule.job[k]),
            int(schedule.read[k]),
            start=float(schedule.start[k]),
            now=float(schedule.time[k]),
            weight=float(schedule.weight[k]),
            apply=bool(schedule.apply[k]),
        )
    return server.points


@functools.lru_cache(maxsize=8)
def _gradient_of(problem: Problem) -> Callable[..., Any]:
    """Compiled once, however often the problem is replayed."""

    def gradient(key: jax.Array, point: Any, worker: jax.Array, job: jax.Array) -> Any:
        key = jax.random.fold_in(jax.random.fold_in(key, worker), job)
        return problem.gradient(point, problem.sample(key, worker))

    return jax.jit(gradient)


class _Server:
    """x_{k+1} = x_k - (rule applied to the gradient at the version that was read); every version is kept."""

    def __init__(
        self, problem: Problem, rule: optax.GradientTransformation, key: jax.Array, params: Any, snapshot_dtype: Any = None
    ) -> None:
        self.problem, self.rule, self.key = problem, optax.with_extra_args_support(rule), key
        self.points = [jax.tree.map(jnp.asarray, params)]
        self.rule_state = rule.init(self.points[0])
        self.dtype = checked_dtype(snapshot_dtype, self.points[0])
        self.sent = [self._snapshot(sent_params(self.rule_state, self.points[0]))]  # where workers compute
        self.sees_every_row = "apply" in trace_rule(rule, self.points[0])[2]
        self.gathered: Any = None
        self.gradient, self.update = functools.partial(_gradient_of(problem), key), jax.jit(self.rule.update)

    @property
    def version(self) -> int:
        return len(self.points) - 1

    def _snapshot(self, tree: Any) -> Any:
        """What goes to a worker, or comes from one."""
        return tree if self.dtype is None else jax.tree.map(lambda leaf: leaf.astype(self.dtype), tree)

    def _server_dtype(self, tree: Any) -> Any:
        """The same in the dtype of the parameters."""
        return jax.tree.map(lambda leaf, p: leaf.astype(p.dtype), tree, self.points[0])

    def _read(self, worker: int, job: int, read: int) -> Any:
        """What the worker sees: version ``read``, or a mixture of all versions since."""
        delay = self.version - read
        if self.problem.read_model is None or not delay:
            return self.sent[read]
        key = read_key(jax.random.fold_in(jax.random.fold_in(self.key, worker), job))
        versions = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(self._server_dtype, self.sent[read:]))
        return self._snapshot(self.problem.read_model.form(key, versions, jnp.int32(delay)))

    def use(
        self, worker: int, job: int, read: int, *, start: float, now: float, weight: float = 1.0, apply: bool = True
    ) -> None:
        point = self._read(worker, job, read)
        gradient = self._server_dtype(self._snapshot(self.gradient(point, jnp.int32(worker), jnp.int32(job))))
        if not self.sees_every_row:
            # Sums are taken in single precision at least, and rounded once.
            summed = jax.tree.map(lambda g: weight * g.astype(jnp.promote_types(g.dtype, jnp.float32)), gradient)
            if self.gathered is not None:
                summed = jax.tree.map(jnp.add, self.gathered, summed)
            self.gathered = None if apply else summed
            if not apply:
                return
            gradient = jax.tree.map(lambda total, g: total.astype(g.dtype), summed, gradient)
        updates, self.rule_state = self.update(
            gradient,
            self.rule_state,
            self.points[-1],
            worker=jnp.int32(worker),
            delay=jnp.int32(self.version - read),
            step=jnp.int32(self.version),
            duration=jnp.asarray(now - start),
            time=jnp.asarray(now),
            apply=jnp.asarray(apply),
            stale_params=self._server_dtype(point),
        )
        if apply:
            self.points.append(optax.apply_updates(self.points[-1], updates))
            self.sent.append(self._snapshot(sent_params(self.rule_state, self.points[-1])))


def _durations(fleet: Fleet, worker: int, seed: int) -> Any:
    """The durations of a worker's jobs, one after the other."""
    drawn = 0
    while True:
        durations = fleet.durations(worker, drawn + 100, seed=seed)
        yield from (float(duration) for duration in durations[drawn:])
        drawn += 100
