"""Classification on clients of few classes each: Rescaled ASGD against Malenia and Ringleader."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np
import optax

import jasgd
from experiments.contest import Contestant, contest
from experiments.pictures import BLUE, GREEN, GREY, RED, curve, picture
from experiments.ringleader2025.settings import fleet, problem
from jasgd import protocols, rules
from jasgd.results import best

if TYPE_CHECKING:
    import xarray

CAPTION = """The poster's set-up (MNIST) is not known to us. Ours: Ringleader's clients, 100 of them, classes by
Dirichlet(0.1), times a permutation of 1 to 100 s plus jitter, batch 4, digits, 32 hidden units; the poster's horizon
of 30 000 s. Best step of a grid by the last median, medians and quartiles over seeds. Poster by eye: Rescaled reaches
0.1 at 1e4 s, Ringleader at 2.85e4 s, Malenia not in time (Mahran et al. 2026)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Ringleader's clients and the poster's horizon.

    Attributes:
      workers, alpha, batch, hidden: see ringleader2025.
      seconds, records: horizon, and times at which the loss of all data is taken.
      seeds: of samples and durations.
      small, large: step sizes tried for methods that step per gradient, and per round.
      data, data_dir: see the command.
    """

    workers: int = 100
    alpha: float = 0.1
    batch: int = 4
    hidden: int = 32
    seconds: float = 30_000.0
    records: int = 300
    seeds: int = 5
    small: tuple[float, ...] = (0.005, 0.01, 0.02, 0.05, 0.1)
    large: tuple[float, ...] = (0.1, 0.2, 0.5, 1.0, 2.0)
    data: str = "digits"
    data_dir: str = ""

    def quick(self) -> "Config":
        """Few clients, one step, a short time."""
        return dataclasses.replace(
            self, workers=10, seconds=300.0, records=30, seeds=2, small=(0.02,), large=(0.5,), hidden=8
        )


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """Loss and accuracy on all data."""
    made, n = fleet(config.workers), config.workers
    # Mean durations: |N(0, s^2)| has the mean s sqrt(2 / pi).
    means = 1.0 + np.random.default_rng(0).permutation(n) + np.sqrt(2 / np.pi * (np.arange(n) + 1))

    def asynchronous(updates: int, seed: int) -> jasgd.Schedule:
        return protocols.asynchronous(made, updates, seed=seed)

    contestants = {
        "Rescaled ASGD": Contestant(asynchronous, lambda rate: rules.rescaled_sgd(rate, means), config.small),
        "Ringleader ASGD": Contestant(
            lambda updates, seed: protocols.ringleader(made, -(-updates // n) * n, seed=seed),
            lambda rate: rules.ringleader(rate, n),
            config.small,
        ),
        "Malenia SGD": Contestant(
            lambda updates, seed: protocols.malenia(made, updates, seed=seed), optax.sgd, config.large
        ),
        "vanilla ASGD": Contestant(asynchronous, optax.sgd, config.small),
    }
    made_problem = problem(
        config.data, config.data_dir, workers=n, alpha=config.alpha, hidden=config.hidden, batch=config.batch, penalty=0.0
    )
    times = np.linspace(0, config.seconds, config.records + 1)[1:]
    return contest(made_problem, contestants, times=times, seeds=config.seeds, key=jax.random.key(0), folder=folder)


def draw(found: "xarray.Dataset", path: Path) -> None:
    """Loss against time, and the last loss against the step."""
    shown = best(found, over="learning_rate", metric="loss")
    colours = dict(zip(found["algorithm"].values, (RED, BLUE, GREEN, GREY), strict=True))
    with picture(path, CAPTION, columns=2, size=(12, 5)) as (left, right):
        for name, colour in colours.items():
            one = shown.sel(algorithm=name)
            curve(left, shown["time"], one["loss"], colour=colour, label=f"{name}, step {float(one['learning_rate']):g}")
            every = found["loss"].sel(algorithm=name).isel(time=-1).dropna("learning_rate", how="all")
            curve(right, every["learning_rate"], every, colour=colour, label=name, style="o-")
        left.set(yscale="log", xlabel="simulated time [s]", ylabel="loss of all data [nats]", title="best step")
        right.set(xscale="log", yscale="log", xlabel="step size", ylabel="last loss of all data [nats]", title="every step")
