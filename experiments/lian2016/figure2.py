"""Noise makes delay nearly free: gradients from up to 256 workers of equal speed, and their exact expectation."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np
import optax

import jasgd
from experiments.contest import attributes
from experiments.lian2016.settings import DIM, SPECTRUM, first_below, quadratic
from experiments.pictures import COLOURS, picture

if TYPE_CHECKING:
    import xarray

CAPTION = """Ours: quadratic of 64 coordinates, eigenvalues 0.2 to 1, noise 3 per coordinate, step 0.008, equal speeds.
Dots: means over the seeds; lines: the exact expectation; 256 workers blow up. They claim linear speedup up to delays of
the order sqrt(K sigma^2 + 1), for a step that is not known to us (Lian et al. 2016, recalled, not verified; constants
unknown)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Asynchronous SGD with p equal workers, all p - 1 updates late.

    Attributes:
      workers: p.
      updates: K.
      learning_rate: gamma.
      noise: standard deviation per coordinate.
      start: of every coordinate in the eigenbasis.
      goal: share of the first squared distance that is to be reached.
      seeds: runs.
      every: updates between records.
    """

    workers: tuple[int, ...] = (1, 8, 32, 64, 128, 256)
    updates: int = 3000
    learning_rate: float = 0.008
    noise: float = 3.0
    start: float = 3.0
    goal: float = 0.02
    seeds: int = 100
    every: int = 10

    def quick(self) -> "Config":
        """Ten seeds, three fleets."""
        return dataclasses.replace(self, workers=(1, 64, 256), seeds=10)


def expectation(config: Config, workers: int) -> np.ndarray:
    r"""E ||x_k||^2 for k = 0 .. K with the constant delay min(k, p - 1); derived, exact.

    .. math:: \sum_i z_i^2 e_k(\gamma \lambda_i)^2 + \gamma^2 \sigma^2 \sum_{j < k} h_j(\gamma \lambda_i)^2, \quad
      e_{k+1} = e_k - c\, e_{k - \tau}, \quad h_{k+1} = h_k - c\, h_{k - \tau},

    with :math:`e_k = 1` for k up to 0, and :math:`h_0 = 1`, :math:`h_k = 0` before.
    """
    delay, count, c = workers - 1, config.updates, config.learning_rate * SPECTRUM
    e, h = np.ones((count + 1, DIM)), np.zeros((count + 1, DIM))
    h[0] = 1.0
    for k in range(count):
        e[k + 1] = e[k] - c * e[max(k - delay, 0)]
        h[k + 1] = h[k] - c * (h[k - delay] if k >= delay else 0.0)
    noise = np.concatenate([np.zeros((1, DIM)), np.cumsum(h[:-1] ** 2, axis=0)])
    return np.sum(config.start**2 * e**2 + (config.learning_rate * config.noise) ** 2 * noise, axis=1)


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """Squared distances of all runs, and their expectation."""
    import xarray

    problem = quadratic(config.noise)
    found = jasgd.sweep(
        problem,
        optax.sgd(config.learning_rate),
        lambda workers: jasgd.protocols.asynchronous(jasgd.fleet.equal(workers), config.updates),
        grid={"workers": list(config.workers)},
        seeds=config.seeds,
        key=jax.random.key(0),
        params=config.start * problem.init(jax.random.key(0)),
        every=config.every,
        resume=folder,
        progress="workers",
    )
    exact = xarray.DataArray(
        np.stack([expectation(config, p) for p in config.workers]),
        {"workers": list(config.workers), "update": np.arange(config.updates + 1)},
        ("workers", "update"),
    )
    needed = first_below(exact, config.goal * float(exact[0, 0]), exact["update"], along="update")
    return xarray.Dataset(
        {
            "distance": found["distance"].transpose("workers", "seed", "version"),
            "expected": exact,
            "needed": needed.assign_attrs(units="server updates"),
        },
        attrs={
            **attributes([found]),
            "limit": 1 / (config.learning_rate * SPECTRUM.max()),
            "order": np.sqrt(config.updates * DIM * config.noise**2 + 1),
            "goal": config.goal,
        },
    )


def draw(found: "xarray.Dataset", path: Path) -> None:
    """Distance against updates; speedup against workers."""
    with picture(path, CAPTION, columns=2, size=(11, 4.8)) as (a, b):
        first = float(found["expected"][0, 0])
        for p, colour in zip(found["workers"].values, COLOURS, strict=False):
            one = found.sel(workers=p)
            a.plot(found["update"], one["expected"] / first, color=colour, lw=1.2, label=f"{p} workers")
            shown = one["distance"].mean("seed", skipna=False)[::6] / first
            a.plot(shown["version"], shown, ".", color=colour, ms=4)
        a.axhline(found.attrs["goal"], color="black", ls=":", lw=1)
        a.set(yscale="log", ylim=(2e-3, 5), xlabel="server updates", ylabel=r"$E\|x_k\|^2 / \|x_0\|^2$")
        a.legend(frameon=False, fontsize=8, ncols=2)
        p = found["workers"].values
        most = 2 * found.attrs["order"]
        b.loglog([1, most], [1, most], color="0.6", lw=1, label="linear, y = p")
        b.loglog(
            p, p * float(found["needed"][0]) / found["needed"], "o-", color=COLOURS[0], label="to 2 % of the start, exact"
        )
        missed = p[np.isnan(found["needed"])]
        b.plot(missed, np.full(len(missed), 0.7), "kx", label="goal not reached" if len(missed) else None)
        b.axvline(found.attrs["limit"], color="black", ls="--", lw=1, label=r"$1 / (\gamma L)$, ours")
        b.axvline(found.attrs["order"], color="black", ls=":", lw=1, label=r"$\sqrt{K \sigma^2 + 1}$, order only")
        b.set(xlabel="workers p", ylabel="speedup, p K(1) / K(p)")
