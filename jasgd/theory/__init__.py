"""Constants, step sizes and bounds of the papers, as float64 functions to evaluate and plot."""

from jasgd.theory.step_sizes import (
    asynchronous_step_size,
    delay_adaptive_step_size,
    dude_step_size,
    lipschitz_step_size,
    ormo_step_size,
    rescaled_step_size,
    stability_limit,
)

__all__ = [
    "asynchronous_step_size",
    "delay_adaptive_step_size",
    "dude_step_size",
    "lipschitz_step_size",
    "ormo_step_size",
    "rescaled_step_size",
    "stability_limit",
]
