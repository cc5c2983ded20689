"""A bound with all its constants over what is measured, and how much faster more workers are."""

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np

import jasgd
from experiments.contest import attributes
from experiments.dude2024.settings import Quadratics, quadratic_problem, quadratics
from experiments.pictures import BLACK, BLUE, GREEN, GREY, ORANGE, RED, picture
from jasgd import theory

if TYPE_CHECKING:
    import xarray

DIM, SMOOTHNESS = 8, 1.0
TIMES = np.arange(1.0, 7.0)  # of the left panel
CAPTION = """Quadratics of the workers, d = 8, centres 3 N(0, I) apart, noise 2; DuDe-ASGD with the paper's step for T updates, at most 1 / (5 L m).
Left: six workers that take 1 to 6 s. Others: n workers of 1 s each, same curvature, same first gap. The bound is derived by us, as the paper's
constants are not known to us. The paper claims speed-up linear in n, whatever the heterogeneity. Means over ten seeds; setting ours."""  # noqa: E501


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Our setting.

    Attributes:
      horizons: values of T of the left panel, each with its own step; all runs last as long as the longest.
      workers: n of the others.
      seconds: how long these run; n updates a second. Each has its own step.
      gap: F(w^0) - F* of these.
      noise: sigma.
      seeds: means are over so many.
    """

    horizons: tuple[int, ...] = (1_500, 15_000, 50_000)
    workers: tuple[int, ...] = (1, 2, 4, 8, 16)
    seconds: tuple[int, ...] = (32, 64, 128, 256, 512, 1_024, 2_048)
    gap: float = 1.0
    noise: float = 2.0
    seeds: int = 10

    def quick(self) -> "Config":
        """Fewer and shorter runs."""
        return dataclasses.replace(self, horizons=(1_500, 15_000), workers=(1, 4), seconds=(32, 64, 128, 256), seeds=3)


def table_schedule(times: np.ndarray, steps: int) -> jasgd.Schedule:
    """A first round together, with whose last arrival the first of so many steps is made."""
    return jasgd.protocols.asynchronous(jasgd.fleet.fixed(times), len(times) - 1 + steps, first_round="together")


def largest_age(schedule: jasgd.Schedule) -> int:
    """The most updates that an entry of the table is old, counted from 1 as in the paper."""
    n = schedule.num_workers
    read, oldest = np.full(n, n - 1), 0  # the first round fills the table at one point, version n - 1
    for version in range(n, schedule.updates):
        read[schedule.worker[version]] = max(schedule.read[version], n - 1)
        oldest = max(oldest, version - int(read.min()))
    return oldest + 1


def step_size(steps: int, workers: int, age: int, gap: float) -> float:
    """The paper's, but never more than the bound allows."""
    return min(0.5 * math.sqrt(workers * gap / (SMOOTHNESS * age * steps)), 1 / (5 * SMOOTHNESS * max(1, age - 1)))


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """Means of squared gradient norms, and the bound on them."""
    import xarray

    made = quadratics(len(TIMES), DIM, draw=0)
    problem = quadratic_problem(made, np.ones(DIM), noise=config.noise)
    schedule = table_schedule(TIMES, max(config.horizons))
    age = largest_age(schedule)
    rates = [step_size(steps, len(TIMES), age, problem.facts["gap"]) for steps in config.horizons]
    parts = [_runs(problem, schedule, rates, config, every=25, folder=folder / "bound")]
    left, steps = _running_mean(parts[0], len(TIMES))
    right = np.array(
        [[_bound(rate, int(t), len(TIMES), age, problem.facts["gap"], config) for t in steps] for rate in rates]
    )
    measured, bounds = np.zeros((2, len(config.workers), len(config.seconds)))
    for i, n in enumerate(config.workers):
        alike = quadratics(n, DIM, draw=0, alike=True)
        schedule = table_schedule(np.ones(n), n * max(config.seconds))
        age = largest_age(schedule)
        rates = [step_size(n * seconds, n, age, config.gap) for seconds in config.seconds]
        problem = quadratic_problem(alike, _start(alike, config.gap), noise=config.noise)
        parts.append(_runs(problem, schedule, rates, config, every=n, folder=folder / str(n)))
        mean, at = _running_mean(parts[-1], n)
        for s, seconds in enumerate(config.seconds):
            measured[i, s] = mean[s, np.searchsorted(at, n * seconds)]
            bounds[i, s] = _bound(rates[s], n * seconds, n, age, config.gap, config)
    return xarray.Dataset(
        {
            "left": (("horizon", "update"), left),
            "right": (("horizon", "update"), right),
            "measured": (("workers", "seconds"), measured, {"long_name": "mean squared gradient norm"}),
            "bound": (("workers", "seconds"), bounds),
        },
        {
            "horizon": list(config.horizons),
            "update": steps,
            "workers": list(config.workers),
            "seconds": list(config.seconds),
        },
        attributes(parts),
    )


