"""The largest stable step under nine models of compute time: it is the distribution of the delays that limits it."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jasgd
from experiments.contest import attributes
from experiments.mishchenko2022.settings import WORKERS, fleet
from experiments.pictures import BLUE, RED, picture

if TYPE_CHECKING:
    import xarray

CURVATURE = 0.250071  # of the stiff direction of the notebook's problem; derived
MODELS = (
    "equal", "1 + 0.05 |N(0, 1)|", "U(0.5, 1.5)", "sqrt(i)", "half 1, half 4", "half 1, half 8", "exp(1)", "i",
    "Lomax(1.5) + 0.001",
)  # fmt: skip
RULES = ("constant", "delay-adaptive")
CAPTION = f"""{WORKERS} workers on the stiff direction (L = {CURVATURE}) of the authors' least squares problem, no
noise. What limits the step is the distribution of the delays: a tuned step does not carry over from one fleet to
another. The map is ours, not the paper's."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """One noise-free direction of the notebook's curvature, started at 1.

    Attributes:
      steps: step sizes tried, evenly spaced in their logarithm.
      smallest, largest: of them.
      updates: the distance must be smaller in their last quarter than in their second.
      models: of compute time.
      seed: of the durations.
    """

    steps: int = 600
    smallest: float = 0.05
    largest: float = 20.0
    updates: int = 6_000
    models: tuple[str, ...] = MODELS
    seed: int = 0

    def quick(self) -> "Config":
        """Few steps, four models."""
        return dataclasses.replace(self, steps=40, updates=2_000, models=("equal", "sqrt(i)", "exp(1)", "i"))


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """Whether each step is stable."""
    import xarray

    problem = jasgd.Problem(
        init=lambda _: jnp.float32(1.0),
        loss=lambda x, _: 0.5 * CURVATURE * x**2,
        sample=lambda _, __: jnp.zeros(()),
        metrics=lambda x: {"loss": 0.5 * CURVATURE * x**2, "grad_norm": CURVATURE * jnp.abs(x), "x": jnp.abs(x)},
        name="one stiff direction",
    )
    grid = {
        "model": list(config.models),
        "learning_rate": np.geomspace(config.smallest, config.largest, config.steps).tolist(),
    }

    def schedule(model: str) -> jasgd.Schedule:
        return jasgd.protocols.asynchronous(fleet(model), config.updates, seed=config.seed)

    def adaptive(learning_rate: float) -> optax.GradientTransformation:
        return jasgd.rules.delay_adaptive_sgd(learning_rate, concurrency=WORKERS)

    parts = []
    for name, rule in zip(RULES, (optax.sgd, adaptive), strict=True):
        part = jasgd.sweep(
            problem, rule, schedule, grid=grid, key=jax.random.key(0), every=100, resume=folder / name, progress=name
        )
        parts.append(part.isel(seed=0, drop=True))
    found = xarray.concat(parts, "rule", combine_attrs="drop").assign_coords(rule=list(RULES))
    # Stable: the distance shrinks, from the second quarter of the updates to the last.
    x = found["x"].fillna(np.inf)
    quarter = x.sizes["version"] // 4
    early, late = x.isel(version=slice(quarter, 2 * quarter)), x.isel(version=slice(-quarter, None))
    stable = (late.max("version") < early.max("version")) | (late.max("version") < 1e-30)
    # The largest step below which all are stable.
    count = stable.astype(int).cumprod("learning_rate").sum("learning_rate")
    rates = np.array(grid["learning_rate"])
    limit = xarray.where(count > 0, rates[np.maximum(count.values, 1) - 1], np.nan)
    return xarray.Dataset({"stable": stable, "limit": limit}, attrs=attributes(parts))


def known_limit(delay: int) -> float:
    """Of a constant delay: 2 / L sin(pi / (2 (2 delay + 1)))."""
    return float(2 / CURVATURE * np.sin(np.pi / (2 * (2 * delay + 1))))


def draw(found: "xarray.Dataset", path: Path) -> None:
    """A bar per model and rule."""
    models = [str(model) for model in found["model"].values]
    place = np.arange(len(models))
    with picture(path, CAPTION, size=(8, 4.6)) as axes:
        for i, (rule, colour) in enumerate(zip(RULES, (BLUE, RED), strict=True)):
            axes.barh(place + 0.2 - 0.4 * i, found["limit"].sel(rule=rule), height=0.38, color=colour, label=f"{rule} step")
        axes.axvline(known_limit(WORKERS - 1), color="black", ls=":", lw=1, label="formula for equal speeds, delay 39")
        axes.axvline(0.43, color="0.5", ls="--", lw=1, label="the notebook's step, 0.43")
        axes.set_yticks(place, models)
        axes.invert_yaxis()
        axes.set(xscale="log", xlim=(0.1, 4.0), xlabel="largest stable step", ylabel="seconds per gradient")
        ticks = [0.1, 0.2, 0.5, 1.0, 2.0, 4.0]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.legend(frameon=False, fontsize=8, loc="upper right")
