r"""Linear regression under covariate shift, step by step: the preconditioner that is optimal, and what filters risk.

Symbols as in :mod:`jasgd.theory.covariate_shift`. The equivalence of the best estimator with a preconditioner is the message
of Liu, Zhang, Chen, Fang 2025, https://arxiv.org/abs/2502.09047; formulas here are derived. Accelerated SGD is
:func:`jasgd.rules.accelerated_sgd`.
"""

import numpy as np
from numpy.typing import ArrayLike

from jasgd.theory._checks import require_count, require_positive
from jasgd.theory.covariate_shift import bias_risk, checked_covariances, power

_HALVINGS = 64


def shift_preconditioner(source: ArrayLike, transform: ArrayLike, steps: int, *, delay: int = 0) -> np.ndarray:
    r"""P with which K gradient steps :math:`w \leftarrow w - P g` from zero end at :math:`A \hat w_{LS}` (derived).

    .. math:: P = S^{-1/2} \, V \mathrm{diag}(c_i) V^T S^{-1/2},
        \qquad V \mathrm{diag}(b_i) V^T = S^{1/2} (I - A) S^{-1/2}, \qquad e_K(c_i) = b_i,

    where :math:`e_{k+1} = e_k - c \, e_{k - \tau}` and :math:`e_k = 1` for :math:`k \le 0`. Without delay
    :math:`c = 1 - b^{1/K}`, and one step has :math:`P = A S^{-1}`. Exact on the full batch; with K fresh samples, one per
    step, exact in the mean, and for large K the noise in a direction is that of :math:`A \hat w_{LS}` times
    :math:`\frac{-\log b}{2} \cdot \frac{1 + b}{1 - b}`. For another step size :math:`\eta` divide P by it.

    Args:
      source: S.
      transform: A, from :func:`shift_optimum`. If both are vectors, so is P.
      steps: K.
      delay: :math:`\tau`, constant: gradient k is taken at the point of step :math:`\max(k - \tau, 0)`. Too few steps are
        refused: without oscillation they leave at least :math:`e_K` at :math:`c = \tau^\tau / (\tau + 1)^{\tau + 1}`.

    Example:
      >>> jasgd.theory.shift_preconditioner([0.5, 1.0], [0.75, 0.75], steps=2)
      array([1. , 0.5])
    """
    s, _, _ = checked_covariances(source, source, source)
    a = np.asarray(transform, np.float64)
    if a.shape not in {(len(s),), (len(s), len(s))}:
        raise ValueError(f"`transform` must be of shape ({len(s)},) or ({len(s)}, {len(s)}), got {a.shape}.")
    require_count(steps=steps)
    if isinstance(delay, bool) or not isinstance(delay, int | np.integer) or delay < 0:
        raise ValueError(f"`delay` must be a whole number from 0 on, got {delay!r}.")
    if a.ndim == s.ndim == 1:
        return _coefficients(1 - a, steps, delay) / s
    s, a = (np.diag(one) if one.ndim == 1 else one for one in (s, a))
    root, inverse = power(s, 0.5), power(s, -0.5)
    kept = root @ (np.eye(len(s)) - a) @ inverse
    if not np.allclose(kept, kept.T, atol=1e-5 * np.abs(kept).max()):
        raise ValueError("`transform` times the inverse of `source` must be symmetric, as for the A of `shift_optimum`.")
    left, vectors = np.linalg.eigh((kept + kept.T) / 2)
    half = inverse @ vectors
    return (half * _coefficients(left, steps, delay)) @ half.T


