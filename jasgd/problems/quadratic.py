r"""Quadratics with additive noise, the tridiagonal one of the time-complexity papers first of all.

Tyurin and Richtárik 2023 (Rennala SGD, https://arxiv.org/abs/2305.12387) and the papers that follow run
:math:`f(x) = x^T A x / 2 - b^T x` with :math:`A = \frac14 \mathrm{tridiag}(-1, 2, -1)`,
:math:`b = \frac14 (-1, 0, ..., 0)` and :math:`x_0 = (\sqrt d, 0, ..., 0)`. The public code of Ringmaster ASGD adds *one*
normal number to all coordinates.
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jasgd._checks import require_count, require_not_negative
from jasgd.problems._normal import normal
from jasgd.problems.problem import Problem

# x -> A x, b, x_0 and what is known.
_Parts = tuple[Callable[[jax.Array], jax.Array], jax.Array, np.ndarray, dict[str, float]]


def quadratic(
    dim: int,
    noise: float = 0.0,
    *,
    noise_kind: Literal["iid", "scalar"] = "iid",
    spectrum: ArrayLike | None = None,
    basis_seed: int = 0,
) -> Problem:
    r"""The quadratic :math:`f(x) = x^T A x / 2 - b^T x`; stochastic gradients are :math:`A x - b +` noise.

    Args:
      dim: number of coordinates.
      noise: standard deviation per coordinate.
      noise_kind: an independent normal for each coordinate, or one scalar normal on all of them.
      spectrum: eigenvalues of a dense :math:`A` in a random orthogonal basis, with :math:`b = 0` and a start of ones
        in that basis; by default the tridiagonal matrix.
      basis_seed: of that basis.

    Example:
      >>> problem = jasgd.problems.quadratic(dim=1729, noise=0.01)
      >>> round(problem.facts["smallest_loss"], 6)
      -0.124928
    """
    require_count("dim", dim)
    require_not_negative("noise", noise)
    if noise_kind not in ("iid", "scalar"):
        raise ValueError(f"`noise_kind` must be 'iid' or 'scalar', got {noise_kind!r}.")
    if spectrum is None:
        apply, linear, start, facts = tridiagonal(dim)
        rows = _tridiagonal_rows
    else:
        matrix, start, facts = _dense(dim, np.asarray(spectrum, np.float64), basis_seed)
        linear = jnp.zeros(dim)

        def apply(x: jax.Array) -> jax.Array:
            return matrix.astype(x.dtype) @ x

        def rows(x: jax.Array, i: jax.Array) -> jax.Array:
            return matrix[i].astype(x.dtype) @ x

    def sample(key: jax.Array, worker: jax.Array) -> jax.Array:
        del worker
        if not noise:
            return jnp.zeros(())
        return noise * (normal(key, dim) if noise_kind == "iid" else normal(key, 1)[0])

    def mean_sample(key: jax.Array, worker: jax.Array, count: jax.Array) -> jax.Array:
        return sample(key, worker) / jnp.sqrt(count)

    def loss(x: jax.Array, z: jax.Array) -> jax.Array:
        return 0.5 * x @ apply(x) - linear @ x + jnp.sum(z.astype(x.dtype) * x)

    def gradient(x: jax.Array, z: jax.Array) -> jax.Array:
        exact = apply(x) - linear.astype(x.dtype)
        return exact + z.astype(x.dtype) if noise else exact

    def partial(x: jax.Array, z: jax.Array, i: jax.Array) -> jax.Array:
        exact = rows(x, i) - linear.astype(x.dtype)[i]
        return exact + jnp.broadcast_to(z, dim)[i].astype(x.dtype) if noise else exact

    def metrics(x: jax.Array) -> dict[str, jax.Array]:
        value = 0.5 * x @ apply(x) - linear.astype(x.dtype) @ x
        return {
            "loss": value,
            "grad_norm": jnp.linalg.norm(apply(x) - linear.astype(x.dtype)),
            "gap": value - facts["smallest_loss"],
        }

    return Problem(
        init=lambda _: jnp.asarray(start, jnp.zeros(()).dtype),
        loss=loss,
        sample=sample,
        metrics=metrics,
        gradient=gradient,
        mean_sample=mean_sample,
        partial=partial,
        name=f"quadratic(dim={dim}, noise={noise}, noise_kind={noise_kind!r})",
        facts={**facts, "noise_variance": dim * noise**2},
    )


def tridiagonal(dim: int) -> _Parts:
    """The parts of the quadratic of the time-complexity papers; other problems share them."""
    linear = np.zeros(dim, np.float32)
    linear[0] = -0.25
    start = np.zeros(dim)
    start[0] = np.sqrt(dim)

    def apply(x: jax.Array) -> jax.Array:
        padded = jnp.pad(x, 1)
        return 0.5 * x - 0.25 * (padded[:-2] + padded[2:])

    facts = {"smoothness": (1 + np.cos(np.pi / (dim + 1))) / 2, "smallest_loss": -dim / (8 * (dim + 1))}
    return apply, jnp.asarray(linear), start, facts


def _tridiagonal_rows(x: jax.Array, i: jax.Array) -> jax.Array:
    """Some entries of the tridiagonal A x."""
    before, after = jnp.where(i > 0, x[i - 1], 0), jnp.where(i < len(x) - 1, x[i + 1], 0)
    return 0.5 * x[i] - 0.25 * (before + after)


def _dense(dim: int, spectrum: np.ndarray, seed: int) -> tuple[jax.Array, np.ndarray, dict[str, float]]:
    """A, x_0 and what is known."""
    if spectrum.shape != (dim,) or not np.all(np.isfinite(spectrum) & (spectrum >= 0)):
        raise ValueError(f"`spectrum` must hold {dim} eigenvalues, finite and not negative, got shape {spectrum.shape}.")
    basis, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))
    matrix = jnp.asarray((basis * spectrum) @ basis.T, jnp.zeros(()).dtype)
    return matrix, basis.sum(axis=1), {"smoothness": float(spectrum.max()), "smallest_loss": 0.0}
