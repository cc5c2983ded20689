"""Many runs without a server: hyper-parameters times seeds, all runs of an execution in one compiled program."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jasgd.batch import Shared, differences
from jasgd.decentralized import engine
from jasgd.decentralized.execution import Execution
from jasgd.decentralized.plan import plan, together
from jasgd.decentralized.simulation import check, chunks_of, program_of, records_of, up_to
from jasgd.grid import Point, Value, grid_of, make, names_asked_for, require_used, seeds_of
from jasgd.inputs import starting_point
from jasgd.keys import split_key
from jasgd.memory import free_memory
from jasgd.problems.problem import Problem
from jasgd.program import trace
from jasgd.results import labels, provenance
from jasgd.traced import Traced, require_workers, tree_bytes
from jasgd.traffic import UNITS

if TYPE_CHECKING:
    import xarray

_Records = tuple[list[int], np.ndarray | None]  # after which rows, at which times if these were asked for
_AT_ONCE = 16  # more runs share little else, and fill the caches


def sweep(
    problem: Problem,
    rule: optax.GradientTransformation | Callable[..., optax.GradientTransformation],
    execution: Execution | Callable[..., Execution],
    *,
    key: jax.Array,
    grid: Mapping[str, Sequence[Value]] | Sequence[Point] | None = None,
    seeds: int | Sequence[int] = 1,
    params: optax.Params | None = None,
    every: int | None = None,
    times: Sequence[float] | np.ndarray | None = None,
    lanes: int | None = None,
    runs_at_once: int | None = None,
) -> "xarray.Dataset":
    """Simulate every point of a grid with every seed; each run is what :func:`simulate` computes alone.

    A rule or an execution may be a function of some of the grid's names, and of ``seed``. The run of a point and a seed has
    the key ``jax.random.fold_in(key, seed)``.

    Args:
      problem, rule, execution: as those of :func:`simulate`, or functions that make them, such as ``optax.sgd``.
      key: of everything random but the executions.
      grid: for every name its values, of which all combinations are simulated; or a list of points.
      seeds: how many, or which.
      params: where all nodes start; by default at ``problem.init`` of every seed's key.
      every: record at every so many gradients; executions must then have the same records.
      times: or at these simulated times, which all executions must reach.
      lanes: gradients of one run that are computed together, as in :func:`simulate`.
      runs_at_once: runs that are computed together; by default at most 16, fewer if they do not fit.

    Returns:
      A dataset with a dimension for every name of the grid (or ``point``), ``seed``, and ``version`` or ``time``. From the
      record on at which a replica of a run is not finite any more its metrics are NaN; ``diverged`` says so.

    Example:
      >>> execution = jasgd.decentralized.dasgd(jasgd.fleet.fixed([1.0, 1.5]), 100, latencies=0.2)
      >>> problem, grid = jasgd.problems.quadratic(dim=10, noise=0.01), {"learning_rate": [0.01, 0.1]}
      >>> key = jax.random.key(0)
      >>> found = jasgd.decentralized.sweep(problem, optax.sgd, execution, grid=grid, seeds=3, key=key, every=50)
      >>> dict(found["loss"].sizes)
      {'learning_rate': 2, 'seed': 3, 'version': 3}
    """
    labels()  # needed at the end; better missed at the beginning
    points, seed_list = grid_of(grid), seeds_of(seeds)
    require_used(points, {"rule": rule, "execution": execution})
    whole = isinstance(runs_at_once, int) and not isinstance(runs_at_once, bool) and runs_at_once >= 1
    if runs_at_once is not None and not whole:
        raise ValueError(f"`runs_at_once` must be a positive whole number, got {runs_at_once!r}.")
    executions, rules = _Once(execution), _Once(rule)
    cases = [(point, seed) for point in points.points for seed in seed_list]
    programs: dict[int, Traced] = {}
    records: dict[int, _Records] = {}
    groups: dict[Any, list[tuple[int, Traced, jax.Array]]] = {}
    for index, (point, seed) in enumerate(cases):
        its_execution, its_rule = executions.of(point, seed), rules.of(point, seed)
        check(problem, its_rule, its_execution, key, lanes)
        if id(its_execution) not in records:
            records[id(its_execution)] = records_of(its_execution, every, times)
            _require_same_records(its_execution, executions.of(*cases[0]), records, timed=times is not None)
        init_key, jobs_key = split_key(jax.random.fold_in(key, seed))
        start = starting_point(problem, init_key, params)
        if id(its_rule) not in programs:
            programs[id(its_rule)] = program_of(problem, its_rule, start, jobs_key)
            require_workers(programs[id(its_rule)], int(its_execution.node.max()))
        program = dataclasses.replace(programs[id(its_rule)], params=start, rule_state=its_rule.init(start))
        structure = (id(its_execution), program.sample, program.gradient, program.rule)
        groups.setdefault(structure, []).append((index, program, jobs_key))
    results: list[Any] = [None] * len(cases)
    for members in groups.values():
        first = members[0][1]
        its_execution = executions.of(*cases[members[0][0]])
        batch = _Batch(problem, first, its_execution, records[id(its_execution)], lanes)
        most = runs_at_once or batch.runs_that_fit(_AT_ONCE)
        for begin in range(0, len(members), most):
            some = members[begin : begin + most]
            for (index, *_), found in zip(some, batch.compute([m[1] for m in some], [m[2] for m in some]), strict=True):
                results[index] = found
    gradients = sum(int(executions.of(point, seed).gradients[-1]) for point, seed in cases)
    attributes = provenance(
        problem=problem.name,
        rule=getattr(rule, "__qualname__", type(rule).__qualname__),
        executions=[{"protocol": e.protocol, **dict(e.arguments)} for e in executions.made],
        key=jax.random.key_data(key).tolist(),
        grid={name: values for name, (_, values) in points.coords.items()},
        seeds=seed_list,
        every=every,
        times=None if times is None else np.asarray(times).tolist(),
        gradients=gradients,
    )
    dims, shape = (*points.dims, "seed"), (*points.dims.values(), len(seed_list))
    coords = {name: (dim, values) for name, (dim, values) in points.coords.items()} | {"seed": np.array(seed_list)}
    return _dataset(results, dims, shape, coords, attributes, timed=times is not None)


def _require_same_records(mine: Execution, first: Execution, records: Mapping[int, _Records], *, timed: bool) -> None:
    """Records after so many gradients only fit together if the numbers agree; those at given times always do."""
    ours, theirs = (one.gradients[records[id(one)][0]] for one in (mine, first))
    if not timed and not np.array_equal(ours, theirs):
        raise ValueError("these executions do not have the same records; give `times` that all of them reach.")


class _Once:
    """What a factory makes, once for every combination of the names that it takes."""

    def __init__(self, maker: Any) -> None:
        self.maker, self.made_for = maker, dict[Any, Any]()

    @property
    def made(self) -> list[Any]:
        return list(self.made_for.values())

    def of(self, point: Point, seed: int) -> Any:
        everything = {**point, "seed": seed}
        case = tuple((name, everything[name]) for name in sorted(names_asked_for(self.maker) & everything.keys()))
        if case not in self.made_for:
            self.made_for[case] = make(self.maker, point, seed=seed)
        return self.made_for[case]


class _Batch:
    """Runs of one program on one execution."""

    def __init__(
        self, problem: Problem, program: Traced, execution: Execution, records: _Records, lanes: int | None
    ) -> None:
        self.execution, self.params = execution, program.params
        self.rows, self.times = records
        self.marks = sorted(set(self.rows))
        self.plan = plan(execution, min(32, together(execution)) if lanes is None else int(lanes), self.marks)
        self.loop = engine.loop_of(program, self.plan)
        self.metrics, numbers = trace(problem.metrics, program.params)
        self.metric_numbers = Shared.of([numbers], [False] * len(numbers))

    def runs_that_fit(self, most: int) -> int:
        """So many that their replicas take at most half of the free memory."""
        each = (self.plan.slots + 1 + 2 * self.plan.lanes) * tree_bytes(self.params) * 1.25
        return max(1, min(most, int(free_memory() / 2 / each)))

    def compute(self, programs: Sequence[Traced], keys: Sequence[jax.Array]) -> list[dict[str, np.ndarray]]:
        """The history of each run, and which records are ``finite``."""
        numbers = [program.numbers for program in programs]
        shared = Shared.of(numbers, differences(numbers))
        states = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(engine.init(program, self.plan) for program in programs))
        chunks, steps = chunks_of(self.plan)
        found: dict[int, Any] = {}
        for begin, end in [(0, 0), *chunks]:
            if end:
                chunk = engine.chunk_of(self.plan, begin, end, steps)
                states = engine.run_many(self.loop, shared, jnp.stack(keys), states, chunk)
            for record in np.flatnonzero(self.plan.ends == end).tolist():
                slots = self.plan.record_slots[record]
                found[self.marks[record]] = engine.measure_many(self.metrics, self.metric_numbers, states.pool, slots)
        found = jax.device_get(found)
        at, end_time = np.array(self.rows), np.concatenate([[0.0], self.execution.time])
        common = {
            "version": self.execution.gradients[at],
            "time": end_time[at] if self.times is None else self.times,
            "uploaded_bytes": up_to(self.execution.messages, at) * float(tree_bytes(self.params)),
            "wire_seconds": up_to(self.execution.wire_seconds, at),
        }
        names = list(found[int(at[0])][0])
        columns = {name: np.array([found[row][0][name] for row in at.tolist()]) for name in names}
        finite = np.logical_and.accumulate([found[row][1] for row in at.tolist()])
        return [
            {
                **common,
                "finite": finite[:, i],
                **{name: np.where(finite[:, i], columns[name][:, i], np.nan) for name in names},
            }
            for i in range(len(programs))
        ]


def _dataset(
    results: Sequence[dict[str, np.ndarray]],
    dims: tuple[str, ...],
    shape: tuple[int, ...],
    coords: dict[str, Any],
    attributes: Mapping[str, str],
    *,
    timed: bool,
) -> "xarray.Dataset":
    along, other = ("time", "version") if timed else ("version", "time")
    axis = results[0][along]
    if timed:  # executions end at times of their own: what was asked for is what they share
        axis = functools.reduce(np.intersect1d, [found[along] for found in results])
        results = [{name: column[np.isin(found[along], axis)] for name, column in found.items()} for found in results]
    units = {"time": "s", "version": "gradients", **UNITS}

    def labelled(name: str) -> Any:
        column = np.array([found[name] for found in results])
        return (*dims, along), column.reshape(*shape, -1), {"units": units.get(name, "1")}

    held = (other, "uploaded_bytes", "wire_seconds")
    metrics = [name for name in results[0] if name not in (along, "finite", *held)]
    variables = {name: labelled(name) for name in metrics}
    variables["diverged"] = (dims, np.array([not found["finite"].all() for found in results]).reshape(shape))
    coords = {**coords, along: (along, axis, {"units": units[along]}), **{name: labelled(name) for name in held}}
    return labels().Dataset(variables, coords, dict(attributes))
