"""Asynchronous SGD with partial derivatives, or with values only."""

import optax
from numpy.typing import ArrayLike

from jasgd import oracles, protocols
from jasgd.fleet import Fleet
from jasgd.methods._method import Method, method, sgd


def ascd(fleet: Fleet, updates: int, *, learning_rate: optax.ScalarOrSchedule, block: int = 1, seed: int = 0) -> Method:
    r"""Asynchronous stochastic coordinate descent, Lian, Zhang, Hsieh, Huang, Liu 2016.

    Args:
      fleet, updates, seed: of :func:`jasgd.protocols.asynchronous`. Job times are as the fleet says.
      learning_rate: the factor N / Y is in the estimate: without noise and delays :math:`Y / (N L)` is safe (derived).
      block: of :func:`jasgd.oracles.coordinates`.

    Example:
      >>> method = jasgd.methods.ascd(jasgd.fleet.equal(4), 100, learning_rate=0.01)
      >>> run = method.simulate(jasgd.problems.quadratic(10), key=jax.random.key(0))
    """
    schedule = protocols.asynchronous(fleet, updates, seed=seed)
    return method("ASCD", schedule, sgd(learning_rate), oracles.coordinates, oracle=oracles.coordinates(block))


def aszd(
    fleet: Fleet,
    updates: int,
    *,
    learning_rate: optax.ScalarOrSchedule,
    mu: ArrayLike = 1e-2,
    directions: int = 1,
    seed: int = 0,
) -> Method:
    r"""Asynchronous stochastic zeroth-order descent, Lian, Zhang, Hsieh, Huang, Liu 2016: values instead of gradients.

    Args:
      fleet, updates, seed: of :func:`jasgd.protocols.asynchronous`. Job times are as the fleet says; a job costs 2 Y
        evaluations of the loss, a gradient about three.
      learning_rate: the factor N / Y is in the estimate: without noise and delays :math:`Y / (N L)` is safe (derived).
      mu, directions: of :func:`jasgd.oracles.zeroth_order`; the default is for parameters of order one in single precision.

    Example:
      >>> method = jasgd.methods.aszd(jasgd.fleet.equal(4), 100, learning_rate=0.01, mu=0.5)
      >>> run = method.simulate(jasgd.problems.quadratic(10), key=jax.random.key(0))
    """
    schedule = protocols.asynchronous(fleet, updates, seed=seed)
    oracle = oracles.zeroth_order(mu, directions)
    return method("ASZD", schedule, sgd(learning_rate), oracles.zeroth_order, oracle=oracle)
