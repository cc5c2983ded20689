"""Buffered and federated methods.

Clients return one gradient, and a step of theirs is a learning rate of the server; those of FedBuff may make local steps.
"""

from typing import Literal

import numpy as np
import optax
from numpy.typing import ArrayLike

from jasgd import oracles, protocols, rules
from jasgd.fleet import Fleet
from jasgd.methods._method import Method, method
from jasgd.protocols._checks import require_fleet
from jasgd.rules.delay_weights import Weight


def fedbuff(
    fleet: Fleet,
    updates: int,
    *,
    learning_rate: optax.ScalarOrSchedule,
    buffer: int = 10,
    concurrency: int | None = None,
    weight: Weight | None = None,
    inner: optax.GradientTransformation | None = None,
    client: optax.GradientTransformation | None = None,
    local_steps: ArrayLike = 1,
    seed: int = 0,
) -> Method:
    """FedBuff, Nguyen et al. 2022: clients drawn at random, a buffer, weights that fall with staleness.

    Args:
      fleet, updates, buffer, concurrency, seed: of :func:`jasgd.protocols.buffered`.
      learning_rate, weight, inner: of :func:`jasgd.rules.fedbuff`.
      client: the optimizer of the clients, which then send the pseudo-gradient of :func:`jasgd.oracles.local_steps`; by
        default they send a gradient. The fleet's durations are those of whole jobs, with all their steps.
      local_steps: of the clients, a number or one for each.

    Example:
      >>> method = jasgd.methods.fedbuff(
      ...     jasgd.fleet.equal(40), 10, learning_rate=0.7, concurrency=20, client=optax.sgd(0.1), local_steps=5
      ... )
    """
    if client is None and np.any(np.asarray(local_steps) != 1):
        raise ValueError("`local_steps` need `client`, the optimizer that makes them.")
    schedule = protocols.buffered(fleet, updates, buffer, concurrency=concurrency, seed=seed)
    rule = rules.fedbuff(learning_rate, weight=weight, inner=inner)
    oracle = None if client is None else oracles.local_steps(client, local_steps)
    return method("FedBuff", schedule, rule, rules.fedbuff, oracle=oracle)


def fadas(
    fleet: Fleet,
    updates: int,
    *,
    learning_rate: optax.ScalarOrSchedule = 1e-3,
    buffer: int = 5,
    concurrency: int | None = None,
    critical_delay: float | None = 1,
    seed: int = 0,
) -> Method:
    """FADAS, Wang, Wang, Lu, Chen 2024: idle clients drawn at random, AMSGrad on the buffer, delay-adaptive steps.

    Args:
      fleet, updates, buffer, concurrency, seed: of :func:`jasgd.protocols.buffered`; by default half of the clients
        are at work, as in the paper's code.
      learning_rate, critical_delay: of :func:`jasgd.rules.fadas`.

    Example:
      >>> method = jasgd.methods.fadas(jasgd.fleet.equal(50), 10, concurrency=25)
    """
    require_fleet(fleet, seed)
    half = max(1, fleet.num_workers // 2)
    schedule = protocols.buffered(
        fleet, updates, buffer, assignment="idle", concurrency=half if concurrency is None else concurrency, seed=seed
    )
    return method("FADAS", schedule, rules.fadas(learning_rate, critical_delay=critical_delay), rules.fadas)


def ca2fl(
    fleet: Fleet,
    updates: int,
    *,
    learning_rate: optax.ScalarOrSchedule,
    buffer: int = 10,
    concurrency: int | None = None,
    seed: int = 0,
) -> Method:
    """CA2FL, Wang et al. 2024: FedBuff's timing, updates calibrated by a cache.

    Example:
      >>> method = jasgd.methods.ca2fl(jasgd.fleet.equal(40), 10, learning_rate=0.1)
    """
    require_fleet(fleet, seed)
    schedule = protocols.buffered(fleet, updates, buffer, concurrency=concurrency, seed=seed)
    return method("CA2FL", schedule, rules.ca2fl(learning_rate, fleet.num_workers), rules.ca2fl)


def fedasync(
    fleet: Fleet,
    updates: int,
    *,
    learning_rate: float,
    mixing: float = 0.6,
    weight: Weight | None = None,
    assignment: Literal["own", "random"] = "random",
    seed: int = 0,
) -> Method:
    """FedAsync, Xie, Koyejo, Gupta 2019: every arriving model is mixed into the server's.

    Args:
      fleet, updates, assignment, seed: of :func:`jasgd.protocols.asynchronous`.
      learning_rate: of the one gradient step that a client makes.
      mixing, weight: of :func:`jasgd.rules.fedasync`.

    Example:
      >>> method = jasgd.methods.fedasync(jasgd.fleet.equal(10), 10, learning_rate=0.1)
    """
    schedule = protocols.asynchronous(fleet, updates, assignment=assignment, seed=seed)
    rule = optax.chain(optax.scale(learning_rate), rules.fedasync(mixing, weight=weight))
    return method("FedAsync", schedule, rule, rules.fedasync)
