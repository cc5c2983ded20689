r"""Linear regression under covariate shift: the best linear estimator, what it risks, and a bound for all estimators.

Liu, Zhang, Chen, Fang, "Optimal Algorithms in Linear Regression under Covariate Shift: On the Importance of Precondition",
2025, https://arxiv.org/abs/2502.09047: the truth lies in an ellipse, the lower bound comes from a Bayesian Cramér-Rao
inequality, the best estimator is a linear transformation of the best source estimator and is found by a convex program. The
formulas here are derived for a fixed design, constants of the paper are not known to us.

Samples :math:`y = \langle x, w^\star \rangle + \epsilon` with :math:`E x x^T = S` (``source``) and
:math:`E \epsilon^2 = \sigma^2` (``noise`` is :math:`\sigma`); risks are :math:`(w - w^\star)^T T (w - w^\star)`
(``target``); the truth has :math:`w^{\star T} M w^\star \le 1` (``ellipse``). Fixed design: the n inputs have
:math:`X^T X / n = S`, so that least squares is :math:`w^\star + N(0, Q)` with :math:`Q = \frac{\sigma^2}{n} S^{-1}`. All
three are (d, d) matrices or vectors, which stand for diagonals; results are vectors if all three are.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jasgd.theory._checks import require_count, require_positive

_STRENGTHS = np.geomspace(1e-8, 1e2, 400)


class ShiftOptimum(NamedTuple):
    """The best linear estimator: A after least squares.

    Attributes:
      transform: A.
      prior: F, the least favourable second moment of the truth.
      risk: the worst target risk of A over the ellipse.
      gap: how far it can be from the best one, by duality.

    Example:
      >>> transform, prior, risk, gap = jasgd.theory.shift_optimum([1.0], [1.0], [1.0], noise=1.0, samples=1)
      >>> transform, prior, risk
      (array([0.5]), array([1.]), 0.5)
    """

    transform: np.ndarray
    prior: np.ndarray
    risk: float
    gap: float


def shift_optimum(source: ArrayLike, target: ArrayLike, ellipse: ArrayLike, noise: float, samples: int) -> ShiftOptimum:
    r"""The linear estimator :math:`A \hat w_{LS}` of the smallest worst-case target risk (derived).

    .. math:: \min_A \|T^{1/2} (I - A) M^{-1/2}\|^2 + \mathrm{tr}(T A Q A^T)
        = \max_{F \succeq 0, \, \mathrm{tr}(M F) \le 1} \mathrm{tr}(T A Q), \quad A = F (F + Q)^{-1}.

    For diagonals :math:`A_i = (1 - \sqrt{\lambda m_i / t_i})_+`, exactly: S enters through :math:`\lambda` alone. For
    matrices the right-hand side is maximised, and the gap certifies the result.

    Args:
      source, target, ellipse: S, T and M; S and M positive definite, T positive semidefinite.
      noise: :math:`\sigma`.
      samples: n.

    Example:
      >>> s = np.arange(1.0, 41) ** -2
      >>> best = jasgd.theory.shift_optimum(s, s, np.arange(1.0, 41) ** 0.5, noise=0.5, samples=200)
      >>> round(best.risk, 4), best.gap < 1e-12
      (0.0073, True)
    """
    s, t, m = checked_covariances(source, target, ellipse)
    require_positive(noise=noise)
    require_count(samples=samples)
    if s.ndim == 1:
        transform, prior = _diagonal_optimum(t, m, noise**2 / samples / s)
        dual = float(np.sum(t * transform * noise**2 / samples / s))
    else:
        transform, prior, dual = _general_optimum(t, m, noise**2 / samples * np.linalg.inv(s))
    risk = shift_worst_risk(transform, s, t, m, noise, samples)
    return ShiftOptimum(transform, prior, risk, risk - dual)


def shift_worst_risk(
    transform: ArrayLike, source: ArrayLike, target: ArrayLike, ellipse: ArrayLike, noise: float, samples: int
) -> float:
    r"""The worst target risk of :math:`A \hat w_{LS}`: :math:`\|T^{1/2} (I - A) M^{-1/2}\|^2 + \mathrm{tr}(T A Q A^T)`.

    Args:
      transform: A; a vector stands for a diagonal. Least squares itself is a vector of ones.
      source, target, ellipse, noise, samples: as in :func:`shift_optimum`.

    Example:
      >>> jasgd.theory.shift_worst_risk([0.5, 0.5], [1.0, 1.0], [1.0, 4.0], [1.0, 1.0], noise=1.0, samples=5)
      1.25
    """
    s, t, m = checked_covariances(source, target, ellipse)
    require_positive(noise=noise)
    require_count(samples=samples)
    a = np.asarray(transform, np.float64)
    if a.shape not in {(len(s),), (len(s), len(s))}:
        raise ValueError(f"`transform` must be of shape ({len(s)},) or ({len(s)}, {len(s)}), got {a.shape}.")
    if max(a.ndim, s.ndim) == 2:
        a, s, t, m = (_matrix(one) for one in (a, s, t, m))
        scatter = np.trace(t @ a @ np.linalg.solve(s, a.T))
    else:
        scatter = np.sum(t * a**2 / s)
    return bias_risk(_identity(a) - a, t, m) + noise**2 / samples * float(scatter)


def shift_lower_bound(source: ArrayLike, target: ArrayLike, ellipse: ArrayLike, noise: float, samples: int) -> float:
    r"""No estimator at all has a smaller worst-case target risk, for Gaussian noise and a fixed design (derived).

    By the inequality of van Trees with :math:`\cos^2` priors along the axes of the least favourable moment, whose
    information is :math:`\pi^2` over the squared length: the optimum with the ellipse :math:`\pi^2 M`. It is at least
    :math:`R^\star / \pi^2`.

    Args:
      source, target, ellipse, noise, samples: as in :func:`shift_optimum`.

    Example:
      >>> round(jasgd.theory.shift_lower_bound([1.0], [1.0], [1.0], noise=1.0, samples=1), 6)
      0.092
    """
    best = shift_optimum(source, target, np.pi**2 * np.asarray(ellipse, np.float64), noise, samples)
    return best.risk - best.gap


def shift_least_favourable(ellipse: ArrayLike, prior: ArrayLike) -> np.ndarray:
    r"""A truth on the ellipse at which the best linear estimator attains its worst risk (derived).

    :math:`w = M^{-1/2} \sum_j \sqrt{f_j} u_j`, where :math:`f_j, u_j` are eigenvalues and eigenvectors of
    :math:`M^{1/2} F M^{1/2}`; for diagonals :math:`w_i = \sqrt{F_i / \sum_k m_k F_k}`. An eigenvector's largest entry is
    positive.

    Args:
      ellipse: M.
      prior: F, as :func:`shift_optimum` finds it.

    Example:
      >>> jasgd.theory.shift_least_favourable([1.0, 4.0], [0.5, 0.125])
      array([0.70710678, 0.35355339])
    """
    m, f = np.asarray(ellipse, np.float64), np.asarray(prior, np.float64)
    if m.ndim == f.ndim == 1:
        return np.sqrt(f / np.sum(m * f))
    half = power(_matrix(m), 0.5)
    values, vectors = np.linalg.eigh(half @ _matrix(f) @ half)
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(len(values))])
    weights = np.maximum(values, 0)
    return power(_matrix(m), -0.5) @ vectors @ np.sqrt(weights / weights.sum())


def shift_comparators(
    source: ArrayLike, target: ArrayLike, ellipse: ArrayLike, noise: float, samples: int
) -> dict[str, float]:
    r"""Worst target risks of usual estimators, each with its best parameter for this very risk (derived).

    - "ridge": :math:`A = S (S + l I)^{-1}`; "ridge with ellipse": :math:`A = (S + l M)^{-1} S`; l on 400 points from 1e-8 to
      100;
    - "ridge tuned on source": l is the best one for the worst *source* risk;
    - "components": least squares on the directions of the k largest eigenvalues of S, k = 1, ..., d, equal ones together;
    - "least squares": A = I.

    Args:
      source, target, ellipse, noise, samples: as in :func:`shift_optimum`.

    Example:
      >>> s = np.arange(1.0, 41) ** -2
      >>> risks = jasgd.theory.shift_comparators(s, s, np.arange(1.0, 41) ** 0.5, noise=0.5, samples=200)
      >>> round(risks["ridge"], 4), round(risks["components"], 4), round(risks["least squares"], 4)
      (0.0082, 0.0141, 0.05)
    """
    s, t, m = checked_covariances(source, target, ellipse)

    def risk(transform: np.ndarray, weights: np.ndarray) -> float:
        return shift_worst_risk(transform, s, weights, m, noise, samples)

    def ridge(strength: float, penalty: np.ndarray) -> np.ndarray:
        return s / (s + strength * penalty) if s.ndim == 1 else np.linalg.solve(s + strength * penalty, s)

    one = _identity(s)
    values, vectors = (s, np.eye(len(s))) if s.ndim == 1 else np.linalg.eigh(s)

    def components(smallest: float) -> np.ndarray:
        kept = (values >= smallest * (1 - 1e-9)).astype(float)
        return kept if s.ndim == 1 else (vectors * kept) @ vectors.T

    tuned = min(_STRENGTHS, key=lambda strength: risk(ridge(strength, one), s))
    return {
        "ridge": min(risk(ridge(strength, one), t) for strength in _STRENGTHS),
        "ridge with ellipse": min(risk(ridge(strength, m), t) for strength in _STRENGTHS),
        "ridge tuned on source": risk(ridge(tuned, one), t),
        "components": min(risk(components(value), t) for value in values),
        "least squares": risk(one, t),
    }


def bias_risk(residual: np.ndarray, target: np.ndarray, ellipse: np.ndarray) -> float:
    """The largest target risk over the ellipse of what a filter leaves of the truth."""
    if residual.ndim == 1:
        return float(np.max(target * residual**2 / ellipse))
    root = residual @ power(ellipse, -0.5)
    return float(np.linalg.eigvalsh(root.T @ target @ root)[-1])


def power(matrix: np.ndarray, exponent: float) -> np.ndarray:
    """Of a symmetric positive definite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * values**exponent) @ vectors.T


