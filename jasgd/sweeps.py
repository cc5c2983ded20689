"""Many runs: hyper-parameters times seeds, in one compiled program per structure, over all local devices.

Runs that differ in numbers alone share a program (:mod:`jasgd.program`) and are computed in batches, mapped over a run axis
(:mod:`jasgd.batch`). Whatever changes the structure of the program becomes a group of its own.
"""

import contextlib
import dataclasses
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import DTypeLike

from jasgd import hosts
from jasgd.batches import Batch, Group, Run, Width, batches_of
from jasgd.checkpoints import require_interval
from jasgd.grid import Grid, Point, Value, grid_of, require_used, seeds_of
from jasgd.heard import asked
from jasgd.interrupts import Held, held_back
from jasgd.labelled import Found, sweep_dataset
from jasgd.oracles.oracle import Oracle
from jasgd.problems.problem import Problem
from jasgd.progress import progress_bar
from jasgd.recorder import no_loss
from jasgd.results import labels, provenance
from jasgd.runs import groups_of, require_alike, runs_of
from jasgd.schedule import Schedule
from jasgd.store import Kept, Store, kept_by_all
from jasgd.summary import described
from jasgd.widths import choose_width

if TYPE_CHECKING:
    import xarray

_LOG = logging.getLogger("jasgd")


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
    oracle: Oracle | Callable[..., Oracle] | None = None,
    snapshot_dtype: DTypeLike | None = None,
    progress: bool | str = False,
) -> "xarray.Dataset":
    """Simulate every point of a grid with every seed; each run is what :func:`jasgd.simulate` computes alone.

    A problem, a rule, a schedule or an oracle may be a function of some of the grid's names, rules and schedules also of
    ``seed``. The run of a point and a seed has the key ``jax.random.fold_in(key, seed)``, so runs of the same seed see the
    same samples.

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
        is not computed again, so a sweep that was killed goes on, and a larger grid reuses the smaller one. Ctrl-C and
        SIGTERM save what there is at the end of the chunk. Of several processes, each keeps its own batch if it sees the
        folder of the first one.
      save_every: seconds of real time between checkpoints.
      oracle: what workers compute, or a function that makes it; by default one stochastic gradient.
      snapshot_dtype: of what workers read and send, if narrower than the parameters, as in :func:`jasgd.simulate`.
      progress: show a progress bar, with a label if it is a string.

    Returns:
      A dataset with a dimension for every name of the grid (or ``point``), ``seed``, and ``version`` or, with ``times``,
      ``time``. From the record on at which the parameters of a run are not finite any more its metrics are NaN;
      ``diverged`` says so, and ``diverged_at`` at which version. The attribute ``batches``, and the log of the logger
      ``jasgd``, say how the runs were laid out. What the links have carried (:mod:`jasgd.traffic`) are coordinates.

    Example:
      >>> problem = jasgd.problems.quadratic(dim=10, noise=0.01)
      >>> schedule = jasgd.protocols.asynchronous(jasgd.fleet.power_law(4, exponent=1.0), updates=100)
      >>> grid = {"learning_rate": [0.01, 0.1]}
      >>> result = jasgd.sweep(problem, optax.sgd, schedule, grid=grid, seeds=3, key=jax.random.key(0), every=50)
      >>> dict(result["loss"].sizes)
      {'learning_rate': 2, 'seed': 3, 'version': 3}
    """
    planned = plan_sweep(
        problem,
        rule,
        schedule,
        key=key,
        grid=grid,
        seeds=seeds,
        params=params,
        every=every,
        times=times,
        devices=devices,
        runs_at_once=runs_at_once,
        resume=resume,
        save_every=save_every,
        oracle=oracle,
        snapshot_dtype=snapshot_dtype,
    )
    with progress_bar(planned.deliveries, progress) as bar:
        return planned.compute(bar)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PlannedSweep:
    """A sweep whose arguments have been checked, whose schedules are made and whose programs are traced."""

    runs: Sequence[Run]
    points: Grid
    seeds: Sequence[int]
    key: jax.Array
    times: Any
    devices: Sequence[jax.Device]
    runs_at_once: int | None
    resume: str | os.PathLike[str] | None
    save_every: float
    description: Mapping[str, Any]

    @property
    def gradients(self) -> int:
        """Of all runs together."""
        return sum(run.gradients for run in self.runs)

    @property
    def deliveries(self) -> int:
        """Of all runs together."""
        return sum(len(run.schedule) for run in self.runs)

    def compute(self, bar: Any) -> "xarray.Dataset":
        """What :func:`sweep` returns."""
        began = time.perf_counter()
        with contextlib.ExitStack() as opened:
            held = opened.enter_context(held_back(self.resume is not None and jax.process_count() == 1))
            store, kept = None, None
            if self.resume is not None and jax.process_index() == 0:
                store = opened.enter_context(
                    contextlib.closing(Store(self.resume, self.runs, self.description, self.key, every=self.save_every))
                )
            if self.resume is not None and (kept := kept_by_all(store, self.resume, self.save_every)) is not None:
                opened.enter_context(contextlib.closing(kept))
            found, said = _compute(self, store, kept, bar, held)
        schedules = {id(run.schedule): run.schedule for run in self.runs}
        attributes = provenance(
            **self.description,
            grid={name: values for name, (_, values) in self.points.coords.items()},
            seeds=self.seeds,
            schedules=[described(schedule) for schedule in schedules.values()],
            batches=said,
            gradients=self.gradients,
            seconds=f"{time.perf_counter() - began:.1f}",
        )
        results = [found[run.index] for run in self.runs]
        return sweep_dataset(self.runs, results, self.points, self.seeds, attributes, times=self.times)


