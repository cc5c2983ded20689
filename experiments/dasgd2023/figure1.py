"""Six nodes: squared gradients at the points where they are computed, under two bounds; and the staleness behind them."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np
import optax

import jasgd
from experiments.contest import attributes
from experiments.dasgd2023.settings import DIM, KEY, NODES, NOISE, execution, gap, problem, replay, samples
from experiments.pictures import BLUE, GREEN, GREY, RED, curve, picture
from jasgd.theory import dasgd as theory

if TYPE_CHECKING:
    import xarray

CAPTION = """Quadratic, d = 10, noise 0.3 per coordinate; 6 nodes with 1, 1.3, 2.1, 4, 0.7 and 3.3 s per gradient,
latencies of the links U(0.1, 2) s; medians and quartiles over {draws} draws of latencies and noise, staleness of the first.
The paper's constants and measure of staleness are unknown to us: bounds, measure and step (largest of bound 2) are ours."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """The sizes.

    Attributes:
      gradients: T.
      draws: of latencies and noise.
    """

    gradients: int = 2_500
    draws: int = 20

    def quick(self) -> "Config":
        """Shorter, fewer draws."""
        return dataclasses.replace(self, gradients=600, draws=4)


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """Means over the first T gradients, both bounds, and what is missing at every read."""
    import xarray

    del folder
    made, prefixes = problem(), np.unique(np.geomspace(5, config.gradients, 60).astype(int))
    facts = {"smoothness": made.facts["smoothness"], "gap": gap(), "noise": float(np.sqrt(DIM)) * NOISE}
    noise = samples(config.gradients // 2, range(config.draws))
    parts = []
    for draw in range(config.draws):
        run = execution(config.gradients, draw=draw)
        stale = jasgd.decentralized.staleness(run)
        S, R = stale.missing, stale.missed
        eta = theory.dasgd_step_size(facts["smoothness"], S, R)
        squared, replicas = (part[:, 0, 0] for part in replay(run, noise[:, :, [draw]], [eta]))
        Q = float(np.sqrt(squared.max()))
        bounded = [theory.dasgd_bounded_gradient_bound(eta, S[:T], gradient_bound=Q, **facts) for T in prefixes]
        unbounded = [theory.dasgd_bound(eta, S[:T], R[:T], **facts) for T in prefixes]
        numbers = {"missing": S, "finished": stale.finished, "missed": R}
        one = {
            **{name: ("gradient", values) for name, values in numbers.items()},
            "left": ("prefix", (np.cumsum(squared) / np.arange(1, config.gradients + 1))[prefixes - 1]),
            "bounded": ("prefix", bounded),
            "unbounded": ("prefix", unbounded),
            "step": eta,
        }
        parts.append(xarray.Dataset(one))
        if draw == 0:
            first, ended = run, replicas
    simulated = jasgd.decentralized.simulate(made, optax.sgd(float(parts[0]["step"])), first, key=jax.random.fold_in(KEY, 0))
    moved = np.abs(ended - np.asarray(made.init(KEY))).max()
    found = xarray.concat(parts, "seed").assign(error=np.abs(np.asarray(simulated.params) - ended).max() / moved)
    every = simulated.to_dataset().assign_attrs(gradients=str((config.draws + 1) * config.gradients))
    return found.assign_coords(prefix=prefixes).assign_attrs(attributes([every]), draws=config.draws)


def draw(found: "xarray.Dataset", path: Path) -> None:
    """Means and bounds; staleness along the run."""
    with picture(path, CAPTION.format(**found.attrs), columns=2, size=(11, 4.6)) as (left, right):
        curve(left, found["prefix"], found["left"], colour=BLUE, label=r"measured mean of $\|\nabla f(z_k)\|^2$")
        curve(
            left,
            found["prefix"],
            found["bounded"],
            colour=RED,
            label=r"bound 1 ($\|\nabla f\| \leq Q$, Q as measured)",
            style="--",
        )
        curve(left, found["prefix"], found["unbounded"], colour=GREEN, label="bound 2", style=":")
        left.set(xscale="log", yscale="log", xlabel="T, gradients started", ylabel="mean over the first T gradients")
        one = found.isel(seed=0, gradient=slice(0, 30 * NODES))
        k = np.arange(one.sizes["gradient"])
        right.plot(k, one["missing"], ".-", color=BLUE, lw=0.5, ms=4, label="$S_k$, missing at read k")
        right.plot(k, one["missed"], ".-", color=GREY, lw=0.5, ms=4, label="$R_k$, later reads that miss gradient k")
        right.plot(k, one["finished"], ".-", color=RED, lw=0.5, ms=4, label="of $S_k$, those already finished")
        right.set(
            xlabel="k, gradients in the order of their starts",
            ylabel="gradients",
            ylim=(0, 1.45 * float(one["missed"].max())),
        )
        right.legend(frameon=False, fontsize=8, loc="upper right")
