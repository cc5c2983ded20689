"""Least squares: the problem of the public notebook of Mishchenko, Bach, Even, Woodworth 2022 (arXiv 2206.07638)."""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jasgd._checks import numbers
from jasgd.problems.problem import Problem


def least_squares(features: ArrayLike, targets: ArrayLike, *, batch: int | None = None) -> Problem:
    r"""The objective :math:`\frac{1}{2M} \|A x - b\|^2`, started at zero; all workers share the data.

    Args:
      features: A, (M, d).
      targets: b, (M,).
      batch: rows per job, drawn without replacement; None: all of them.

    Example:
      >>> rng = np.random.default_rng(0)
      >>> problem = jasgd.problems.least_squares(rng.normal(size=(100, 5)), rng.normal(size=100), batch=10)
      >>> problem.facts["smoothness"] > 0
      True
    """
    a, b = numbers("features", features), numbers("targets", targets)
    if a.ndim != 2 or b.shape != (len(a),) or not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError(f"`features` must be (M, d) and `targets` (M,), all finite; got shapes {a.shape} and {b.shape}.")
    if batch is not None and not 1 <= batch <= len(a):
        raise ValueError(f"`batch` must lie between 1 and the {len(a)} rows, got {batch}.")
    solution = np.linalg.lstsq(a, b, rcond=None)[0]
    smallest = 0.5 * float(np.mean((a @ solution - b) ** 2))
    matrix, vector = jnp.asarray(a, jnp.zeros(()).dtype), jnp.asarray(b, jnp.zeros(()).dtype)

    def sample(key: jax.Array, worker: jax.Array) -> tuple[jax.Array, jax.Array]:
        del worker
        if batch is None:
            return matrix, vector
        rows = _distinct(key, len(a), batch)
        return matrix[rows], vector[rows]

    def mean_sample(key: jax.Array, worker: jax.Array, count: jax.Array) -> tuple[jax.Array, jax.Array]:
        del count  # all rows every time: the mean of equal gradients
        return sample(key, worker)

    def loss(x: jax.Array, rows: tuple[jax.Array, jax.Array]) -> jax.Array:
        return 0.5 * jnp.mean((rows[0] @ x - rows[1]) ** 2)

    def partial(x: jax.Array, rows: tuple[jax.Array, jax.Array], i: jax.Array) -> jax.Array:
        # The residual, which costs half of a gradient, and then only the columns that are asked for.
        return (rows[0] @ x - rows[1]) @ rows[0][:, i] / len(rows[1])

    def metrics(x: jax.Array) -> dict[str, jax.Array]:
        value, gradient = jax.value_and_grad(loss)(x, (matrix, vector))
        return {"loss": value, "grad_norm": jnp.linalg.norm(gradient), "gap": value - smallest}

    return Problem(
        init=lambda _: jnp.zeros(a.shape[1]),
        loss=loss,
        sample=sample,
        metrics=metrics,
        mean_sample=mean_sample if batch is None else None,
        partial=partial,
        name=f"least_squares(rows={len(a)}, dim={a.shape[1]}, batch={batch})",
        facts={"smoothness": float(np.linalg.eigvalsh(a.T @ a / len(a))[-1]), "smallest_loss": smallest},
    )


def _distinct(key: jax.Array, population: int, count: int) -> jax.Array:
    """Different whole numbers below ``population``, every choice of them equally likely.

    The first distinct ones of a row of independent draws: who collides with whom says nothing about which numbers they are.
    For small shares this is many times faster than to shuffle everybody.
    """
    if 4 * count > population:
        return jax.random.choice(key, population, (count,), replace=False)

    def attempt(carry: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        key, now = jax.random.split(carry[0])
        drawn = jax.random.randint(now, (2 * count,), 0, population)
        order = jnp.argsort(drawn, stable=True)
        ordered = drawn[order]
        new = jnp.concatenate([jnp.ones(1, bool), ordered[1:] != ordered[:-1]])
        first = jnp.zeros(2 * count, bool).at[order].set(new)  # at its place in the row, whether a number is new
        places = jnp.sort(jnp.where(first, jnp.arange(2 * count), 2 * count))[:count]
        return key, drawn[places], first.sum() >= count

    nothing = (key, jnp.zeros(count, int), jnp.bool_(False))  # too many collisions are very rare
    return jax.lax.while_loop(lambda carry: ~carry[2], attempt, nothing)[1]
