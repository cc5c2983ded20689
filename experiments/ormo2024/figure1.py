"""The largest stable step of asynchronous momentum rules, against the number of workers."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

import jasgd
from experiments.contest import attributes
from experiments.ormo2024.settings import BETA, COLOURS, RULES
from experiments.pictures import picture

if TYPE_CHECKING:
    import xarray

SHOWN = (
    "Delayed Nesterov", "ASGD", "DuDe", "DANA-Zero", "SMEGA2", "OrMo", "vanilla step", "shifted momentum", "naive momentum",
)  # fmt: skip
# Limits of the linear map over K arrivals, for 1, 2, 4, 8 and 16 workers; derived by us, all digits count.
EXACT = {
    "ASGD": (2, 1, 0.445042, 0.209057, 0.101298),
    "naive momentum": (3.8, 0.1, 0.034784, 0.015752, 0.007929),
    "shifted momentum": (3.8, 0.19, 0.064787, 0.027948, 0.013077),
    "vanilla step": (3.8, 0.38709, 0.152503, 0.069401, 0.033246),
    "OrMo": (3.8, 0.562718, 0.198399, 0.085235, 0.0397),
    "SMEGA2": (1.357143, 0.516561, 0.199372, 0.087551, 0.04105),
    "DANA-Zero": (1.357143, 0.559621, 0.220295, 0.097102, 0.045547),
    "Delayed Nesterov": (1.357143, 1.125437 / 2, 0.758858 / 4, 0.56662 / 8, 0.479631 / 16),
    "DuDe": (2, 0.828427, 0.333071, 0.150615, 0.071788),
}
EXACT_WORKERS = (1, 2, 4, 8, 16)
CAPTION = f"""Noise-free quadratic $\\lambda x^2/2$, workers of equal speed, momentum {BETA}: lines are simulated, circles
are exact limits of the linear map over K arrivals. Delayed Nesterov's step is per mean of K gradients and is
divided by K here. This map is ours; the paper has none."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """A scalar quadratic of curvature 1, started at 1.

    Attributes:
      rules: of which the limit is searched.
      workers: numbers of workers K.
      steps: tried at once, evenly spaced in their logarithm; then as many between the last stable and the first unstable.
      smallest, largest: of the first ones, times K.
      rounds, updates: a run takes so many rounds of K gradients, and at least so many gradients; |x| must be smaller in
        its last quarter than in its third.
    """

    rules: tuple[str, ...] = SHOWN
    workers: tuple[int, ...] = (1, 2, 4, 8, 16, 64)
    steps: int = 40
    smallest: float = 0.09
    largest: float = 4.0
    rounds: int = 150
    updates: int = 2400

    def quick(self) -> "Config":
        """Fewer workers and rules."""
        return dataclasses.replace(self, workers=(1, 4), rules=("ASGD", "OrMo", "vanilla step", "naive momentum"))


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """The largest step below which all are stable, and the next that was tried."""
    import xarray

    shape = (len(config.rules), len(config.workers))
    limit, beyond, parts = np.full(shape, config.smallest), np.full(shape, config.largest), []
    for r, rule in enumerate(config.rules):
        for k, workers in enumerate(config.workers):
            for search in ("coarse", "fine"):
                tried = np.geomspace(limit[r, k], beyond[r, k], config.steps)
                at = folder / f"{rule.replace(' ', '-')}-{workers}-{search}"
                part = _sweep(config, rule, workers, tried / workers, at)
                stable = _shrinks(part["grad_norm"].isel(seed=0).values).cumprod().sum()
                if not 0 < stable < config.steps:
                    raise ValueError(f"the largest stable step of {rule} lies outside {tried[0]:.3g} to {tried[-1]:.3g}.")
                limit[r, k], beyond[r, k] = tried[stable - 1], tried[stable]
                parts.append(part)
    limit, beyond = limit / config.workers, beyond / config.workers
    return xarray.Dataset(
        {"limit": (("rule", "workers"), limit), "beyond": (("rule", "workers"), beyond)},
        {"rule": list(config.rules), "workers": list(config.workers)},
        attributes(parts),
    )


def _sweep(config: Config, rule: str, workers: int, steps: np.ndarray, folder: Path) -> "xarray.Dataset":
    """|x| along a run with each of the steps."""
    problem = jasgd.Problem(
        init=lambda _: jnp.float32(1.0),
        loss=lambda x, _: 0.5 * x**2,
        sample=lambda _, __: jnp.zeros(()),
        metrics=lambda x: {"loss": 0.5 * x**2, "grad_norm": jnp.abs(x)},
        name="a scalar quadratic",
    )
    return jasgd.sweep(
        problem,
        lambda learning_rate: RULES[rule](learning_rate, workers),
        jasgd.protocols.asynchronous(jasgd.fleet.equal(workers), max(config.rounds * workers, config.updates)),
        grid={"learning_rate": steps.tolist()},
        key=jax.random.key(0),
        every=max(2, workers // 2),
        resume=folder,
        runs_at_once=config.steps,
    )


def _shrinks(x: np.ndarray) -> np.ndarray:
    """Of each row, whether it is smaller in its last quarter than in its third, or has vanished."""
    x = np.where(np.isfinite(x), np.abs(x), np.inf)
    quarter = x.shape[-1] // 4
    early, late = x[..., -2 * quarter : -quarter].max(axis=-1), x[..., -quarter:].max(axis=-1)
    return (late < early) | (late < 1e-30)  # single precision stands still before it gets to zero


def known(rule: str, workers: int) -> float:
    """The exact limit, where we have it."""
    if rule == "ASGD":
        return float(2 * np.sin(np.pi / (2 * (2 * workers - 1))))
    return EXACT[rule][EXACT_WORKERS.index(workers)] if workers in EXACT_WORKERS else np.nan


def draw(found: "xarray.Dataset", path: Path) -> None:
    """A line per rule."""
    workers = found["workers"].values
    with picture(path, CAPTION, size=(8.5, 5.6)) as axes:
        for rule in found["rule"].values:
            colour, style = COLOURS[rule], "--" if rule == "vanilla step" else "-"
            axes.loglog(workers, found["limit"].sel(rule=rule), style, color=colour, lw=1.3, label=rule)
            exact = [known(rule, int(k)) for k in workers]
            axes.loglog(workers, exact, "o", color=colour, mfc="none", ms=5)
        axes.plot([], [], "o", color="black", mfc="none", ms=5, label="exact")
        axes.set_xticks(workers, [str(k) for k in workers])
        axes.minorticks_off()
        axes.set(xlabel="workers K", ylabel=r"largest stable step $\eta \lambda$")
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
