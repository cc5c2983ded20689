"""Linear speedup of one coordinate per update, under three ways to read a memory that others write."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jasgd
from experiments.contest import attributes
from experiments.lian2016.settings import DIM, first_below, hessian, quadratic
from experiments.pictures import BLUE, GREEN, RED, picture

if TYPE_CHECKING:
    import xarray

READS = {"consistent": BLUE, "updates": GREEN, "coordinate": RED}
CAPTION = """Ours: quadratic of N = 64 coordinates, eigenvalues 0.2 to 1, one coordinate per update, step 1/(N L_max), p
workers of equal speed, mean of the seeds until 0.01 % of the first squared distance. Crosses: not there in time, or blown
up. They claim linear speedup up to delays of the order N^(3/4) (Lian et al. 2016, recalled, not verified; constants
unknown)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Asynchronous coordinate descent with p equal workers, all p - 1 updates late.

    Attributes:
      workers: p.
      updates: at most so many.
      goal: share of the first squared distance that is to be reached.
      seeds: runs.
    """

    workers: tuple[int, ...] = (1, 4, 16, 32, 64, 128)
    updates: int = 9000
    goal: float = 1e-4
    seeds: int = 4

    def quick(self) -> "Config":
        """Three fleets."""
        return dataclasses.replace(self, workers=(1, 16, 128), updates=1500, seeds=2, goal=1e-2)


def oracle(read: str) -> jasgd.oracles.Oracle:
    """One coordinate, at a point read so."""
    one = jasgd.oracles.coordinates()
    match read:
        case "consistent":
            return one
        case "updates":
            return jasgd.oracles.inconsistent(one, jasgd.read_models.Updates())
        case "coordinate":
            return jasgd.oracles.inconsistent(one, jasgd.read_models.Coordinates())
        case _:
            raise ValueError(f"there is no read model {read!r}.")


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """Mean squared distances after every update, and how many updates it takes to the goal."""
    import xarray

    found = jasgd.sweep(
        quadratic(),
        optax.sgd(1 / (DIM * np.diag(hessian()).max())),
        lambda workers: jasgd.protocols.asynchronous(jasgd.fleet.equal(workers), config.updates),
        oracle=oracle,
        grid={"read": list(READS), "workers": list(config.workers)},
        seeds=config.seeds,
        key=jax.random.key(0),
        params=jnp.ones(DIM),
        every=1,
        resume=folder,
        progress="reads",
    )
    mean = found["distance"].mean("seed", skipna=False).transpose("read", "workers", "version")
    return xarray.Dataset(
        {
            "distance": mean.isel(version=slice(None, None, 20)),
            "needed": first_below(mean, config.goal * DIM, found["version"]).assign_attrs(units="server updates"),
        },
        attrs={**attributes([found]), "order": DIM**0.75, "goal": config.goal},
    )


def speedup(found: "xarray.Dataset") -> "xarray.DataArray":
    """Of updates, p K(1) / K(p); NaN where the goal is not reached."""
    return found["workers"] * found["needed"].sel(workers=1) / found["needed"]


def draw(found: "xarray.Dataset", path: Path) -> None:
    """Speedup against workers; distance against updates for the fleet with the largest delays."""
    p = found["workers"].values
    with picture(path, CAPTION, columns=2, size=(11, 4.8)) as (a, b):
        a.loglog(p, p, color="0.6", lw=1, label="linear, y = p")
        a.plot([], [], "kx", label="goal not reached")
        a.axvline(found.attrs["order"], color="black", ls=":", lw=1, label=r"$N^{3/4}$, order only")
        for i, (read, colour) in enumerate(READS.items()):
            gained = speedup(found).sel(read=read)
            a.loglog(p, gained, "o-", color=colour, label=f"reads: {read}")
            missed = p[np.isnan(gained)]
            a.plot(missed, np.full(len(missed), 0.5 * 0.8**i), "x", color=colour)
            for workers, style in zip(p[[len(p) // 2, -1]], ("-", "--"), strict=True):
                one = found["distance"].sel(read=read, workers=workers)
                b.plot(one["version"], one / DIM, style, color=colour, lw=1, label=f"{read}, p = {workers}")
        a.set(ylim=(0.25, None), xlabel="workers p", ylabel="speedup, p K(1) / K(p)")
        a.set_xticks(p, p)
        a.minorticks_off()
        b.axhline(found.attrs["goal"], color="black", ls=":", lw=1)
        b.set(yscale="log", ylim=(1e-6, 1e3), xlabel="server updates", ylabel=r"mean of $\|x_k\|^2 / \|x_0\|^2$")