def _start(made: Quadratics, gap: float) -> np.ndarray:
    """A point with this gap, at the same place relative to the minimiser for any number of workers of one curvature."""
    matrix, ones = made.curvature[0], np.ones(DIM)
    return made.centre.mean(axis=0) + ones * math.sqrt(2 * gap / (ones @ matrix @ ones))


def _runs(
    problem: jasgd.Problem, schedule: jasgd.Schedule, rates: list[float], config: Config, *, every: int, folder: Path
) -> "xarray.Dataset":
    workers = schedule.num_workers
    return jasgd.sweep(
        problem,
        lambda number: jasgd.rules.dude(rates[number], workers),
        schedule,
        grid={"number": list(range(len(rates)))},
        seeds=config.seeds,
        key=jax.random.key(0),
        every=every,
        resume=folder,
        progress=f"{workers} workers",
    )


def _running_mean(runs: "xarray.Dataset", workers: int) -> tuple[np.ndarray, np.ndarray]:
    """Of the squared gradient norm over the records before an update, and these updates; version n is the first new one."""
    squares = (runs["grad_norm"].astype(float) ** 2).mean("seed").transpose("number", "version").values
    mean = np.cumsum(squares, axis=1) / np.arange(1, squares.shape[1] + 1)
    steps = runs["version"].values - (workers - 1)
    after = steps > 0
    return mean[:, np.flatnonzero(after) - 1], steps[after]


def _bound(rate: float, steps: int, workers: int, age: int, gap: float, config: Config) -> float:
    return theory.dude_bound(
        rate, smoothness=SMOOTHNESS, num_workers=workers, max_delay=age, gap=gap, updates=steps, noise=config.noise
    )


def seconds_to(goal: float, seconds: np.ndarray, values: np.ndarray) -> float:
    """When a curve comes down to a goal, straight between its points on double logarithmic paper; NaN if it does not."""
    below = np.flatnonzero(values <= goal)
    if not len(below) or below[0] == 0:
        return math.nan
    i = below[0]
    part = math.log(values[i - 1] / goal) / math.log(values[i - 1] / values[i])
    return float(seconds[i - 1] * (seconds[i] / seconds[i - 1]) ** part)


def speed_up(found: "xarray.Dataset") -> np.ndarray:
    """How many times sooner n workers reach what the first of the numbers of workers has in the end."""
    curves, seconds = found["measured"].values, found["seconds"].values
    return seconds[-1] / np.array([seconds[-1], *(seconds_to(curves[0, -1], seconds, curve) for curve in curves[1:])])


def predicted_speed_up(workers: np.ndarray) -> np.ndarray:
    """By the paper's rate sqrt(tau_max / (n T)) with T = n updates a second and, at equal speeds, tau_max = 2 n - 1."""
    return workers**2 / (2 * workers - 1)


def draw(found: "xarray.Dataset", path: Path) -> None:
    """The bound over T; means over seconds; speed-up."""
    with picture(path, CAPTION, columns=3, size=(13, 4.6)) as (a, b, c):
        for horizon, colour in zip(found["horizon"].values, (BLUE, RED, BLACK), strict=False):
            one = found.sel(horizon=horizon)
            a.loglog(one["update"], one["left"], color=colour, label=f"step for T = {horizon}")
            a.loglog(one["update"], one["right"], ":", color=colour)
        a.set(
            xlabel="updates T", ylabel=r"mean of $\|\nabla F(w^t)\|^2$, t < T", title="measured (solid) and bound (dotted)"
        )
        for n, colour in zip(found["workers"].values, (BLACK, RED, ORANGE, GREEN, BLUE), strict=False):
            one = found.sel(workers=n)
            b.loglog(one["seconds"], one["measured"], "o-", ms=3, color=colour, label=f"n = {n}")
            b.loglog(one["seconds"], one["bound"], ":", color=colour)
        b.set(xlabel="simulated seconds", ylabel=r"mean of $\|\nabla F\|^2$", title="n workers (dotted: bound)")
        n = found["workers"].values
        c.loglog(n, speed_up(found), "o-", color=BLUE, label="measured")
        c.loglog(
            n,
            predicted_speed_up(n) / predicted_speed_up(n[0]),
            "s:",
            color=RED,
            label="$n^2 / (2 n - 1)$, by the paper's rate",
        )
        c.loglog(n, n / n[0], color=GREY, lw=0.8, label="linear")
        c.set(
            xlabel="workers n",
            ylabel="speed-up",
            title="time to what one worker has in the end",
            xticks=n,
            xticklabels=n,
            yticks=n,
            yticklabels=n,
        )
        c.minorticks_off()
