"""Black-box tuning: a network fitted from function values alone, by up to 32 workers."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np
import optax

import jasgd
from experiments.contest import attributes
from experiments.lian2016.network import black_box
from experiments.lian2016.settings import first_below
from experiments.pictures import BLUE, COLOURS, RED, curve, picture

if TYPE_CHECKING:
    import xarray

CAPTION = """A black-box tuning example: weights of a network fitted from function values, one coordinate per job. Sizes
{layers}, {samples} samples (theirs: 400/100/50/20/10, 463715); tanh, noise, batch and log-normal job times are ours, the
step is the best for one worker. They claim almost linear speedup up to 32 threads (Lian et al. 2016, recalled, not
verified)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """The paper's experiment in small; with its layers and samples it has its size.

    Attributes:
      layers: inputs, hidden units, outputs; the paper's are (400, 100, 50, 20, 10).
      samples: inputs with known outputs; the paper's are 463,715.
      batch: of them in one evaluation.
      noise: of the outputs.
      smoothing: mu.
      steps: of one coordinate, from which the best for one worker is taken.
      goal: objective that is to be reached, as the paper's.
      workers: p; the paper's are at most 32.
      spread: of the logarithm of the job times.
      updates: at most so many.
      seeds: runs.
      every: updates between records.
    """

    layers: tuple[int, ...] = (40, 20, 10)
    samples: int = 10_000
    batch: int = 64
    noise: float = 0.1
    smoothing: float = 0.05
    steps: tuple[float, ...] = (2.0, 4.0, 8.0, 16.0)
    goal: float = 0.1
    workers: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 128, 512)
    spread: float = 0.3
    updates: int = 12_000
    seeds: int = 4
    every: int = 100

    def quick(self) -> "Config":
        """A tiny network, two fleets."""
        return dataclasses.replace(
            self, layers=(8, 4, 2), samples=500, batch=16, steps=(0.5, 1.0), goal=0.3, workers=(1, 8), updates=2000, seeds=3
        )


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """The objective of one worker for every step; of all fleets along updates and seconds, with the best of these."""
    import xarray

    problem = black_box(config.layers, config.samples, config.batch, config.noise)
    size = sum(leaf.size for leaf in jax.tree.leaves(problem.init(jax.random.key(0))))

    def sweep(steps: tuple[float, ...], workers: tuple[int, ...]) -> "xarray.Dataset":
        return jasgd.sweep(
            problem,
            lambda step: optax.sgd(step / size),
            lambda workers, seed: jasgd.protocols.asynchronous(
                jasgd.fleet.lognormal(np.zeros(workers), config.spread), config.updates, seed=seed
            ),
            oracle=jasgd.oracles.zeroth_order(config.smoothing),
            grid={"step": list(steps), "workers": list(workers)},
            seeds=config.seeds,
            key=jax.random.key(0),
            every=config.every,
            resume=folder,
            progress=f"{len(workers)} fleets",
        ).transpose("step", "workers", "seed", "version")

    alone = sweep(config.steps, (1,)).isel(workers=0, drop=True)
    updates = first_below(alone["loss"], config.goal, alone["version"]).fillna(np.inf).median("seed")
    best = config.steps[int(np.argmin(updates.values))]
    found = sweep((best,), config.workers).isel(step=0, drop=True)
    return xarray.Dataset(
        {
            "loss": found["loss"],
            "seconds": found["time"].broadcast_like(found["loss"]).transpose("workers", "seed", "version").fillna(0.0),
            "alone": updates.assign_attrs(units="server updates"),
        },
        attrs={
            **attributes([alone, found]),
            "best": best,
            "goal": config.goal,
            "size": size,
            "layers": "/".join(map(str, config.layers)),
            "samples": config.samples,
        },
    )


def needed(found: "xarray.Dataset") -> tuple["xarray.DataArray", "xarray.DataArray"]:
    """Updates and seconds to the goal, medians of the seeds; infinite if most of them do not reach it."""
    each = (first_below(found["loss"], found.attrs["goal"], at) for at in (found["version"], found["seconds"]))
    updates, seconds = (one.fillna(np.inf).median("seed") for one in each)
    return updates, seconds


def speedups(found: "xarray.Dataset") -> tuple["xarray.DataArray", "xarray.DataArray"]:
    """Of updates, p K(1) / K(p), and of seconds, T(1) / T(p); 0 if the goal is not reached."""
    updates, seconds = needed(found)
    return found["workers"] * updates.sel(workers=1) / updates, seconds.sel(workers=1) / seconds


def draw(found: "xarray.Dataset", path: Path) -> None:
    """Objective against seconds; speedup against workers."""
    caption = CAPTION.format(layers=found.attrs["layers"], samples=found.attrs["samples"])
    with picture(path, caption, columns=2, size=(11, 4.8)) as (a, b):
        p = found["workers"].values
        for workers, colour in zip(p, COLOURS, strict=False):
            one = found.sel(workers=workers)
            curve(a, one["seconds"].median("seed"), one["loss"], colour=colour, label=f"p = {workers}")
        a.axhline(found.attrs["goal"], color="black", ls=":", lw=1)
        a.set(xscale="log", yscale="log", xlabel="simulated time [s]", ylabel="objective")
        a.set(xlim=(1, None), ylim=(0.6 * found.attrs["goal"], 1.5))
        a.legend(frameon=False, fontsize=8, ncols=2, loc="lower left")
        a.set_yticks([0.1, 0.2, 0.5, 1.0], ["0.1", "0.2", "0.5", "1"])
        a.minorticks_off()
        most = 2 * found.attrs["size"] ** 0.75
        b.loglog([1, most], [1, most], color="0.6", lw=1, label="linear, y = p")
        iterations, seconds = speedups(found)
        b.loglog(p, iterations.where(iterations > 0), "o-", color=BLUE, label="iteration speedup")
        b.loglog(p, seconds.where(seconds > 0), "x--", color=RED, label="speedup in simulated seconds")
        missed = p[iterations == 0]
        b.plot(missed, np.full(len(missed), 0.7), "kx", label="goal not reached" if len(missed) else None)
        b.axvline(found.attrs["size"] ** 0.75, color="black", ls=":", lw=1, label=r"$N^{3/4}$, order only")
        b.set(xlabel="workers p", ylabel=f"speedup to the objective {found.attrs['goal']:g}")
