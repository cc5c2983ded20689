"""A method: a protocol and a rule that belong together."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import optax

from jasgd import protocols
from jasgd._citation import citation
from jasgd.fleet import Fleet
from jasgd.oracles.oracle import Oracle
from jasgd.problems.problem import Problem
from jasgd.rules._learning_rate import require_learning_rate
from jasgd.schedule import Schedule
from jasgd.simulation import Run, simulate


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Method:
    """A method, ready to run.

    Attributes:
      name: as in the paper.
      schedule: who delivers what when.
      rule: what the server does with it.
      reference: BibTeX.
      oracle: what workers compute; None: one stochastic gradient.
    """

    name: str
    schedule: Schedule
    rule: optax.GradientTransformation
    reference: str
    oracle: Oracle | None = None

    def simulate(self, problem: Problem, *, key: jax.Array, **arguments: Any) -> Run:
        """Run the method; arguments as those of :func:`jasgd.simulate`.

        Example:
          >>> method = jasgd.methods.asynchronous_sgd(jasgd.fleet.equal(4), 100, learning_rate=0.1)
          >>> run = method.simulate(jasgd.problems.quadratic(10), key=jax.random.key(0))
          >>> run.history["version"]
          array([  0, 100])
        """
        return simulate(problem, self.rule, self.schedule, oracle=self.oracle, key=key, **arguments)


def method(
    name: str,
    schedule: Schedule,
    rule: optax.GradientTransformation,
    source: Callable[..., Any],
    *,
    oracle: Oracle | None = None,
) -> Method:
    """A method with the reference of a rule or protocol."""
    return Method(name=name, schedule=schedule, rule=rule, reference=citation(source), oracle=oracle)


def asynchronously(
    name: str,
    fleet: Fleet,
    updates: int,
    rule: optax.GradientTransformation,
    source: Callable[..., Any],
    *,
    seed: int,
) -> Method:
    """The same under plain asynchronous SGD's protocol."""
    return method(name, protocols.asynchronous(fleet, updates, seed=seed), rule, source)


def sgd(learning_rate: Any) -> optax.GradientTransformation:
    """The rule of methods that are all in their protocol."""
    require_learning_rate(learning_rate)
    return optax.sgd(learning_rate)


def rate(learning_rate: Any, smoothness: float | None, theorem: Callable[[float], float]) -> Any:
    """The learning rate that was given, or that of the theorem."""
    if (learning_rate is None) == (smoothness is None):
        raise ValueError("give either `learning_rate` or `smoothness`, from which the paper's step size follows.")
    return theorem(smoothness) if smoothness is not None else learning_rate


def best_rate(
    learning_rate: Any,
    smoothness: float | None,
    accuracy: float | None,
    noise: float | None,
    theorem: Callable[[float, float], float],
) -> Any:
    """The same where the step size also depends on the accuracy that is wanted, and on the noise."""
    if smoothness is not None and (accuracy is None or noise is None):
        raise ValueError("with `smoothness` give `accuracy` and `noise`, too: the paper's step size depends on all three.")
    return rate(learning_rate, smoothness, lambda L: theorem(L, accuracy or 0.0))
