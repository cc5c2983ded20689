"""Delay-adaptive steps against each other under stragglers, per gradient and per second."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np
import optax

import jasgd
from experiments.contest import attributes
from experiments.pictures import BLUE, GREEN, GREY, ORANGE, PINK, RED, curve, picture
from jasgd.rules import delay_weights

if TYPE_CHECKING:
    import xarray

WORKERS, DIM, NOISE = 20, 30, 0.3
FLEETS = ("outages: 400 x slower with probability 0.002", "Lomax(1.2) + 0.001")
RULES = {
    "R1: constant": lambda _: delay_weights.polynomial(0.0),
    "R2: c / max(c, delay)": lambda _: delay_weights.delay_adaptive(WORKERS),
    "R3: min(step, 1 / (4 L delay))": lambda rate: delay_weights.smoothness_capped(rate, 1.0),
    "R4: 1 / delay beyond c": lambda _: delay_weights.reciprocal_beyond(WORKERS),
    "R5: dropped beyond c": lambda _: delay_weights.drop_beyond(WORKERS),
}
CAPTION = """Quadratic, d = 30, eigenvalues 0.01 to 1, noise 0.3; 20 workers, c = 20. For each rule the step with the
smallest mean squared norm over the run (the measure of the theorems), median and quartiles over seeds. With the
delays' average instead of their maximum, adaptive steps are said to need sigma^2/eps^2 + C/eps gradients (Koloskova
et al. 2022, Theorem 8); constant ones sqrt(C tau_max)/eps instead of C/eps (Theorem 6)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """A noisy quadratic; the paper's version that we know has no experiments.

    Attributes:
      updates: of every asynchronous run; minibatches take as many gradients.
      rates: step sizes tried, in units of 1 / L.
      seeds: medians and bands are over so many.
    """

    updates: int = 10_000
    rates: tuple[float, ...] = tuple(2.0 ** (-i / 4) for i in range(4, 29))
    seeds: int = 10

    def quick(self) -> "Config":
        """Short, few steps."""
        return dataclasses.replace(self, updates=2_000, rates=(0.25, 0.0625, 0.0156), seeds=3)


def stragglers(name: str) -> jasgd.fleet.Fleet:
    """Twenty workers with stragglers."""
    if name == FLEETS[0]:
        return jasgd.fleet.stragglers(1 + 1e-3 * np.arange(WORKERS), slowdown=400.0, probability=0.002)
    return jasgd.fleet.pareto(1.2 * np.ones(WORKERS), offset=0.001)


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """Squared gradient norms of all rules, fleets, steps and seeds."""
    import xarray

    problem = jasgd.problems.quadratic(DIM, noise=NOISE / np.sqrt(DIM), spectrum=np.linspace(0.01, 1, DIM))
    every = 5 * WORKERS
    common = {"seeds": config.seeds, "key": jax.random.key(0)}
    grid = {"fleet": list(FLEETS), "learning_rate": list(config.rates)}
    parts = {
        name: jasgd.sweep(
            problem,
            lambda learning_rate, weight=weight: jasgd.rules.delay_weighted_sgd(learning_rate, weight(learning_rate)),
            lambda fleet, seed: jasgd.protocols.asynchronous(stragglers(fleet), config.updates, seed=seed),
            grid=grid,
            every=every,
            resume=folder / name[:2],
            progress=name,
            **common,
        )
        for name, weight in RULES.items()
    }
    # Steps are per gradient: a round of c gradients takes c of them.
    rounds = jasgd.sweep(
        problem,
        lambda learning_rate: optax.sgd(WORKERS * learning_rate),
        lambda fleet, seed: jasgd.protocols.minibatch(stragglers(fleet), config.updates // WORKERS, seed=seed),
        grid=grid,
        every=every // WORKERS,
        resume=folder / "minibatch",
        progress="minibatch",
        **common,
    )
    parts["minibatch"] = rounds.assign_coords(version=rounds["version"] * WORKERS)
    found = xarray.concat(parts.values(), "rule", combine_attrs="drop").assign_coords(rule=list(parts))
    found = found.rename(version="gradients")
    squared = (found["grad_norm"] ** 2).assign_attrs(long_name="squared gradient norm")
    # A run that diverges has an infinite mean.
    mean = squared.fillna(np.inf).mean("gradients")
    chosen = mean.median("seed").argmin("learning_rate")
    shown = xarray.Dataset(
        {
            "squared_norm": squared.isel(learning_rate=chosen),
            "mean": mean.isel(learning_rate=chosen),
            "time": found["time"].isel(learning_rate=0, drop=True),
        }
    )
    return shown.assign(every_mean=mean).assign_attrs(attributes(parts.values()))


def draw(found: "xarray.Dataset", path: Path) -> None:
    """A row per fleet: per gradient, per second, and the mean against the step."""
    colours = dict(zip(found["rule"].values, (GREY, BLUE, GREEN, ORANGE, RED, PINK), strict=True))
    with picture(path, CAPTION, rows=2, columns=3, size=(13, 8)) as panels:
        for (a, b, c), name in zip(panels, found["fleet"].values, strict=True):
            for rule, colour in colours.items():
                one = found.sel(rule=rule, fleet=name)
                curve(a, found["gradients"][1:], one["squared_norm"][..., 1:], colour=colour, label=rule)
                curve(b, one["time"].median("seed")[1:], one["squared_norm"][..., 1:], colour=colour, label=rule)
                c.plot(found["learning_rate"], one["every_mean"].median("seed"), "o-", ms=3, lw=1, color=colour, label=rule)
            a.set(yscale="log", xscale="log", xlabel="gradients", ylabel=r"$\|\nabla F\|^2$", title=name)
            b.set(
                yscale="log",
                xscale="log",
                xlabel="simulated time [s]",
                ylabel=r"$\|\nabla F\|^2$",
                title="the same in seconds",
            )
            low = float(found["mean"].min())
            c.set(
                xscale="log",
                yscale="log",
                ylim=(0.8 * low, 20 * low),
                xlabel="step size per gradient [1/L]",
                title="every step",
            )
            c.set_ylabel(r"mean of $\|\nabla F\|^2$ over the run")
