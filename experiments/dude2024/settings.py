"""What the figures share: the methods, and quadratics of which every worker has its own."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jasgd
from experiments.pictures import BLACK, BLUE, GREEN, ORANGE, PINK, RED, SKY
from jasgd import protocols, rules
from jasgd.fleet import Fleet

BUFFER = 3  # of FedBuff
COLOURS = {
    "ASGD": RED, "uniform ASGD": ORANGE, "shuffled ASGD": PINK, "FedBuff": GREEN, "undamped FedBuff": SKY, "DuDe": BLUE,
    "synchronous": BLACK,
}  # fmt: skip


class Contender(NamedTuple):
    """A method; the step is per gradient, so a mean of m gradients is taken m times as far.

    Attributes:
      schedule: from a fleet, a number of updates and a seed.
      rule: from a step per gradient.
    """

    schedule: Callable[[Fleet, int, int], jasgd.Schedule]
    rule: Callable[[float], optax.GradientTransformation]


def contenders(workers: int) -> dict[str, Contender]:
    """The methods of the paper's experiments."""

    def asynchronous(assignment: str) -> Callable[[Fleet, int, int], jasgd.Schedule]:
        return lambda fleet, updates, seed: protocols.asynchronous(fleet, updates, assignment=assignment, seed=seed)

    def buffered(fleet: Fleet, updates: int, seed: int) -> jasgd.Schedule:
        return protocols.buffered(fleet, updates, BUFFER, seed=seed)

    def together(fleet: Fleet, updates: int, seed: int) -> jasgd.Schedule:
        return protocols.asynchronous(fleet, updates, first_round="together", seed=seed)

    def undamped(_: jax.Array) -> float:
        return 1.0

    return {
        "ASGD": Contender(asynchronous("own"), optax.sgd),
        "uniform ASGD": Contender(asynchronous("random"), optax.sgd),
        "shuffled ASGD": Contender(asynchronous("shuffled"), optax.sgd),
        "FedBuff": Contender(buffered, lambda step: rules.fedbuff(BUFFER * step)),
        "undamped FedBuff": Contender(buffered, lambda step: rules.fedbuff(BUFFER * step, weight=undamped)),
        "DuDe": Contender(together, lambda step: rules.dude(step, workers)),
        "synchronous": Contender(
            lambda fleet, updates, seed: protocols.minibatch(fleet, updates, seed=seed),
            lambda step: optax.sgd(workers * step),
        ),
    }


class Quadratics(NamedTuple):
    """F_i(x) = (x - c_i)' A_i (x - c_i) / 2, one for each worker.

    Attributes:
      curvature: (n, d, d), the A_i; eigenvalues from 0.2 to 1, so that L = 1.
      centre: (n, d), the c_i.
    """

    curvature: np.ndarray
    centre: np.ndarray

    def minimiser(self, weights: np.ndarray) -> np.ndarray:
        """Of the sum of F_i with these weights."""
        matrix = np.einsum("i,ijk->jk", weights, self.curvature)
        return np.linalg.solve(matrix, np.einsum("i,ijk,ik->j", weights, self.curvature, self.centre))


def quadratics(workers: int, dim: int, *, draw: int, alike: bool = False) -> Quadratics:
    """Random rotations and centres; ``alike``: all with the same curvature."""
    rng = np.random.default_rng(draw)
    rotation = np.linalg.qr(rng.normal(size=(1 if alike else workers, dim, dim)))[0]
    curvature = np.einsum("ijk,k,ilk->ijl", rotation, np.linspace(0.2, 1.0, dim), rotation)
    common = rng.normal(size=dim)
    centre = common + 3 * rng.normal(size=(workers, dim))
    return Quadratics(np.broadcast_to(curvature, (workers, dim, dim)), centre)


def quadratic_problem(
    made: Quadratics, start: np.ndarray, *, noise: float = 0.0, coordinates: bool = False
) -> jasgd.Problem:
    """The mean of the F_i, whose gradients have noise of variance ``noise**2``; if wanted with coordinates as metrics."""
    workers, dim = made.centre.shape
    # From the minimiser, in which single precision is good at small gradients.
    best = made.minimiser(np.full(workers, 1 / workers))
    mean = jnp.asarray(made.curvature.mean(axis=0), jnp.float32)
    curvature, centre = jnp.asarray(made.curvature, jnp.float32), jnp.asarray(made.centre - best, jnp.float32)
    rest = 0.5 * np.einsum("ij,ijk,ik->", made.centre - best, made.curvature, made.centre - best) / workers

    def sample(key: jax.Array, worker: jax.Array) -> tuple[jax.Array, jax.Array]:
        return worker, noise / np.sqrt(dim) * jax.random.normal(key, (dim,))

    def loss(x: jax.Array, job: tuple[jax.Array, jax.Array]) -> jax.Array:
        worker, error = job
        away = x - centre[worker]
        return 0.5 * away @ curvature[worker] @ away + error @ x

    def metrics(x: jax.Array) -> dict[str, jax.Array]:
        more = {f"x{i}": x[i] for i in range(dim)} if coordinates else {}
        return {"loss": rest + 0.5 * x @ mean @ x, "grad_norm": jnp.linalg.norm(mean @ x), **more}

    return jasgd.Problem(
        init=lambda _: jnp.asarray(start - best, jnp.float32),
        loss=loss,
        sample=sample,
        metrics=metrics,
        num_workers=workers,
        name=f"quadratics(workers={workers}, dim={dim}, noise={noise})",
        facts={"gap": float(0.5 * (start - best) @ made.curvature.mean(axis=0) @ (start - best))},
    )
