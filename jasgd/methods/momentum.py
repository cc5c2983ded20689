"""Asynchronous SGD with momentum."""

import optax

from jasgd import rules, theory
from jasgd.fleet import Fleet
from jasgd.methods._method import Method, asynchronously, rate
from jasgd.protocols._checks import require_fleet


def ormo(
    fleet: Fleet,
    updates: int,
    *,
    momentum: float = 0.9,
    learning_rate: optax.ScalarOrSchedule | None = None,
    smoothness: float | None = None,
    seed: int = 0,
) -> Method:
    """Ordered momentum, Shi, Yang, Li 2024.

    Args:
      fleet, updates, seed: of :func:`jasgd.protocols.asynchronous`.
      momentum: of the sum of a group's gradients.
      learning_rate: or else
      smoothness: for :func:`jasgd.theory.ormo_step_size`.

    Example:
      >>> method = jasgd.methods.ormo(jasgd.fleet.equal(4), 100, learning_rate=0.01)
    """
    require_fleet(fleet, seed)
    n = fleet.num_workers
    step = rate(learning_rate, smoothness, lambda L: theory.ormo_step_size(L, momentum, n))
    return asynchronously("OrMo", fleet, updates, rules.ormo(step, momentum, n), rules.ormo, seed=seed)


def ormo_da(
    fleet: Fleet,
    updates: int,
    *,
    momentum: float = 0.9,
    learning_rate: optax.ScalarOrSchedule | None = None,
    smoothness: float | None = None,
    seed: int = 0,
) -> Method:
    """Delay-adaptive ordered momentum, Shi, Yang, Li 2024; arguments as those of :func:`ormo`.

    With both ``learning_rate`` and ``smoothness``, late gradients get the step 1 / (4 L delay) of the paper.

    Example:
      >>> method = jasgd.methods.ormo_da(jasgd.fleet.equal(4), 100, learning_rate=0.01, smoothness=1.0)
    """
    require_fleet(fleet, seed)
    n = fleet.num_workers
    step = learning_rate
    if step is None:
        step = rate(None, smoothness, lambda L: theory.ormo_step_size(L, momentum, n))
    rule = rules.ormo_da(step, momentum, n, smoothness=smoothness)
    return asynchronously("OrMo-DA", fleet, updates, rule, rules.ormo, seed=seed)


def worker_momentum(
    fleet: Fleet, updates: int, *, learning_rate: optax.ScalarOrSchedule, momentum: float = 0.9, seed: int = 0
) -> Method:
    """Shifted momentum, Giladi, Nacson, Hoffer, Soudry 2020: one momentum per worker.

    Example:
      >>> method = jasgd.methods.worker_momentum(jasgd.fleet.equal(4), 100, learning_rate=0.01)
    """
    require_fleet(fleet, seed)
    rule = rules.worker_momentum(learning_rate, momentum, fleet.num_workers)
    return asynchronously("shifted momentum", fleet, updates, rule, rules.worker_momentum, seed=seed)


def dana_slim(
    fleet: Fleet, updates: int, *, learning_rate: optax.ScalarOrSchedule, momentum: float = 0.9, seed: int = 0
) -> Method:
    """DANA-Slim, Hakimi, Barkai, Gabel, Schuster 2019.

    Example:
      >>> method = jasgd.methods.dana_slim(jasgd.fleet.equal(4), 100, learning_rate=0.01)
    """
    require_fleet(fleet, seed)
    rule = rules.dana_slim(learning_rate, momentum, fleet.num_workers)
    return asynchronously("DANA-Slim", fleet, updates, rule, rules.dana_slim, seed=seed)


def dana_zero(fleet: Fleet, updates: int, *, learning_rate: float, momentum: float = 0.9, seed: int = 0) -> Method:
    """DANA-Zero, Hakimi, Barkai, Gabel, Schuster 2019.

    Example:
      >>> method = jasgd.methods.dana_zero(jasgd.fleet.equal(4), 100, learning_rate=0.01)
    """
    require_fleet(fleet, seed)
    rule = rules.dana_zero(learning_rate, momentum, fleet.num_workers)
    return asynchronously("DANA-Zero", fleet, updates, rule, rules.dana_zero, seed=seed)


def smega2(fleet: Fleet, updates: int, *, learning_rate: float, momentum: float = 0.9, seed: int = 0) -> Method:
    """SMEGA2, Cohen, Hakimi, Schuster 2022.

    Example:
      >>> method = jasgd.methods.smega2(jasgd.fleet.equal(4), 100, learning_rate=0.01)
    """
    require_fleet(fleet, seed)
    rule = rules.smega2(learning_rate, momentum, fleet.num_workers)
    return asynchronously("SMEGA2", fleet, updates, rule, rules.smega2, seed=seed)
