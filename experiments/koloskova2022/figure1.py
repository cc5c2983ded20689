"""Concurrency and delays, and Lemma 11: asynchronous SGD with sampled clients against minibatches of sampled clients."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import jasgd
from experiments.pictures import BLUE, GREEN, GREY, ORANGE, PINK, RED, picture
from jasgd import theory
from jasgd.protocols import asynchronous

if TYPE_CHECKING:
    import xarray

MODELS = ("equal", "sqrt(i)", "exp(1)", "one 100 x slower")
EXAMPLES = ("900 at 10 s, 100 at 60 s", "9 at 1 s, 1 at 6 s")
SCHEDULERS = ("asynchronous, no queues", "asynchronous, queues", "the same, exponential times", "minibatch")
CAPTION = """Left: with constant concurrency C the mean delay is C - 1 whatever the speeds (Koloskova et al. 2022,
Remark 5, up to a constant); the largest is not bounded by it. Right: Lemma 11 compares a new client per gradient with
minibatches of clients, C = 10, ticks: formulas. Its first example is the paper's. It holds where a client computes
several jobs at once; with queues a slow client can cost more than minibatches do."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Schedules alone; no gradient is computed.

    Attributes:
      concurrencies: jobs in flight on the left, among as many workers.
      updates: of every schedule on the left.
      arrivals: of every schedule on the right; jobs in queues mix slowly.
      seed: of durations and of drawing clients.
    """

    concurrencies: tuple[int, ...] = (2, 5, 10, 20, 50, 100, 200)
    updates: int = 40_000
    arrivals: int = 400_000
    seed: int = 0

    def quick(self) -> "Config":
        """Shorter schedules."""
        return dataclasses.replace(self, concurrencies=(2, 10, 50), updates=4_000, arrivals=40_000)


def fleet(model: str, workers: int) -> jasgd.fleet.Fleet:
    """Workers of the left panel."""
    match model:
        case "equal":
            return jasgd.fleet.equal(workers)
        case "sqrt(i)":
            return jasgd.fleet.power_law(workers, exponent=0.5)
        case "exp(1)":
            return jasgd.fleet.exponential(np.ones(workers))
        case "one 100 x slower":
            return jasgd.fleet.two_speed(workers, slow=1, slowdown=100.0)
        case _:
            raise ValueError(f"there is no compute-time model {model!r}.")


def times(example: str) -> np.ndarray:
    """Seconds per gradient of the clients of Lemma 11's example, and of one where queues matter."""
    return np.repeat([10.0, 60.0], [900, 100]) if example == EXAMPLES[0] else np.repeat([1.0, 6.0], [9, 1])


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """Delays, and seconds per C gradients."""
    import xarray

    del folder
    shape = (len(MODELS), len(config.concurrencies))
    mean, largest = np.zeros(shape), np.zeros(shape)
    exact = np.zeros(shape, bool)
    for m, model in enumerate(MODELS):
        for c, concurrency in enumerate(config.concurrencies):
            schedule = asynchronous(fleet(model, concurrency), config.updates, seed=config.seed)
            mean[m, c], largest[m, c] = schedule.delay.mean(), schedule.delay.max()
            ages = (config.updates - schedule.ledger.pending_read).sum()
            exact[m, c] = schedule.delay.sum() + ages == config.updates * (concurrency - 1)
    simulated, formula = np.zeros((2, len(EXAMPLES), len(SCHEDULERS)))
    for e, example in enumerate(EXAMPLES):
        tau, jobs = times(example), 10
        constant, drawn = jasgd.fleet.fixed(tau), jasgd.fleet.exponential(tau)
        common = {"assignment": "random", "concurrency": jobs, "seed": config.seed}
        schedules = (
            asynchronous(constant, config.arrivals, parallel=True, **common),
            asynchronous(constant, config.arrivals, **common),
            asynchronous(drawn, config.arrivals, **common),
        )
        slowest = np.random.default_rng(config.seed).choice(tau, (config.arrivals // jobs, jobs)).max(axis=1)
        simulated[e] = [*(jobs * _seconds_per_gradient(schedule) for schedule in schedules), slowest.mean()]
        formula[e] = [
            theory.random_assignment_time(tau, jobs),
            np.nan,
            theory.random_assignment_time(tau, jobs, queues=True),
            theory.sampled_minibatch_time(tau, jobs),
        ]
    dims = ("model", "concurrency")
    return xarray.Dataset(
        {
            "mean_delay": (dims, mean, {"units": "server updates"}),
            "largest_delay": (dims, largest, {"units": "server updates"}),
            "conserved": (dims, exact),
            "simulated": (("example", "scheduler"), simulated, {"units": "s"}),
            "formula": (("example", "scheduler"), formula, {"units": "s"}),
        },
        {
            "model": list(MODELS),
            "concurrency": list(config.concurrencies),
            "example": list(EXAMPLES),
            "scheduler": list(SCHEDULERS),
        },
        jasgd.results.provenance(gradients=config.updates * mean.size + config.arrivals * simulated.size),
    )


def _seconds_per_gradient(schedule: jasgd.Schedule) -> float:
    """From the half on, so that the start does not count."""
    half = len(schedule) // 2
    return float(schedule.time[-1] - schedule.time[half - 1]) / (len(schedule) - half)


def draw(found: "xarray.Dataset", path: Path) -> None:
    """Delays on the left, seconds on the right."""
    with picture(path, CAPTION, columns=3, size=(13, 4.6)) as (left, *right):
        for model, colour in zip(MODELS, (BLUE, RED, GREEN, PINK), strict=True):
            one = found.sel(model=model)
            left.loglog(found["concurrency"], one["mean_delay"], "o-", color=colour, ms=4, lw=1, label=f"{model}, mean")
            left.loglog(
                found["concurrency"], one["largest_delay"], "^:", color=colour, ms=4, lw=1, label=f"{model}, largest"
            )
        left.loglog(found["concurrency"], found["concurrency"] - 1, color="black", lw=4, alpha=0.15, label="C - 1")
        left.set(xlabel="concurrency C [jobs]", ylabel="delay [server updates]", ylim=(0.5, 1e7))
        for axes, example in zip(right, found["example"].values, strict=True):
            one = found.sel(example=example)
            place = np.arange(len(SCHEDULERS))
            axes.bar(place, one["simulated"], color=(BLUE, RED, ORANGE, GREY), width=0.6)
            axes.plot(place, one["formula"], "_", color="black", ms=40, mew=2)
            axes.set_xticks(
                place, [name.replace(", ", ",\n").replace(" times", "\ntimes") for name in SCHEDULERS], fontsize=7
            )
            axes.set(title=f"clients: {example}", ylabel="time per 10 gradients [s]")
