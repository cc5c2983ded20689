"""Source and target risk against delay, at low noise: what acceleration loses and the preconditioner keeps."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np
import optax

import jasgd
from experiments.contest import attributes
from experiments.covariate2025.settings import COLOURS, accelerated, decaying, power, preconditioned, problem, sgd
from experiments.pictures import picture
from jasgd import theory
from jasgd.results import band

if TYPE_CHECKING:
    import xarray

INSTANCE = decaying(power(1.0), noise=0.005)
METHODS = ("SGD", "accelerated", "preconditioned", "delay-corrected")
FLEETS = ("equal", "i")
TITLES = {"equal": "equal workers, delay W - 1", "i": "worker i takes i seconds, mean delay W - 1"}
CAPTION = """d = 40, eigenvalues of S i^-2, T = S^(1/2), ellipse sqrt(i), noise 0.005, {samples} fresh samples, least
favourable truth. Steps fall by 4 per stage; each method with the first step, beta and gamma / delta that end best in
target risk; mean and quartiles over seeds; dotted: the start. Delay-corrected: as if the delay were constant, W - 1.
Ours."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """One pass over the samples.

    Attributes:
      samples: n, all workers together.
      workers: W; the mean delay is W - 1.
      fleets: of ``FLEETS``.
      steps: delta.
      pairs: beta and gamma / delta of accelerated SGD.
      seeds: of samples.
    """

    samples: int = 4000
    workers: tuple[int, ...] = (1, 2, 5, 17, 65, 257)
    fleets: tuple[str, ...] = FLEETS
    steps: tuple[float, ...] = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002)
    pairs: tuple[tuple[float, float], ...] = ((0.3, 2.0), (0.1, 4.0), (0.03, 10.0), (0.03, 25.0), (0.01, 30.0), (0.01, 80.0))
    seeds: int = 16

    def quick(self) -> "Config":
        """Few samples, one fleet, few steps."""
        return dataclasses.replace(
            self, samples=1000, workers=(1, 17), fleets=("equal",), steps=(0.2, 0.02), pairs=((0.1, 4.0),), seeds=3
        )


def schedule(fleet: str, workers: int, samples: int) -> jasgd.Schedule:
    """Of a fleet without communication."""
    made = jasgd.fleet.equal(workers) if fleet == "equal" else jasgd.fleet.power_law(workers, exponent=1.0)
    return jasgd.protocols.asynchronous(made, samples)


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """Risks in the end, of every method with its best setting for the fleet."""
    import xarray

    n = config.samples

    def rule(method: str, workers: int, step: float, beta: float, ratio: float) -> optax.GradientTransformation:
        match method:
            case "SGD":
                return sgd(step, n)
            case "accelerated":
                return accelerated(step, beta, ratio, n)
            case _:
                return preconditioned(INSTANCE, n, delay=workers - 1 if method == "delay-corrected" else 0)

    none = {"step": 1.0, "beta": 1.0, "ratio": 1.0}
    tried = {
        "SGD": [none | {"step": step} for step in config.steps],
        "accelerated": [{"step": step, "beta": b, "ratio": r} for step in config.steps for b, r in config.pairs],
        "preconditioned": [none],
        "delay-corrected": [none],
    }
    cases = [{"fleet": fleet, "workers": workers} for fleet in config.fleets for workers in config.workers]
    shape = (len(config.fleets), len(config.workers), config.seeds)
    parts, risks, chosen = [], [], []
    for method in METHODS:
        part = jasgd.sweep(
            problem(INSTANCE, n),
            rule,
            lambda fleet, workers: schedule(fleet, workers, n),
            grid=[{"method": method} | case | one for one in tried[method] for case in cases],
            seeds=config.seeds,
            key=jax.random.key(0),
            resume=folder / method,
            progress=method,
        )
        last = part[["source_risk", "target_risk"]].isel(version=-1).fillna(np.inf)
        source, target = (last[name].values.reshape(len(tried[method]), *shape) for name in last)
        best = target.mean(axis=-1).argmin(axis=0)[None, ..., None]
        risks.append([np.take_along_axis(risk, best, axis=0)[0] for risk in (source, target)])
        chosen.append([[list(tried[method][k].values()) for k in row] for row in best[0, ..., 0]])
        parts.append(part)
    start = [float(parts[0][f"{under}_risk"].isel(point=0, seed=0, version=0)) for under in ("source", "target")]
    return xarray.Dataset(
        {
            "risk": (("algorithm", "under", "fleet", "workers", "seed"), np.array(risks)),
            "chosen": (("algorithm", "fleet", "workers", "number"), np.array(chosen)),
            "optimum": theory.shift_optimum(*INSTANCE, n).risk,
            "start": ("under", start),
        },
        {
            "algorithm": list(METHODS),
            "under": ["source", "target"],
            "fleet": list(config.fleets),
            "workers": list(config.workers),
            "number": ["step", "beta", "ratio"],
        },
        attributes(parts) | {"samples": n},
    )


def draw(found: "xarray.Dataset", path: Path) -> None:
    """A row per fleet; source and target side by side."""
    fleets, workers = found["fleet"].values, found["workers"].values
    caption = CAPTION.format(samples=found.attrs["samples"])
    with picture(path, caption, rows=len(fleets), columns=2, size=(11, 3.6 * len(fleets) + 1), squeeze=False) as panels:
        for row, fleet in zip(panels, fleets, strict=True):
            for axes, under in zip(row, found["under"].values, strict=True):
                for method in found["algorithm"].values:
                    risk = found["risk"].sel(algorithm=method, under=under, fleet=fleet)
                    axes.plot(
                        workers, risk.mean("seed"), "-o", color=COLOURS[str(method)], lw=1.2, ms=3.5, label=str(method)
                    )
                    shown = band(risk)
                    axes.fill_between(workers, shown["low"], shown["high"], color=COLOURS[str(method)], alpha=0.2, lw=0)
                axes.axhline(float(found["start"].sel(under=under)), color="0.4", lw=1, ls=":")
                if under == "target":
                    axes.axhline(float(found["optimum"]), color="black", lw=1, label="optimum, worst case, fixed design")
                axes.set(xscale="log", yscale="log", xlabel="workers W", ylabel=f"{under} excess risk")
                axes.set_title(TITLES[str(fleet)], fontsize=10)
                axes.set_xticks(workers, [str(w) for w in workers])
                axes.minorticks_off()
