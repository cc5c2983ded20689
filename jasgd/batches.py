"""Batches of runs: a group of runs that one compiled loop serves, and how a batch of them is computed chunk by chunk."""

import dataclasses
from collections.abc import Container, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jasgd import at_once, batch, chunks, engine
from jasgd.batch import Shared
from jasgd.checkpoints import flat, unflat
from jasgd.cost import working_bytes
from jasgd.plan import Plan, plan
from jasgd.program import Program
from jasgd.read_models import window_of
from jasgd.records import steps_per_chunk
from jasgd.schedule import Schedule

_CACHED_CHUNKS = 2**27  # bytes of a shared schedule's chunks that are kept for the next batch


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A problem and a rule as programs, gradients per job, and what messages and models weigh."""

    program: engine.Traced
    init: Program
    rule_init: Program
    metrics: Program
    metric_names: tuple[str, ...]
    init_numbers: dict[str, list[jax.Array]]
    metric_numbers: list[jax.Array]
    job_gradients: Any
    links: Mapping[str, Any]

    @property
    def structure(self) -> tuple[Any, ...]:
        """Runs for which it is equal share a compiled loop."""
        traced = self.program
        programs = traced.sample, traced.gradient, traced.rule, self.init, self.rule_init, self.metrics
        return *programs, traced.extra_args, traced.read_model


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """One run: a point of the grid and a seed; ``versions`` are recorded."""

    index: int
    point: int
    seed: int
    prepared: Prepared
    schedule: Schedule
    versions: np.ndarray

    @property
    def gradients(self) -> int:
        """How many it computes."""
        per_job = np.broadcast_to(self.prepared.job_gradients, self.schedule.num_workers)
        return int(per_job[self.schedule.worker].sum())


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Values:
    """What a batch has found so far: of every run the metrics (R, T) of its recorded versions, and which are finite."""

    metrics: dict[str, np.ndarray]
    finite: np.ndarray


class Group:
    """Runs of one structure: on one schedule, or on several, each with its own rows."""

    def __init__(self, runs: Sequence[Run], lanes: int, chunk_steps: int | None = None) -> None:
        self.runs, self.lanes = list(runs), lanes
        first = self.runs[0]
        self.program = first.prepared.program
        schedules = {id(run.schedule): run for run in runs}
        self.chunk_steps = chunk_steps or min(
            steps_per_chunk(self.program, run.schedule, lanes, run.versions) for run in schedules.values()
        )
        self._plans = {
            name: plan(
                run.schedule,
                lanes,
                chunk_steps=self.chunk_steps,
                record_versions=run.versions,
                window=window_of(self.program.read_model, int(run.schedule.delay.max())),
            )
            for name, run in schedules.items()
        }
        plans = list(self._plans.values())
        self.shared = len(plans) == 1
        self.chunks = max(p.chunks for p in plans)
        self.records_per_chunk = max(p.records_per_chunk for p in plans)
        self.rows = max(chunks.ring_rows(p) for p in plans)
        self.loop = _common_loop([engine.loop_of(self.program, p, runs=len(self.runs)) for p in plans], plans)
        self.start = batch.Start(
            params=first.prepared.init,
            rule_state=first.prepared.rule_init,
            rows=self.rows,
            gathers=self.loop.gathers,
            sends=self.program.sends,
            snapshot_dtype=self.program.snapshot_dtype,
        )
        self._kept: dict[int, Shared] = {}
        prepared = list({id(run.prepared): run.prepared for run in runs}.values())
        # Of the whole group, so that all its batches are computed by one program.
        self._numbers = batch.differences([p.program.numbers for p in prepared])
        self._init_numbers = batch.differences([p.init_numbers for p in prepared])
        self._metric_numbers = batch.differences([p.metric_numbers for p in prepared])

    def by_seed(self) -> list[list[Run]]:
        """The runs of each seed."""
        found: dict[int, list[Run]] = {}
        for run in self.runs:
            found.setdefault(run.seed, []).append(run)
        return list(found.values())

    def plan_of(self, run: Run) -> Plan:
        """The plan of a run's schedule."""
        return self._plans[id(run.schedule)]

    def numbers(self, runs: Sequence[Run]) -> Shared:
        """The numbers of the programs of the loop."""
        return Shared.of([run.prepared.program.numbers for run in runs], self._numbers)

    def init_numbers(self, runs: Sequence[Run]) -> Shared:
        """Those of the programs that make the starting points."""
        return Shared.of([run.prepared.init_numbers for run in runs], self._init_numbers)

    def metric_numbers(self, runs: Sequence[Run]) -> Shared:
        """Those of the metrics."""
        return Shared.of([run.prepared.metric_numbers for run in runs], self._metric_numbers)

    def chunk(self, runs: Sequence[Run], index: int, mesh: Mesh) -> Shared:
        """One chunk of the runs, on the devices."""
        if not self.shared:
            stacked = chunks.stacked_chunks(self.loop, [self.plan_of(run) for run in runs], index, self.rows)
            differ = [name != "steps" for name, part in sorted(stacked[0].items()) for _ in jax.tree.leaves(part)]
            return batch.place(Shared.of(stacked, differ), mesh)
        if index not in self._kept:
            chunk = chunks.chunk_arrays(self.loop, self.plan_of(runs[0]), index)
            made = batch.place(Shared.of([chunk], [False] * len(jax.tree.leaves(chunk))), mesh)
            if self.chunks * engine.tree_bytes(made.same) > _CACHED_CHUNKS:
                return made
            self._kept[index] = made
        return self._kept[index]

    def bytes_per_run(self) -> int:
        """Device memory of one run: ring, lanes at work, parameters and rule state, twice where they are exchanged."""
        snapshot, point = map(engine.tree_bytes, (self.program.snapshots, self.program.params))
        ring = self.rows * snapshot * (2 if self.program.sends else 1)
        window = max(p.window for p in self._plans.values())
        lane = (2 + window) * snapshot + self.program.batch_bytes + working_bytes(self.program.gradient)
        lanes = self.lanes * lane
        if self.loop.linear is not None:
            (only,) = self._plans.values()  # several schedules have one lane
            widened = self.lanes if self.program.snapshot_dtype is not None else 0  # gradients
            lanes += (widened + sum(only.widths[1:])) * point + self.loop.block * at_once.bytes_ahead(self.program, only)
        return ring + lanes + 4 * point + 2 * engine.tree_bytes(self.program.rule_state)


