"""Classification as in the paper, in small: four settings, every method with every step, synchronous rounds to compare."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np
import optax

import jasgd
from experiments.data import classifier, dataset
from experiments.ormo2024.settings import BETA, RULES, Maker
from jasgd import rules
from jasgd.fleet import Fleet

if TYPE_CHECKING:
    import xarray

SPEEDS = ("equal", "heterogeneous")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Recalled, not verified: 160 epochs, when steps fall, weight decay, slow workers. Other numbers are substitutes.

    Attributes:
      data: the bundled digits, or another data set in
      data_dir: this folder.
      workers: numbers of workers K.
      examples: for training; the next thousand, or what there is, are for testing.
      batch: examples per gradient.
      updates: gradients in all; after 1/2 and 3/4 of them the step is divided by ten.
      records: of the loss.
      decay: of the weights.
      slowdown: of one worker out of 16, when they are heterogeneous.
      steps: tried by the momentum methods, as powers of two; ASGD tries those eight times as large.
      seeds: runs of each.
      methods: that take part.
    """

    data: str = "digits"
    data_dir: str = ""
    workers: tuple[int, ...] = (16, 64)
    examples: int = 1536
    batch: int = 32
    updates: int = 7680
    records: int = 40
    decay: float = 1e-4
    slowdown: float = 10.0
    steps: tuple[int, ...] = (-11, -10, -9, -8, -7, -6, -5)
    seeds: int = 3
    methods: tuple[str, ...] = ("ASGD", "naive momentum", "shifted momentum", "SMEGA2", "OrMo", "OrMo-DA")

    def quick(self) -> "Config":
        """Few gradients, two steps, one number of workers, four methods."""
        methods = tuple(m for m in self.methods if m in ("ASGD", "naive momentum", "OrMo", "vanilla step"))
        return dataclasses.replace(self, methods=methods, workers=(16,), updates=320, records=5, steps=(-7, -6), seeds=1)


def problem(config: Config) -> jasgd.Problem:
    """A perceptron with 64 hidden units, or a network for images; every worker draws from all examples."""
    inputs, labels = dataset(config.data, config.data_dir)
    if len(labels) <= config.examples:
        raise ValueError(f"figures 3 and 4 train on {config.examples} examples and test on others; {len(labels)} are there.")
    cut = slice(config.examples), slice(config.examples, config.examples + 1000)
    seen, unseen = (jasgd.problems.Dataset(inputs[part], labels[part]) for part in cut)
    train = classifier(seen, 1, hidden=64, batch=config.batch, l2=config.decay)
    test = classifier(unseen, 1, hidden=64)

    def metrics(params: optax.Params) -> Mapping[str, jax.Array]:
        return {**train.metrics(params), "test_accuracy": test.metrics(params)["accuracy"]}

    return dataclasses.replace(
        train, sample=lambda key, worker: train.sample(key, 0 * worker), num_workers=None, metrics=metrics
    )


def fleet(config: Config, workers: int, speeds: str) -> Fleet:
    """Gamma times of mean one and deviation 0.1; if heterogeneous, one worker out of 16 takes ten times as long."""
    mean = np.ones(workers)
    if speeds == "heterogeneous":
        mean[workers - workers // 16 :] = config.slowdown
    return jasgd.fleet.gamma(np.full(workers, 100.0), mean / 100)


def decaying(step: float, updates: int) -> optax.Schedule:
    """A tenth after half of the updates, a hundredth after three quarters."""
    return optax.piecewise_constant_schedule(step, {updates // 2: 0.1, updates * 3 // 4: 0.1})


def _smega2(rate: optax.ScalarOrSchedule, workers: int) -> optax.GradientTransformation:
    """What SMEGA2 sends depends on the step, so a schedule has to be injected."""
    make = optax.inject_hyperparams(rules.smega2, static_args=("momentum", "num_workers", "advanced"))
    return make(rate, BETA, workers)


MAKERS: dict[str, Maker] = {**RULES, "SMEGA2": _smega2}


def asynchronous(config: Config, method: str, folder: Path) -> "xarray.Dataset":
    """One method in all settings, with all steps and seeds, along ``epoch``."""
    powers = np.array(config.steps) + (3 if method == "ASGD" else 0)
    found = jasgd.sweep(
        problem(config),
        lambda learning_rate, workers: MAKERS[method](decaying(learning_rate, config.updates), workers),
        lambda workers, speeds, seed: jasgd.protocols.asynchronous(
            fleet(config, workers, speeds), config.updates, seed=seed
        ),
        grid={"workers": list(config.workers), "speeds": list(SPEEDS), "learning_rate": (2.0**powers).tolist()},
        seeds=config.seeds,
        key=jax.random.key(0),
        every=config.updates // config.records,
        resume=folder / method.replace(" ", "-"),
        progress=method,
    )
    return _along_epochs(found, config.batch / config.examples)


def synchronous(config: Config, workers: int, folder: Path) -> "xarray.Dataset":
    """Momentum SGD on the mean of a gradient of every worker; with steps per gradient, as OrMo's are."""
    rounds = config.updates // workers
    found = jasgd.sweep(
        problem(config),
        lambda learning_rate: optax.sgd(decaying(workers * learning_rate, rounds), momentum=BETA),
        lambda speeds, seed: jasgd.protocols.minibatch(fleet(config, workers, speeds), rounds, seed=seed),
        grid={"speeds": list(SPEEDS), "learning_rate": (2.0 ** np.array(config.steps)).tolist()},
        seeds=config.seeds,
        key=jax.random.key(0),
        every=rounds // config.records,
        resume=folder / "synchronous",
        progress="synchronous",
    )
    return _along_epochs(found, workers * config.batch / config.examples)


def _along_epochs(found: "xarray.Dataset", epochs_per_update: float) -> "xarray.Dataset":
    kept = found[["loss", "test_accuracy"]].reset_coords("time")
    return kept.assign_coords(version=kept["version"] * epochs_per_update).rename(version="epoch")


def together(parts: Sequence["xarray.Dataset"], names: Sequence[str]) -> "xarray.Dataset":
    """Methods with different steps, missing where a step was not tried."""
    import xarray

    found = xarray.concat(parts, "algorithm", join="outer", combine_attrs="drop").assign_coords(algorithm=list(names))
    return found.assign(last=last_loss(found))


def last_loss(found: "xarray.Dataset") -> "xarray.DataArray":
    """The median over the seeds of the loss in the end; infinite where it diverged or was not tried."""
    return found["loss"].isel(epoch=-1, drop=True).fillna(np.inf).median("seed")


def tuned(found: "xarray.Dataset") -> "xarray.Dataset":
    """With the step whose loss is lowest in the end, for every method and setting."""
    return found.isel(learning_rate=found["last"].argmin("learning_rate"))