def checked_covariances(
    source: ArrayLike, target: ArrayLike, ellipse: ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """S, T and M as vectors if all of them are, else as matrices."""
    given = {
        "source": np.asarray(source, np.float64),
        "target": np.asarray(target, np.float64),
        "ellipse": np.asarray(ellipse, np.float64),
    }
    dim = given["source"].shape[-1] if given["source"].ndim else 0
    for name, value in given.items():
        if not dim or value.shape not in {(dim,), (dim, dim)}:
            raise ValueError(f"`{name}` must be a matrix, or the vector of its diagonal, like `source`; got {value.shape}.")
        if not np.isfinite(value).all():
            raise ValueError(f"`{name}` must be finite.")
        rounding = 1e-12 * np.abs(value).max()
        if value.ndim == 2 and np.abs(value - value.T).max() > rounding:
            raise ValueError(f"`{name}` must be symmetric.")
        low = value.min() if value.ndim == 1 else np.linalg.eigvalsh(value)[0]
        if low < -rounding or (name != "target" and low <= 0):
            wanted = "semidefinite" if name == "target" else "definite"
            raise ValueError(f"`{name}` must be positive {wanted}, its smallest eigenvalue is {low:.3g}.")
    if max(value.ndim for value in given.values()) == 2:
        given = {name: _matrix(value) for name, value in given.items()}
    return given["source"], given["target"], given["ellipse"]


def _diagonal_optimum(t: np.ndarray, m: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A and F: the directions of the largest t / m are active, as many as lie above the water level."""
    level = np.sqrt(t / m)
    order = np.argsort(-level, kind="stable")
    rho = np.cumsum((q * np.sqrt(t * m))[order]) / (1 + np.cumsum((q * m)[order]))
    inside = rho < level[order]  # true for a prefix
    if not inside.any():  # no risk at all: T = 0
        return np.zeros_like(t), np.zeros_like(t)
    water = rho[np.flatnonzero(inside)[-1]]
    seen = level > water
    transform = np.where(seen, 1 - water / np.where(seen, level, 1.0), 0.0)
    return transform, q * transform / (1 - transform)


def _general_optimum(t: np.ndarray, m: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """A, F and the dual value, in the coordinates in which the ellipse is a ball; F = Z Z' / |Z|^2 there."""
    from scipy.optimize import minimize

    root, inverse = power(m, 0.5), power(m, -0.5)
    t, q = inverse @ t @ inverse, root @ q @ root
    dim = len(t)

    def value_and_slope(prior: np.ndarray) -> tuple[float, np.ndarray]:
        left = np.linalg.solve(prior + q, q).T  # I - A = Q (F + Q)^{-1}
        return float(np.trace(t @ (q - left @ q))), left.T @ t @ left

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        z = flat.reshape(dim, dim)
        square = np.sum(z**2)
        prior = z @ z.T / square
        value, slope = value_and_slope(prior)
        gradient = 2 / square * (slope @ z - np.sum(slope * prior) * z)
        return -value / scale, -gradient.ravel() / scale

    start = np.eye(dim) / np.sqrt(dim)
    scale = value_and_slope(start @ start)[0] or 1.0
    options = {"maxiter": 2000, "maxfun": 4000, "maxcor": 30, "ftol": 1e-16, "gtol": 1e-10}
    z = minimize(objective, start.ravel(), jac=True, method="L-BFGS-B", options=options).x.reshape(dim, dim)
    prior = z @ z.T / np.sum(z**2)
    transform = np.eye(dim) - np.linalg.solve(prior + q, q).T
    return inverse @ transform @ root, inverse @ prior @ inverse, value_and_slope(prior)[0]


def _matrix(value: np.ndarray) -> np.ndarray:
    return np.diag(value) if value.ndim == 1 else value


def _identity(like: np.ndarray) -> np.ndarray:
    return np.ones(len(like)) if like.ndim == 1 else np.eye(len(like))
