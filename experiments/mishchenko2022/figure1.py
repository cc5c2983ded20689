"""Least squares with 40 workers: minibatch, asynchronous and delay-adaptive asynchronous SGD."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np
import optax

import jasgd
from experiments.contest import attributes
from experiments.mishchenko2022.settings import WORKERS, data, fleet
from experiments.pictures import BLUE, GREEN, RED, picture

if TYPE_CHECKING:
    import xarray

MODELS = ("i", "exp(1)", "lognormal(0, 1)", "Lomax(1.2) + 0.001")
METHODS = ("minibatch", "asynchronous", "delay-adaptive")
CAPTION = """Least squares of the authors' notebook, 40 workers, their steps (0.19, 0.43, 0.43). Their delays came
from real processes and are replaced by compute-time models. They claim that asynchronous SGD beats minibatch SGD
under arbitrary delays (Mishchenko et al. 2022)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """As in the notebook, but for the delays.

    Attributes:
      rows, dim, batch: of the least squares problem; a gradient is the mean over a batch without replacement.
      rounds: of the minibatch method; the others make 40 updates for each.
      minibatch_step: for the sum of 40 gradients.
      asynchronous_step: of both asynchronous methods.
      models: of compute time.
      seed: of samples and durations; the notebook shows one run, too.
    """

    rows: int = 10_000
    dim: int = 400
    batch: int = 256
    rounds: int = 800
    minibatch_step: float = 0.19
    asynchronous_step: float = 0.43
    models: tuple[str, ...] = MODELS
    seed: int = 0

    def quick(self) -> "Config":
        """Small, to see whether it works."""
        return dataclasses.replace(self, rows=1_000, dim=40, batch=32, rounds=40, models=("i", "exp(1)"))


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """Gap after every 40 gradients, with the seconds and the sum of the steps until then."""
    import xarray

    problem = jasgd.problems.least_squares(*data(config.rows, config.dim), batch=config.batch)
    key, rate = jax.random.key(config.seed), config.asynchronous_step
    rules = {
        "asynchronous": optax.sgd(rate),
        "delay-adaptive": jasgd.rules.delay_adaptive_sgd(rate, concurrency=WORKERS),
    }

    def asynchronous(model: str) -> jasgd.Schedule:
        # The notebook submits a worker's next job before it applies what the worker has delivered.
        updates = config.rounds * WORKERS
        return jasgd.protocols.asynchronous(fleet(model), updates, dispatch="before", seed=config.seed)

    def rounds(model: str) -> jasgd.Schedule:
        return jasgd.protocols.minibatch(fleet(model), config.rounds, seed=config.seed)

    loose = jasgd.sweep(
        problem,
        lambda algorithm: rules[algorithm],
        asynchronous,
        grid={"algorithm": list(rules), "model": list(config.models)},
        key=key,
        every=WORKERS,
        resume=folder / "asynchronous",
        progress="asynchronous",
    ).isel(seed=0)
    # What the minibatch method computes does not depend on who is slow, only when it is done.
    tight = jasgd.sweep(
        problem,
        optax.sgd(config.minibatch_step * WORKERS),
        rounds(config.models[0]),
        key=key,
        every=1,
        resume=folder / "minibatch",
        progress="minibatch",
    ).isel(seed=0)
    shape = (len(METHODS), len(config.models), config.rounds + 1)
    gap, seconds, steps = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    delays = []
    for m, model in enumerate(config.models):
        schedule = asynchronous(model)
        delays.append(schedule.delay)
        adaptive = rate * WORKERS / np.maximum(WORKERS, schedule.delay)
        gap[0, m], seconds[0, m] = tight["gap"], rounds(model).version_time
        steps[0, m] = config.minibatch_step * WORKERS * np.arange(config.rounds + 1)
        for i, method in enumerate(rules, 1):
            taken = adaptive if method == "delay-adaptive" else np.full(len(schedule), rate)
            gap[i, m] = loose["gap"].sel(algorithm=method, model=model)
            seconds[i, m] = schedule.version_time[::WORKERS]
            steps[i, m] = np.concatenate([[0.0], np.cumsum(taken)])[::WORKERS]
    dims = ("algorithm", "model", "gradients")
    return xarray.Dataset(
        {
            "gap": (dims, gap, {"long_name": "F(x) - F*"}),
            "time": (dims, seconds, {"units": "s"}),
            "steps": (dims, steps, {"long_name": "sum of the steps per gradient"}),
            "predicted": (dims, _decay(config, steps), {"long_name": "decay of the flat directions"}),
            "delay": (("model", "update"), np.array(delays), {"units": "server updates"}),
        },
        {"algorithm": list(METHODS), "model": list(config.models), "gradients": WORKERS * np.arange(config.rounds + 1)},
        attributes([loose, tight]),
    )


def _decay(config: Config, steps: np.ndarray) -> np.ndarray:
    """The gap after steps of this sum, once the one stiff direction has died out; derived, not the paper's."""
    matrix, target = data(config.rows, config.dim)
    eigenvalues, vectors = np.linalg.eigh(matrix.T @ matrix / len(matrix))
    start = vectors.T @ np.linalg.lstsq(matrix, target, rcond=None)[0]
    flat, weight = eigenvalues[:-1], eigenvalues[:-1] * start[:-1] ** 2
    left = np.exp(-2 * np.multiply.outer(steps, flat)) @ weight
    return 0.5 * left


def draw(found: "xarray.Dataset", path: Path) -> None:
    """Gap against gradients, seconds, and the sum of the steps; delays."""
    shown = "lognormal(0, 1)" if "lognormal(0, 1)" in found["model"] else str(found["model"].values[-1])
    one = found.sel(model=shown)
    with picture(path, CAPTION, rows=2, columns=2) as ((a, b), (c, d)):
        for method, colour in zip(METHODS, (GREEN, BLUE, RED), strict=True):
            line = one.sel(algorithm=method)
            a.semilogy(line["gradients"], line["gap"], color=colour, label=method)
            b.loglog(line["time"][1:], line["gap"][1:], color=colour, label=method)
            for model in found["model"].values:
                line = found.sel(algorithm=method, model=model)
                c.semilogy(line["steps"], line["gap"], color=colour, lw=0.8, label=method if model == shown else None)
        steps, predicted = found["steps"].values.ravel(), found["predicted"].values.ravel()
        order = np.argsort(steps)
        c.semilogy(steps[order], predicted[order], "k:", lw=1, label="derived decay")
        a.set(xlabel="gradients", ylabel="$F(x) - F^*$", title=f"compute times {shown}")
        b.set(xlabel="simulated time [s]", ylabel="$F(x) - F^*$", title=f"compute times {shown}")
        c.set(xlabel="sum of the steps per gradient", ylabel="$F(x) - F^*$", title="all models of compute time")
        delay = one["delay"].values
        d.hist(delay, bins=100, color="0.6")
        d.axvline(WORKERS, color="black", ls="--", lw=1, label=f"{WORKERS} workers")
        d.axvline(delay.max(), color="black", ls=":", lw=1, label=f"largest delay {delay.max()}")
        d.set(yscale="log", xlabel="delay [server updates]", ylabel="gradients", title=f"compute times {shown}")
