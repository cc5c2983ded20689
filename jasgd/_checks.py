"""Checks of numbers where a rule is made. Tracers pass: under ``vmap`` and ``inject_hyperparams`` they have no value."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def require(name: str, value: Any, holds: Callable[[Any], Any], expected: str) -> None:
    """Refuse a number, or an array of numbers, that is not what the rule needs."""
    if isinstance(value, jax.core.Tracer):
        return
    numbers = np.asarray(None if isinstance(value, bool | str) else value)
    if numbers.dtype.kind not in "iuf" and not jax.numpy.issubdtype(numbers.dtype, jax.numpy.floating):
        raise ValueError(f"`{name}` must be {expected}, got {value!r}.")
    if not all(holds(number) for number in numbers.ravel().tolist()):
        raise ValueError(f"`{name}` must be {expected}, got {value!r}.")


def require_count(name: str, value: Any) -> None:
    """A positive whole number: it sets the size of an array, so it cannot be traced."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"`{name}` must be a positive whole number, got {value!r}.")


def require_momentum(value: Any, name: str = "momentum") -> None:
    """A number in [0, 1)."""
    require(name, value, lambda m: 0 <= m < 1, "a number in [0, 1)")


def require_not_negative(name: str, value: Any) -> None:
    """A number that is not negative (NaN is)."""
    require(name, value, lambda x: x >= 0, "a number that is not negative")


def require_positive(name: str, value: Any) -> None:
    """A positive number."""
    require(name, value, lambda x: x > 0, "a positive number")
