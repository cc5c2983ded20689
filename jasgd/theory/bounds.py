r"""What the asynchronous methods are guaranteed to reach, with every constant: for inequalities in tests and for figures.

**All bounds are ours**: derived along the lines of the papers named, whose own constants are not known to us. They hold for
schedules that do not depend on the noise, in expectation over it. Symbols: :math:`M` workers or concurrency, :math:`K`
updates, delays as in :mod:`jasgd.schedule`, :math:`\gamma` step size, L smoothness, :math:`\sigma^2` variance of a gradient,
:math:`\Delta = F(x_0) - \inf F`, :math:`D = \|x_0 - x^*\|`. Unless said otherwise the points are :math:`x_1, \dots, x_K`.

References: Mishchenko, Bach, Even, Woodworth 2022, https://arxiv.org/abs/2206.07638 (:func:`lipschitz_bound`,
:func:`delay_adaptive_bound`, :func:`convex_delay_adaptive_bound`, :func:`bounded_gradient_bound`); Koloskova, Stich, Jaggi
2022, https://arxiv.org/abs/2206.08307 (:func:`asynchronous_bound`, :func:`delay_adaptive_bound`).
"""

import math

from jasgd.theory._checks import require_count, require_positive, require_run, require_step


def lipschitz_bound(step_size: float, *, distance: float, lipschitz: float, concurrency: int, updates: int) -> float:
    r"""Convex F, :math:`E \|g\|^2 \le G^2`, constant step, any delays: a bound on :math:`\frac1K \sum E [F(x_k) - F^*]`.

    .. math:: \frac{D^2}{2 \gamma K} + \frac{\gamma M^2 G^2}{2 K} + \frac{\gamma G^2 (2 M - 1)}2

    Args:
      step_size: :math:`\gamma`; :func:`lipschitz_step_size` is nearly the best.
      distance, lipschitz: D and G.
      concurrency, updates: M and K.

    Example:
      >>> lipschitz_bound(0.5, distance=1.0, lipschitz=1.0, concurrency=1, updates=4)
      0.5625
    """
    require_positive(step_size=step_size, distance=distance, lipschitz=lipschitz)
    require_count(concurrency=concurrency, updates=updates)
    start = distance**2 / (2 * step_size * updates) + step_size * (concurrency * lipschitz) ** 2 / (2 * updates)
    return start + step_size * lipschitz**2 * (2 * concurrency - 1) / 2


def delay_adaptive_bound(
    step_size: float,
    *,
    smoothness: float,
    concurrency: int,
    gap: float,
    updates: int,
    noise: float = 0.0,
    sum_of_steps: float | None = None,
) -> float:
    r"""Steps :math:`\gamma_k = \min(\gamma, 1 / (4 L \tau_k))`, non-convex F: on the weighted mean of squared norms.

    .. math:: \frac{\sum \gamma_k E \|\nabla F(x_k)\|^2}{\sum \gamma_k}
        \le \frac{8 \Delta + 4 L M \gamma^2 \sigma^2}{\sum \gamma_k} + 6 L \gamma \sigma^2,
        \qquad \sum \gamma_k \ge \gamma K / 2

    for :math:`\gamma \le 1 / (4 L M)`. The weight :math:`\gamma_k` is the step with which the gradient *computed at*
    :math:`x_k` is applied later.

    Args:
      step_size: :math:`\gamma`, of :func:`delay_adaptive_step_size`.
      smoothness, concurrency, gap, updates: L, M, :math:`\Delta` and K.
      noise: :math:`\sigma`.
      sum_of_steps: :math:`\sum \gamma_k`, if it is known.

    Example:
      >>> delay_adaptive_bound(0.125, smoothness=1.0, concurrency=2, gap=1.0, updates=32)
      4.0
    """
    require_run(smoothness=smoothness, concurrency=concurrency, updates=updates, noise=noise)
    require_positive(gap=gap)
    require_step(step_size, 1 / (4 * smoothness * concurrency), "1 / (4 L M)")
    steps = _sum_of_steps(step_size, updates, sum_of_steps)
    start = gap + smoothness * concurrency * (step_size * noise) ** 2 / 2
    return 8 * start / steps + 6 * smoothness * step_size * noise**2


def convex_delay_adaptive_bound(
    step_size: float,
    *,
    smoothness: float,
    concurrency: int,
    distance: float,
    updates: int,
    noise: float = 0.0,
    sum_of_steps: float | None = None,
) -> float:
    r"""The same steps, convex F: a bound on the weighted mean of gaps.

    .. math:: \frac{\sum \gamma_k E [F(x_k) - F^*]}{\sum \gamma_k}
        \le \frac{D^2 + M \gamma^2 \sigma^2}{2 \sum \gamma_k} + \gamma \sigma^2, \qquad \sum \gamma_k \ge \gamma K / 2

    for :math:`\gamma \le 1 / (4 L M)`.

    Args:
      step_size, smoothness, concurrency, updates, noise, sum_of_steps: as for :func:`delay_adaptive_bound`.
      distance: D.

    Example:
      >>> convex_delay_adaptive_bound(0.125, smoothness=1.0, concurrency=2, distance=1.0, updates=32)
      0.25
    """
    require_run(smoothness=smoothness, concurrency=concurrency, updates=updates, noise=noise)
    require_positive(distance=distance)
    require_step(step_size, 1 / (4 * smoothness * concurrency), "1 / (4 L M)")
    steps = _sum_of_steps(step_size, updates, sum_of_steps)
    return (distance**2 + concurrency * (step_size * noise) ** 2) / (2 * steps) + step_size * noise**2


