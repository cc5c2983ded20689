r"""What ordered momentum and gradient tables are guaranteed to reach, with every constant.

**All bounds are ours**, as in :mod:`jasgd.theory.bounds`: the papers' constants are not known to us. The schedule must not
depend on the noise or the data.
"""

from jasgd.theory._checks import require_count, require_momentum, require_positive, require_run, require_step


def ormo_bound(
    step_size: float,
    momentum: float,
    *,
    smoothness: float,
    num_workers: int,
    lipschitz: float,
    gap: float,
    updates: int,
    noise: float = 0.0,
) -> float:
    r"""Ordered momentum, constant step, :math:`\|\nabla F\| \le G`: a bound on the mean :math:`E \|\nabla F\|^2`.

    The mean is over the points at which gradients are computed. With :math:`\gamma = \eta / (1 - \beta) \le 1 / (2L)`,

    .. math:: \frac{4 \Delta}{\gamma T} + 2 L \gamma \sigma^2 + 8 L^2 \gamma^2 \Big( (K - 1)^2 G^2 + (K - 1) \sigma^2
        + \frac{\beta^2 K^2 G^2}{(1 - \beta)^2} + \frac{\beta^2 K \sigma^2}{1 - \beta^2} \Big),

    for the method of Shi, Yang, Li 2024 with K workers and T updates.

    Args:
      step_size, momentum: :math:`\eta` and :math:`\beta`.
      smoothness, num_workers, gap, updates: L, K, :math:`\Delta` and T.
      lipschitz: G.
      noise: :math:`\sigma`.

    Example:
      >>> ormo_bound(0.25, 0.5, smoothness=1.0, num_workers=1, lipschitz=1.0, gap=1.0, updates=8)
      3.0
    """
    require_momentum(momentum)
    require_run(smoothness=smoothness, concurrency=num_workers, updates=updates, noise=noise)
    require_positive(gap=gap, lipschitz=lipschitz)
    require_step(step_size, (1 - momentum) / (2 * smoothness), "(1 - momentum) / (2 L)")
    gamma = step_size / (1 - momentum)
    others, kept = num_workers - 1, momentum / (1 - momentum)
    drift = lipschitz**2 * (others**2 + (kept * num_workers) ** 2)
    noisy = noise**2 * (others + momentum**2 * num_workers / (1 - momentum**2))
    start = 4 * gap / (gamma * updates) + 2 * smoothness * gamma * noise**2
    return start + 8 * (smoothness * gamma) ** 2 * (drift + noisy)


def ormo_da_bound(
    step_size: float,
    momentum: float,
    *,
    smoothness: float,
    num_workers: int,
    gap: float,
    updates: int,
    noise: float = 0.0,
    capped: bool = False,
) -> float:
    r"""Delay-adaptive ordered momentum: a bound on the mean :math:`E \|\nabla F\|^2`, weighted by the steps.

    The mean is over the points at which gradients are computed, with the steps they are applied with. With
    :math:`\gamma = \eta / (1 - \beta)` and :math:`\eta \le (1 - \beta)^2 / (8 L K)`,

    .. math:: \frac{6 \Delta}{\gamma T} + \frac{27}8 \frac{L \gamma \sigma^2}{1 - \beta}.

    Args:
      step_size, momentum: :math:`\eta` and :math:`\beta`; late gradients get :math:`1 / (4 L \tau)`.
      smoothness, num_workers, gap, updates: L, K, :math:`\Delta` and T.
      noise: :math:`\sigma`.
      capped: whether late gradients get :math:`(1 - \beta) / (4 L \tau)` instead; then the last :math:`1 / (1 - \beta)`
        is absent.

    Example:
      >>> ormo_da_bound(0.125, 0.0, smoothness=1.0, num_workers=1, gap=1.0, updates=48)
      1.0
    """
    require_momentum(momentum)
    require_run(smoothness=smoothness, concurrency=num_workers, updates=updates, noise=noise)
    require_positive(gap=gap)
    require_step(step_size, (1 - momentum) ** 2 / (8 * smoothness * num_workers), "(1 - momentum)^2 / (8 L K)")
    gamma = step_size / (1 - momentum)
    noisy = 27 / 8 * smoothness * gamma * noise**2
    return 6 * gap / (gamma * updates) + (noisy if capped else noisy / (1 - momentum))


def dude_bound(
    step_size: float,
    *,
    smoothness: float,
    num_workers: int,
    max_delay: int,
    gap: float,
    updates: int,
    noise: float = 0.0,
) -> float:
    r"""DuDe-ASGD, any heterogeneity: a bound on :math:`\frac1T \sum E \|\nabla F(w_t)\|^2`.

    .. math:: \frac{2 \Delta}{\eta T} + 5.4 \, L \eta m \frac{\sigma^2}n, \qquad m = \max(1, \tau_\max - 1),

    for :math:`\eta \le 1 / (5 L m)`; the method is that of Wang, Sun, Wai, Zhang 2024.

    Args:
      step_size: :math:`\eta`.
      smoothness, num_workers, gap, updates: L, n, :math:`\Delta` and T.
      max_delay: :math:`\tau_\max`, the largest age of a table entry in updates, counted from 1 as in
        :func:`dude_step_size`.
      noise: :math:`\sigma`.

    Example:
      >>> dude_bound(0.125, smoothness=1.0, num_workers=2, max_delay=2, gap=1.0, updates=16)
      1.0
    """
    require_run(smoothness=smoothness, concurrency=num_workers, updates=updates, noise=noise)
    require_positive(gap=gap)
    require_count(max_delay=max_delay)
    age = max(1, max_delay - 1)
    require_step(step_size, 1 / (5 * smoothness * age), "1 / (5 L m)")
    return 2 * gap / (step_size * updates) + 5.4 * smoothness * step_size * age * noise**2 / num_workers
