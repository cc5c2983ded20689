"""What a sweep costs: against single simulations, against NumPy loops, against bare gradients, with and without checkpoints.

64 runs, 16 step sizes times 4 seeds, of asynchronous SGD with 100 workers; one process, a CPU device per core.
"""

import dataclasses
import functools
import json
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import PartitionSpec

import jasgd
from experiments.benchmarks.cases import CASES, Case
from experiments.benchmarks.measure import Competitor, Spread, fastest, paired, ratio
from experiments.benchmarks.numpy_heap import numpy_heap
from experiments.benchmarks.report import about
from jasgd import batch as compiled


def _key() -> jax.Array:
    """Made late: the number of CPU devices is chosen before JAX does anything."""
    return jax.random.key(0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Measure what a sweep costs.

    Attributes:
      updates: per run.
      limit_updates: per run of the comparison with bare gradients, long enough that preparing the runs does not count.
      points, seeds: step sizes, and runs of each.
      repeats: rounds in which every competitor runs once.
      checkpoint_updates: per run of the measurement of checkpoints.
      checkpoint_seconds: between checkpoints.
      runs: instead, so many runs of the logistic regression in one program, compared with one run.
      out: also write a JSON file.
    """

    updates: int = 5_000
    limit_updates: int = 25_000
    points: int = 16
    seeds: int = 4
    repeats: int = 5
    checkpoint_updates: int = 200_000
    checkpoint_seconds: float = 10.0
    runs: int | None = None
    out: Path | None = None


def rates(options: Options) -> list[float]:
    """The step sizes."""
    return np.geomspace(1e-3, 0.3, options.points).tolist()


def sweep(
    case: Case, schedule: jasgd.Schedule, options: Options, *, every: int | None = 1000, **arguments: Any
) -> Competitor:
    """The whole call."""
    problem, grid = case.problem(), {"learning_rate": rates(options)}
    count = options.points * options.seeds * len(schedule)

    def run() -> None:
        jasgd.sweep(problem, optax.sgd, schedule, grid=grid, seeds=options.seeds, key=_key(), every=every, **arguments)

    return Competitor(name="sweep", run=run, deliveries=count)


def singles(case: Case, schedule: jasgd.Schedule, options: Options) -> Competitor:
    """One call of ``simulate`` for every run."""
    problem = case.problem()

    def run() -> None:
        for rate in rates(options):
            for seed in range(options.seeds):
                jasgd.simulate(problem, optax.sgd(rate), schedule, key=jax.random.fold_in(_key(), seed), every=1000)

    return Competitor(name="singles", run=run, deliveries=options.points * options.seeds * len(schedule))


def heap(case: Case, options: Options) -> Competitor:
    """The NumPy loop, for every run."""
    params = case.problem().init(_key())
    once = numpy_heap(case, case.problem(), options.updates, params=params)
    count = options.points * options.seeds

    def run() -> None:
        for _ in range(count):
            once()

    return Competitor(name="numpy", run=run, deliveries=count * options.updates)


def bare(case: Case, seeds: int, of_seed: int, total: int, *, slots: int = 0) -> Competitor:
    """Samples, one for all runs of a seed, and gradients at as many points as there are runs; only their sum is kept.

    With ``slots`` every gradient is taken at one of so many versions of its run, in turn, and makes a new one in its place:
    the bytes that asynchronous SGD must move, with nothing that would say which.
    """
    problem, mesh = case.problem(), compiled.mesh_of(jax.local_devices())
    runs = seeds * of_seed * mesh.size
    steps = total // runs

    def local(snapshots: Any, keys: jax.Array) -> Any:
        def step(carry: Any, index: jax.Array) -> Any:
            snapshots, index = jax.lax.optimization_barrier((carry[0], index))
            worker = index % case.workers
            batches = jax.vmap(lambda key: problem.sample(jasgd.job_key(key, worker, index), worker))(keys)
            batches = jax.lax.optimization_barrier(batches)
            gradients = jax.vmap(jax.vmap(problem.gradient, in_axes=(0, None)))(snapshots, batches)
            return (snapshots, jax.tree.map(jnp.add, carry[1], gradients)), None

        def update(carry: Any, index: jax.Array) -> Any:
            versions, params = carry
            worker, slot = index % case.workers, index % slots
            batches = jax.vmap(lambda key: problem.sample(jasgd.job_key(key, worker, index), worker))(keys)
            read = jax.tree.map(lambda leaf: jax.lax.dynamic_index_in_dim(leaf, slot, axis=2, keepdims=False), versions)
            gradients = jax.vmap(jax.vmap(problem.gradient, in_axes=(0, None)))(read, jax.lax.optimization_barrier(batches))
            params = jax.tree.map(lambda x, g: x - 1e-3 * g, params, gradients)
            write = functools.partial(jax.lax.dynamic_update_index_in_dim, index=slot, axis=2)
            return (jax.tree.map(write, versions, params), params), None

        start = jax.tree.map(lambda leaf: leaf.reshape(seeds, of_seed, *leaf.shape[1:]), snapshots)
        if slots:
            versions = jax.tree.map(lambda leaf: jnp.repeat(leaf[:, :, None], slots, axis=2), start)
            total = jax.lax.scan(update, (versions, start), jnp.arange(steps))[0][1]
        else:
            total = jax.lax.scan(step, (start, jax.tree.map(jnp.zeros_like, start)), jnp.arange(steps))[0][1]
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), total)

    spec = PartitionSpec(compiled.AXIS)
    loop = jax.jit(jax.shard_map(local, mesh=mesh, in_specs=(spec, spec), out_specs=spec, check_vma=False))
    params = problem.init(_key())
    snapshots = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (runs, *leaf.shape)), params)
    keys = jax.random.split(_key(), seeds * mesh.size)
    return Competitor(
        name="moved" if slots else "bare",
        run=lambda: jax.block_until_ready(loop(snapshots, keys)),
        deliveries=steps * runs,
        detail=bare_name(seeds, of_seed),
    )


def copies(case: Case, of_seed: int, total: int) -> Competitor:
    """Only the bytes: NumPy reads one version of every run and writes another, on each core those of its runs."""
    params, cores = jax.tree.leaves(case.problem().init(_key())), jax.local_device_count()
    size = sum(leaf.size for leaf in params)
    steps = total // (of_seed * cores)
    rings = [np.ones((of_seed, case.workers, size), np.float32) for _ in range(cores)]
    slots = np.random.default_rng(0).integers(case.workers, size=steps)

    def one(ring: np.ndarray) -> None:
        read, new = np.empty_like(ring[:, 0]), np.ones_like(ring[:, 0])
        for step, slot in enumerate(slots):
            np.copyto(read, ring[:, slot])
            np.copyto(ring[:, step % case.workers], new)

    def run() -> None:
        with ThreadPoolExecutor(cores) as threads:
            list(threads.map(one, rings))

    return Competitor(name="copies", run=run, deliveries=steps * of_seed * cores)


def bare_name(seeds: int, of_seed: int) -> str:
    """A width of bare gradients in words."""
    return f"{seeds} seeds of {of_seed} runs per device"


def measure(case: Case, options: Options) -> dict[str, Any]:
    """Ratios of gradients per second."""
    schedule = jasgd.protocols.asynchronous(case.fleet(), options.updates)
    rivals = [sweep(case, schedule, options), singles(case, schedule, options), heap(case, options)]
    found = paired(rivals, repeats=options.repeats)
    return {
        "gradients_per_second": Spread.of(found["sweep"]),
        **{f"sweep / {name}": ratio(found, "sweep", name) for name in ("singles", "numpy")},
    }


def limit(case: Case, options: Options) -> dict[str, Any]:
    """A longer sweep with metrics of its ends, relative to bare gradients at their best width; and with more metrics."""
    schedule = jasgd.protocols.asynchronous(case.fleet(), options.limit_updates)
    whole = sweep(case, schedule, options, every=None)
    measured = dataclasses.replace(sweep(case, schedule, options), name="measured")
    widths = {(1, 1), (1, options.points // 2), (1, options.points), (max(1, options.seeds // 2), options.points)}
    short = fastest([bare(case, *width, whole.deliveries // 10) for width in sorted(widths)])
    width = next(width for width in widths if bare_name(*width) == short.detail)
    rivals = [bare(case, *width, whole.deliveries), bare(case, *width, whole.deliveries, slots=case.workers)]
    rivals.append(copies(case, width[0] * width[1], whole.deliveries))
    found = paired([whole, measured, *rivals], repeats=options.repeats)
    one_by_one = [1 / (1 + computed / copied) for computed, copied in zip(found["bare"], found["copies"], strict=True)]
    print(f"{case.name}: bare gradients are fastest with {short.detail}.")
    return {
        "gradients_per_second": Spread.of(found["sweep"]),
        "sweep / bare": ratio(found, "sweep", "bare"),
        "as many bytes / bare": ratio(found, "moved", "bare"),
        "bare, then copies / bare": Spread.of(one_by_one),
        "with metrics every 1000 versions / without": ratio(found, "measured", "sweep"),
    }


def checkpoints(case: Case, options: Options) -> dict[str, Any]:
    """A longer sweep with a checkpoint every few seconds, relative to one without."""
    schedule = jasgd.protocols.asynchronous(case.fleet(), options.checkpoint_updates)
    plain = sweep(case, schedule, options)
    problem, grid = case.problem(), {"learning_rate": rates(options)}

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            jasgd.sweep(
                problem, optax.sgd, schedule, grid=grid, seeds=options.seeds, key=_key(), every=1000,
                resume=folder, save_every=options.checkpoint_seconds,
            )  # fmt: skip

    saved = dataclasses.replace(plain, name="saved", run=run)
    found = paired([plain, saved], repeats=max(2, options.repeats // 2))
    seconds = [plain.deliveries / rate for rate in found["sweep"]]
    return {"sweep with checkpoints / sweep": ratio(found, "saved", "sweep"), "seconds": Spread.of(seconds)}


def many(case: Case, options: Options) -> dict[str, Any]:
    """Gradients per second of many runs in one program, and of one run."""
    schedule = jasgd.protocols.asynchronous(case.fleet(), options.updates)
    problem, count = case.problem(), options.runs or 1
    seeds = max(1, count // options.points)
    together = dataclasses.replace(options, seeds=seeds)
    rivals = [
        sweep(case, schedule, together, runs_at_once=options.points * seeds),
        Competitor(
            name="one",
            run=lambda: jasgd.simulate(problem, optax.sgd(0.01), schedule, key=_key(), every=1000),
            deliveries=len(schedule),
        ),
    ]
    found = paired(rivals, repeats=options.repeats)
    return {
        "gradients_per_second": Spread.of(found["sweep"]),
        "one_run_gradients_per_second": Spread.of(found["one"]),
        f"{options.points * seeds} runs / one run": ratio(found, "sweep", "one"),
    }


def main(options: Options) -> None:
    """Measure, print, write the file."""
    cases = {name: next(case for case in CASES if case.name == name) for name in ("logistic-sqrt", "mlp-sqrt")}
    if options.runs is not None:
        results = {"logistic-sqrt": many(cases["logistic-sqrt"], options)}
    else:
        results = {name: measure(case, options) for name, case in cases.items()}
        results |= {f"{name}, {options.limit_updates} updates": limit(case, options) for name, case in cases.items()}
        results["logistic-sqrt, checkpoints"] = checkpoints(cases["logistic-sqrt"], options)
    print("\n| case | what | median | range |\n| --- | --- | --- | --- |")
    for name, row in results.items():
        for what, spread in row.items():
            print(f"| {name} | {what} | {spread.median:.3g} | {spread.low:.3g} to {spread.high:.3g} |")
    settings = about(repeats=options.repeats, quick=False) | {"devices": jax.device_count()}
    print("\n" + "; ".join(f"{name} {value}" for name, value in settings.items()))
    if options.out is not None:
        rows = {name: {what: dataclasses.asdict(s) for what, s in row.items()} for name, row in results.items()}
        configuration = {k: str(v) for k, v in dataclasses.asdict(options).items()}
        content = {"about": settings, "options": configuration, "results": rows}
        options.out.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    try:
        import tyro
    except ImportError:
        sys.exit('the command line needs tyro: pip install "jasgd[experiments]"')
    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)
    main(tyro.cli(Options))
