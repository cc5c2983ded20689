"""Methods whose server remembers a gradient of every worker."""

from typing import Literal

import numpy as np
import optax

from jasgd import protocols, rules, theory
from jasgd.fleet import Fleet
from jasgd.methods._method import Method, best_rate, method, rate
from jasgd.protocols._checks import require_fleet
from jasgd.schedule import Schedule


def dude(
    fleet: Fleet,
    updates: int,
    *,
    learning_rate: optax.ScalarOrSchedule | None = None,
    smoothness: float | None = None,
    gap: float | None = None,
    seed: int = 0,
) -> Method:
    """DuDe-ASGD, Wang, Sun, Wai, Zhang 2024, also called IA2SGD and ACE.

    A common first round fills the table; then every arrival is one step.

    Args:
      fleet: whose workers all answer.
      updates: arrivals, those of the first round included; it makes one step with the last of them.
      learning_rate: or else
      smoothness, gap: for :func:`jasgd.theory.dude_step_size`, with the largest age of an entry in this schedule.
      seed: of the durations.

    Example:
      >>> method = jasgd.methods.dude(jasgd.fleet.fixed([1.0, 3.0]), 100, learning_rate=0.01)
    """
    require_fleet(fleet, seed)
    n = fleet.num_workers
    schedule = protocols.asynchronous(fleet, updates, first_round="together", seed=seed)
    if learning_rate is None and gap is None and smoothness is not None:
        raise ValueError("the step size of DuDe-ASGD needs `smoothness` and `gap`.")
    step = rate(
        learning_rate, smoothness, lambda L: theory.dude_step_size(L, n, gap or 0.0, _largest_age(schedule), updates - n)
    )
    return method("DuDe-ASGD", schedule, rules.dude(step, n), rules.dude)


def _largest_age(schedule: Schedule) -> int:
    """The most versions that a table entry lags behind, counted from 1: until the next arrival of the same worker."""
    order = np.argsort(schedule.worker, kind="stable")
    # Versions of the first round are all the same point: the last of them counts.
    read = np.maximum(schedule.read, schedule.num_workers - 1)[order]
    worker, used = schedule.worker[order], schedule.version[order]
    replaced = np.append(used[1:], schedule.updates)
    replaced[np.append(worker[1:] != worker[:-1], True)] = schedule.updates
    return int((replaced - read).max())


def ringleader(
    fleet: Fleet,
    updates: int,
    *,
    learning_rate: optax.ScalarOrSchedule | None = None,
    smoothness: float | None = None,
    accuracy: float | None = None,
    noise: float | None = None,
    restart: Literal["server point", "own model"] = "server point",
    seed: int = 0,
) -> Method:
    """Ringleader ASGD, Maranjyan, Richtarik 2026.

    Args:
      fleet, updates, restart, seed: of :func:`jasgd.protocols.ringleader`.
      learning_rate: or else
      smoothness, accuracy, noise: for :func:`jasgd.theory.ringleader_step_size`, with B = 1, which holds for any speeds.

    Example:
      >>> method = jasgd.methods.ringleader(jasgd.fleet.fixed([1.0, 3.0]), 100, learning_rate=0.01)
    """
    require_fleet(fleet, seed)
    n = fleet.num_workers
    step = best_rate(
        learning_rate,
        smoothness,
        accuracy,
        noise,
        lambda L, eps: theory.ringleader_step_size(L, eps, num_workers=n, noise=noise or 0.0),
    )
    schedule = protocols.ringleader(fleet, updates, restart=restart, seed=seed)
    return method("Ringleader ASGD", schedule, rules.ringleader(step, n), protocols.ringleader)
