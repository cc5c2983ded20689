"""Streaming with a constant delay: the preconditioner needs no tuning and does not mind; SGD with the best of its steps."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np

import jasgd
from experiments.contest import attributes
from experiments.covariate2025.settings import COLOURS, DIM, decaying, preconditioned, problem, sgd
from experiments.pictures import picture
from jasgd import theory
from jasgd.results import band

if TYPE_CHECKING:
    import xarray

INSTANCE = decaying(np.full(DIM, 1 / DIM))
CAPTION = """d = 40, eigenvalues of S i^-2, T = I/d, ellipse sqrt(i), noise 0.5, fresh normal samples, least
favourable truth; mean and quartiles over seeds. The preconditioner is made for the last sample and knows nothing of
the delay. SGD: a quarter of the step in every stage, best first step. Instance and comparison are ours."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """One pass over the samples.

    Attributes:
      samples: n.
      delays: constant ones.
      steps: first steps of SGD.
      seeds: of samples.
      records: points of a curve.
    """

    samples: int = 4000
    delays: tuple[int, ...] = (0, 16, 64)
    steps: tuple[float, ...] = (0.3, 0.1, 0.03)
    seeds: int = 64
    records: int = 40

    def quick(self) -> "Config":
        """Fewer samples, seeds and delays."""
        return dataclasses.replace(self, samples=1000, delays=(0, 16), steps=(0.1,), seeds=8, records=10)


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """Risks along the run, of SGD with the step that ends best."""
    import xarray

    common = {
        "schedule": lambda delay: jasgd.protocols.delays(1, config.samples, delay),
        "seeds": config.seeds,
        "key": jax.random.key(0),
        "every": config.samples // config.records,
    }
    made = problem(INSTANCE, config.samples)
    parts = [
        jasgd.sweep(
            made,
            preconditioned(INSTANCE, config.samples),
            grid={"delay": list(config.delays)},
            resume=folder / "preconditioned",
            progress="preconditioned",
            **common,
        ),
        jasgd.sweep(
            made,
            lambda step: sgd(step, config.samples),
            grid={"delay": list(config.delays), "step": list(config.steps)},
            resume=folder / "sgd",
            progress="SGD",
            **common,
        ),
    ]
    ends = parts[1]["target_risk"].isel(version=-1, drop=True).fillna(np.inf).mean("seed")
    steps = ends["step"].isel(step=ends.argmin("step"))
    names = ["source_risk", "target_risk"]
    best = parts[1][names].sel(step=steps).drop_vars("step")
    found = xarray.concat([parts[0][names], best], "algorithm", combine_attrs="drop")
    found["best_step"] = steps.drop_vars("step")
    found["optimum"] = theory.shift_optimum(*INSTANCE, config.samples).risk
    return found.assign_coords(algorithm=["preconditioned", "SGD"]).assign_attrs(attributes(parts))


def draw(found: "xarray.Dataset", path: Path) -> None:
    """A panel per algorithm, a line per delay."""
    styles = ("-", "--", ":")
    with picture(path, CAPTION, columns=2, size=(11, 4.6), sharey=True) as panels:
        for axes, method in zip(panels, found["algorithm"].values, strict=True):
            colour = COLOURS[str(method)]
            for delay, style in zip(found["delay"].values, styles, strict=False):
                risk = found["target_risk"].sel(algorithm=method, delay=delay)
                step = "" if method != "SGD" else f", first step {float(found['best_step'].sel(delay=delay)):g}"
                axes.plot(found["version"], risk.mean("seed"), style, color=colour, lw=1.4, label=f"delay {delay}{step}")
                shown = band(risk)
                axes.fill_between(found["version"], shown["low"], shown["high"], color=colour, alpha=0.12, lw=0)
            axes.axhline(float(found["optimum"]), color="black", lw=1, label="optimum, worst case, fixed design")
            axes.set(yscale="log", xlabel="samples", title=str(method))
        panels[0].set_ylabel("target excess risk")
