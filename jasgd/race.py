"""The main job of ``jasgd run``: asynchronous against synchronous SGD at equal simulated time."""

import dataclasses
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import optax

from jasgd import fleet, problems, protocols
from jasgd.output import listed, show
from jasgd.problems.problem import Problem
from jasgd.results import save_dataset
from jasgd.schedule import Schedule
from jasgd.simulation import Run, simulate
from jasgd.summary import described

if TYPE_CHECKING:
    import xarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class RaceConfig:
    """Race asynchronous against synchronous SGD on the tridiagonal quadratic, each with the best of a few step sizes.

    Prints a table, stores the curves and draws them, in under a minute on two cores.

    Examples:
      jasgd run
      jasgd run --workers 50 --dim 100 --seconds 500 --out small
      jasgd run --exponent 0.5 --seed 1 --no-progress --json
    """

    workers: int = 1000
    """Number of workers; worker i needs i**exponent seconds for a gradient."""
    exponent: float = 1.0
    """How different the workers are."""
    dim: int = 1729
    """Dimension of the quadratic."""
    noise: float = 0.01
    """Standard deviation of the gradient noise, per coordinate."""
    seconds: float = 20_000.0
    """Simulated time."""
    asynchronous_steps: tuple[float, ...] = (0.004, 0.008, 0.016, 0.032)
    """Step sizes tried for asynchronous SGD."""
    synchronous_steps: tuple[float, ...] = (1.0, 1.5, 1.9, 1.99)
    """Step sizes tried for synchronous SGD, which steps with the mean of all gradients."""
    seed: int = 0
    """Of everything that is random."""
    out: Path = Path("jasgd-results/run")
    """Folder for the result and the picture."""
    progress: bool = True
    """Show a progress bar."""
    json: bool = False
    """Print one JSON document instead of a table."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Entry:
    name: str
    schedule: Schedule
    run: Run
    step_size: float

    @property
    def gap(self) -> np.ndarray:
        return self.run.history["gap"]


def race(config: RaceConfig) -> None:
    """Run the race, print a table, store the result and a picture."""
    try:
        _race(config)
    except KeyboardInterrupt as stop:
        stop.add_note("a race is too short to be kept half way, so the same command begins anew")
        raise


def _race(config: RaceConfig) -> None:
    workers = fleet.power_law(config.workers, config.exponent)
    times = np.arange(1, config.workers + 1, dtype=np.float64) ** config.exponent
    slowest = float(times.max())
    if not config.asynchronous_steps or not config.synchronous_steps:
        raise ValueError("`asynchronous_steps` and `synchronous_steps` need at least one step size each.")
    if not slowest <= config.seconds < np.inf:
        raise ValueError(f"`seconds` must reach the slowest worker's {slowest:.6g} s and be finite, got {config.seconds}.")
    problem = problems.quadratic(config.dim, config.noise)
    config.out.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    updates = int(np.floor(config.seconds / times).sum())
    asynchronous = protocols.asynchronous(workers, updates, seed=config.seed).until(config.seconds)
    rounds = int(config.seconds / slowest)
    synchronous = protocols.minibatch(workers, rounds, seed=config.seed)
    entries = [
        _best("asynchronous", problem, asynchronous, config.asynchronous_steps, config),
        _best("synchronous", problem, synchronous, config.synchronous_steps, config),
    ]
    spent = time.perf_counter() - began
    files = {"result": config.out / "race.nc", "picture": config.out / "race.png"}
    save_dataset(_dataset(entries, config, spent), files["result"])
    _draw(entries, config, files["picture"])
    document = {**_document(entries, config, spent), "files": files}
    show(f"{_table(entries, config, spent)}\n\n{listed(**files)}", document, as_json=config.json)


def _best(name: str, problem: Problem, schedule: Schedule, step_sizes: tuple[float, ...], config: RaceConfig) -> _Entry:
    """The run with the smallest final gap; step sizes that diverge lose."""
    end = float(schedule.time[-1])
    grid = np.unique(np.concatenate([[0.0], np.geomspace(min(1.0, end / 2), end, 60)]))
    entries = []
    for step_size in step_sizes:
        key = jax.random.key(config.seed)
        label = config.progress and f"{name}, step size {step_size:g}"
        run = simulate(problem, optax.sgd(step_size), schedule, key=key, times=grid, progress=label)
        entries.append(_Entry(name=name, schedule=schedule, run=run, step_size=step_size))
    return min(entries, key=lambda entry: np.inf if entry.run.diverged else float(np.nan_to_num(entry.gap[-1], nan=np.inf)))


def _catching_up(entries: list[_Entry]) -> float | None:
    """When asynchronous SGD is where synchronous SGD ends."""
    fast, slow = entries
    reached = np.flatnonzero(fast.gap <= slow.gap[-1])
    return float(fast.run.history["time"][reached[0]]) if len(reached) else None


def _document(entries: list[_Entry], config: RaceConfig, spent: float) -> dict[str, Any]:
    rows = {
        entry.name: {
            "step_size": entry.step_size,
            "gradients": len(entry.schedule),
            "updates": entry.schedule.updates,
            "mean_delay": entry.schedule.delay.mean(),
            "max_delay": entry.schedule.delay.max(),
            "gap": entry.gap[-1],
            "diverged": entry.run.diverged,
        }
        for entry in entries
    }
    configuration = {name: value for name, value in dataclasses.asdict(config).items() if name not in ("progress", "json")}
    return {"configuration": configuration, "algorithms": rows, "caught_up_at": _catching_up(entries), "seconds": spent}


def _table(entries: list[_Entry], config: RaceConfig, spent: float) -> str:
    lines = [
        f"{config.workers} workers, worker i needs i^{config.exponent:g} s; quadratic with d = {config.dim}; "
        f"{config.seconds:g} simulated seconds",
        "",
        f"{'':14}{'step size':>11}{'gradients':>11}{'updates':>9}{'mean delay':>12}{'max delay':>11}{'f - f*':>12}",
    ]
    for entry in entries:
        schedule = entry.schedule
        lines.append(
            f"{entry.name:14}{entry.step_size:>11g}{len(schedule):>11}{schedule.updates:>9}"
            f"{schedule.delay.mean():>12.1f}{schedule.delay.max():>11}"
            + ("    diverged" if entry.run.diverged else f"{entry.gap[-1]:>12.3e}")
        )
    fast, slow = entries
    at = _catching_up(entries)
    if at is not None:
        lines += ["", f"asynchronous SGD needs {at:.4g} s for what synchronous SGD reaches at {config.seconds:g} s."]
    total = len(config.asynchronous_steps) * len(fast.schedule) + len(config.synchronous_steps) * len(slow.schedule)
    lines.append(f"{total} gradients in {spent:.1f} s of real time, planning and compilation included.")
    return "\n".join(lines)


def _dataset(entries: list[_Entry], config: RaceConfig, spent: float) -> "xarray.Dataset":
    import xarray

    parts = []  # not along "method": that word has a meaning of its own in xarray
    for entry in entries:
        dataset = entry.run.to_dataset().reset_coords().expand_dims(algorithm=[entry.name])
        parts.append(dataset.assign_coords(record=np.arange(dataset.sizes["record"])))
    dataset = xarray.concat(parts, "algorithm", data_vars="all", join="outer", combine_attrs="drop_conflicts")
    sizes = xarray.DataArray([entry.step_size for entry in entries], dims="algorithm", attrs={"units": "1"})
    dataset = dataset.assign(learning_rate=sizes)
    schedules = [{"algorithm": entry.name, **described(entry.schedule)} for entry in entries]
    dataset = dataset.assign_attrs(schedules=json.dumps(schedules, default=str), seconds=f"{spent:.1f}")
    return dataset.assign_attrs({f"config_{k}": str(v) for k, v in dataclasses.asdict(config).items() if k != "json"})


def _draw(entries: list[_Entry], config: RaceConfig, path: os.PathLike[str]) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    colours = {"asynchronous": "#0072b2", "synchronous": "#d55e00"}
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    for entry in entries:
        label = f"{entry.name}, step size {entry.step_size:g}"
        # The first point lies at time 0, which a logarithmic axis does not show.
        left.plot(entry.run.history["time"][1:], entry.gap[1:], label=label, color=colours[entry.name])
    left.set(xscale="log", yscale="log", xlabel="simulated time [s]", ylabel="$f(x) - f^*$")
    left.legend(frameon=False)
    delay: Any = entries[0].schedule.delay
    right.hist(delay, bins=60, color=colours["asynchronous"])
    right.axvline(delay.mean(), color="black", linewidth=1, linestyle="--", label=f"mean {delay.mean():.0f}")
    right.set(yscale="log", xlabel="delay of a gradient [server updates]", ylabel="gradients")
    right.legend(frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(
        f"{config.workers} workers, worker i needs $i^{{{config.exponent:g}}}$ s per gradient; quadratic, d = {config.dim}",
        fontsize=11,
    )
    figure.supxlabel(
        "Asynchronous SGD beats minibatch SGD in time under arbitrary delays (Mishchenko et al. 2022);\n"
        "here each method has the best of its step sizes, and synchronous SGD waits for the slowest worker in every round.",
        fontsize=8,
        color="#444444",
    )
    figure.savefig(path, dpi=110)
    plt.close(figure)
