"""Many runs: hyper-parameters times seeds, in one compiled program per structure, over all local devices.

Runs that differ in numbers alone share a program (:mod:`jasgd.program`) and are computed in batches, mapped over a run axis
(:mod:`jasgd.batch`). Whatever changes the structure of the program becomes a group of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jasgd import engine
from jasgd.batches import Batch, Group, Prepared, Run, batches_of
from jasgd.grid import Grid, Point, Value, grid_of, make, names_asked_for, require_used
from jasgd.labelled import Found, sweep_dataset
from jasgd.lanes import gradients_per_round
from jasgd.problems.problem import Problem
from jasgd.program import trace
from jasgd.progress import progress_bar
from jasgd.records import record_points
from jasgd.results import provenance
from jasgd.schedule import Schedule
from jasgd.simulation import check_metrics, check_params, check_simulation, split_key
from jasgd.widths import choose_width

if TYPE_CHECKING:
    import xarray

_ENOUGH = 64  # runs per accelerator with which a schedule is worth a group of its own


def sweep(
    problem: Problem | Callable[..., Problem],
    rule: optax.GradientTransformation | Callable[..., optax.GradientTransformation],
    schedule: Schedule | Callable[..., Schedule],
    *,
    key: jax.Array,
    grid: Mapping[str, Sequence[Value]] | Sequence[Point] | None = None,
    seeds: int | Sequence[int] = 1,
    params: optax.Params | None = None,
    every: int | None = None,
    times: Sequence[float] | np.ndarray | None = None,
    devices: Sequence[jax.Device] | None = None,
    runs_at_once: int | None = None,
    progress: bool | str = False,
) -> "xarray.Dataset":
    """Simulate every point of a grid with every seed; each run is what :func:`jasgd.simulate` computes alone.

    A problem, a rule or a schedule may be a function of some of the grid's names, and a schedule also of ``seed``. The run
    of a point and a seed has the key ``jax.random.fold_in(key, seed)``, so runs of the same seed see the same samples.

    Args:
      problem, rule, schedule: as those of :func:`jasgd.simulate`, or functions that make them, such as ``optax.sgd``.
      key: of everything random but the schedule.
      grid: for every name its values, of which all combinations are simulated; or a list of points.
      seeds: how many, or which.
      params: where all runs start; by default at ``problem.init`` of every seed's key.
      every: record metrics at every so many server versions.
      times: or record them at these simulated times, which all schedules must reach.
      devices: to lay the runs over; by default all local ones.
      runs_at_once: runs that one device computes together; by default as many as fit, on a CPU the fastest number of a short
        measurement.
      progress: show a progress bar, with a label if it is a string.

    Returns:
      A dataset with a dimension for every name of the grid (or ``point``), ``seed``, and ``version`` or, with ``times``,
      ``time``. From the record on at which the parameters of a run are not finite any more its metrics are NaN;
      ``diverged`` says so, and ``diverged_at`` at which version.

    Example:
      >>> problem = jasgd.problems.quadratic(dim=10, noise=0.01)
      >>> schedule = jasgd.protocols.asynchronous(jasgd.fleet.power_law(4, exponent=1.0), updates=100)
      >>> grid = {"learning_rate": [0.01, 0.1]}
      >>> result = jasgd.sweep(problem, optax.sgd, schedule, grid=grid, seeds=3, key=jax.random.key(0), every=50)
      >>> dict(result["loss"].sizes)
      {'learning_rate': 2, 'seed': 3, 'version': 3}
    """
    points, seed_list = grid_of(grid), _seeds(seeds)
    require_used(points, {"problem": problem, "rule": rule, "schedule": schedule})
    devices = list(jax.local_devices() if devices is None else devices)
    runs = _runs(problem, rule, schedule, points, seed_list, params, key, every, times)
    found: dict[int, Found] = {}
    layout = []
    with progress_bar(sum(len(run.schedule) for run in runs), progress) as bar:
        for group in _groups(runs, devices):
            here = devices[: len(group.runs)]
            width = choose_width(group, key, here, runs_at_once)
            layout.append({"runs": len(group.runs), "lanes": group.lanes, "together": width.runs, "devices": len(here)})
            for strips in batches_of(group, width, len(here)):
                batch = Batch(group, strips, key, here)
                batch.begin()
                while batch.advance():
                    pass
                values = batch.values()
                for i, run in enumerate(batch.runs):
                    if id(run) not in found:
                        bar.update(len(run.schedule))
                    found[id(run)] = ({name: column[i] for name, column in values.metrics.items()}, values.finite[i])
    schedules = {id(run.schedule): run.schedule for run in runs}
    attributes = provenance(
        problem=getattr(problem, "name", getattr(problem, "__name__", "problem")),
        rule=getattr(rule, "__qualname__", type(rule).__name__),
        grid={name: values for name, (_, values) in points.coords.items()},
        seeds=seed_list,
        key=jax.random.key_data(key).tolist(),
        every=every,
        times=None if times is None else np.asarray(times).tolist(),
        schedules=[{"protocol": s.protocol, **dict(s.arguments)} for s in schedules.values()],
        groups=layout,
    )
    return sweep_dataset(runs, [found[id(run)] for run in runs], points, seed_list, attributes, times=times)


def _seeds(seeds: int | Sequence[int]) -> list[int]:
    listed = list(range(seeds)) if isinstance(seeds, int | np.integer) else [int(seed) for seed in seeds]
    if not listed or len(set(listed)) < len(listed) or min(listed) < 0 or max(listed) >= 2**32:
        raise ValueError(
            f"`seeds` must be a positive number of seeds, or different whole numbers below 2^32, got {seeds!r}."
        )
    return listed


def _runs(
    problem: Any,
    rule: Any,
    schedule: Any,
    points: Grid,
    seeds: Sequence[int],
    params: optax.Params | None,
    key: jax.Array,
    every: int | None,
    times: Any,
) -> list[Run]:
    """All runs, point after point; whatever depends on fewer names than the grid has is made once for each combination."""
    made: dict[Any, Any] = {}

    def once(name: str, maker: Any, create: Callable[[], Any], point: Point, *more: Any) -> Any:
        case = (name, tuple((k, v) for k, v in point.items() if k in names_asked_for(maker)), *more)
        if case not in made:
            made[case] = create()
        return made[case]

    runs = []
    for index, point in enumerate(points.points):
        mine = once("problem", problem, lambda: make(problem, point), point)  # noqa: B023
        its_rule = once("rule", rule, lambda: make(rule, point), point)  # noqa: B023
        for seed in seeds:
            of_seed = seed if "seed" in names_asked_for(schedule) else None
            its_schedule = once("schedule", schedule, lambda: make(schedule, point, seed=seed), point, of_seed)  # noqa: B023
            versions = once(
                "checked",
                None,
                lambda: _checked(mine, its_rule, its_schedule, key, every, times),  # noqa: B023
                {},
                id(mine),
                id(its_rule),
                id(its_schedule),
            )
            base = once("problem", None, lambda: _prepared(mine, its_rule, params, key), {}, id(mine))  # noqa: B023
            prepared = once("both", None, lambda: _with_rule(base, its_rule), {}, id(mine), id(its_rule))  # noqa: B023
            runs.append(Run(point=index, seed=seed, prepared=prepared, schedule=its_schedule, versions=versions))
    return runs


def _checked(problem: Any, rule: Any, schedule: Any, key: jax.Array, every: int | None, times: Any) -> np.ndarray:
    """The versions to record."""
    check_simulation(problem, rule, schedule, key, every, times, None)
    return np.unique(record_points(schedule, every, times)[0])


def _prepared(problem: Problem, rule: optax.GradientTransformation, params: optax.Params | None, key: jax.Array) -> Prepared:
    init_key, jobs_key = split_key(key)
    start = problem.init if params is None else lambda _: jax.tree.map(jnp.asarray, params)
    first = start(init_key)
    check_params(first)
    check_metrics(problem, first)
    program = engine.traced(problem, rule, first, jobs_key)
    init, init_numbers = trace(start, init_key)
    rule_init, rule_numbers = trace(rule.init, first, lift_numbers=True)
    metrics, metric_numbers = trace(problem.metrics, first)
    return Prepared(
        program=program,
        init=init,
        rule_init=rule_init,
        metrics=metrics,
        init_numbers={"params": init_numbers, "rule_state": rule_numbers},
        metric_numbers=metric_numbers,
    )


def _with_rule(base: Prepared, rule: optax.GradientTransformation) -> Prepared:
    rule_init, numbers = trace(rule.init, base.program.params, lift_numbers=True)
    return Prepared(
        program=engine.with_rule(base.program, rule),
        init=base.init,
        rule_init=rule_init,
        metrics=base.metrics,
        init_numbers={**base.init_numbers, "rule_state": numbers},
        metric_numbers=base.metric_numbers,
    )


def _groups(runs: Sequence[Run], devices: Sequence[jax.Device]) -> list[Group]:
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
            groups += [Group(mine, _lanes(mine[0], devices)) for mine in of_schedule.values()]
    return groups


def _lanes(run: Run, devices: Sequence[jax.Device]) -> int:
    """Gradients of one run that are computed together: those of a round; else the runs themselves fill the device."""
    del devices
    rounds = gradients_per_round(run.schedule)
    return rounds if rounds > 1 and not run.prepared.program.needs_stale_params else 1
