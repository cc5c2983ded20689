"""Seconds and function evaluations to a target on power-law fleets: gradients, coordinates, function values."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np
import optax

import jasgd
from experiments.contest import attributes
from experiments.lian2016.settings import first_below, quadratic
from experiments.pictures import BLUE, GREEN, RED, picture

if TYPE_CHECKING:
    import xarray

LOOKS = {"gradient": (BLUE, "o-"), "coordinates": (GREEN, "o-"), "zeroth order": (RED, "x--")}
CAPTION = """Ours: quadratic of 32 coordinates, noise 0.5 per coordinate, until the mean squared distance of the seeds is
2 % of the first; the p fastest workers of fleets that need i^0.5 and i seconds per evaluation. A gradient or a partial
derivative counts as 3 evaluations, a difference of values as 2. Step 0.02, for one coordinate 0.02/N."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Three oracles with steps for which noise alone limits the accuracy.

    Attributes:
      workers: p, the fastest of the fleet.
      exponents: a; an evaluation takes worker i the time i^a.
      dim, noise: of the quadratic.
      learning_rate: of the gradient; that of one coordinate is a share 1/dim of it.
      goal: share of the first squared distance that is to be reached.
      updates: of the gradient; those of one coordinate are dim times as many.
      seeds: runs.
    """

    workers: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    exponents: tuple[float, ...] = (0.5, 1.0)
    dim: int = 32
    noise: float = 0.5
    learning_rate: float = 0.02
    goal: float = 0.02
    updates: int = 1000
    seeds: int = 8

    def quick(self) -> "Config":
        """Two fleets, eight coordinates, a larger goal."""
        return dataclasses.replace(self, workers=(1, 8), exponents=(0.5,), dim=8, goal=0.05, updates=500, seeds=4)


def oracles(smoothing: float = 0.5) -> dict[str, jasgd.oracles.Oracle]:
    """By name; differences are exact on quadratics, whatever the smoothing."""
    return {
        "gradient": jasgd.oracles.gradient(),
        "coordinates": jasgd.oracles.coordinates(),
        "zeroth order": jasgd.oracles.zeroth_order(smoothing),
    }


def job_seconds(exponent: float, workers: int, oracle: jasgd.oracles.Oracle) -> np.ndarray:
    """Of the p fastest workers, as long as the oracle's evaluations take."""
    seconds = np.arange(1, workers + 1) ** exponent  # of an evaluation
    return seconds * np.asarray(oracle.forward_passes)


def throughput(exponent: float, workers: int) -> float:
    """Jobs of the p fastest workers for one of the fastest."""
    return float(np.sum(np.arange(1, workers + 1) ** -exponent))


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """Updates, seconds and function evaluations to the goal."""
    import xarray

    problem, parts, sweeps = quadratic(config.noise, config.dim), [], []
    for name, oracle in oracles().items():
        times = 1 if name == "gradient" else config.dim
        found = jasgd.sweep(
            problem,
            optax.sgd(config.learning_rate / times),
            lambda exponent, workers, oracle=oracle, times=times: jasgd.protocols.asynchronous(
                jasgd.fleet.fixed(job_seconds(exponent, workers, oracle)), times * config.updates
            ),
            oracle=oracle,
            grid={"exponent": list(config.exponents), "workers": list(config.workers)},
            seeds=config.seeds,
            key=jax.random.key(0),
            every=5 * times,
            resume=folder / name.replace(" ", "-"),
            progress=name,
        )
        mean = found["distance"].mean("seed", skipna=False)
        time = found["time"].broadcast_like(found["distance"]).isel(seed=0, drop=True)  # of all seeds the same
        updates, seconds = (first_below(mean, config.goal * config.dim, at) for at in (found["version"], time))
        parts.append(
            xarray.Dataset(
                {
                    "updates": updates.assign_attrs(units="server updates"),
                    "seconds": seconds.assign_attrs(units="s"),
                    "evaluations": updates * np.asarray(oracle.forward_passes),
                }
            )
        )
        sweeps.append(found)
    found = xarray.concat(parts, "oracle").assign_coords(oracle=list(LOOKS))
    ideal = np.array([[throughput(a, p) for p in config.workers] for a in config.exponents])
    found["ideal"] = (("exponent", "workers"), ideal, {"long_name": "jobs of all for one of the fastest worker"})
    return found.assign_attrs({**attributes(sweeps), "dim": config.dim})


def speedup(found: "xarray.Dataset") -> "xarray.DataArray":
    """Seconds of the fastest worker alone over those of all."""
    return found["seconds"].sel(workers=1) / found["seconds"]


def draw(found: "xarray.Dataset", path: Path) -> None:
    """Speedup; seconds; evaluations and updates; against workers."""
    p = found["workers"].values
    with picture(path, CAPTION, columns=3, size=(13, 4.6)) as (a, b, c):
        for exponent in found["exponent"].values:
            ideal = found["ideal"].sel(exponent=exponent)
            label = "all jobs useful" if exponent == found["exponent"][0] else None
            a.loglog(p, ideal, color="0.6", lw=1, label=label)
            a.annotate(f"$i^{{{exponent:g}}}$ seconds", (p[-1], 0.65 * ideal[-1]), ha="right", va="top", fontsize=8)
        for name, (colour, style) in LOOKS.items():
            one = found.sel(oracle=name)
            for exponent in found["exponent"].values:
                label = name if exponent == found["exponent"][0] else None
                a.loglog(p, speedup(one).sel(exponent=exponent), style, color=colour, ms=5, label=label)
            first = one.isel(exponent=0)
            b.loglog(p, first["seconds"], style, color=colour, ms=5, label=name)
            c.loglog(p, first["evaluations"], style, color=colour, ms=5, label=f"{name}: evaluations")
            c.loglog(p, first["updates"], ":", color=colour, lw=1.3, label=f"{name}: updates")
        a.set(ylabel="speedup in seconds")
        a.set_yticks([1, 2, 5, 10], [1, 2, 5, 10])
        shown = f"$i^{{{float(found['exponent'][0]):g}}}$ seconds per evaluation"
        b.set(ylabel="simulated time to the goal [s]", title=shown)
        c.set(ylabel="to the goal", title=shown)
        for axes in (a, b, c):
            axes.set(xlabel="workers p")
            axes.set_xticks(p, p)
            axes.minorticks_off()