def plan_sweep(
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
    oracle: Oracle | Callable[..., Oracle] | None = None,
    snapshot_dtype: DTypeLike | None = None,
) -> PlannedSweep:
    """Everything that can go wrong before something is computed; arguments as those of :func:`sweep`."""
    labels()  # needed at the end; better missed at the beginning
    points, seed_list = grid_of(grid), seeds_of(seeds)
    require_used(points, {"problem": problem, "rule": rule, "schedule": schedule, "oracle": oracle})
    require_interval(save_every)
    devices = list(jax.local_devices() if devices is None else devices)
    if not devices:
        raise ValueError("`devices` must hold at least one device, got an empty list.")
    whole = isinstance(runs_at_once, int | np.integer) and not isinstance(runs_at_once, bool) and runs_at_once >= 1
    if runs_at_once is not None and not whole:
        raise ValueError(f"`runs_at_once` must be a positive whole number, got {runs_at_once!r}.")
    runs = runs_of(problem, rule, schedule, oracle, points, seed_list, params, key, every, times, snapshot_dtype)
    require_alike(runs, points)
    return PlannedSweep(
        runs=runs,
        points=points,
        seeds=seed_list,
        key=key,
        times=times,
        devices=devices,
        runs_at_once=runs_at_once,
        resume=resume,
        save_every=save_every,
        description=_description(problem, rule, oracle, key, every, times, snapshot_dtype),
    )


def _description(
    problem: Any, rule: Any, oracle: Any, key: jax.Array, every: int | None, times: Any, snapshot_dtype: DTypeLike | None
) -> dict[str, Any]:
    """What all runs have in common, for people."""
    return {
        "problem": getattr(problem, "name", getattr(problem, "__qualname__", "problem")),
        "rule": getattr(rule, "__qualname__", type(rule).__qualname__),
        "oracle": getattr(oracle, "name", getattr(oracle, "__qualname__", "1 gradient")),
        "key": jax.random.key_data(key).tolist(),
        "every": every,
        "times": None if times is None else np.asarray(times).tolist(),
        "snapshot_dtype": None if snapshot_dtype is None else jnp.dtype(snapshot_dtype).name,
    }


def _compute(
    planned: PlannedSweep, store: Store | None, kept: Kept | None, bar: Any, held: Held
) -> tuple[dict[int, Found], list[str]]:
    """What every run has found, by its index, and how; with several processes each computes some of the batches."""
    runs, key, devices = planned.runs, planned.key, planned.devices
    said = []
    found: dict[int, Found] = hosts.from_first({} if store is None else store.done())
    bar.update(sum(len(runs[index].schedule) for index in found))
    for group in groups_of(runs, devices):
        if all(run.index in found for run in group.runs):
            continue
        here = devices[: len(group.runs)]
        width = hosts.from_first(_width(group, key, here, planned.runs_at_once, store))
        begun = hosts.from_first([] if store is None else store.begun(group, width, len(here), found))
        first = [[[runs[index] for index in strip] for strip in strips] for strips in begun]
        taken = found.keys() | {run.index for strips in first for strip in strips for run in strip}
        batches = [*first, *batches_of(group, width, len(here), taken)]
        said.append(
            f"{len(group.runs)} runs of {group.lanes} lanes in {len(batches)} batches on {len(here)} devices, "
            f"{width.runs} runs ({width.runs * group.bytes_per_run() / 2**30:.3g} GiB) at a time on each"
        )
        _LOG.info("%s", said[-1])
        for strips, own in hosts.mine(batches):
            batch = Batch(group, strips, key, here)
            if kept is not None and (saved := kept.newest(batch, width)) is not None:
                batch.restore(*saved)
                _LOG.info("a batch of %d runs goes on at chunk %d of %d", len(batch.runs), batch.next_chunk, group.chunks)
            else:
                batch.begin()
                _require_losses(batch, planned.points)
            new = sum({run.index: len(run.schedule) for run in batch.runs if run.index not in found}.values())
            shown = 0
            with asked(held):
                while batch.advance():
                    bar.update(new * batch.next_chunk // group.chunks - shown)
                    shown = new * batch.next_chunk // group.chunks
                    if store is not None and (held.waiting or store.due()):
                        store.flush()
                    if kept is not None and own and (held.waiting or kept.due()):
                        kept.save(batch, width)
                    if held.waiting:
                        raise KeyboardInterrupt
            bar.update(new - shown)
            if kept is not None:
                kept.wait()  # afterwards the batch may be done, and its files of no use
            for index, result in hosts.gathered(batch):
                if index not in found:
                    found[index] = result
                    if store is not None:
                        store.add(index, result)
            if held.waiting:
                raise KeyboardInterrupt
    return found, said


def _require_losses(batch: Batch, points: Grid) -> None:
    """Where it begins, with finite parameters, every run has a loss."""
    values = batch.values()
    for run, finite, loss in zip(batch.runs, values.finite[:, 0], values.metrics["loss"][:, 0], strict=True):
        if finite and np.isnan(loss):
            point = {**points.points[run.point], "seed": run.seed}
            raise no_loss(f" of {', '.join(f'{name}={value}' for name, value in point.items())}")


def _width(
    group: Group, key: jax.Array, devices: Sequence[jax.Device], runs_at_once: int | None, store: Store | None
) -> Width:
    known = None if store is None or runs_at_once is not None else store.width(group)
    width = known or choose_width(group, key, devices, runs_at_once)
    if store is not None:
        store.remember(group, width)
    return width
