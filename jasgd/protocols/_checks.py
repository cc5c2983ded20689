"""Checks of what protocols are given."""

import numpy as np


def require_whole(*, least: int | None = 1, **values: object) -> None:
    """Refuse what is not a whole number, or too small: a fraction may make a loop endless, or a threshold no threshold."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise ValueError(f"`{name}` must be a whole number, got {value!r}.")
        if least is not None and value < least:
            raise ValueError(f"`{name}` must be at least {least}, got {value}.")
