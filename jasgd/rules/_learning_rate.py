"""The last step of a ready rule: against the gradient, times the learning rate."""

import optax

from jasgd._checks import require


def scale_by_learning_rate(
    learning_rate: optax.ScalarOrSchedule, name: str = "learning_rate"
) -> optax.GradientTransformation:
    """As that of Optax, for a learning rate that is a number and not negative, or a schedule."""
    require_learning_rate(learning_rate, name)
    return optax.scale_by_learning_rate(learning_rate)


def require_learning_rate(learning_rate: optax.ScalarOrSchedule, name: str = "learning_rate") -> None:
    """A number that is not negative (NaN is), or a schedule."""
    if not callable(learning_rate):
        require(name, learning_rate, lambda x: x >= 0, "a number that is not negative, such as 0.1, or an Optax schedule")
