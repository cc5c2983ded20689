r"""What a constant delay leaves of momentum: the largest stable step."""

import math

import numpy as np

from jasgd.theory._checks import require_momentum


def delayed_stability_limit(delay: int, momentum: float = 0.0) -> float:
    r"""The largest stable :math:`\delta \lambda` of Nesterov momentum with gradients :math:`\tau` steps late (derived).

    .. math:: u_{t+1} = (1 + c) u_t - c w_t - (1 + c) \delta \lambda \, u_{t-\tau},
        \qquad w_{t+1} = u_t - \delta \lambda \, u_{t-\tau}.

    :math:`\frac{2 (1 + c)}{1 + 2c}` without delay; without momentum that of :func:`stability_limit`; about :math:`1 - c`
    times the latter for :math:`\tau \gg 1 / (1 - c)`: late gradients take from acceleration all that it gains.

    An eigenvalue z is on the unit circle if :math:`\delta \lambda = -z^\tau (z - 1)(z - c) / ((1 + c) z - c)` is real; its
    modulus grows along the circle, so the first such point is the limit.

    Args:
      delay: :math:`\tau`, the age of a gradient in updates, 0 for fresh ones.
      momentum: c in [0, 1). For accelerated SGD with :math:`\alpha = 1 / (1 + \beta)`, :math:`\gamma = \delta / \beta` it is
        :math:`(1 - \beta) / (1 + \beta)`.

    Example:
      >>> [round(jasgd.theory.delayed_stability_limit(delay, momentum=0.9), 4) for delay in (0, 4, 64)]
      [1.3571, 0.0326, 0.0022]
    """
    if isinstance(delay, bool) or not isinstance(delay, int | np.integer) or delay < 0:
        raise ValueError(f"`delay` must be a whole number from 0 on, got {delay!r}.")
    require_momentum(momentum)
    from scipy.optimize import brentq

    c, tau = momentum, int(delay)

    def excess(angle: float | np.ndarray) -> float | np.ndarray:
        """Zero where the step is real and positive."""
        z = np.exp(1j * np.asarray(angle))
        return (tau + 0.5) * angle + np.angle(z - c) - np.angle(z - c / (1 + c)) - math.pi / 2

    angles = np.linspace(0, math.pi / (2 * tau + 1), 2001)
    beyond = np.flatnonzero(np.asarray(excess(angles[:-1])) >= 0)
    angle = brentq(excess, angles[beyond[0] - 1], angles[beyond[0]], xtol=1e-15) if len(beyond) else angles[-1]
    z = np.exp(1j * angle)
    return float(abs((z - 1) * (z - c) / ((1 + c) * z - c)))
