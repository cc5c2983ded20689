"""A quadratic under the five allocations: the same steps, at different cost."""

import dataclasses
import functools
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np
import optax

import jasgd
from experiments.ata2025.settings import ALLOCATIONS, NAMES, PAPER_ROUNDS, schedule, worker_seconds
from experiments.contest import attributes
from experiments.pictures import curve, picture

if TYPE_CHECKING:
    import xarray

PAPER_STEP = 1e-4
CAPTION = f"""Tridiagonal quadratic, d = 100, noise 0.001. {NAMES}. Ours: a hundredth of the rounds, therefore steps
of 100 times 1e-4 and narrowed confidence bounds. Median and quartiles. They claim that ATA learns the speeds with
almost no wasted work (Maranjyan, Saad, Richtarik, Orabona 2025)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """The authors' quadratic and workers, a hundredth of the rounds.

    Attributes:
      workers, rounds: of every allocation.
      dim, noise: of the quadratic.
      seeds: of durations and noise.
      points: recorded.
    """

    workers: int = 51
    rounds: int = PAPER_ROUNDS // 100
    dim: int = 100
    noise: float = 0.001
    seeds: int = 5
    points: int = 250

    def quick(self) -> "Config":
        """A third of the workers, few rounds."""
        return dataclasses.replace(self, workers=17, rounds=1_000, seeds=2)


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """The gap along the rounds, with the seconds and the worker-seconds until then."""
    import xarray

    @functools.cache
    def planned(allocation: str, seed: int) -> jasgd.Schedule:
        return schedule(allocation, config.workers, config.rounds, seed)

    found = jasgd.sweep(
        jasgd.problems.quadratic(config.dim, config.noise, noise_kind="scalar"),
        optax.sgd(PAPER_STEP * PAPER_ROUNDS / config.rounds),
        planned,
        grid={"allocation": list(ALLOCATIONS)},
        seeds=config.seeds,
        key=jax.random.key(0),
        every=max(1, config.rounds // config.points),
        resume=folder,
        progress="allocations",
    )
    versions = found["version"].values
    work = [[worker_seconds(planned(a, s))[versions] for s in range(config.seeds)] for a in ALLOCATIONS]
    dims = ("allocation", "seed", "version")
    columns = {
        "gap": found["gap"],
        "run": (dims, found["time"].values, {"units": "s"}),
        "work": (dims, np.array(work), {"units": "s"}),
    }
    return xarray.Dataset(
        columns, {name: found[name] for name in dims}, attributes([found]) | {"workers": str(config.workers)}
    )


def draw(found: "xarray.Dataset", path: Path) -> None:
    """The gap against either cost."""
    with picture(path, CAPTION, columns=2, size=(11, 4.8), sharey=True) as panels:
        for axes, (name, label) in zip(
            panels, {"run": "run time [s]", "work": "worker time [s], all workers together"}.items(), strict=True
        ):
            for allocation, colour in ALLOCATIONS.items():
                one = found.sel(allocation=allocation)
                curve(axes, one[name].median("seed")[1:], one["gap"][:, 1:], colour=colour, label=allocation)
            axes.set(xscale="log", yscale="log", xlabel=label)
        panels[0].set(ylabel="$f(x) - f^*$")
