"""Workers with different inputs: the slow ones see what the target weighs; plain and rescaled steps."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np
import optax

import jasgd
from experiments.contest import attributes
from experiments.covariate2025.settings import DIM, power
from experiments.pictures import BLUE, RED, picture
from jasgd import rules, theory
from jasgd.results import band

if TYPE_CHECKING:
    import xarray

WORKERS, NOISE, SLOWDOWN = 20, 0.5, 9.0
TIMES = np.r_[np.ones(WORKERS // 2), np.full(WORKERS // 2, SLOWDOWN)]
FAST, SLOW = power(2.0), power(2.0)[::-1]  # what they see
SHARES = (1 / TIMES) / np.sum(1 / TIMES)
SOURCES = np.array([FAST] * (WORKERS // 2) + [SLOW] * (WORKERS // 2))
MIXTURES = {"deliveries": SHARES @ SOURCES, "workers": SOURCES.mean(axis=0)}
ELLIPSE, TARGET = np.ones(DIM), SLOW
WEIGHTS = {"plain": np.ones(WORKERS), "rescaled": 1 / (WORKERS * SHARES)}
CAPTION = """10 workers take 1 s and see eigenvalues i^-2, 10 take 9 s and see them in reverse order, as the target
does; d = 40, noise 0.5, M = I, one pass over {samples} samples, one truth for all. The preconditioner is made for the
mean of S over deliveries or over workers. Crosses: derived from the mean that the steps see. Mean and quartiles over
seeds. Ours."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Two groups of workers.

    Attributes:
      samples: n, all workers together.
      seeds: of samples.
      records: points of a curve.
    """

    samples: int = 4000
    seeds: int = 64
    records: int = 40

    def quick(self) -> "Config":
        """Fewer samples and seeds."""
        return dataclasses.replace(self, samples=1000, seeds=8, records=10)


def matrix(mixture: str, samples: int) -> np.ndarray:
    """The preconditioner for one of the means of S."""
    best = theory.shift_optimum(MIXTURES[mixture], TARGET, ELLIPSE, NOISE, samples)
    return theory.shift_preconditioner(MIXTURES[mixture], best.transform, samples)


def truth(samples: int) -> np.ndarray:
    """Least favourable for the mean over deliveries."""
    best = theory.shift_optimum(MIXTURES["deliveries"], TARGET, ELLIPSE, NOISE, samples)
    return theory.shift_least_favourable(ELLIPSE, best.prior)


def derived(steps: str, mixture: str, samples: int) -> float:
    """Target risk of the filter, with label noise only: weights u_i make it see sum p_i u_i S_i, noise sum p_i u_i^2 S_i."""
    p, u = matrix(mixture, samples), WEIGHTS[steps]
    seen, noise = (SHARES * u) @ SOURCES, NOISE**2 * (SHARES * u**2) @ SOURCES
    left = (1 - p * seen) ** samples
    series = np.where(p > 0, 1 - (1 - p * seen) ** 2, 1.0)
    variance = p**2 * noise * (1 - left**2) / series
    return float(np.sum(TARGET * (left**2 * truth(samples) ** 2 + variance)))


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """Risks along the run, and what theory says about its end."""
    n = config.samples

    def rule(steps: str, mixture: str) -> optax.GradientTransformation:
        weigh = rules.scale_by_computation_time(TIMES, "harmonic") if steps == "rescaled" else optax.identity()
        return optax.chain(weigh, rules.precondition(matrix(mixture, n)), optax.sgd(1.0))

    found = jasgd.sweep(
        jasgd.problems.covariate_shift(
            MIXTURES["workers"], TARGET, ELLIPSE, NOISE, truth=truth(n), worker_sources=list(SOURCES)
        ),
        rule,
        jasgd.protocols.asynchronous(jasgd.fleet.fixed(TIMES), n),
        grid={"steps": list(WEIGHTS), "mixture": list(MIXTURES)},
        seeds=config.seeds,
        key=jax.random.key(0),
        every=n // config.records,
        resume=folder,
        progress="different inputs",
    )
    said = np.array([[derived(steps, mixture, n) for mixture in MIXTURES] for steps in WEIGHTS])
    optimum = [theory.shift_optimum(mean, TARGET, ELLIPSE, NOISE, n).risk for mean in MIXTURES.values()]
    made = found[["source_risk", "target_risk"]].assign(
        derived=(("steps", "mixture"), said), optimum=("mixture", np.array(optimum))
    )
    return made.assign_attrs(attributes([found]) | {"samples": n})


def draw(found: "xarray.Dataset", path: Path) -> None:
    """Source and target risk along the run."""
    with picture(path, CAPTION.format(samples=found.attrs["samples"]), columns=2, size=(11, 4.6)) as panels:
        for axes, name in zip(panels, ("source_risk", "target_risk"), strict=True):
            for steps, colour in zip(found["steps"].values, (BLUE, RED), strict=True):
                for mixture, style in zip(found["mixture"].values, ("-", "--"), strict=True):
                    one = found.sel(steps=steps, mixture=mixture)
                    label = f"{steps} steps, made for the mean over {mixture}"
                    axes.plot(found["version"], one[name].mean("seed"), style, color=colour, lw=1.4, label=label)
                    shown = band(one[name])
                    axes.fill_between(found["version"], shown["low"], shown["high"], color=colour, alpha=0.12, lw=0)
                    if name == "target_risk":
                        axes.plot(found["version"][-1], one["derived"], "x", color=colour, ms=7)
            axes.set(yscale="log", xlabel="deliveries", ylabel=name.replace("_", " ").replace("risk", "excess risk"))
