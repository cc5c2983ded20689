"""What asynchrony does to acceleration: the largest stable step of momentum against the delay."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jasgd
from experiments.contest import attributes
from experiments.pictures import BLUE, GREEN, ORANGE, RED, picture
from jasgd import rules, theory

if TYPE_CHECKING:
    import xarray

CAPTION = """One direction of curvature 1 without noise, start 1; accelerated SGD with alpha = 1 / (1 + beta) and
gamma = delta / beta, which is Nesterov momentum c = (1 - beta) / (1 + beta). Lines: derived; filled: simulated,
shrinks at {below:g} times the limit; open: grows at {above:g} times. Ours."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """A scalar quadratic.

    Attributes:
      delays: constant ones.
      momenta: c.
      below, above: steps that are tried, as shares of the limit.
      updates: of every run, per update of delay and per 1 / (1 - c).
    """

    delays: tuple[int, ...] = (0, 1, 4, 16, 64, 256, 1024)
    momenta: tuple[float, ...] = (0.0, 0.5, 0.9, 0.99)
    below: float = 0.95
    above: float = 1.05
    updates: int = 400

    def quick(self) -> "Config":
        """Fewer delays and momenta."""
        return dataclasses.replace(self, delays=(0, 64), momenta=(0.0, 0.9))


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """Whether the point shrinks, below and above the limit of theory."""
    import xarray

    problem = jasgd.Problem(
        init=lambda _: jnp.float32(1.0),
        loss=lambda x, _: 0.5 * x**2,
        sample=lambda _, __: jnp.zeros(()),
        metrics=lambda x: {"loss": 0.5 * x**2, "grad_norm": jnp.abs(x)},
        name="a scalar quadratic",
    )
    limit = np.array([[theory.delayed_stability_limit(d, c) for d in config.delays] for c in config.momenta])

    def rule(momentum: float, delay: int, share: float) -> optax.GradientTransformation:
        beta = (1 - momentum) / (1 + momentum)
        step = share * theory.delayed_stability_limit(delay, momentum)
        return rules.accelerated_sgd(step, step / beta, 1 / (1 + beta), beta)

    def schedule(delay: int, momentum: float) -> jasgd.Schedule:
        return jasgd.protocols.delays(1, int(config.updates * (delay + 1 / (1 - momentum))), delay)

    grid = {"momentum": list(config.momenta), "delay": list(config.delays), "share": [config.below, config.above]}
    part = jasgd.sweep(problem, rule, schedule, grid=grid, key=jax.random.key(0), every=20, resume=folder, progress="limits")
    x = part["grad_norm"].isel(seed=0).transpose(*grid, "version")
    grows = np.array([_grows(x[cell]) for cell in np.ndindex(x.shape[:-1])]).reshape(x.shape[:-1])
    return xarray.Dataset({"limit": (("momentum", "delay"), limit), "grows": (tuple(grid), grows)}, grid, attributes([part]))


def _grows(x: "xarray.DataArray") -> bool:
    """Larger in the last quarter of the records than in the third; or not finite."""
    known = x.values[x["time"].notnull().values]  # schedules end at different versions
    known = np.where(np.isfinite(known), known, np.inf)
    quarter = len(known) // 4
    early, late = known[-2 * quarter : -quarter].max(), known[-quarter:].max()
    return bool(late >= early and late > 1e-30) or bool(np.isinf(late))


def draw(found: "xarray.Dataset", path: Path) -> None:
    """A line per momentum."""
    delays = np.unique(np.round(np.geomspace(1, found["delay"].values[-1] + 1, 80)).astype(int)) - 1
    share = found["share"].values
    with picture(path, CAPTION.format(below=share[0], above=share[1]), size=(8, 5)) as axes:
        for c, colour in zip(found["momentum"].values, (BLUE, GREEN, ORANGE, RED), strict=False):
            lines = [theory.delayed_stability_limit(int(d), float(c)) for d in delays]
            axes.loglog(delays + 1, lines, color=colour, lw=1.3, label=f"c = {c:g}")
            one = found.sel(momentum=c)
            for k, (grows, fill) in enumerate(((False, colour), (True, "none"))):
                right = one["grows"].isel(share=k).values == grows
                at = one["delay"].values[right] + 1
                axes.loglog(at, share[k] * one["limit"].values[right], "o", color=colour, mfc=fill, ms=5)
        axes.set_xticks(found["delay"].values + 1, [str(d) for d in found["delay"].values])
        axes.minorticks_off()
        axes.set(xlabel="delay of every gradient (updates)", ylabel=r"largest stable step $\delta \lambda$")
