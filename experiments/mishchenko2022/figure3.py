"""The bounds (A) to (E) over what is measured, and how far the virtual iterates are from the real ones."""

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jasgd
from experiments.contest import attributes
from experiments.pictures import BLUE, GREEN, PINK, RED, picture
from jasgd import theory

if TYPE_CHECKING:
    import xarray

WORKERS, DIM = 20, 30
SPECTRUM = np.linspace(0.01, 1.0, DIM)
BOUNDS = {
    "A": r"A: convex, $E\|g\|^2 \leq G^2$; mean gap",
    "B": r"B: smooth, adaptive steps; mean $\|\nabla F\|^2$",
    "C": "C: convex, adaptive steps; mean gap",
    "D": r"D: smooth, constant step; mean $\|\nabla F\|^2$",
    "E": r"E: bounded gradients, constant step; mean $\|\nabla F\|^2$",
}
CAPTION = """Quadratic, d = 30, eigenvalues 0.01 to 1, noise 0.3, 20 workers. Solid: mean over seeds; dotted: bounds
with all constants, derived by us along the lines of the paper. The virtual iterates apply a gradient when it starts;
what is in flight is all that separates them from the real ones."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """A noisy quadratic with a known minimiser.

    Attributes:
      updates: of every run.
      noise: sigma, of the whole gradient.
      models: of compute time.
      seeds: the bounds are on expectations; measured are means over so many.
    """

    updates: int = 4_000
    noise: float = 0.3
    models: tuple[str, ...] = ("i", "exp(1)", "Lomax(1.2) + 0.001", "outage x 400")
    seeds: int = 10

    def quick(self) -> "Config":
        """Fewer updates and models."""
        return dataclasses.replace(self, updates=400, models=("i", "exp(1)"), seeds=3)


def fleet(model: str) -> jasgd.fleet.Fleet:
    """Twenty workers."""
    each = np.ones(WORKERS)
    match model:
        case "i":
            return jasgd.fleet.power_law(WORKERS, exponent=1.0)
        case "exp(1)":
            return jasgd.fleet.exponential(each)
        case "Lomax(1.2) + 0.001":
            return jasgd.fleet.pareto(1.2 * each, offset=0.001)
        case "outage x 400":
            return jasgd.fleet.stragglers(1 + 1e-3 * np.arange(WORKERS), slowdown=400.0, probability=0.002)
        case _:
            raise ValueError(f"there is no compute-time model {model!r}.")


def problem(noise: float) -> jasgd.Problem:
    """f(x) = sum of lambda_i x_i^2 / 2; the coordinates themselves are metrics, for the virtual iterates."""
    spectrum = jnp.asarray(SPECTRUM, jnp.float32)
    start = 3 * np.random.default_rng(0).normal(size=DIM)

    def metrics(x: jax.Array) -> dict[str, jax.Array]:
        coordinates = {f"x{i}": x[i] for i in range(DIM)}
        return {"loss": 0.5 * x @ (spectrum * x), "grad_norm": jnp.linalg.norm(spectrum * x), **coordinates}

    return jasgd.Problem(
        init=lambda _: jnp.asarray(start, jnp.float32),
        loss=lambda x, z: 0.5 * x @ (spectrum * x) + z @ x,
        sample=lambda key, _: noise / math.sqrt(DIM) * jax.random.normal(key, (DIM,)),
        metrics=metrics,
        name=f"quadratic(dim={DIM}, eigenvalues 0.01 to 1, noise={noise})",
        facts={"gap": 0.5 * float(start @ (SPECTRUM * start)), "distance": float(np.linalg.norm(start))},
    )


def steps(bound: str, config: Config, schedule: jasgd.Schedule) -> float:
    """The step size at which a bound is evaluated; the smoothness is 1."""
    distance = problem(config.noise).facts["distance"]
    match bound:
        case "A":
            return theory.lipschitz_step_size(distance, _lipschitz(config), concurrency=WORKERS, updates=config.updates)
        case "D":
            return theory.asynchronous_step_size(1.0, concurrency=WORKERS, max_delay=int(schedule.delay.max()))
        case "E":
            return 1 / WORKERS
        case _:
            return theory.delay_adaptive_step_size(1.0, concurrency=WORKERS)


def _lipschitz(config: Config) -> float:
    """A guess of G, which must hold along the run; the claims check that it does."""
    start = 3 * np.random.default_rng(0).normal(size=DIM)
    return 1.2 * math.hypot(float(np.linalg.norm(SPECTRUM * start)), config.noise)


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """Left and right side of every bound along the run, and the distance of the virtual iterates."""
    import xarray

    schedules = {model: jasgd.protocols.asynchronous(fleet(model), config.updates) for model in config.models}
    key, made = jax.random.key(0), problem(config.noise)
    points = [
        {"bound": bound, "model": model, "learning_rate": steps(bound, config, schedules[model])}
        for bound in BOUNDS
        for model in config.models
    ]

    def rule(bound: str, learning_rate: float) -> optax.GradientTransformation:
        if bound in "BC":
            return jasgd.rules.delay_adaptive_sgd(learning_rate, concurrency=WORKERS)
        return optax.sgd(learning_rate)

    runs = jasgd.sweep(
        made,
        rule,
        lambda model: schedules[model],
        grid=points,
        seeds=config.seeds,
        key=key,
        every=1,
        resume=folder,
        progress="bounds",
    )
    shape = (len(BOUNDS), len(config.models), config.updates)
    left, right = np.zeros(shape), np.zeros(shape)
    largest = np.zeros(shape[:2])
    for i, point in enumerate(points):
        b, m = divmod(i, len(config.models))
        run, schedule = runs.isel(point=i), schedules[point["model"]]
        measured = run["loss"] if point["bound"] in "AC" else run["grad_norm"] ** 2
        weight = _step_of_job_at(schedule, point["learning_rate"], adaptive=point["bound"] in "BC")[1:]
        mean = measured.mean("seed").values[1:]
        left[b, m] = np.cumsum(weight * mean) / np.cumsum(weight)
        largest[b, m] = float(run["grad_norm"].max())
        right[b, m] = _right(point, config, schedule, made.facts, np.cumsum(weight), largest[b, m])
        if point["bound"] in "DE":  # they need a delivery of every worker
            right[b, m, : np.unique(schedule.worker, return_index=True)[1].max()] = np.nan
    virtual = np.zeros((3, *shape[1:]))
    for m, model in enumerate(config.models):
        run = runs.isel(point=len(config.models) + m, seed=0)
        xs = np.stack([run[f"x{i}"].values for i in range(DIM)], axis=1)
        virtual[:, m] = _virtual(made, schedules[model], xs, points[len(config.models) + m]["learning_rate"], key)
    dims = ("bound", "model", "update")
    return xarray.Dataset(
        {
            "left": (dims, left),
            "right": (dims, right),
            "largest_gradient": (dims[:2], largest),
            "lipschitz": _lipschitz(config),
            "distance": (dims[1:], virtual[0], {"long_name": "distance of virtual and real iterate"}),
            "error": (dims[1:], virtual[1], {"long_name": "distance without what is in flight"}),
            "ceiling": (dims[1:], virtual[2], {"long_name": "sum of the lengths of the steps in flight"}),
        },
        {"bound": list(BOUNDS), "model": list(config.models), "update": np.arange(1, config.updates + 1)},
        attributes([runs]) | {"noise": config.noise},
    )


def _step_of_job_at(schedule: jasgd.Schedule, step: float, *, adaptive: bool) -> np.ndarray:
    """For every version the step with which the gradient computed there is applied; in flight: that of its age."""
    updates = schedule.updates
    delay = updates - np.arange(updates + 1)
    later = schedule.read > 0
    delay[schedule.read[later]] = schedule.delay[later]
    return step * WORKERS / np.maximum(WORKERS, delay) if adaptive else np.full(updates + 1, step)


def _right(
    point: dict[str, Any],
    config: Config,
    schedule: jasgd.Schedule,
    facts: dict[str, float],
    sums: np.ndarray,
    largest: float,
) -> list[float]:
    """The bound on the mean of the first 1, 2, ... updates."""
    bound, step = point["bound"], point["learning_rate"]
    common = {"concurrency": WORKERS, "noise": config.noise, "smoothness": 1.0}
    gap, distance = facts["gap"], facts["distance"]
    found = []
    for updates, total in enumerate(sums.tolist(), 1):
        match bound:
            case "A":
                value = theory.lipschitz_bound(
                    step, distance=distance, lipschitz=_lipschitz(config), concurrency=WORKERS, updates=updates
                )
            case "B":
                value = theory.delay_adaptive_bound(step, gap=gap, updates=updates, sum_of_steps=total, **common)
            case "C":
                value = theory.convex_delay_adaptive_bound(
                    step, distance=distance, updates=updates, sum_of_steps=total, **common
                )
            case "D":
                value = theory.asynchronous_bound(
                    step, max_delay=int(schedule.delay.max()), gap=gap, updates=updates, **common
                )
            case _:
                value = theory.bounded_gradient_bound(step, gap=gap, lipschitz=largest, updates=updates, **common)
        found.append(value)
    return found


def _virtual(made: jasgd.Problem, schedule: jasgd.Schedule, points: np.ndarray, step: float, key: jax.Array) -> np.ndarray:
    """After 1, 2, ... updates: how far the virtual iterate is, how much of that is not in flight, and at most is."""
    ledger, updates = schedule.ledger, schedule.updates
    jobs = np.bincount(schedule.worker, minlength=WORKERS)
    worker = np.concatenate([schedule.worker, ledger.pending_worker]).astype(np.int32)
    job = np.concatenate([schedule.job, jobs[ledger.pending_worker]]).astype(np.int32)
    read = np.concatenate([schedule.read, ledger.pending_read])
    used = np.concatenate([schedule.version, np.full(len(ledger.pending_read), updates)])
    run_key = jax.random.fold_in(key, 0)

    def gradient(point: jax.Array, who: jax.Array, which: jax.Array) -> jax.Array:
        return made.gradient(point, made.sample(jasgd.job_key(jasgd.split_key(run_key)[1], who, which), who))

    gradients = np.asarray(jax.jit(jax.vmap(gradient))(points[read], worker, job), np.float64)
    taken = (step * WORKERS / np.maximum(WORKERS, used - read))[:, None] * gradients
    found = np.zeros((3, updates))
    for k in range(1, updates + 1):
        virtual = points[0] - taken[read < k].sum(axis=0)
        in_flight = taken[(read < k) & (used >= k)]
        found[:, k - 1] = (
            np.linalg.norm(points[k] - virtual),
            np.linalg.norm(points[k] - virtual - in_flight.sum(axis=0)),
            np.linalg.norm(in_flight, axis=1).sum(),
        )
    return found


def draw(found: "xarray.Dataset", path: Path) -> None:
    """A panel per bound, and one for the virtual iterates."""
    colours = dict(zip(found["model"].values, (BLUE, RED, GREEN, PINK), strict=False))
    with picture(path, CAPTION, rows=2, columns=3, size=(12, 7)) as panels:
        for axes, bound in zip(panels.flat, found["bound"].values, strict=False):
            for model, colour in colours.items():
                one = found.sel(bound=bound, model=model)
                axes.loglog(found["update"], one["left"], color=colour, lw=1.2, label=model)
                axes.loglog(found["update"], one["right"], color=colour, lw=1.2, ls=":")
            axes.set_title(BOUNDS[str(bound)], fontsize=10)
            axes.set(xlabel="updates K", ylabel="mean over the first K updates")
        axes = panels.flat[-1]
        for model, colour in colours.items():
            axes.semilogy(found["update"], found["distance"].sel(model=model), color=colour, lw=0.8, label=model)
            axes.semilogy(found["update"], found["ceiling"].sel(model=model), color=colour, lw=0.8, ls=":")
        axes.set(title="virtual iterates", xlabel="updates k", ylabel=r"$\|x_k - \hat x_k\|$")
