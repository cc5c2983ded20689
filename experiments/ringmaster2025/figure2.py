"""How long until the squared gradient norm is epsilon, for every threshold on the delay."""

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np
import optax

import jasgd
from experiments.contest import attributes, lasting
from experiments.pictures import BLUE, GREEN, RED, curve, picture
from jasgd import protocols, theory

if TYPE_CHECKING:
    import xarray

EPSILON = 0.01  # of the squared gradient norm at the start
CAPTION = """Tridiagonal quadratic, d = {dim}, {workers} workers with sqrt(i) s per gradient, noise sigma^2 / epsilon
= {ratio:g}, epsilon = 1 % of the squared norm at the start. Blue: the paper's step min(1 / (2 R L), epsilon / (4 L
sigma^2)); red: best step of a grid. R = 1 is the fastest worker alone, a large R plain asynchronous SGD. The paper's
R = sigma^2 / epsilon needs no times and is optimal up to a constant (Maranjyan et al. 2025). Instance ours; medians
and quartiles over seeds."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """A small quadratic and many thresholds.

    Attributes:
      workers, dim: n and d.
      ratio: sigma^2 / epsilon.
      thresholds: R.
      rates: steps tried, besides the paper's.
      seconds, records: horizon, and times at which the norm is taken.
      seeds: of the noise.
    """

    workers: int = 256
    dim: int = 30
    ratio: float = 64.0
    thresholds: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
    rates: tuple[float, ...] = tuple(2.0**-i for i in range(1, 11))
    seconds: float = 3_000.0
    records: int = 3_000
    seeds: int = 5

    def quick(self) -> "Config":
        """Few thresholds, a short time."""
        return dataclasses.replace(
            self, workers=16, ratio=8.0, thresholds=(1, 4, 64), rates=(0.0625, 0.015625), seconds=600.0, records=600, seeds=2
        )


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """The first time at which the squared norm is at most epsilon."""
    import xarray

    base = jasgd.problems.quadratic(config.dim)
    epsilon = EPSILON * float(base.metrics(base.init(jax.random.key(0)))["grad_norm"]) ** 2
    noise = math.sqrt(config.ratio * epsilon)
    problem = jasgd.problems.quadratic(config.dim, noise=noise / math.sqrt(config.dim))
    fleet = jasgd.fleet.power_law(config.workers, exponent=0.5)
    paper = {R: theory.ringmaster_step_size(1.0, epsilon, threshold=R, noise=noise) for R in config.thresholds}
    schedules = {
        R: lasting(
            lambda updates, seed, R=R: protocols.ringmaster(fleet, updates, R, stop=True, seed=seed), config.seconds, 0
        )
        for R in config.thresholds
    }
    points = [{"threshold": R, "learning_rate": rate} for R in config.thresholds for rate in (paper[R], *config.rates)]
    runs = jasgd.sweep(
        problem,
        optax.sgd,
        lambda threshold: schedules[threshold],
        grid=points,
        seeds=config.seeds,
        key=jax.random.key(0),
        times=np.linspace(0, config.seconds, config.records + 1)[1:],
        resume=folder,
        progress="thresholds",
    )
    reached = runs["time"].where(runs["grad_norm"] ** 2 <= epsilon).min("time").fillna(np.inf)
    each = 1 + len(config.rates)
    seconds = reached.values.reshape(len(config.thresholds), each, config.seeds)
    return xarray.Dataset(
        {
            "paper": (("threshold", "seed"), seconds[:, 0], {"units": "s"}),
            "tried": (("threshold", "learning_rate", "seed"), seconds[:, 1:], {"units": "s"}),
            "paper_step": ("threshold", list(paper.values())),
        },
        {"threshold": list(config.thresholds), "learning_rate": list(config.rates), "seed": range(config.seeds)},
        attributes([runs])
        | {
            "ratio": config.ratio,
            "workers": config.workers,
            "dim": config.dim,
            "paper_threshold": theory.ringmaster_threshold(config.ratio),
            "tuned_threshold": theory.ringmaster_threshold(config.ratio, times=fleet.times),
        },
    )


def best_tried(found: "xarray.Dataset") -> "xarray.DataArray":
    """Seconds with the step whose median is smallest."""
    tried = found["tried"]
    return tried.isel(tried.median("seed").argmin(["learning_rate"]))


def best_threshold(seconds: "xarray.DataArray") -> int:
    """R of the smallest median."""
    return int(seconds["threshold"][int(np.argmin(seconds.data))])


def draw(found: "xarray.Dataset", path: Path) -> None:
    """Seconds against R."""
    facts = found.attrs
    caption = CAPTION.format(dim=facts["dim"], workers=facts["workers"], ratio=float(facts["ratio"]))
    with picture(path, caption, size=(10, 5)) as axes:
        curve(axes, found["threshold"], found["paper"], colour=BLUE, label="the paper's step", style="o-")
        curve(axes, found["threshold"], best_tried(found), colour=RED, label="best step tried", style="s-")
        axes.axvline(
            float(facts["paper_threshold"]), color="black", ls=":", lw=1, label=r"the paper's R = $\sigma^2/\epsilon$"
        )
        axes.axvline(
            float(facts["tuned_threshold"]),
            color=GREEN,
            ls="--",
            lw=1,
            label=r"$\sqrt{m^* \sigma^2/\epsilon}$, which needs the times",
        )
        axes.set(xscale="log", yscale="log", xlabel="threshold R on the delay [server updates]")
        axes.set_ylabel(r"time until $\|\nabla f\|^2 \leq \epsilon$ [simulated s]")
