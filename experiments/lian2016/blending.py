"""Model blending: weights for the predictions of many models, so that their sum is close to the ratings."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import jasgd


def predictions(rows: int, models: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Synthetic predictions (rows, models) and ratings (rows,): column j is r + b_j f + 0.5 g_j.

    All errors share a factor f per row; b_j is uniform on (0.5, 1.5), and r, f and g are normal.
    """
    rng = np.random.default_rng(seed)
    ratings, factor = rng.normal(size=rows), rng.normal(size=rows)
    shares = rng.uniform(0.5, 1.5, size=models)
    return ratings[:, None] + np.outer(factor, shares) + 0.5 * rng.normal(size=(rows, models)), ratings


def blending(matrix: np.ndarray, ratings: np.ndarray) -> jasgd.Problem:
    """f(x) = ||A x - r||^2 / n on the first half of the rows, with the errors (RMSE) of both halves as metrics.

    Values are exact, from A' A and A' r. Facts: the smoothness, and the test error of the minimiser.
    """
    half = len(ratings) // 2
    fit, test = ((matrix[rows], ratings[rows]) for rows in (slice(half), slice(half, None)))

    gram, cross, f = _squares(*fit)
    _, _, error = _squares(*test)
    best = np.linalg.lstsq(*fit, rcond=None)[0]

    def gradient(x: jax.Array, _: jax.Array) -> jax.Array:
        return 2 * (gram @ x - cross)

    def partial(x: jax.Array, _: jax.Array, chosen: jax.Array) -> jax.Array:
        return 2 * (gram[chosen] @ x - cross[chosen])

    def metrics(x: jax.Array) -> dict[str, jax.Array]:
        return {
            "loss": f(x),
            "grad_norm": jnp.linalg.norm(gradient(x, x)),
            "validation": jnp.sqrt(f(x)),
            "test": jnp.sqrt(error(x)),
        }

    return jasgd.Problem(
        init=lambda _: jnp.zeros(matrix.shape[1]),
        loss=lambda x, _: f(x),
        sample=lambda _, __: jnp.zeros(()),
        metrics=metrics,
        gradient=gradient,
        partial=partial,
        name=f"blending of {matrix.shape[1]} models",
        facts={
            "smoothness": 2 * float(np.linalg.eigvalsh(fit[0].T @ fit[0] / half)[-1]),
            "best": float(np.sqrt(np.mean((test[0] @ best - test[1]) ** 2))),
        },
    )


def _squares(a: np.ndarray, r: np.ndarray) -> tuple[jax.Array, jax.Array, Callable[[jax.Array], jax.Array]]:
    """A' A / n, A' r / n, and the mean square of A x - r."""
    gram, cross, square = (jnp.asarray(part / len(r), jnp.float32) for part in (a.T @ a, a.T @ r, r @ r))
    return gram, cross, lambda x: x @ gram @ x - 2 * cross @ x + square
