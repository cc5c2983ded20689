"""One number, two workers: vanilla asynchronous SGD goes to one point, Rescaled ASGD to another."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jasgd
from experiments.contest import Contestant, contest
from experiments.pictures import BLUE, GREEN, GREY, PINK, RED, picture
from jasgd import protocols, rules

if TYPE_CHECKING:
    import xarray

CURVATURE, CENTRE = np.array([1.0, 2.0]), np.array([1.0, -1.5])  # F_i(x) = a_i (x - b_i)^2 / 2
TIMES = np.array([0.1, 0.8])
WEIGHTED, UNIFORM = 0.5, -2 / 3  # minimisers, weighted by frequency and of the average
# Read off the poster by eye.
POSTER_TIME = (30, 60, 90, 120, 150)
POSTER = {"vanilla ASGD": (1.75, 0.82, 0.55, 0.48, 0.46), "Rescaled ASGD": (2.40, 0.98, 0.22, -0.20, -0.42)}
CAPTION = """The paper's poster shows one number with two levels, crosses read off by eye; its instance is not known.
Ours: F_i = a_i (x - b_i)^2 / 2, a = (1, 2), b = (1, -1.5), 0.1 s and 0.8 s per gradient, no noise, steps fitted to
the poster's rates. Claimed: steps in proportion to the times lead to the minimiser of the average (Mahran et al.
2026). DuDe, Malenia and Ringleader, which also get there, take Rescaled ASGD's step per second."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Two workers.

    Attributes:
      vanilla_step: per gradient.
      per_second: Rescaled ASGD's step per second; the others' too.
      seconds: horizon.
    """

    vanilla_step: float = 0.00336
    per_second: float = 0.01367
    seconds: float = 300.0

    def quick(self) -> "Config":
        """As it is: it takes seconds."""
        return self


def problem() -> jasgd.Problem:
    """The two parabolas."""
    a, b = jnp.asarray(CURVATURE, jnp.float32), jnp.asarray(CENTRE, jnp.float32)
    return jasgd.Problem(
        init=lambda _: jnp.float32(5.0),
        loss=lambda x, worker: 0.5 * a[worker] * (x - b[worker]) ** 2,
        sample=lambda _, worker: worker,
        metrics=lambda x: {
            "loss": jnp.mean(0.5 * a * (x - b) ** 2),
            "grad_norm": jnp.abs(jnp.mean(a * (x - b))),
            "x": x,
        },
        num_workers=2,
        name="two parabolas",
    )


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """The point at every second."""
    pair, rate = jasgd.fleet.fixed(TIMES), config.per_second
    arrivals_per_second = float(np.sum(1 / TIMES))

    def asynchronous(updates: int, _: int) -> jasgd.Schedule:
        return protocols.asynchronous(pair, updates)

    # Ringleader's updates per second, of its own schedule.
    taken = protocols.ringleader(pair, 2000)
    per_second = taken.updates / taken.time[-1]
    contestants = {
        "vanilla ASGD": Contestant(asynchronous, optax.sgd, (config.vanilla_step,)),
        "Rescaled ASGD": Contestant(
            asynchronous, lambda step: rules.rescaled_sgd(step, TIMES), (rate / arrivals_per_second,)
        ),
        "DuDe-ASGD": Contestant(
            lambda updates, _: protocols.asynchronous(pair, updates, first_round="together"),
            lambda step: rules.dude(step, 2),
            (rate / arrivals_per_second,),
        ),
        "Malenia SGD": Contestant(
            lambda updates, _: protocols.malenia(pair, updates), optax.sgd, (rate * float(TIMES.max()),)
        ),
        "Ringleader ASGD": Contestant(
            lambda updates, _: protocols.ringleader(pair, 2 * updates),
            lambda step: rules.ringleader(step, 2),
            (rate / per_second,),
        ),
    }
    times = np.arange(1.0, config.seconds + 1)
    found = contest(problem(), contestants, times=times, seeds=1, key=jax.random.key(0), folder=folder)
    # Every method has one step of its own.
    return found[["x"]].max("learning_rate").isel(seed=0, drop=True).assign_attrs(found.attrs)


def draw(found: "xarray.Dataset", path: Path) -> None:
    """The point against time, with both levels."""
    colours = dict(zip(found["algorithm"].values, (BLUE, RED, GREEN, PINK, GREY), strict=True))
    with picture(path, CAPTION, size=(9, 5)) as axes:
        for name, colour in colours.items():
            main = name in POSTER
            axes.plot(found["time"], found["x"].sel(algorithm=name), "-" if main else "--", color=colour, lw=1.5, label=name)
            if main:
                axes.plot(POSTER_TIME, POSTER[str(name)], "x", color=colour, ms=8, label=f"{name}, poster by eye")
        for level, text in ((WEIGHTED, "minimiser weighted by frequency"), (UNIFORM, "minimiser of the average")):
            axes.axhline(level, color="0.6", lw=0.8)
            axes.annotate(
                text, (found["time"][-1], level), xytext=(0, 4), textcoords="offset points", ha="right", color="0.4"
            )
        axes.set(xlabel="simulated time [s]", ylabel="x", ylim=(-1.2, 5.2))
