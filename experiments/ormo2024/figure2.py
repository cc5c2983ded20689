"""A race on an ill-conditioned quadratic without noise, every method with its best step."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np

import jasgd
from experiments.contest import attributes
from experiments.ormo2024.settings import BETA, COLOURS, RULES
from experiments.pictures import picture

if TYPE_CHECKING:
    import xarray

METHODS = ("ASGD", "naive momentum", "shifted momentum", "DANA-Zero", "SMEGA2", "OrMo", "OrMo-DA")
SPEEDS = ("equal speeds", "one 20x straggler")
CAPTION = f"""Quadratic without noise, 10 eigenvalues from 0.001 to 1, 8 workers, momentum {BETA}; four steps per octave.
Left: with the step that ends lowest. Right: where each step ends. The paper says that ordered momentum
converges better than other asynchronous momentum; this problem is ours."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Condition number 1000, distance one along every eigenvector at the start.

    Attributes:
      workers: K.
      updates: gradients in all.
      smallest: step, as a power of two; the largest is one.
      per_octave: steps tried between two powers of two.
    """

    workers: int = 8
    updates: int = 6_000
    smallest: int = -14
    per_octave: int = 4

    def quick(self) -> "Config":
        """Fewer gradients and steps."""
        return dataclasses.replace(self, updates=1_600, smallest=-8, per_octave=1)


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """The gap of every method, with every step, at both speeds."""
    import xarray

    workers = config.workers
    problem = jasgd.problems.quadratic(dim=10, spectrum=np.linspace(1e-3, 1, 10))
    fleets = {
        SPEEDS[0]: jasgd.fleet.equal(workers),
        SPEEDS[1]: jasgd.fleet.two_speed(workers, slow=1, slowdown=20.0),
    }
    steps = 2.0 ** np.arange(config.smallest, 1e-9, 1 / config.per_octave)
    parts = [
        jasgd.sweep(
            problem,
            lambda learning_rate, make=RULES[method]: make(learning_rate, workers),
            lambda speeds: jasgd.protocols.asynchronous(fleets[speeds], config.updates),
            grid={"speeds": list(SPEEDS), "learning_rate": steps.tolist()},
            key=jax.random.key(0),
            every=config.updates // 200,
            resume=folder / method.replace(" ", "-"),
            progress=method,
        ).isel(seed=0, drop=True)
        for method in METHODS
    ]
    gap = xarray.concat([part["gap"] for part in parts], "algorithm").assign_coords(algorithm=list(METHODS))
    return xarray.Dataset({"gap": gap.drop_vars("time")}, attrs=attributes(parts))


def tuned(found: "xarray.Dataset", speeds: str) -> "xarray.DataArray":
    """Every method with the step that ends lowest."""
    gap = found["gap"].sel(speeds=speeds)
    end = gap.isel(version=-1, drop=True).fillna(np.inf)
    return gap.isel(learning_rate=end.argmin("learning_rate"))


def draw(found: "xarray.Dataset", path: Path) -> None:
    """Gap against gradients, and in the end against the step."""
    with picture(path, CAPTION, rows=2, columns=2, sharey=True) as panels:
        for (race, steps), speeds in zip(panels, SPEEDS, strict=True):
            best = tuned(found, speeds)
            for method in found["algorithm"].values:
                colour, style = COLOURS[method], "--" if method == "OrMo-DA" else "-"
                line = best.sel(algorithm=method)
                label = f"{method}, $\\eta$ = {float(line['learning_rate']):.3g}"
                race.semilogy(line["version"], line, style, color=colour, lw=1.3, label=label)
                end = found["gap"].sel(speeds=speeds, algorithm=method).isel(version=-1).dropna("learning_rate")
                steps.loglog(end["learning_rate"], end, style, marker=".", ms=4, color=colour, lw=1.3, label=method)
            race.set(xlabel="gradients", ylabel="$F(x) - F^*$", title=f"{speeds}, best step")
            race.legend(frameon=False, fontsize=8, loc="upper right")
            steps.set(xlabel=r"step $\eta$", title=f"{speeds}, every step in the end")
            steps.legend(frameon=False, fontsize=8, loc="lower left")
        panels[0, 0].set_ylim(float(found["gap"].min()) / 3, 10)
