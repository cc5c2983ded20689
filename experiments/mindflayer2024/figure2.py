"""Seconds per useful gradient of one worker: cut trials against patience, for ever heavier tails."""

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import jasgd
from experiments.mindflayer2024.settings import MEDIAN, best_cut, fleet, success
from experiments.pictures import BLUE, RED, SKY, curve, picture
from jasgd.results import provenance

if TYPE_CHECKING:
    import xarray

TIME = 1.0  # tau
POSTER = {"Rennala": 23.8, "MindFlayer, t = median": 3.3}  # at s = 2.5; that this is its example is derived
EXAMPLE = 2.5
COLOURS = {"Rennala": RED, "MindFlayer, t = median": BLUE, "MindFlayer, best t": SKY}
CAPTION = """One worker, jobs of 1 + lognormal(0, s) seconds. Lines (tau + E min(eta, t)) / P(eta <= t); uncut tau +
E eta. Points: simulated, median and quartiles of the seeds; heavy-tailed means converge slowly, and from below.
Rings: the poster's example, 23.8 against 3.3; that it is lognormal(0, 2.5) is derived (Maranjyan, Omar, Richtarik
2024)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """One worker of tau = 1; tails and sizes are ours.

    Attributes:
      tails: s of lognormal(0, s).
      gradients: useful ones, of each simulated schedule.
      seeds: of the durations.
    """

    tails: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 2.75, 3.0)
    gradients: int = 4_000
    seeds: int = 9

    def quick(self) -> "Config":
        """Three tails, few gradients."""
        return dataclasses.replace(self, tails=(0.5, 1.5, 2.5), gradients=1_000, seeds=5)


def cut(name: str, tail: float) -> float:
    """After how many seconds beyond tau a trial is cut."""
    return {"Rennala": math.inf, "MindFlayer, t = median": MEDIAN}.get(name) or best_cut(TIME, tail)


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """Simulated seconds per gradient and what the formula says; nothing but schedules, so there is nothing to resume."""
    import xarray

    del folder
    shape = (len(COLOURS), len(config.tails))
    seconds, formula, allowed = np.zeros((*shape, config.seeds)), np.zeros(shape), np.zeros(shape)
    jobs = 0
    for m, name in enumerate(COLOURS):
        for j, tail in enumerate(config.tails):
            extra = allowed[m, j] = cut(name, tail)
            formula[m, j] = jasgd.theory.mindflayer_lognormal_gradient_time(TIME, tail, extra_time=extra)
            for seed in range(config.seeds):
                made = _schedule(tail, extra, config.gradients, seed)
                seconds[m, j, seed] = made.time[-1] / len(made)
                jobs += int(made.job[-1]) + 1
    dims = ("algorithm", "tail", "seed")
    return xarray.Dataset(
        {
            "seconds": (dims, seconds, {"units": "s", "long_name": "seconds per useful gradient"}),
            "formula": (dims[:2], formula, {"units": "s"}),
            "extra_time": (dims[:2], allowed, {"units": "s", "long_name": "t"}),
        },
        {"algorithm": list(COLOURS), "tail": list(config.tails)},
        provenance(gradients_per_schedule=config.gradients) | {"gradients": str(jobs)},
    )


def _schedule(tail: float, extra: float, gradients: int, seed: int) -> jasgd.Schedule:
    """One worker; rounds of one trial, or of one gradient where nothing is cut."""
    worker = fleet([TIME], tail)
    if extra == math.inf:
        return jasgd.protocols.rennala(worker, gradients, batch=1, seed=seed)
    p = success(extra, tail)
    return jasgd.protocols.mindflayer(worker, gradients, trials=1, allotted=TIME + extra, success=p, seed=seed)


def draw(found: "xarray.Dataset", path: Path) -> None:
    """Formula as lines, simulation as points."""
    tails = found["tail"].values
    with picture(path, CAPTION, size=(8.6, 5.2)) as axes:
        for name, colour in COLOURS.items():
            axes.plot(tails, found["formula"].sel(algorithm=name), color=colour, lw=1)
            curve(axes, tails, found["seconds"].sel(algorithm=name), colour=colour, style="o", label=name)
        for name, value in POSTER.items():
            label = "poster, one example" if name == "Rennala" else None
            axes.plot(EXAMPLE, value, "o", ms=14, mfc="none", mec="black", label=label)
        axes.set(yscale="log", xlabel="tail s of lognormal(0, s)", ylabel="seconds per useful gradient [s]")
        axes.set_yticks([1, 2, 3, 5, 10, 20, 50, 100], ["1", "2", "3", "5", "10", "20", "50", "100"])
        axes.minorticks_off()