def filter_risk(
    source: ArrayLike,
    target: ArrayLike,
    ellipse: ArrayLike,
    noise: float,
    delta: ArrayLike,
    gamma: ArrayLike | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
) -> float:
    r"""The worst target risk of SGD, or of accelerated SGD, with a fresh sample per step from zero (derived).

    Label noise is kept, the noise of :math:`x x^T` around S is not. Per eigenvalue s of S, with what is left
    :math:`e = (e_w, e_u)`, its covariance V, :math:`q = \alpha \delta + (1 - \alpha) \gamma`,
    :math:`c = \alpha (1 - \beta)`,

    .. math:: e \leftarrow B e, \quad V \leftarrow B V B^T + \sigma^2 s \binom{\delta}{q} \binom{\delta}{q}^T,
        \quad B = \begin{pmatrix} 0 & 1 - \delta s \cr -c & 1 + c - q s \end{pmatrix};

    the risk is that of :math:`w`, at the worst truth in the ellipse. Infinite if the steps are unstable.

    Args:
      source, target, ellipse, noise: as in :func:`shift_optimum`.
      delta: (K,) short steps :math:`\delta`, one per sample.
      gamma: (K,) long steps :math:`\gamma`; by default ``delta``: plain SGD.
      alpha, beta: :math:`\alpha, \beta`, of no consequence for plain SGD.

    Example:
      >>> jasgd.theory.filter_risk([1.0], [1.0], [1.0], noise=1.0, delta=[0.5])
      0.5
    """
    s, t, m = checked_covariances(source, target, ellipse)
    require_positive(noise=noise, alpha=alpha, beta=beta)
    short = np.asarray(delta, np.float64)
    long = short if gamma is None else np.asarray(gamma, np.float64)
    if short.ndim != 1 or not len(short) or long.shape != short.shape or not (np.all(short > 0) and np.all(long > 0)):
        raise ValueError(f"`delta` and `gamma` must be positive, one per step; got shapes {short.shape} and {long.shape}.")
    values, vectors = (s, None) if s.ndim == 1 else np.linalg.eigh(s)
    with np.errstate(over="ignore", invalid="ignore"):
        left, variance = _filtered(values, noise, short, long, alpha, alpha * (1 - beta))
        if not (np.isfinite(left).all() and np.isfinite(variance).all()):
            return float("inf")
    if vectors is None:
        return bias_risk(left, t, m) + float(np.sum(t * variance))
    return bias_risk((vectors * left) @ vectors.T, t, m) + float(np.trace(t @ (vectors * variance) @ vectors.T))


def _filtered(
    s: np.ndarray, noise: float, short: np.ndarray, long: np.ndarray, alpha: float, c: float
) -> tuple[np.ndarray, np.ndarray]:
    """What is left of the truth in w, and the variance of w."""
    e_w = e_u = np.ones_like(s)
    ww = wu = uu = np.zeros_like(s)
    for delta, gamma in zip(short, long, strict=True):
        q = alpha * delta + (1 - alpha) * gamma
        a, b = 1 - delta * s, 1 + c - q * s
        e_w, e_u = a * e_u, b * e_u - c * e_w
        new = noise**2 * s
        ww, wu, uu = (
            a**2 * uu + new * delta**2,
            a * (b * uu - c * wu) + new * delta * q,
            b**2 * uu - 2 * b * c * wu + c**2 * ww + new * q**2,
        )
    return e_w, ww


def _coefficients(left: np.ndarray, steps: int, delay: int) -> np.ndarray:
    """The c with e_K(c) = b, for every b in ``left``, by bisection where there is delay."""
    if left.min() <= 0 or left.max() > 1 + 1e-9:
        raise ValueError(f"`transform` must have a spectrum in [0, 1), got {1 - left.max():.3g} to {1 - left.min():.3g}.")
    left = np.minimum(left, 1.0)
    if not delay:
        return -np.expm1(np.log(left) / steps)
    largest = delay**delay / (delay + 1) ** (delay + 1)
    most = _remaining(np.array([largest]), steps, delay)[0]
    if most > left.min():
        raise ValueError(
            f"{steps} `steps` with a delay of {delay} leave at least {most:.3g} of every direction, but the smallest "
            f"share to be left is {left.min():.3g}: take more steps."
        )
    low, high = np.zeros_like(left), np.full_like(left, largest)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        too_much = _remaining(middle, steps, delay) > left
        low, high = np.where(too_much, middle, low), np.where(too_much, high, middle)
    return np.where(left < 1, (low + high) / 2, 0.0)


def _remaining(c: np.ndarray, steps: int, delay: int) -> np.ndarray:
    """e_K: what K delayed steps leave."""
    ring = np.ones((delay + 1, len(c)))  # e_{k - delay}, ..., e_k
    for k in range(steps):
        ring[(k + 1) % (delay + 1)] = ring[k % (delay + 1)] - c * ring[(k - delay) % (delay + 1)]
    return ring[steps % (delay + 1)]