def _common_loop(loops: Sequence[engine.Loop], plans: Sequence[Plan]) -> engine.Loop:
    return dataclasses.replace(
        loops[0],
        gathers=any(loop.gathers for loop in loops),
        weighted=any(loop.weighted for loop in loops),
        padded=len({p.steps for p in plans}) > 1,
        read_model=next((loop.read_model for loop in loops if loop.read_model is not None), None),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Width:
    """How many runs a device computes together: so many seeds, of each so many runs."""

    seeds: int
    of_seed: int

    @property
    def runs(self) -> int:
        """All of them."""
        return self.seeds * self.of_seed

    @classmethod
    def at_most(cls, runs: int, group: Group, devices: int) -> "Width":
        """Up to so many; first runs of one seed, as they share their samples, all in portions of nearly equal size."""
        by_seed = group.by_seed()
        most = max(map(len, by_seed))
        of_seed = _even(most, runs)
        strips = sum(-(-len(mine) // of_seed) for mine in by_seed)
        return cls(seeds=_even(-(-strips // devices), max(1, runs // of_seed)), of_seed=of_seed)


def _even(count: int, most: int) -> int:
    """The size of portions of at most ``most`` that waste least."""
    return -(-count // -(-count // most))


def batches_of(group: Group, width: Width, devices: int, done: Container[int] = ()) -> list[list[list[Run]]]:
    """The runs that are left, in batches of strips: runs of one seed, all of equal length, the last one repeated."""
    strips = []
    for runs in group.by_seed():
        mine = [run for run in runs if run.index not in done]
        for begin in range(0, len(mine), width.of_seed):
            strip = mine[begin : begin + width.of_seed]
            strips.append([*strip, *[strip[-1]] * (width.of_seed - len(strip))])
    together = width.seeds * devices
    portions = [strips[begin : begin + together] for begin in range(0, len(strips), together)]
    return [[*portion, *[portion[-1]] * (together - len(portion))] for portion in portions]


class Batch:
    """Some runs of a group on some devices, advanced one chunk at a time."""

    def __init__(self, group: Group, strips: Sequence[Sequence[Run]], key: jax.Array, devices: Sequence[jax.Device]) -> None:
        self.group, self.mesh = group, batch.mesh_of(devices)
        self.runs = [run for strip in strips for run in strip]
        self._shared = NamedSharding(self.mesh, PartitionSpec(batch.AXIS))
        seeds = np.array([strip[0].seed for strip in strips], np.uint32)
        self.init_keys, self.job_keys = (
            batch.PerSeed(tree=keys) for keys in jax.device_put(_keys(key, seeds), self._shared)
        )
        self.numbers = batch.place(group.numbers(self.runs), self.mesh)
        self.metric_numbers = batch.place(group.metric_numbers(self.runs), self.mesh)
        self.state: engine.State | None = None
        self.next_chunk = 0
        records = max(len(run.versions) for run in self.runs)
        self.finite = np.ones((len(self.runs), records), bool)
        self.metrics: dict[str, np.ndarray] = {}
        self._asked: list[tuple[list[np.ndarray], Any]] = []

    def begin(self) -> None:
        """The state at version 0."""
        numbers = batch.place(self.group.init_numbers(self.runs), self.mesh)
        self.state = batch.init(self.group.start, self.mesh, numbers, self.init_keys, self._like())
        self._record(-1)

    def _like(self) -> jax.Array:
        """One entry per run."""
        return jax.device_put(np.zeros(len(self.runs), bool), self._shared)

    def arrays(self) -> dict[str, Any]:
        """All that :meth:`restore` needs, for a checkpoint."""
        values = self.values()
        metrics = {f"metric:{name}": column for name, column in values.metrics.items()}
        return {**flat("state", self.state), "finite": values.finite, **metrics}

    def restore(self, next_chunk: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from a checkpoint."""
        self.begin()
        self._asked = []
        self.state, self.next_chunk = unflat("state", self.state, arrays), next_chunk
        self.finite = np.array(arrays["finite"])
        found = {name.removeprefix("metric:"): np.array(c) for name, c in arrays.items() if name.startswith("metric:")}
        self.metrics = found

    def advance(self) -> bool:
        """Compute one chunk; False if there is none left, or if no run is finite any more."""
        index = self.next_chunk
        if index == self.group.chunks:
            return False
        chunk = self.group.chunk(self.runs, index, self.mesh)
        self.state = batch.step(self.group.loop, self.mesh, self.numbers, self.job_keys, self.state, chunk)
        self._record(index)
        self.next_chunk += 1
        return bool(self.finite.all(axis=1).any())

    def rehearse(self, most: int) -> int:
        """Compute a few steps of the first chunk, for a measurement and from anywhere; returns how many."""
        if self.state is None:
            first = self.group.program.params, self.group.program.rule_state
            shared = batch.place(Shared.of([first], [False] * len(jax.tree.leaves(first))), self.mesh)
            self.state = batch.alike(self.group.start, self.mesh, shared, self._like())
        chunk = self.group.chunk(self.runs, 0, self.mesh)
        steps = min(most, int(chunk.same["steps"]))
        few = jax.device_put(np.int32(steps), chunk.same["steps"].sharding)
        short = dataclasses.replace(chunk, same={**chunk.same, "steps": few})
        self.state = batch.step(self.group.loop, self.mesh, self.numbers, self.job_keys, self.state, short)
        jax.block_until_ready(self.state)
        return steps

    def _record(self, index: int) -> None:
        """Ask for a chunk's records; take those that were asked for before."""
        group = self.group
        wanted = [np.flatnonzero(group.plan_of(run).record_chunks == index) for run in self.runs]
        if any(map(len, wanted)):
            slots = np.zeros((len(self.runs), group.records_per_chunk), np.int32)
            for mine, run, which in zip(slots, self.runs, wanted, strict=True):
                mine[: len(which)] = group.plan_of(run).record_slots[which]
            shared = Shared(same=slots[0], own=None) if group.shared else Shared(same=None, own=slots)
            assert self.state is not None
            metrics = self.runs[0].prepared.metrics
            self._asked.append((wanted, batch.evaluate(metrics, self.mesh, self.metric_numbers, self.state.ring, shared)))
        if len(self._asked) > 1:
            self._take()

    def _take(self) -> None:
        wanted, answer = self._asked.pop(0)
        metrics, finite = jax.device_get(answer)
        for run, which in enumerate(wanted):
            self.finite[run, which] = finite[run, : len(which)]
            for name, column in metrics.items():
                if name not in self.metrics:
                    self.metrics[name] = np.full(self.finite.shape, np.nan, np.result_type(column.dtype, np.float32))
                self.metrics[name][run, which] = column[run, : len(which)]

    def values(self) -> Values:
        """What has been found; waits for it."""
        while self._asked:
            self._take()
        return Values(metrics=self.metrics, finite=self.finite)


@jax.jit
def _keys(key: jax.Array, seeds: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The keys of the starting points and of the jobs."""
    pairs = jax.vmap(lambda seed: jax.random.split(jax.random.fold_in(key, seed)))(seeds)
    return pairs[:, 0], pairs[:, 1]
