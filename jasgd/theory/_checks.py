"""What may be put in: one clear sentence for what may not."""

import math

import numpy as np
from numpy.typing import ArrayLike

from jasgd._checks import numbers


def checked_times(times: ArrayLike, *, finite: bool = False) -> np.ndarray:
    """Seconds per gradient as float64, in the order given; infinite ones are workers that never answer."""
    tau = numbers("times", times)
    if tau.ndim != 1 or not len(tau):
        raise ValueError(f"`times` must hold the seconds per gradient of each worker, got an array of shape {tau.shape}.")
    if not np.all(tau > 0):
        worker = int(np.argmin(tau > 0))
        raise ValueError(f"`times` must be positive, worker {worker} has {tau[worker]}.")
    if finite and np.isinf(tau).any():
        worker = int(np.argmax(np.isinf(tau)))
        raise ValueError(f"`times` must be finite here, but worker {worker} never answers.")
    return tau


def require_positive(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise ValueError(f"`{name}` must be positive and finite, got {value!r}.")


def require_not_negative(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"`{name}` must not be negative, nor infinite, got {value!r}.")


def require_count(**values: int) -> None:
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise ValueError(f"`{name}` must be a positive whole number, got {value!r}.")


def require_momentum(momentum: float) -> None:
    if not 0 <= momentum < 1:
        raise ValueError(f"`momentum` must be in [0, 1), got {momentum!r}.")


def require_run(*, smoothness: float, concurrency: int, updates: int, noise: float) -> None:
    """What every bound on a run of so many updates needs."""
    require_positive(smoothness=smoothness)
    require_count(concurrency=concurrency, updates=updates)
    require_not_negative(noise=noise)


def require_step(step_size: float, largest: float, formula: str) -> None:
    require_positive(step_size=step_size)
    if step_size > largest * (1 + 1e-12):
        raise ValueError(f"the bound holds for step sizes up to {formula} = {largest:.6g}, got {step_size}.")


def ceil(value: float) -> int:
    """The next whole number, rounding errors forgiven: 0.9 / 0.3 is 3, not 4."""
    return math.ceil(value * (1 - 1e-12))


def first_minimum(values: np.ndarray) -> int:
    """The first index at which a minimum over positive numbers is attained, up to rounding."""
    return int(np.argmax(values <= values.min() * (1 + 1e-12)))
