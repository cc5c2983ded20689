"""Learning rates that look at the delay, as stateful schedules for ``optax.inject_hyperparams``."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jasgd._checks import require_not_negative
from jasgd.rules._learning_rate import require_learning_rate
from jasgd.rules.delay_weights import CITATION as CITATION
from jasgd.rules.delay_weights import Weight


class DelayScheduleState(NamedTuple):
    """State of :class:`DelaySchedule`."""

    schedule_count: jax.Array  # (), int32


class DelaySchedule:
    r"""The learning rate :math:`\eta_t \, w(\tau)`, for any hyper-parameter of any Optax optimizer.

    Where :func:`jasgd.rules.scale_by_delay` weighs the gradient, which changes what an optimizer remembers, this weighs
    the step: Adam, for instance, forgets the scale of its gradients but not its learning rate.

    Args:
      learning_rate: a number or an Optax schedule.
      weight: ``weight(delay)``, see :mod:`jasgd.rules.delay_weights`.

    Example:
      >>> late = jasgd.rules.DelaySchedule(0.1, jasgd.rules.delay_weights.reciprocal())
      >>> rule = optax.inject_hyperparams(optax.adam)(learning_rate=late)
      >>> params = jnp.ones(1)
      >>> updates, state = rule.update(params, rule.init(params), params, delay=10)
      >>> round(float(updates[0]), 4)
      -0.01
    """

    def __init__(self, learning_rate: optax.ScalarOrSchedule, weight: Weight) -> None:
        require_learning_rate(learning_rate)
        self.learning_rate, self.weight = learning_rate, weight

    def init(self) -> DelayScheduleState:
        """Before the first update."""
        return DelayScheduleState(schedule_count=jnp.zeros([], jnp.int32))

    def update(self, state: DelayScheduleState, **extra_args: Any) -> DelayScheduleState:
        """After an update."""
        del extra_args
        return DelayScheduleState(schedule_count=optax.safe_increment(state.schedule_count))

    def __call__(self, state: DelayScheduleState, **extra_args: Any) -> jax.Array:
        """The learning rate for a gradient of this ``delay``; NaN without one, as when Optax makes a state."""
        if "delay" not in extra_args:
            return jnp.full([], jnp.nan)
        rate = self.learning_rate(state.schedule_count) if callable(self.learning_rate) else self.learning_rate
        return jnp.asarray(rate * self.weight(extra_args["delay"]))


def inverse_step(decay: float) -> optax.Schedule:
    r"""The plain schedule :math:`1 / (1 + \lambda k)` in the number of gradients so far, as in Mishchenko et al.'s notebook.

    Example:
      >>> rule = optax.chain(optax.scale_by_schedule(jasgd.rules.inverse_step(0.01)), optax.sgd(0.1))
      >>> float(jasgd.rules.inverse_step(0.5)(2))
      0.5
    """
    require_not_negative("decay", decay)
    return lambda count: 1.0 / (1.0 + decay * jnp.asarray(count))
