"""What the figures share: the rules, as functions of a step and the number of workers, and their colours."""

from collections.abc import Callable

import optax

from experiments.pictures import BLACK, BLUE, GREEN, GREY, ORANGE, PINK, RED, SKY
from jasgd import rules

BETA = 0.9

# Makes a rule from the step per gradient, a number or a schedule, and the number of workers.
Maker = Callable[[optax.ScalarOrSchedule, int], optax.GradientTransformation]

RULES: dict[str, Maker] = {
    "ASGD": lambda rate, _: optax.sgd(rate),
    "naive momentum": lambda rate, _: optax.sgd(rate, momentum=BETA),
    "shifted momentum": lambda rate, workers: rules.worker_momentum(rate, BETA, workers),
    "SMEGA2": lambda rate, workers: rules.smega2(rate, BETA, workers),
    "DANA-Zero": lambda rate, workers: rules.dana_zero(rate, BETA, workers),
    "OrMo": lambda rate, workers: rules.ormo(rate, BETA, workers),
    "OrMo-DA": lambda rate, workers: rules.ormo_da(rate, BETA, workers),
    "vanilla step": lambda rate, workers: rules.ormo(rate, BETA, workers, catch_up=False),
    # Its own step is per mean of K gradients.
    "Delayed Nesterov": lambda rate, workers: rules.delayed_nesterov(rate * workers, BETA, workers),
    "DuDe": lambda rate, workers: rules.dude(rate, workers),
}
COLOURS = {
    "ASGD": BLACK, "naive momentum": RED, "shifted momentum": ORANGE, "SMEGA2": GREEN, "DANA-Zero": PINK, "OrMo": BLUE,
    "OrMo-DA": SKY, "vanilla step": SKY, "Delayed Nesterov": "#8c564b", "DuDe": GREY,
}  # fmt: skip
