"""Checks of what protocols are given."""

from typing import Any

import numpy as np

from jasgd._checks import require_type, said
from jasgd.fleet import Fleet


def require_fleet(fleet: Any, seed: Any = 0) -> None:
    """A fleet, and the seed of its durations."""
    require_type("fleet", fleet, Fleet, "a fleet such as jasgd.fleet.fixed([1.0, 2.0])")
    require_whole(least=0, seed=seed)


def require_whole(*, least: int | None = 1, **values: object) -> None:
    """Refuse what is not a whole number, or too small: a fraction may make a loop endless, or a threshold no threshold."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise ValueError(f"`{name}` must be a whole number, got {said(value)}.")
        if least is not None and value < least:
            raise ValueError(f"`{name}` must be at least {least}, got {value}.")


def nobody_answers(version: int, updates: int) -> ValueError:
    """What is wrong with a fleet whose workers are all silent before the end."""
    return ValueError(
        f"no worker answers any more after update {version}; {updates} were asked for: ask for fewer, or give workers "
        "finite times."
    )
