"""Classification on clients of few classes each: the norm of the gradient against seconds."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np
import optax

import jasgd
from experiments.contest import Contestant, contest
from experiments.pictures import COLOURS, curve, log_average, picture
from experiments.ringleader2025.settings import fleet, problem
from jasgd import protocols, rules

if TYPE_CHECKING:
    import xarray

CAPTION = """100 clients with equally many examples, classes by Dirichlet(0.1), batch 4, times a permutation of 1 to
100 s plus |N(0, index + 1)| per job, as on the poster; digits, 32 hidden units and an l2 penalty of 0.01 instead of
MNIST, 128 and none. Best step of a grid by the norm in the end, among those at which the loss has halved; median and
quartiles over seeds, moving geometric mean over {points} records. Claimed: Ringleader is fastest (Maranjyan,
Richtárik 2025); by eye on MNIST IA2SGD is first at 2e-3, then stalls."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """The poster's clients.

    Attributes:
      workers, alpha, batch: clients, concentration of their classes, examples per gradient.
      hidden: units; 128 on the poster.
      penalty: l2, ours: without one the network fits all clients at once, and neither noise nor bias are left.
      seconds: horizon; 200 000 on the poster.
      records: times at which the gradient of all data is taken.
      average: records in a moving mean; 101 on the poster, of more records.
      seeds: of samples and durations; 30 on the poster.
      small, large: step sizes tried for methods that step per gradient, and per round.
      data, data_dir: see the command.
    """

    workers: int = 100
    alpha: float = 0.1
    batch: int = 4
    hidden: int = 32
    penalty: float = 0.01
    seconds: float = 40_000.0
    records: int = 400
    average: int = 21
    seeds: int = 5
    small: tuple[float, ...] = (0.001, 0.002, 0.005, 0.01)
    large: tuple[float, ...] = (0.05, 0.1, 0.2, 0.5)
    data: str = "digits"
    data_dir: str = ""

    def quick(self) -> "Config":
        """Few clients, one step, a short time."""
        return dataclasses.replace(
            self, workers=10, seconds=300.0, records=30, average=3, seeds=2, small=(0.01,), large=(0.5,), hidden=8
        )


def contestants(config: Config) -> dict[str, Contestant]:
    """Methods for different data, and those that are made for equal data, which every comparison should have."""
    made, n = fleet(config.workers), config.workers

    def asynchronous(updates: int, seed: int) -> jasgd.Schedule:
        return protocols.asynchronous(made, updates, seed=seed)

    def together(updates: int, seed: int) -> jasgd.Schedule:
        return protocols.asynchronous(made, updates, first_round="together", seed=seed)

    return {
        "Ringleader ASGD": Contestant(
            lambda updates, seed: protocols.ringleader(made, -(-updates // n) * n, seed=seed),
            lambda rate: rules.ringleader(rate, n),
            config.small,
        ),
        "Malenia SGD": Contestant(
            lambda updates, seed: protocols.malenia(made, updates, seed=seed), optax.sgd, config.large
        ),
        "IA2SGD": Contestant(together, lambda rate: rules.dude(rate, n), config.small),
        "m-Synchronous SGD, m = n / 2": Contestant(
            lambda updates, seed: protocols.m_synchronous(made, updates, n // 2, seed=seed), optax.sgd, config.large
        ),
        "Rennala SGD, S = n": Contestant(
            lambda updates, seed: protocols.rennala(made, updates, n, seed=seed), optax.sgd, config.large
        ),
        "delay-adaptive ASGD": Contestant(
            asynchronous, lambda rate: rules.delay_adaptive_sgd(rate, concurrency=n), config.small
        ),
        "asynchronous SGD": Contestant(asynchronous, optax.sgd, config.small),
    }


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """Squared gradient norm and loss of all data, for every method, step and seed."""
    made = problem(
        config.data,
        config.data_dir,
        workers=config.workers,
        alpha=config.alpha,
        hidden=config.hidden,
        batch=config.batch,
        penalty=config.penalty,
    )
    times = np.linspace(0, config.seconds, config.records + 1)[1:]
    found = contest(made, contestants(config), times=times, seeds=config.seeds, key=jax.random.key(0), folder=folder)
    found["squared_norm"] = found["grad_norm"] ** 2
    return found.assign_attrs(average=config.average)


def chosen(found: "xarray.Dataset") -> "xarray.Dataset":
    """Every method with the step of the smallest norm over the last tenth of the time, among those that learn at all.

    Where all hidden units have died the norm is small, too, so the loss must have fallen to half.
    """
    late = found.isel(time=slice(-found.sizes["time"] // 10, None))
    norm = np.log(late["squared_norm"]).mean("time").median("seed")
    learns = late["loss"].mean("time").median("seed") < 0.5 * found["loss"].isel(time=0, drop=True).median("seed")
    return found.isel(learning_rate=norm.where(learns).fillna(np.inf).argmin("learning_rate"))


def draw(found: "xarray.Dataset", path: Path) -> None:
    """Squared norm and loss against seconds."""
    points = int(found.attrs["average"])
    shown = chosen(found)
    with picture(path, CAPTION.format(points=points), columns=2, size=(12, 5.2)) as panels:
        for axes, name, label in zip(
            panels, ("squared_norm", "loss"), (r"$\|\nabla f\|^2$", "loss of all data, with penalty"), strict=True
        ):
            for method, colour in zip(shown["algorithm"].values, COLOURS, strict=False):
                one = shown.sel(algorithm=method)
                smooth = log_average(one[name].isel(time=slice(1, None)), along="time", points=points)
                rate = float(one["learning_rate"])
                curve(axes, shown["time"][1:], smooth, colour=colour, label=f"{method}, step {rate:g}")
            axes.set(yscale="log", xlabel="simulated time [s]", ylabel=label)
