r"""A quadratic whose noise sits where the point is still zero: a stochastic gradient opens the next coordinate or does not.

Tyurin, Pozzi, Ilin, Richtárik 2024, Shadowheart SGD, https://arxiv.org/abs/2402.04785, and Tyurin, Richtárik 2024, Fragile
SGD and Amelie SGD, https://arxiv.org/abs/2405.16218. The noise is the one that their public code calls ``zero-last``, and
the eigenvalues are shifted as there. Deviation: that code has no gradient at :math:`x = 0`.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jasgd._checks import require, require_count, require_positive
from jasgd.problems.problem import Problem
from jasgd.problems.quadratic import tridiagonal


def progress_quadratic(dim: int, probability: float, *, smallest_eigenvalue: float | None = None) -> Problem:
    r"""The tridiagonal quadratic :math:`f(x) = x^T A x / 2 - b^T x` with progress noise.

    With :math:`\mathrm{prog}(x)` the number of the last non-zero coordinate of :math:`x` (0 at :math:`x = 0`) and one
    :math:`\xi \sim \mathrm{Bernoulli}(p)` per gradient,

    .. math:: [\nabla f(x; \xi)]_j = [\nabla f(x)]_j \cdot (1 \text{ if } j \le \mathrm{prog}(x) \text{ else } \xi / p).

    Here only coordinate prog(x) + 1 of the gradient differs from zero beyond prog(x), so that the variance is
    :math:`\frac{1 - p}{16 p} x_{\mathrm{prog}(x)}^2`, and :math:`\frac{1 - p}{16 p}` at :math:`x = 0` (derived).
    It needs exact zeros: SGD keeps them; a rule that moves coordinates whose gradient is zero does not.

    Args:
      dim: number of coordinates, d.
      probability: p.
      smallest_eigenvalue: of :math:`A`, whose diagonal is shifted for it; :math:`b` and the start stay. By default no shift.
        A value :math:`\mu` far below that of the unshifted matrix adds about :math:`\pi^2 / (16 d^3 \mu)` to the gap
        at the start (derived): choose :math:`\mu` proportional to :math:`d^{-3}` in small dimensions.

    Example:
      >>> problem = jasgd.problems.progress_quadratic(1000, 0.001)
      >>> round(problem.facts["noise_variance_at_start"], 2)
      62437.5
    """
    require_count("dim", dim)
    require("probability", probability, lambda p: 0 < p <= 1, "a number in (0, 1]")
    if smallest_eigenvalue is not None:
        require_positive("smallest_eigenvalue", smallest_eigenvalue)
    unshifted, linear, start, facts = tridiagonal(dim)
    smallest = np.sin(np.pi / (2 * (dim + 1))) ** 2  # (1 - cos(pi / (d + 1))) / 2 without cancellation
    shift = 0.0 if smallest_eigenvalue is None else smallest_eigenvalue - smallest
    solution = _solution(dim, shift)
    optimum = jnp.asarray(solution, jnp.zeros(()).dtype)

    def apply(x: jax.Array) -> jax.Array:
        return unshifted(x) + shift * x if shift else unshifted(x)

    def exact(x: jax.Array) -> jax.Array:
        return apply(x) - linear.astype(x.dtype)

    def value(x: jax.Array) -> jax.Array:
        return 0.5 * x @ apply(x) - linear.astype(x.dtype) @ x

    def gradient(x: jax.Array, scale: jax.Array) -> jax.Array:
        coordinates = jnp.arange(1, dim + 1)
        progress = jnp.max(jnp.where(x != 0, coordinates, 0))
        return jnp.where(coordinates <= progress, 1, scale).astype(x.dtype) * exact(x)

    def loss(x: jax.Array, scale: jax.Array) -> jax.Array:
        # The noise is zero where x is not, so the loss is that of the objective; only its gradient is noisy.
        noise = gradient(x, scale) - exact(x)
        return value(x) + jax.lax.stop_gradient(noise) @ x

    def sample(key: jax.Array, worker: jax.Array) -> jax.Array:
        del worker
        return jax.random.bernoulli(key, probability, mode="high") / probability  # "low" may miss p by 2^-23

    def mean_sample(key: jax.Array, worker: jax.Array, count: jax.Array) -> jax.Array:
        del worker
        # Up to count p = 10 this is the law but for JAX's uniform numbers of 23 bits. Beyond, JAX's rejection step (0.10 and
        # 0.12, integrated numerically) is up to 6e-4 off in total variation, and up to 4e-4 of the mean.
        return jax.random.binomial(key, count, probability) / (count * probability)

    def metrics(x: jax.Array) -> dict[str, jax.Array]:
        # The gap is (x - x*)^T A (x - x*) / 2, as a sum of squares: f(x) - f(x*) would be lost in rounding.
        error = x - optimum.astype(x.dtype)
        steps = jnp.diff(jnp.pad(error, 1))
        gap = jnp.sum(steps**2) / 8 + shift * jnp.sum(error**2) / 2
        return {"loss": value(x), "grad_norm": jnp.linalg.norm(exact(x)), "gap": gap}

    return Problem(
        init=lambda _: jnp.asarray(start, jnp.zeros(()).dtype),
        loss=loss,
        sample=sample,
        metrics=metrics,
        gradient=gradient,
        mean_sample=mean_sample,
        name=f"progress_quadratic(dim={dim}, probability={probability}, smallest_eigenvalue={smallest_eigenvalue})",
        facts={
            "smoothness": facts["smoothness"] + shift,
            "smallest_eigenvalue": smallest + shift,
            "smallest_loss": float(solution[0]) / 8,  # -b^T x* / 2
            "noise_variance_at_start": dim * (1 - probability) / (16 * probability) if dim > 1 else 0.0,
        },
    )


def _solution(dim: int, shift: float) -> np.ndarray:
    """The solution of A x = b, by elimination from the last coordinate: x_i = q_i x_{i-1} with x_0 = -1."""
    ratios = [0.0]
    for _ in range(dim):
        ratios.append(1 / (2 + 4 * shift - ratios[-1]))
    return -np.cumprod(ratios[:0:-1])
