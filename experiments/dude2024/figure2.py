"""Classification with label splits by a Dirichlet law and random compute times: all methods, each with its best step."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

import jasgd
from experiments.contest import attributes, lasting
from experiments.data import classifier, dataset
from experiments.dude2024.settings import COLOURS, contenders
from experiments.pictures import curve, picture

if TYPE_CHECKING:
    import xarray

WORKERS = 10
MEANS = np.geomspace(0.25, 4.0, WORKERS)  # of "own means": the slowest takes 16 times as long as the fastest
METHODS = ("ASGD", "uniform ASGD", "shuffled ASGD", "FedBuff", "DuDe", "synchronous")
SPEEDS = ("std 0.2", "std 1", "own means")
CAPTION = """Ten workers, Dirichlet label splits, truncated normal times (mean 1, above 0.05), as in the paper in kind; numbers are ours. "Own means", 0.25 to 4 s with
a std of a fifth, are ours, too. Perceptron 64-64-10 with an l2 penalty of 0.01 on the bundled digits instead of a CNN on CIFAR-10; batch 16. Accuracy on all
examples with the best of the tried steps; median, interquartile band of five draws. Claimed: DuDe-ASGD outperforms the others (abstract)."""  # noqa: E501


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Numbers of workers, alpha and spread are substitutes; the paper's are not known to us.

    Attributes:
      alphas: of the Dirichlet law; small: few classes per worker.
      speeds: models of compute time.
      steps: per gradient.
      draws: of splits, durations, samples and starting points.
      horizon: simulated seconds.
      records: over them.
      methods: compared.
      hidden, batch: of the perceptron.
      l2: weight of the penalty; without one the perceptron fits every example, and where all agree there is no bias.
      data, data_dir: what is classified.
    """

    alphas: tuple[float, ...] = (0.1, 0.5, 10.0)
    speeds: tuple[str, ...] = SPEEDS
    steps: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2)
    draws: int = 5
    horizon: float = 240.0
    records: int = 20
    methods: tuple[str, ...] = METHODS
    hidden: int = 64
    batch: int = 16
    l2: float = 1e-2
    data: str = "digits"
    data_dir: str = ""

    def quick(self) -> "Config":
        """Small, to see whether it works."""
        small = dataclasses.replace(self, alphas=(0.1, 10.0), speeds=("std 1", "own means"), steps=(0.05,), draws=2)
        return dataclasses.replace(small, horizon=40.0, records=4, methods=("ASGD", "FedBuff", "DuDe"), hidden=8)


def fleet(speeds: str) -> jasgd.fleet.Fleet:
    """Ten workers."""
    match speeds:
        case "std 0.2":
            return jasgd.fleet.truncated_normal(np.ones(WORKERS), 0.2, minimum=0.05)
        case "std 1":
            return jasgd.fleet.truncated_normal(np.ones(WORKERS), 1.0, minimum=0.05)
        case "own means":
            return jasgd.fleet.truncated_normal(MEANS, MEANS / 5, minimum=0.05)
        case _:
            raise ValueError(f"there is no model of compute time {speeds!r}.")


def problem(config: Config, alpha: float, draw: int) -> jasgd.Problem:
    """The perceptron; the draw decides on the split, the samples and the starting point."""
    data = dataset(config.data, config.data_dir)
    shards = jasgd.problems.partition.dirichlet(data.labels, WORKERS, alpha, seed=draw)
    made = classifier(data, shards, hidden=config.hidden, batch=config.batch, l2=config.l2)
    number = jnp.uint32(draw)  # an array, so that all draws are one compiled program
    return dataclasses.replace(
        made,
        init=lambda key: made.init(jax.random.fold_in(key, number)),
        sample=lambda key, worker: made.sample(jax.random.fold_in(key, number), worker),
    )


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """Loss and accuracy of every method with all its steps, at equal times."""
    import xarray

    times = np.linspace(0, config.horizon, config.records + 1)[1:]
    methods = {name: contenders(WORKERS)[name] for name in config.methods}
    parts = []
    for name, one in methods.items():
        # Every run has its own durations, the same for all methods. Then the runs of a method share one compiled program.
        def schedule(alpha: float, speeds: str, step: float, draw: int, one=one) -> jasgd.Schedule:  # noqa: ANN001
            index = (config.alphas.index(alpha), config.steps.index(step), draw)
            seed = int(np.ravel_multi_index(index, (len(config.alphas), len(config.steps), config.draws)))
            return lasting(lambda updates, seed: one.schedule(fleet(speeds), updates, seed), config.horizon, seed)

        parts.append(
            jasgd.sweep(
                lambda alpha, draw: problem(config, alpha, draw),
                lambda step, one=one: one.rule(step),
                schedule,
                grid={
                    "alpha": list(config.alphas),
                    "speeds": list(config.speeds),
                    "step": list(config.steps),
                    "draw": list(range(config.draws)),
                },
                key=jax.random.key(0),
                times=times,
                resume=folder / name.replace(" ", "-"),
                progress=name,
            ).isel(seed=0, drop=True)
        )
    found = xarray.concat(parts, "algorithm", combine_attrs="drop")
    found = found.assign_coords(algorithm=list(methods)).rename(draw="seed")
    return found.assign_attrs(attributes(parts))


def draw(found: "xarray.Dataset", path: Path) -> None:
    """A row for every model of compute time against seconds, and the last of them against server iterations; alphas."""
    best = best_steps(found)
    speeds, alphas = list(best["speeds"].values), list(best["alpha"].values)
    size = (4 * len(alphas), 2.8 * (len(speeds) + 1) + 0.8)
    with picture(path, CAPTION, rows=len(speeds) + 1, columns=len(alphas), size=size, sharey="col", squeeze=False) as panels:
        for column, alpha in enumerate(alphas):
            for row, model in enumerate([*speeds, speeds[-1]]):
                axes = panels[row, column]
                for name in best["algorithm"].values:
                    one = best.sel(algorithm=name, alpha=alpha, speeds=model)
                    x = one["time"] if row < len(speeds) else one["version"].median("seed")
                    curve(axes, x[1:], one["accuracy"][:, 1:], colour=COLOURS[name], label=name)
                axes.set(title=f"alpha {alpha:g}, {model}", ylabel="accuracy" if column == 0 else None)
                axes.set_xlabel("simulated time [s]" if row < len(speeds) else "server iterations")
                if row == len(speeds):
                    axes.set_xscale("log")
                if (row, column) != (0, 0):
                    axes.legend([], frameon=False)
            # Curves of the best; what fails may leave the picture.
            panels[0, column].set_ylim(max(0.0, float(best["accuracy"].sel(alpha=alpha).isel(time=-1).min()) - 0.3), 1.0)


def best_steps(found: "xarray.Dataset") -> "xarray.Dataset":
    """Every method in every setting with the step whose final loss has the smallest median."""
    return jasgd.results.best(found.rename(step="learning_rate"), over="learning_rate", metric="loss")
