"""The runs of a sweep: made from the grid, checked, traced, and put into groups that share a program."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import DTypeLike

from jasgd import engine
from jasgd.batches import Group, Prepared, Run
from jasgd.flat import flattened, launches_cost
from jasgd.grid import Grid, Point, make, names_asked_for
from jasgd.inputs import check_metrics, check_records, check_simulation, seen_through, starting_point
from jasgd.jobs import bytes_per_message, messages_per_job
from jasgd.keys import split_key
from jasgd.lanes import gradients_per_round
from jasgd.precision import at_snapshots
from jasgd.problems.problem import Problem
from jasgd.program import trace
from jasgd.records import record_points
from jasgd.schedule import Schedule
from jasgd.summary import critical_path
from jasgd.traced import require_workers
from jasgd.traffic import same_traffic

_ENOUGH = 64  # runs per accelerator with which a schedule is worth a group of its own
_FULL = 4096  # gradients of all runs, a guess, that fill an accelerator, if the rule lets it apply them at once


def runs_of(
    problem: Any,
    rule: Any,
    schedule: Any,
    oracle: Any,
    points: Grid,
    seeds: Sequence[int],
    params: optax.Params | None,
    key: jax.Array,
    every: int | None,
    times: Any,
    snapshot_dtype: DTypeLike | None,
) -> list[Run]:
    """All runs, point after point; whatever depends on fewer names than the grid has is made once for each combination."""
    check_records(every, times)
    made: dict[Any, Any] = {}

    def once(name: str, maker: Any, create: Callable[[], Any], point: Point, *more: Any) -> Any:
        case = (name, tuple((k, v) for k, v in point.items() if k in names_asked_for(maker)), *more)
        if case not in made:
            made[case] = create()
        return made[case]

    varies = callable(problem) or names_asked_for(oracle) != frozenset()
    runs: list[Run] = []
    schedules: list[Schedule] = []
    for index, point in enumerate(points.points):
        alone = once("problem", problem, lambda: make(problem, point), point)  # noqa: B023
        its_oracle = once("oracle", oracle, lambda: make(oracle, point), point)  # noqa: B023
        mine = once("seen", None, lambda: seen_through(its_oracle, alone), {}, id(alone), id(its_oracle))  # noqa: B023
        for seed in seeds:
            of_seed = seed if "seed" in names_asked_for(rule) else None
            its_rule = once("rule", rule, lambda: make(rule, point, seed=seed), point, of_seed)  # noqa: B023
            of_seed = seed if "seed" in names_asked_for(schedule) else None
            its_schedule = once("schedule", schedule, lambda: make(schedule, point, seed=seed), point, of_seed)  # noqa: B023
            its_schedule = _known(its_schedule, schedules)
            versions = once(
                "checked",
                None,
                lambda: _checked(mine, its_rule, its_schedule, key, every, times),  # noqa: B023
                {},
                id(mine),
                id(its_rule),
                id(its_schedule),
            )
            given = params, key, varies, snapshot_dtype
            base = once("prepared", None, lambda: _prepared(mine, its_rule, *given), {}, id(mine))  # noqa: B023
            prepared = once("both", None, lambda: _with_rule(base, mine, its_rule), {}, id(mine), id(its_rule))  # noqa: B023
            last = int(its_schedule.worker.max())
            once("workers", None, lambda: require_workers(prepared.program, last), {}, id(prepared), last)  # noqa: B023
            runs.append(
                Run(index=len(runs), point=index, seed=seed, prepared=prepared, schedule=its_schedule, versions=versions)
            )
    return runs


def _known(schedule: Any, schedules: list[Schedule]) -> Any:
    """The first of equal schedules: runs on it share their plan."""
    for other in schedules:
        if other is schedule or (other == schedule and same_traffic(other, schedule)):
            return other
    if isinstance(schedule, Schedule):
        schedules.append(schedule)
    return schedule


def require_alike(runs: Sequence[Run], grid: Grid) -> None:
    """All runs are measured in the same way, and no name of the grid hides a metric."""
    metrics = {tuple(sorted(run.prepared.metric_names)) for run in runs}
    if len(metrics) > 1:
        raise ValueError(
            f"all problems of a sweep must have the same metrics, got {' and '.join(map(str, sorted(metrics)))}."
        )
    hidden = sorted(set(grid.coords) & set(runs[0].prepared.metric_names))
    if hidden:
        raise ValueError(f"`grid` cannot have a dimension called {hidden[0]!r}; that is a metric of the problem.")
    clocks = sorted({run.schedule.clock for run in runs})
    if len(clocks) > 1:
        raise ValueError(f"all schedules of a sweep must have the same clock, got {' and '.join(clocks)}.")


def _checked(problem: Any, rule: Any, schedule: Any, key: jax.Array, every: int | None, times: Any) -> np.ndarray:
    """The versions to record."""
    check_simulation(problem, rule, schedule, key)
    return np.unique(record_points(schedule, every, times)[0])


def _prepared(
    problem: Problem,
    rule: optax.GradientTransformation,
    params: optax.Params | None,
    key: jax.Array,
    varies: bool,
    snapshot_dtype: DTypeLike | None,
) -> Prepared:
    init_key, jobs_key = split_key(key)
    start = problem.init if params is None else lambda _: jax.tree.map(jnp.asarray, params)
    first = starting_point(problem, init_key, params)
    check_metrics(problem, first)
    program = engine.traced(problem, rule, first, jobs_key, lift_numbers=varies, snapshot_dtype=snapshot_dtype)
    init, init_numbers = trace(start, init_key, lift_numbers=varies)
    rule_init, rule_numbers = trace(rule.init, first, lift_numbers=True)
    measured = at_snapshots(problem.metrics, first, program.snapshot_dtype)
    metrics, metric_numbers = trace(measured, program.snapshots, lift_numbers=varies)
    return Prepared(
        program=program,
        init=init,
        rule_init=rule_init,
        metrics=metrics,
        metric_names=tuple(jax.eval_shape(problem.metrics, first)),
        init_numbers={"params": init_numbers, "rule_state": rule_numbers},
        metric_numbers=metric_numbers,
        job_gradients=np.asarray(1 if problem.job_gradients is None else problem.job_gradients),
        links={},
    )


def _with_rule(base: Prepared, problem: Problem, rule: optax.GradientTransformation) -> Prepared:
    rule_init, numbers = trace(rule.init, base.program.params, lift_numbers=True)
    program = engine.with_rule(base.program, rule)
    init_numbers = {**base.init_numbers, "rule_state": numbers}
    sizes = bytes_per_message(problem, program.snapshots, program.rule_state), engine.tree_bytes(program.snapshots)
    links = {"messages": messages_per_job(problem), "message_bytes": sizes[0], "model_bytes": sizes[1]}
    prepared = dataclasses.replace(base, program=program, rule_init=rule_init, init_numbers=init_numbers, links=links)
    return _over_vectors(prepared) if launches_cost() else prepared


def _over_vectors(prepared: Prepared) -> Prepared:
    """The same over one vector per dtype, if the rule has a linear form."""
    vectors, start = flattened(prepared.program), prepared.init_numbers
    if vectors is None:
        return prepared
    return dataclasses.replace(
        prepared,
        program=vectors.program,
        init=vectors.start(prepared.init, start["params"]),
        rule_init=vectors.rule_start(prepared.rule_init, start["rule_state"]),
        metrics=vectors.over_params(prepared.metrics, prepared.metric_numbers),
    )


def groups_of(runs: Sequence[Run], devices: Sequence[jax.Device]) -> list[Group]:
    """Runs that share a program and a schedule; or only a program, if a schedule has too few runs to fill the devices."""
    enough = len(devices) * (1 if devices[0].platform == "cpu" else _ENOUGH)
    by_structure: dict[Any, dict[int, list[Run]]] = {}
    for run in runs:
        by_structure.setdefault(run.prepared.structure, {}).setdefault(id(run.schedule), []).append(run)
    groups = []
    for of_schedule in by_structure.values():
        if len(of_schedule) > 1 and min(map(len, of_schedule.values())) < enough:
            groups.append(Group([run for mine in of_schedule.values() for run in mine], 1))
        else:
            groups += [Group(mine, _lanes(mine[0], len(mine) // len(devices))) for mine in of_schedule.values()]
    return groups


def _lanes(run: Run, runs: int) -> int:
    """Gradients of one run that are computed together: those of a round; else the runs of a device themselves fill it.

    Where they do not, and deliveries can be applied at once, a power of two that does.
    """
    program, schedule = run.prepared.program, run.schedule
    if program.needs_stale_params or program.read_model is not None:
        return 1
    if (rounds := gradients_per_round(schedule)) > 1:
        return rounds
    if program.linear is None:
        return 1
    most = min(len(schedule) // critical_path(schedule), _FULL // max(1, runs))
    return 1 << max(0, most.bit_length() - 1)
