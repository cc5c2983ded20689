"""Many runs: hyper-parameters times seeds, in one compiled program per structure, over all local devices.

Runs that differ in numbers alone share a program (:mod:`jasgd.program`) and are computed in batches, mapped over a run axis
(:mod:`jasgd.batch`). Whatever changes the structure of the program becomes a group of its own.
"""

import dataclasses
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jasgd import engine, hosts
from jasgd.batches import Batch, Group, Prepared, Run, Width, batches_of
from jasgd.grid import Grid, Point, Value, grid_of, make, names_asked_for, require_used
from jasgd.labelled import Found, sweep_dataset
from jasgd.lanes import gradients_per_round
from jasgd.problems.problem import Problem
from jasgd.program import trace
from jasgd.progress import progress_bar
from jasgd.records import record_points
from jasgd.results import labels, provenance
from jasgd.schedule import Schedule
from jasgd.simulation import check_metrics, check_params, check_simulation, split_key
from jasgd.store import Store
from jasgd.widths import choose_width

if TYPE_CHECKING:
    import xarray

_LOG = logging.getLogger("jasgd")
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
    resume: str | os.PathLike[str] | None = None,
    save_every: float = 60.0,
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
      resume: a folder in which finished runs and checkpoints of those under way are kept. What it has of this sweep already
        is not computed again, so a sweep that was killed goes on, and a larger grid reuses the smaller one.
      save_every: seconds of real time between checkpoints.
      progress: show a progress bar, with a label if it is a string.

    Returns:
      A dataset with a dimension for every name of the grid (or ``point``), ``seed``, and ``version`` or, with ``times``,
      ``time``. From the record on at which the parameters of a run are not finite any more its metrics are NaN;
      ``diverged`` says so, and ``diverged_at`` at which version. The attribute ``batches``, and the log of the logger
      ``jasgd``, say how the runs were laid out.

    Example:
      >>> problem = jasgd.problems.quadratic(dim=10, noise=0.01)
      >>> schedule = jasgd.protocols.asynchronous(jasgd.fleet.power_law(4, exponent=1.0), updates=100)
      >>> grid = {"learning_rate": [0.01, 0.1]}
      >>> result = jasgd.sweep(problem, optax.sgd, schedule, grid=grid, seeds=3, key=jax.random.key(0), every=50)
      >>> dict(result["loss"].sizes)
      {'learning_rate': 2, 'seed': 3, 'version': 3}
    """
    labels()  # needed at the end; better missed at the beginning
    points, seed_list = grid_of(grid), _seeds(seeds)
    require_used(points, {"problem": problem, "rule": rule, "schedule": schedule})
    devices = list(jax.local_devices() if devices is None else devices)
    if not devices:
        raise ValueError("`devices` must hold at least one device, got an empty list.")
    whole = isinstance(runs_at_once, int | np.integer) and not isinstance(runs_at_once, bool) and runs_at_once >= 1
    if runs_at_once is not None and not whole:
        raise ValueError(f"`runs_at_once` must be a positive whole number, got {runs_at_once!r}.")
    runs = _runs(problem, rule, schedule, points, seed_list, params, key, every, times)
    _require_alike(runs, points)
    store = None
    if resume is not None and jax.process_index() == 0:
        store = Store(resume, runs, _description(problem, rule, key, every, times), key, every=save_every)
    try:
        with progress_bar(sum(len(run.schedule) for run in runs), progress) as bar:
            found, said = _compute(runs, key, devices, runs_at_once, store, bar)
    finally:
        if store is not None:
            store.close()
    schedules = {id(run.schedule): run.schedule for run in runs}
    attributes = provenance(
        **_description(problem, rule, key, every, times),
        grid={name: values for name, (_, values) in points.coords.items()},
        seeds=seed_list,
        schedules=[{"protocol": s.protocol, **dict(s.arguments)} for s in schedules.values()],
        batches=said,
        gradients=sum(len(run.schedule) for run in runs),
    )
    return sweep_dataset(runs, [found[run.index] for run in runs], points, seed_list, attributes, times=times)


def _description(problem: Any, rule: Any, key: jax.Array, every: int | None, times: Any) -> dict[str, Any]:
    """What all runs have in common, for people."""
    return {
        "problem": getattr(problem, "name", getattr(problem, "__qualname__", "problem")),
        "rule": getattr(rule, "__qualname__", type(rule).__qualname__),
        "key": jax.random.key_data(key).tolist(),
        "every": every,
        "times": None if times is None else np.asarray(times).tolist(),
    }


def _compute(
    runs: Sequence[Run],
    key: jax.Array,
    devices: Sequence[jax.Device],
    runs_at_once: int | None,
    store: Store | None,
    bar: Any,
) -> tuple[dict[int, Found], list[str]]:
    """What every run has found, by its index, and how; with several processes each computes some of the batches."""
    said = []
    found: dict[int, Found] = hosts.from_first({} if store is None else store.done())
    bar.update(sum(len(runs[index].schedule) for index in found))
    for group in _groups(runs, devices):
        if all(run.index in found for run in group.runs):
            continue
        here = devices[: len(group.runs)]
        width = hosts.from_first(_width(group, key, here, runs_at_once, store))
        saved = store.running(group, width, len(here), found) if store is not None else None
        first = [] if saved is None else [saved.strips]
        taken = found.keys() | {run.index for strips in first for strip in strips for run in strip}
        batches = [*first, *batches_of(group, width, len(here), taken)]
        said.append(
            f"{len(group.runs)} runs of {group.lanes} lanes in {len(batches)} batches on {len(here)} devices, "
            f"{width.runs} runs ({width.runs * group.bytes_per_run() / 2**30:.3g} GiB) at a time on each"
        )
        _LOG.info("%s", said[-1])
        for strips in hosts.mine(batches):
            batch = Batch(group, strips, key, here)
            if saved is not None and strips is saved.strips:
                batch.restore(saved.next_chunk, saved.arrays)
            else:
                batch.begin()
            new = sum({run.index: len(run.schedule) for run in batch.runs if run.index not in found}.values())
            shown = 0
            while batch.advance():
                bar.update(new * batch.next_chunk // group.chunks - shown)
                shown = new * batch.next_chunk // group.chunks
                if store is not None and store.due():
                    store.save(batch, width)
            bar.update(new - shown)
            for index, result in hosts.gathered(batch):
                if index not in found:
                    found[index] = result
                    if store is not None:
                        store.add(index, result)
    return found, said


def _width(
    group: Group, key: jax.Array, devices: Sequence[jax.Device], runs_at_once: int | None, store: Store | None
) -> Width:
    known = None if store is None or runs_at_once is not None else store.width(group)
    width = known or choose_width(group, key, devices, runs_at_once)
    if store is not None:
        store.remember(group, width)
    return width


def _seeds(seeds: int | Sequence[int]) -> list[int]:
    listed = [seeds] if isinstance(seeds, int | np.integer) else [] if isinstance(seeds, str) else list(np.atleast_1d(seeds))
    whole = all(isinstance(seed, int | np.integer) and not isinstance(seed, bool | np.bool_) for seed in listed)
    if whole and isinstance(seeds, int | np.integer):
        listed = list(range(seeds))
    if not whole or not listed or len(set(listed)) < len(listed) or min(listed) < 0 or max(listed) >= 2**32:
        raise ValueError(
            f"`seeds` must be a positive number of seeds, or different whole numbers below 2^32, got {seeds!r}."
        )
    return list(map(int, listed))


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

    runs: list[Run] = []
    schedules: list[Schedule] = []
    for index, point in enumerate(points.points):
        mine = once("problem", problem, lambda: make(problem, point), point)  # noqa: B023
        its_rule = once("rule", rule, lambda: make(rule, point), point)  # noqa: B023
        for seed in seeds:
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
            base = once("prepared", None, lambda: _prepared(mine, its_rule, params, key, callable(problem)), {}, id(mine))  # noqa: B023
            prepared = once("both", None, lambda: _with_rule(base, its_rule), {}, id(mine), id(its_rule))  # noqa: B023
            runs.append(
                Run(index=len(runs), point=index, seed=seed, prepared=prepared, schedule=its_schedule, versions=versions)
            )
    return runs


def _known(schedule: Any, schedules: list[Schedule]) -> Any:
    """The first of equal schedules: runs on it share their plan."""
    for other in schedules:
        if other is schedule or other == schedule:
            return other
    if isinstance(schedule, Schedule):
        schedules.append(schedule)
    return schedule


def _require_alike(runs: Sequence[Run], grid: Grid) -> None:
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
    check_simulation(problem, rule, schedule, key, every, times, None)
    return np.unique(record_points(schedule, every, times)[0])


def _prepared(
    problem: Problem, rule: optax.GradientTransformation, params: optax.Params | None, key: jax.Array, varies: bool
) -> Prepared:
    init_key, jobs_key = split_key(key)
    start = problem.init if params is None else lambda _: jax.tree.map(jnp.asarray, params)
    first = start(init_key)
    check_params(first)
    check_metrics(problem, first)
    program = engine.traced(problem, rule, first, jobs_key, lift_numbers=varies)
    init, init_numbers = trace(start, init_key, lift_numbers=varies)
    rule_init, rule_numbers = trace(rule.init, first, lift_numbers=True)
    metrics, metric_numbers = trace(problem.metrics, first, lift_numbers=varies)
    return Prepared(
        program=program,
        init=init,
        rule_init=rule_init,
        metrics=metrics,
        metric_names=tuple(jax.eval_shape(problem.metrics, first)),
        init_numbers={"params": init_numbers, "rule_state": rule_numbers},
        metric_numbers=metric_numbers,
    )


def _with_rule(base: Prepared, rule: optax.GradientTransformation) -> Prepared:
    rule_init, numbers = trace(rule.init, base.program.params, lift_numbers=True)
    program = engine.with_rule(base.program, rule)
    init_numbers = {**base.init_numbers, "rule_state": numbers}
    return dataclasses.replace(base, program=program, rule_init=rule_init, init_numbers=init_numbers)


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
            groups += [Group(mine, _lanes(mine[0])) for mine in of_schedule.values()]
    return groups


def _lanes(run: Run) -> int:
    """Gradients of one run that are computed together: those of a round; else the runs themselves fill the device."""
    rounds = gradients_per_round(run.schedule)
    return rounds if rounds > 1 and not run.prepared.program.needs_stale_params else 1
