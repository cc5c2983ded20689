"""The tridiagonal quadratic with 6174 workers, as plotted on the poster."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np
import optax

import jasgd
from experiments.contest import Contestant, contest
from experiments.pictures import BLUE, GREEN, GREY, ORANGE, PINK, RED, curve, picture
from jasgd import protocols, rules, theory

if TYPE_CHECKING:
    import xarray

POSTER_TIME = (200, 400, 600, 800, 1000, 2000)
# Read off the poster by eye.
POSTER = {
    "Ringmaster ASGD, R = 6": (1e-2, 1.3e-3, 4.5e-4, 2e-4, 1.2e-4, 2e-5),
    "Rennala SGD, S = 6": (4e-2, 5e-3, 1.5e-3, 6e-4, 3.3e-4, 5e-5),
}
CAPTION = """f = x'Ax/2 - b'x, A = tridiag(-1, 2, -1)/4, one normal number of deviation 0.01 on all coordinates of a
gradient, as in the authors' code; times 1 + sqrt(i) s, shuffled, plus |N(0, index + 1)| per job; their steps 0.25, 1
and 0.00032. The squared gradient norm is what their axis, labelled f - f*, shows. Crosses: poster by eye. Claimed:
Ringmaster is fastest (Maranjyan et al. 2025). m-Synchronous and Naive Optimal are our additions, tuned. Medians and
quartiles."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """As in the authors' code.

    Attributes:
      workers, dim: n and d.
      seconds: horizon.
      seeds: of durations and noise; the poster shows one run.
      rates, small: steps tried for m-Synchronous SGD and Naive Optimal ASGD, which we add.
      accuracy: epsilon, for their number of workers.
    """

    workers: int = 6174
    dim: int = 1729
    seconds: float = 2000.0
    seeds: int = 3
    rates: tuple[float, ...] = (0.1, 0.2, 0.5, 1.0)
    small: tuple[float, ...] = (0.005, 0.01, 0.02, 0.05)
    accuracy: float = 0.01

    def quick(self) -> "Config":
        """Small and short."""
        return dataclasses.replace(self, workers=60, dim=50, seconds=200.0, seeds=2, rates=(0.5,), small=(0.02,))


def times(workers: int) -> np.ndarray:
    """1 + sqrt(i) seconds from i = 0, shuffled."""
    return np.random.default_rng(5).permutation(1 + np.sqrt(np.arange(workers)))


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """Squared gradient norm at 200 times."""
    tau, n = times(config.workers), config.workers
    # The deviation goes by the index of the worker, not by its speed.
    deviation = np.sqrt(np.arange(n) + 1)
    fleet = jasgd.fleet.jittered(tau, deviation)
    means = tau + np.sqrt(2 / np.pi) * deviation
    ratio = config.dim * 1e-4 / config.accuracy  # sigma^2 / epsilon
    m, best = theory.best_m_synchronous(means, ratio), theory.best_m(means, ratio)
    fastest = np.argsort(means)[:best]
    few = jasgd.fleet.jittered(tau[fastest], deviation[fastest])
    problem = jasgd.problems.quadratic(config.dim, noise=0.01, noise_kind="scalar")
    contestants = {
        "Ringmaster ASGD, R = 6": Contestant(
            lambda updates, seed: protocols.ringmaster(fleet, updates, 6, stop=True, seed=seed), optax.sgd, (0.25,)
        ),
        "Rennala SGD, S = 6": Contestant(
            lambda updates, seed: protocols.rennala(fleet, updates, 6, seed=seed), optax.sgd, (1.0,)
        ),
        "delay-adaptive ASGD": Contestant(
            lambda updates, seed: protocols.asynchronous(fleet, updates, seed=seed),
            lambda rate: rules.delay_adaptive_sgd(rate, concurrency=n),
            (3.2e-4,),
        ),
        f"m-Synchronous SGD, m = {m}": Contestant(
            lambda updates, seed: protocols.m_synchronous(fleet, updates, m, seed=seed), optax.sgd, config.rates
        ),
        f"Naive Optimal ASGD, {best} workers": Contestant(
            lambda updates, seed: protocols.asynchronous(few, updates, seed=seed), optax.sgd, config.small
        ),
    }
    recorded = np.linspace(0, config.seconds, 201)[1:]
    found = contest(problem, contestants, times=recorded, seeds=config.seeds, key=jax.random.key(26), folder=folder)
    found["squared_norm"] = found["grad_norm"] ** 2
    return found[["squared_norm"]]


def best_of(found: "xarray.Dataset") -> "xarray.Dataset":
    """Every method with the step of the smallest mean logarithm of the norm, as last values are noisy."""
    score = np.log(found["squared_norm"]).mean("time", skipna=False).median("seed").fillna(np.inf)
    return found.isel(learning_rate=score.argmin("learning_rate"))


def draw(found: "xarray.Dataset", path: Path) -> None:
    """Squared norm against seconds."""
    shown = best_of(found)
    colours = dict(zip(found["algorithm"].values, (RED, BLUE, GREY, GREEN, PINK, ORANGE), strict=False))
    with picture(path, CAPTION, size=(11, 5.6)) as axes:
        for name, colour in colours.items():
            one = shown.sel(algorithm=name)
            curve(
                axes,
                found["time"],
                one["squared_norm"],
                colour=colour,
                label=f"{name}, step {float(one['learning_rate']):g}",
            )
            if name in POSTER:
                axes.plot(POSTER_TIME, POSTER[str(name)], "x", color=colour, ms=8)
        axes.set(yscale="log", xlabel="simulated time [s]", ylabel=r"$\|\nabla f\|^2$", ylim=(1e-6, 1e4))
