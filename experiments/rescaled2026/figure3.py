"""Three forms of rescaling where durations are random: by mean time, by the job's own duration, by its delay."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jasgd
from experiments.contest import attributes
from experiments.pictures import BLUE, GREEN, GREY, RED, curve, picture
from jasgd import rules

if TYPE_CHECKING:
    import xarray

MEANS = np.arange(1.0, 9.0)  # seconds per gradient
HARMONIC = 1 / np.mean(1 / MEANS)
CENTRES = np.linspace(-1.0, 1.0, 8)  # F_i(x) = (x - b_i)^2 / 2; fast workers pull to the left
UNIFORM, WEIGHTED = float(CENTRES.mean()), float(np.average(CENTRES, weights=1 / MEANS))
FORMS = {
    "vanilla": optax.sgd,
    "by mean time": lambda rate: rules.rescaled_sgd(rate, MEANS),
    "by duration": lambda rate: rules.rescaled_sgd_by_duration(rate, HARMONIC),
    "by delay": lambda rate: rules.rescaled_sgd_by_delay(rate, len(MEANS)),
}
CAPTION = """Eight workers, F_i = (x - b_i)^2 / 2, mean times 1 to 8 s, lognormal with the deviation s of the
logarithm (0: fixed); no noise, step 0.005 on average. Jobs of a worker tile the time axis and the versions, so
weights by duration and by delay add up to the same for every worker whatever the durations. The forms, and everything
here, are ours; the paper's treatment of unknown times is not known to us."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """One number, eight workers.

    Attributes:
      updates: of every run.
      step: on average over the updates.
      deviations: s, of the logarithm of a duration.
      seeds: of durations.
    """

    updates: int = 20_000
    step: float = 0.005
    deviations: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0)
    seeds: int = 10

    def quick(self) -> "Config":
        """Fewer."""
        return dataclasses.replace(self, updates=4_000, deviations=(0.0, 1.0), seeds=3)


def fleet(deviation: float) -> jasgd.fleet.Fleet:
    """Lognormal durations of these means."""
    if deviation == 0:
        return jasgd.fleet.fixed(MEANS)
    return jasgd.fleet.lognormal(np.log(MEANS) - deviation**2 / 2, np.full(len(MEANS), deviation))


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """The point along the versions."""
    centres = jnp.asarray(CENTRES, jnp.float32)
    problem = jasgd.Problem(
        init=lambda _: jnp.float32(3.0),
        loss=lambda x, worker: 0.5 * (x - centres[worker]) ** 2,
        sample=lambda _, worker: worker,
        metrics=lambda x: {"loss": 0.5 * (x - UNIFORM) ** 2, "grad_norm": jnp.abs(x - UNIFORM), "x": x},
        num_workers=len(MEANS),
        name="eight parabolas",
    )
    found = jasgd.sweep(
        problem,
        lambda form: FORMS[form](config.step),
        lambda deviation, seed: jasgd.protocols.asynchronous(fleet(deviation), config.updates, seed=seed),
        grid={"form": list(FORMS), "deviation": list(config.deviations)},
        seeds=config.seeds,
        key=jax.random.key(0),
        every=10,
        resume=folder,
        progress="forms",
    )
    return found[["x"]].assign_attrs(attributes([found]) | {"step": config.step})


def late(found: "xarray.Dataset") -> "xarray.DataArray":
    """The second half of every run."""
    return found["x"].isel(version=slice(found.sizes["version"] // 2, None))


def draw(found: "xarray.Dataset", path: Path) -> None:
    """Curves for one deviation; where they end, and how far they wander, for all."""
    colours = dict(zip(FORMS, (GREY, BLUE, RED, GREEN), strict=True))
    shown = 1.0
    with picture(path, CAPTION, columns=3, size=(13, 4.8)) as (a, b, c):
        for form, colour in colours.items():
            one = found["x"].sel(form=form)
            curve(a, found["version"], one.sel(deviation=shown), colour=colour, label=form)
            curve(b, found["deviation"], late(found).sel(form=form).mean("version"), colour=colour, label=form, style="o-")
            curve(c, found["deviation"], late(found).sel(form=form).std("version"), colour=colour, label=form, style="o-")
        for axes in (a, b):
            axes.axhline(UNIFORM, color="0.5", lw=0.8)
            axes.axhline(WEIGHTED, color="0.5", lw=0.8, ls=":")
        a.annotate(
            "average", (found["version"][-1] / 4, UNIFORM), xytext=(0, 3), textcoords="offset points", ha="right", fontsize=8
        )
        a.annotate(
            "by frequency",
            (found["version"][-1] / 4, WEIGHTED),
            xytext=(0, 3),
            textcoords="offset points",
            ha="right",
            fontsize=8,
        )
        a.set(
            xlabel="server updates", ylabel="x", ylim=(-1, 1.5), xlim=(0, found["version"][-1] / 4), title=f"s = {shown:g}"
        )
        b.set(xlabel="deviation s of log durations", ylabel="mean of x", title="second half of the run")
        c.set(
            xlabel="deviation s of log durations",
            ylabel="standard deviation of x",
            yscale="log",
            title="second half of the run",
        )
