"""Five workers with heavy-tailed compute times: who cuts its trials goes on, who waits stalls."""

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np
import optax

import jasgd
from experiments.contest import Protocol, attributes
from experiments.mindflayer2024.settings import MEDIAN, TIMES, fleet, quickest_cut, success
from experiments.pictures import BLUE, GREEN, PINK, RED, SKY, curve, picture
from jasgd.results import best

if TYPE_CHECKING:
    import xarray

RATES = (0.0625, 0.125, 0.25, 0.5, 1.0, 1.5)
CAPTION = """Five workers, job times sqrt(i) + lognormal(0, s). Ours: dimension and noise of the quadratic, S, R; the
best of six steps for each s. Bars on the right: levels of the poster by eye; it says ||grad f||, but only squares can
be that large. They claim that under heavy tails MindFlayer alone goes on (Maranjyan, Omar, Richtarik 2024). Median
and quartiles."""


class Look(NamedTuple):
    """How an algorithm is drawn, and where it ends on the poster for each tail, by eye."""

    colour: str
    style: str
    levels: dict[float, float]


LOOKS = {
    "MindFlayer, t = median": Look(BLUE, "-", {1: 1e-7, 100: 1e-7}),
    "MindFlayer, best t": Look(SKY, "-", {1: 1e-7, 100: 1e-7}),
    "Rennala, S = 1": Look(RED, "-", {1: 1e-7, 10: 7e-7, 100: 4.0}),
    "Ringmaster, R = 1": Look(GREEN, "--", {1: 1e-7, 10: 7e-7, 100: 4.0}),
    "Rennala, S = 5": Look(RED, ":", {}),
    "Ringmaster, R = 5": Look(GREEN, ":", {}),
    "delay-adaptive ASGD": Look(PINK, "-", {1: 1e-7, 10: 0.5, 100: 50.0}),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Workers, tails and horizon of the poster.

    Attributes:
      tails: s of lognormal(0, s).
      seconds: simulated.
      dim, noise: of the quadratic, one normal number of this deviation on all coordinates; ours.
      rates: step sizes that are tried; ours.
      seeds: of durations and noise.
      points: recorded.
    """

    tails: tuple[float, ...] = (1.0, 10.0, 100.0)
    seconds: float = 15_000.0
    dim: int = 1729
    noise: float = 0.001
    rates: tuple[float, ...] = RATES
    seeds: int = 7
    points: int = 150

    def quick(self) -> "Config":
        """A twentieth of the time, one step size."""
        return dataclasses.replace(self, seconds=750.0, dim=200, rates=(0.5,), seeds=3, points=50)


def methods() -> dict[str, tuple[Callable[[float], Protocol], Callable[[float], optax.GradientTransformation]]]:
    """For every name: the protocol for a tail, the rule for a learning rate. MindFlayer's trials are those for S = 1."""
    protocols = jasgd.protocols

    def mindflayer(cut: Callable[[float, float], float], tail: float) -> Protocol:
        extra = np.array([cut(time, tail) for time in TIMES])
        p = np.array([success(t, tail) for t in extra])
        trials = jasgd.theory.mindflayer_trials(TIMES, batch=1, extra_time=extra, success=p)
        return lambda n, seed: protocols.mindflayer(fleet(TIMES, tail), n, trials, TIMES + extra, success=p, seed=seed)

    def rennala(batch: int, tail: float) -> Protocol:
        return lambda n, seed: protocols.rennala(fleet(TIMES, tail), n, batch, seed=seed)

    def ringmaster(threshold: int, tail: float) -> Protocol:
        return lambda n, seed: protocols.ringmaster(fleet(TIMES, tail), n, threshold, stop=True, seed=seed)

    def asynchronous(tail: float) -> Protocol:
        return lambda n, seed: protocols.asynchronous(fleet(TIMES, tail), n, seed=seed)

    def adaptive(learning_rate: float) -> optax.GradientTransformation:
        return jasgd.rules.delay_adaptive_sgd(learning_rate, concurrency=len(TIMES))

    return {
        "MindFlayer, t = median": (partial(mindflayer, lambda *_: MEDIAN), optax.sgd),
        "MindFlayer, best t": (partial(mindflayer, quickest_cut), optax.sgd),
        "Rennala, S = 1": (partial(rennala, 1), optax.sgd),
        "Ringmaster, R = 1": (partial(ringmaster, 1), optax.sgd),
        "Rennala, S = 5": (partial(rennala, 5), optax.sgd),
        "Ringmaster, R = 5": (partial(ringmaster, 5), optax.sgd),
        "delay-adaptive ASGD": (asynchronous, adaptive),
    }


def lasting(protocol: Protocol, seconds: float, seed: int) -> jasgd.Schedule:
    """A schedule that reaches this time; a short one is not cut, as every other length would be compiled anew."""
    updates = 64
    while (schedule := protocol(updates, seed)).version_time[-1] < seconds:
        updates *= 2
    return schedule if updates <= 1024 else schedule.first_updates(int(np.searchsorted(schedule.version_time, seconds)))


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """The norm of the gradient along the simulated time, for every tail at every method's best step size."""
    import xarray

    times = np.linspace(0.0, config.seconds, config.points + 1)
    parts = [
        jasgd.sweep(
            jasgd.problems.quadratic(config.dim, config.noise, noise_kind="scalar"),
            lambda learning_rate, rule=rule: rule(learning_rate),
            lambda tail, seed, protocol=protocol: lasting(protocol(tail), config.seconds, seed),
            grid={"tail": list(config.tails), "learning_rate": list(config.rates)},
            seeds=config.seeds,
            key=jax.random.key(0),
            times=times,
            resume=folder / name.replace(" ", "-"),
            progress=name,
        )
        for name, (protocol, rule) in methods().items()
    ]
    found = xarray.concat(
        [best(part, over="learning_rate", metric="grad_norm") for part in parts], "algorithm", combine_attrs="drop"
    )
    return found[["grad_norm"]].assign_coords(algorithm=list(LOOKS)).assign_attrs(attributes(parts))


def draw(found: "xarray.Dataset", path: Path) -> None:
    """A panel per tail."""
    with picture(path, CAPTION, columns=3, size=(13, 4.8), sharey=True) as panels:
        for axes, tail in zip(panels, found["tail"].values, strict=True):
            for name, look in LOOKS.items():
                one = found.sel(algorithm=name, tail=tail)["grad_norm"] ** 2
                label = name if axes is panels[0] else "_"
                curve(axes, found["time"], one, colour=look.colour, style=look.style, label=label)
                if tail in look.levels:
                    axes.axhline(look.levels[tail], xmin=0.93, color=look.colour, lw=4, alpha=0.5)
            axes.set(yscale="log", xlabel="simulated time [s]", title=f"s = {tail:g}")
            axes.locator_params(axis="x", nbins=4)
        panels[0].set(ylabel=r"$\|\nabla f(x)\|^2$")
        panels[0].legend(frameon=False, fontsize=8, ncols=2, loc="upper right")
