"""Model blending: the test error over function evaluations, for function values, coordinates and gradients."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np
import optax

import jasgd
from experiments.contest import attributes
from experiments.lian2016.blending import blending, predictions
from experiments.lian2016.figure3 import LOOKS, oracles
from experiments.pictures import curve, picture
from jasgd.results import best

if TYPE_CHECKING:
    import xarray

CAPTION = """Weights of {models} models from function values, {workers} workers of equal speed. Synthetic ratings and
predictions, {rows} rows, instead of those of the KDD-Cup 2011 (6005940 rows); half for fitting, half for the test. The
best step of each oracle. Function values alone suffice, they say, with 10 threads (Lian et al. 2016, recalled, not
verified). Median and quartiles."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """The paper's number of models and threads, on predictions of our own.

    Attributes:
      models: N.
      rows: half for fitting, half for the test.
      workers: p.
      steps: learning rates in units of 1 / L, the same for all oracles.
      smoothing: mu; differences are exact on a quadratic.
      updates: K.
      seeds: runs.
      every: updates between records.
    """

    models: int = 237
    rows: int = 20_000
    workers: int = 10
    steps: tuple[float, ...] = (0.005, 0.01, 0.02, 0.04, 0.08, 0.15)
    smoothing: float = 0.5
    updates: int = 20_000
    seeds: int = 3
    every: int = 50

    def quick(self) -> "Config":
        """Twenty models, two steps."""
        return dataclasses.replace(self, models=20, rows=1000, steps=(0.02, 0.08), updates=2000)


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """Errors of every oracle at its best step; how far values and coordinates are apart at all steps; what is known."""
    import xarray

    matrix, ratings = predictions(config.rows, config.models)
    problem = blending(matrix, ratings)
    schedule = jasgd.protocols.asynchronous(jasgd.fleet.equal(config.workers), config.updates)
    sweeps = {
        name: jasgd.sweep(
            problem,
            lambda step: optax.sgd(step / problem.facts["smoothness"]),
            schedule,
            oracle=oracle,
            grid={"step": list(config.steps)},
            seeds=config.seeds,
            key=jax.random.key(0),
            every=config.every,
            resume=folder / name.replace(" ", "-"),
            progress=name,
        )
        for name, oracle in oracles(config.smoothing).items()
    }
    chosen = [best(one, over="step", metric="validation") for one in sweeps.values()]
    found = xarray.concat(chosen, "oracle", combine_attrs="drop")[["validation", "test"]]
    apart = np.abs(sweeps["zeroth order"]["test"] / sweeps["coordinates"]["test"] - 1)
    single = np.sqrt(np.mean((matrix - ratings[:, None]) ** 2, axis=0)).min()
    mean = np.sqrt(np.mean((matrix.mean(axis=1) - ratings) ** 2))
    found["passes"] = ("oracle", np.array([one.forward_passes for one in oracles(config.smoothing).values()], float))
    return (
        found.assign(apart=apart.max("version"))
        .assign_coords(oracle=list(LOOKS))
        .assign_attrs(
            {
                **attributes(sweeps.values()),
                "single": float(single),
                "mean": float(mean),
                "optimum": problem.facts["best"],
                **{name: getattr(config, name) for name in ("models", "rows", "workers")},
            }
        )
    )


def draw(found: "xarray.Dataset", path: Path) -> None:
    """Test error against function evaluations and against updates."""
    caption = CAPTION.format(**{name: found.attrs[name] for name in ("models", "rows", "workers")})
    with picture(path, caption, columns=2, size=(11, 4.8), sharey=True) as (a, b):
        for name, (colour, style) in LOOKS.items():
            one, style = found.sel(oracle=name).isel(version=slice(1, None)), style[1:]
            curve(a, float(one["passes"]) * one["version"], one["test"], colour=colour, label=name, style=style)
            curve(b, one["version"], one["test"], colour=colour, label="_", style=style)
        for axes in (a, b):
            for label, style in {"mean": ":", "single": "-.", "optimum": "--"}.items():
                shown = {"mean": "mean of the models", "single": "best model", "optimum": "least squares"}[label]
                axes.axhline(found.attrs[label], color="black", lw=1, ls=style, label=shown if axes is a else "_")
            axes.set(xscale="log", yscale="log")
            axes.set_yticks([0.1, 0.2, 0.5, 1.0], ["0.1", "0.2", "0.5", "1"])
            axes.minorticks_off()
        a.set_ylim(0.095, 2.3)
        a.legend(frameon=False, fontsize=8, ncols=2, loc="upper center")
        a.set(xlabel="function evaluations", ylabel="test error (RMSE)")
        b.set(xlabel="server updates")