def asynchronous_bound(
    step_size: float,
    *,
    smoothness: float,
    concurrency: int,
    max_delay: int,
    gap: float,
    updates: int,
    noise: float = 0.0,
) -> float:
    r"""Constant step, non-convex F: a bound on :math:`\frac1K \sum E \|\nabla F(x_k)\|^2`.

    .. math:: \frac{8 \Delta'}{\gamma K} + 4 L \gamma \sigma^2 + 8 L^2 (M - 1) \gamma^2 \sigma^2,
        \qquad \Delta' = \Delta + \tfrac12 L M \gamma^2 \sigma^2

    for :math:`M \ge 2` workers, each of which has delivered, and :math:`\gamma` not above :func:`asynchronous_step_size`.

    Args:
      step_size: :math:`\gamma`.
      smoothness, concurrency, gap, updates: L, M, :math:`\Delta` and K.
      max_delay: :math:`\tau_\max`, at least M - 1 when everybody has delivered.
      noise: :math:`\sigma`.

    Example:
      >>> asynchronous_bound(0.125, smoothness=1.0, concurrency=2, max_delay=2, gap=1.0, updates=64)
      1.0
    """
    require_run(smoothness=smoothness, concurrency=concurrency, updates=updates, noise=noise)
    require_positive(gap=gap)
    if concurrency < 2 or max_delay < concurrency - 1:
        raise ValueError(
            "the bound is for at least 2 workers, each of which has delivered, so that `max_delay` is at least "
            f"`concurrency` - 1; got {concurrency} and {max_delay}."
        )
    late = math.sqrt(8 * (concurrency - 1) * max_delay)
    require_step(step_size, min(0.5, 1 / late) / smoothness, "min{1 / (2 L), 1 / (L sqrt(8 (M - 1) max_delay))}")
    start = gap + smoothness * concurrency * (step_size * noise) ** 2 / 2
    noisy = 4 * smoothness * step_size + 8 * smoothness**2 * (concurrency - 1) * step_size**2
    return 8 * start / (step_size * updates) + noisy * noise**2


def bounded_gradient_bound(
    step_size: float,
    *,
    smoothness: float,
    concurrency: int,
    lipschitz: float,
    gap: float,
    updates: int,
    noise: float = 0.0,
) -> float:
    r"""Constant step, :math:`\|\nabla F\| \le G`, any delays: a bound on :math:`\frac1K \sum E \|\nabla F(x_k)\|^2`.

    .. math:: \frac{4 \Delta'}{\gamma K} + 4 L^2 \gamma^2 \left((M - 1)^2 G^2 + (M - 1) \sigma^2\right) + 2 L \gamma \sigma^2

    for :math:`\gamma \le 1 / (2L)`, with :math:`\Delta' = \Delta + \frac12 L M \gamma^2 \sigma^2`, and
    :math:`\frac12 L M^2 \gamma^2 G^2` more if :math:`M \gamma > 2 / L`.

    Args:
      step_size: :math:`\gamma`.
      smoothness, concurrency, gap, updates: L, M, :math:`\Delta` and K.
      lipschitz: G.
      noise: :math:`\sigma`.

    Example:
      >>> bounded_gradient_bound(0.5, smoothness=1.0, concurrency=1, lipschitz=1.0, gap=1.0, updates=8)
      1.0
    """
    require_run(smoothness=smoothness, concurrency=concurrency, updates=updates, noise=noise)
    require_positive(gap=gap, lipschitz=lipschitz)
    require_step(step_size, 1 / (2 * smoothness), "1 / (2 L)")
    start = gap + smoothness * concurrency * (step_size * noise) ** 2 / 2
    if concurrency * step_size * smoothness > 2:
        start += smoothness * (concurrency * step_size * lipschitz) ** 2 / 2
    others = concurrency - 1
    late = 4 * (smoothness * step_size) ** 2 * ((others * lipschitz) ** 2 + others * noise**2)
    return 4 * start / (step_size * updates) + late + 2 * smoothness * step_size * noise**2


def _sum_of_steps(step_size: float, updates: int, sum_of_steps: float | None) -> float:
    if sum_of_steps is None:
        return step_size * updates / 2
    require_positive(sum_of_steps=sum_of_steps)
    return sum_of_steps
