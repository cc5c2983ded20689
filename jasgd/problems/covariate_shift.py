r"""Linear regression whose samples come from one distribution and whose risk is that under another.

Liu, Zhang, Chen, Fang, "Optimal Algorithms in Linear Regression under Covariate Shift: On the Importance of Precondition",
2025, https://arxiv.org/abs/2502.09047. What can be achieved at best is :func:`jasgd.theory.shift_optimum`.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jasgd import theory
from jasgd._checks import require_not_negative
from jasgd.problems._normal import normal
from jasgd.problems.problem import Problem
from jasgd.theory.covariate_shift import checked_covariances, power


def covariate_shift(
    source: ArrayLike,
    target: ArrayLike,
    ellipse: ArrayLike,
    noise: float,
    *,
    samples: int | None = None,
    truth: ArrayLike | None = None,
    worker_sources: Sequence[ArrayLike] | None = None,
) -> Problem:
    r"""Normal inputs :math:`x \sim N(0, S)` with :math:`y = \langle x, w^\star \rangle + \sigma N(0, 1)`, started at zero.

    A job draws one sample; its loss is :math:`(\langle x, w \rangle - y)^2 / 2`. Metrics are exact: ``source_risk`` and
    ``target_risk`` are :math:`(w - w^\star)^T S (w - w^\star)` and the same with T; ``loss`` is half of the source risk
    plus half of :math:`\sigma^2`.

    Args:
      source, target: S and T, (d, d) matrices or (d,) vectors, which stand for diagonals.
      ellipse: M, likewise; the truth has :math:`w^{\star T} M w^\star \le 1`.
      noise: :math:`\sigma`.
      samples: the number of samples for which the truth is least favourable; give either this or ``truth``. The truth is
        then :func:`jasgd.theory.shift_least_favourable`, at which the best linear estimator attains its worst risk.
      truth: :math:`w^\star`.
      worker_sources: a covariance of the inputs for each worker, if they differ. S, which the loss and the source risk are
        for, is then any mixture of them, e.g. their mean: :math:`w^\star` minimises all of them.

    Example:
      >>> s = np.arange(1.0, 41) ** -2
      >>> problem = jasgd.problems.covariate_shift(s, np.full(40, 1 / 40), np.ones(40), noise=0.5, samples=4000)
      >>> metrics = problem.metrics(problem.init(jax.random.key(0)))
      >>> sorted(metrics)
      ['grad_norm', 'loss', 'source_risk', 'target_risk']
    """
    s, t, m = checked_covariances(source, target, ellipse)
    require_not_negative("noise", noise)
    if (samples is None) == (truth is None):
        raise ValueError("give either `samples`, for the least favourable truth, or `truth`.")
    if samples is not None:
        solution = theory.shift_least_favourable(m, theory.shift_optimum(s, t, m, noise, samples).prior)
    else:
        solution = _checked_truth(truth, m)
    roots = [_root(one) for one in _checked_sources(worker_sources, len(s))] if worker_sources is not None else [_root(s)]
    dtype = jnp.zeros(()).dtype
    minimiser, source_matrix, target_matrix = (jnp.asarray(value, dtype) for value in (solution, s, t))
    if len({root.ndim for root in roots}) == 2:
        roots = [np.diag(root) if root.ndim == 1 else root for root in roots]
    root_of = jnp.asarray(np.stack(roots), dtype)

    def sample(key: jax.Array, worker: jax.Array) -> tuple[jax.Array, jax.Array]:
        drawn = normal(key, len(s) + 1).astype(dtype)
        x = _times(root_of[worker if len(roots) > 1 else 0], drawn[:-1])
        return x, x @ minimiser + noise * drawn[-1]

    def loss(w: jax.Array, pair: tuple[jax.Array, jax.Array]) -> jax.Array:
        x, y = pair
        return 0.5 * (x @ w - y) ** 2

    def metrics(w: jax.Array) -> dict[str, jax.Array]:
        error = w - minimiser
        slope = _times(source_matrix, error)
        return {
            "loss": 0.5 * (error @ slope) + 0.5 * noise**2,
            "grad_norm": jnp.linalg.norm(slope),
            "source_risk": error @ slope,
            "target_risk": error @ _times(target_matrix, error),
        }

    return Problem(
        init=lambda _: jnp.zeros(len(s)),
        loss=loss,
        sample=sample,
        metrics=metrics,
        num_workers=None if worker_sources is None else len(roots),
        name=f"covariate_shift(dim={len(s)}, noise={noise})",
        facts={
            "smoothness": float(s.max() if s.ndim == 1 else np.linalg.eigvalsh(s)[-1]),
            "smallest_loss": 0.5 * noise**2,
        },
    )


def _checked_truth(truth: Any, ellipse: np.ndarray) -> np.ndarray:
    w = np.asarray(truth, np.float64)
    if w.shape != (len(ellipse),) or not np.isfinite(w).all():
        raise ValueError(f"`truth` must hold {len(ellipse)} finite numbers, got shape {w.shape}.")
    size = np.sum(ellipse * w**2) if ellipse.ndim == 1 else w @ ellipse @ w
    if size > 1 + 1e-6:
        raise ValueError(f"`truth` must lie in the ellipse, but w' M w = {size:.6g} exceeds 1.")
    return w


def _checked_sources(given: Sequence[ArrayLike], dim: int) -> list[np.ndarray]:
    checked = [checked_covariances(one, one, one)[0] for one in given]
    wrong = [len(one) for one in checked if len(one) != dim]
    if not checked or wrong:
        raise ValueError(f"`worker_sources` must hold a covariance of {dim} inputs for each worker, got {wrong or 'none'}.")
    return checked


def _root(covariance: np.ndarray) -> np.ndarray:
    return np.sqrt(covariance) if covariance.ndim == 1 else power(covariance, 0.5)


def _times(matrix: jax.Array, vector: jax.Array) -> jax.Array:
    """A product with a matrix, or with a vector that stands for a diagonal."""
    return matrix * vector if matrix.ndim == 1 else jnp.matmul(matrix, vector, precision="highest")
