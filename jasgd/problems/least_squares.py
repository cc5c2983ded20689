"""Least squares: the problem of the public notebook of Mishchenko, Bach, Even, Woodworth 2022 (arXiv 2206.07638)."""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

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
    a, b = np.asarray(features, np.float64), np.asarray(targets, np.float64)
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
        rows = jax.random.choice(key, len(a), (batch,), replace=False)
        return matrix[rows], vector[rows]

    def loss(x: jax.Array, rows: tuple[jax.Array, jax.Array]) -> jax.Array:
        return 0.5 * jnp.mean((rows[0] @ x - rows[1]) ** 2)

    def metrics(x: jax.Array) -> dict[str, jax.Array]:
        value, gradient = jax.value_and_grad(loss)(x, (matrix, vector))
        return {"loss": value, "grad_norm": jnp.linalg.norm(gradient), "gap": value - smallest}

    return Problem(
        init=lambda _: jnp.zeros(a.shape[1]),
        loss=loss,
        sample=sample,
        metrics=metrics,
        name=f"least_squares(rows={len(a)}, dim={a.shape[1]}, batch={batch})",
        facts={"smoothness": float(np.linalg.eigvalsh(a.T @ a / len(a))[-1]), "smallest_loss": smallest},
    )
