"""The methods of the papers under their names: a protocol and a rule that belong together.

Each function returns a :class:`Method`: the schedule, the rule, and ``simulate``. A learning rate is given, or follows from
the constants of a theorem where :mod:`jasgd.theory` has one.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import jax
import numpy as np
import optax

from jasgd import protocols, rules, theory
from jasgd._citation import citation
from jasgd.fleet import Fleet
from jasgd.problems.problem import Problem
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
    """

    name: str
    schedule: Schedule
    rule: optax.GradientTransformation
    reference: str

    def simulate(self, problem: Problem, *, key: jax.Array, **arguments: Any) -> Run:
        """Run the method; arguments as those of :func:`jasgd.simulate`.

        Example:
          >>> method = jasgd.methods.asynchronous_sgd(jasgd.fleet.equal(4), 100, learning_rate=0.1)
          >>> run = method.simulate(jasgd.problems.quadratic(10), key=jax.random.key(0))
          >>> run.history["version"]
          array([  0, 100])
        """
        return simulate(problem, self.rule, self.schedule, key=key, **arguments)


def asynchronous_sgd(
    fleet: Fleet,
    updates: int,
    *,
    learning_rate: optax.ScalarOrSchedule | None = None,
    smoothness: float | None = None,
    seed: int = 0,
) -> Method:
    """Asynchronous SGD with a constant step, Mishchenko et al. 2022, Koloskova et al. 2022.

    Args:
      fleet, updates, seed: of :func:`jasgd.protocols.asynchronous`.
      learning_rate: or else
      smoothness: for :func:`jasgd.theory.asynchronous_step_size`, with the largest delay of the schedule.

    Example:
      >>> method = jasgd.methods.asynchronous_sgd(jasgd.fleet.equal(4), 100, smoothness=1.0)
    """
    schedule = protocols.asynchronous(fleet, updates, seed=seed)
    rate = _rate(
        learning_rate,
        smoothness,
        lambda L: theory.asynchronous_step_size(L, fleet.num_workers, int(schedule.delay.max())),
    )
    return _method("asynchronous SGD", schedule, optax.sgd(rate), rules.delay_adaptive_sgd)


def delay_adaptive_sgd(
    fleet: Fleet,
    updates: int,
    *,
    learning_rate: optax.ScalarOrSchedule | None = None,
    smoothness: float | None = None,
    seed: int = 0,
) -> Method:
    r"""Delay-adaptive asynchronous SGD, Mishchenko et al. 2022: steps :math:`\eta \, n / \max(n, \tau)`.

    Args:
      fleet, updates, seed: of :func:`jasgd.protocols.asynchronous`.
      learning_rate: or else
      smoothness: for :func:`jasgd.theory.delay_adaptive_step_size`, 1 / (4 L n), with which these steps are
        min(1 / (4 L n), 1 / (4 L delay)).

    Example:
      >>> method = jasgd.methods.delay_adaptive_sgd(jasgd.fleet.equal(4), 100, smoothness=1.0)
    """
    n = fleet.num_workers
    rate = _rate(learning_rate, smoothness, lambda L: theory.delay_adaptive_step_size(L, n))
    rule = rules.delay_adaptive_sgd(rate, concurrency=n)
    schedule = protocols.asynchronous(fleet, updates, seed=seed)
    return _method("delay-adaptive SGD", schedule, rule, rules.delay_adaptive_sgd)


def rescaled_sgd(
    fleet: Fleet,
    updates: int,
    *,
    learning_rate: optax.ScalarOrSchedule,
    source: Literal["times", "duration", "delay"] = "times",
    normaliser: Literal["harmonic", "arithmetic", "max"] = "harmonic",
    seed: int = 0,
) -> Method:
    """Rescaled asynchronous SGD, Mahran, Maranjyan, Richtarik 2026.

    Args:
      fleet, updates, seed: of :func:`jasgd.protocols.asynchronous`.
      learning_rate: the average step; :func:`jasgd.theory.rescaled_step_size` has one from constants.
      source: scale by the fleet's fixed "times", by the "duration" of each job, or by its "delay" plus 1. The duration is
        divided by the harmonic mean of the schedule's average durations.
      normaliser: of the times.

    Example:
      >>> fleet = jasgd.fleet.fixed([1.0, 8.0])
      >>> method = jasgd.methods.rescaled_sgd(fleet, 100, learning_rate=0.1)
    """
    schedule = protocols.asynchronous(fleet, updates, seed=seed)
    rule: optax.GradientTransformation
    if source == "times":
        if fleet.times is None:
            raise ValueError(
                "this fleet draws its durations: scale by source='duration' or source='delay' instead of 'times'."
            )
        rule = rules.rescaled_sgd(learning_rate, fleet.times, normaliser=normaliser)
    elif source == "duration":
        # n workers that never idle make n seconds of durations per second: their harmonic mean is n T / K.
        mean = float(fleet.num_workers * schedule.time[-1] / len(schedule))
        rule = rules.rescaled_sgd_by_duration(learning_rate, mean)
    elif source == "delay":
        rule = rules.rescaled_sgd_by_delay(learning_rate, fleet.num_workers)
    else:
        raise ValueError(f"`source` must be 'times', 'duration' or 'delay', got {source!r}.")
    return _method("Rescaled ASGD", schedule, rule, rules.rescaled_sgd)


def clipped_sgd(
    fleet: Fleet, updates: int, *, learning_rate: optax.ScalarOrSchedule, max_norm: float, seed: int = 0
) -> Method:
    """Clipped asynchronous SGD, Erickson, Johansson 2026: every gradient is clipped to an l2 ball before it is applied.

    Example:
      >>> method = jasgd.methods.clipped_sgd(jasgd.fleet.equal(4), 100, learning_rate=0.1, max_norm=1.0)
    """
    rule = optax.chain(optax.clip_by_global_norm(max_norm), optax.sgd(learning_rate))
    reference = (
        "@article{erickson2026clipped,\n  author={Erickson and Johansson}, journal={arXiv:2606.13287}, year={2026}}\n"
    )
    schedule = protocols.asynchronous(fleet, updates, seed=seed)
    return Method(name="clipped ASGD", schedule=schedule, rule=rule, reference=reference)


def picky_sgd(fleet: Fleet, updates: int, *, learning_rate: optax.ScalarOrSchedule, radius: float, seed: int = 0) -> Method:
    """Picky SGD, Cohen et al. 2021: gradients from too far away are dropped; ``updates`` counts dropped ones too.

    Example:
      >>> method = jasgd.methods.picky_sgd(jasgd.fleet.equal(4), 100, learning_rate=0.1, radius=1.0)
    """
    return _asynchronous("Picky SGD", fleet, updates, rules.picky(optax.sgd(learning_rate), radius), rules.picky, seed=seed)


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
    n = fleet.num_workers
    rate = _rate(learning_rate, smoothness, lambda L: theory.ormo_step_size(L, momentum, n))
    return _asynchronous("OrMo", fleet, updates, rules.ormo(rate, momentum, n), rules.ormo, seed=seed)


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
    n = fleet.num_workers
    rate = learning_rate
    if rate is None:
        rate = _rate(None, smoothness, lambda L: theory.ormo_step_size(L, momentum, n))
    rule = rules.ormo_da(rate, momentum, n, smoothness=smoothness)
    return _asynchronous("OrMo-DA", fleet, updates, rule, rules.ormo, seed=seed)


def worker_momentum(
    fleet: Fleet, updates: int, *, learning_rate: optax.ScalarOrSchedule, momentum: float = 0.9, seed: int = 0
) -> Method:
    """Shifted momentum, Giladi, Nacson, Hoffer, Soudry 2020: one momentum per worker.

    Example:
      >>> method = jasgd.methods.worker_momentum(jasgd.fleet.equal(4), 100, learning_rate=0.01)
    """
    rule = rules.worker_momentum(learning_rate, momentum, fleet.num_workers)
    return _asynchronous("shifted momentum", fleet, updates, rule, rules.worker_momentum, seed=seed)


def dana_slim(
    fleet: Fleet, updates: int, *, learning_rate: optax.ScalarOrSchedule, momentum: float = 0.9, seed: int = 0
) -> Method:
    """DANA-Slim, Hakimi, Barkai, Gabel, Schuster 2019.

    Example:
      >>> method = jasgd.methods.dana_slim(jasgd.fleet.equal(4), 100, learning_rate=0.01)
    """
    rule = rules.dana_slim(learning_rate, momentum, fleet.num_workers)
    return _asynchronous("DANA-Slim", fleet, updates, rule, rules.dana_slim, seed=seed)


def dana_zero(fleet: Fleet, updates: int, *, learning_rate: float, momentum: float = 0.9, seed: int = 0) -> Method:
    """DANA-Zero, Hakimi, Barkai, Gabel, Schuster 2019.

    Example:
      >>> method = jasgd.methods.dana_zero(jasgd.fleet.equal(4), 100, learning_rate=0.01)
    """
    rule = rules.dana_zero(learning_rate, momentum, fleet.num_workers)
    return _asynchronous("DANA-Zero", fleet, updates, rule, rules.dana_zero, seed=seed)


def smega2(fleet: Fleet, updates: int, *, learning_rate: float, momentum: float = 0.9, seed: int = 0) -> Method:
    """SMEGA2, Cohen, Hakimi, Schuster 2022.

    Example:
      >>> method = jasgd.methods.smega2(jasgd.fleet.equal(4), 100, learning_rate=0.01)
    """
    rule = rules.smega2(learning_rate, momentum, fleet.num_workers)
    return _asynchronous("SMEGA2", fleet, updates, rule, rules.smega2, seed=seed)


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
    n = fleet.num_workers
    schedule = protocols.asynchronous(fleet, updates, first_round="together", seed=seed)
    if learning_rate is None and gap is None and smoothness is not None:
        raise ValueError("the step size of DuDe-ASGD needs `smoothness` and `gap`.")
    rate = _rate(
        learning_rate, smoothness, lambda L: theory.dude_step_size(L, n, gap or 0.0, _largest_age(schedule), updates - n)
    )
    return _method("DuDe-ASGD", schedule, rules.dude(rate, n), rules.dude)


def _largest_age(schedule: Schedule) -> int:
    """The most versions that a table entry lags behind, counted from 1: until the next arrival of the same worker."""
    order = np.argsort(schedule.worker, kind="stable")
    worker, read, used = schedule.worker[order], schedule.read[order], schedule.version[order]
    replaced = np.append(used[1:], schedule.updates)
    replaced[np.append(worker[1:] != worker[:-1], True)] = schedule.updates
    return int((replaced - read).max())


def dc_asgd(
    fleet: Fleet,
    updates: int,
    *,
    learning_rate: optax.ScalarOrSchedule,
    strength: float,
    adaptive: bool = False,
    seed: int = 0,
) -> Method:
    """DC-ASGD, Zheng et al. 2017: delayed gradients are corrected to first order.

    Example:
      >>> method = jasgd.methods.dc_asgd(jasgd.fleet.equal(4), 100, learning_rate=0.1, strength=0.04)
    """
    make = rules.dc_asgd_adaptive if adaptive else rules.dc_asgd
    return _asynchronous("DC-ASGD", fleet, updates, make(learning_rate, strength), rules.dc_asgd, seed=seed)


def gap_aware(
    fleet: Fleet,
    updates: int,
    *,
    learning_rate: optax.ScalarOrSchedule,
    momentum: float | None = None,
    seed: int = 0,
) -> Method:
    """Gap-Aware, Barkai, Hakimi, Schuster 2020.

    Example:
      >>> method = jasgd.methods.gap_aware(jasgd.fleet.equal(4), 100, learning_rate=0.1)
    """
    rule = rules.gap_aware(learning_rate, momentum=momentum)
    return _asynchronous("Gap-Aware", fleet, updates, rule, rules.gap_aware, seed=seed)


def _asynchronous(name: str, fleet: Fleet, updates: int, rule: Any, source: Callable[..., Any], *, seed: int) -> Method:
    return _method(name, protocols.asynchronous(fleet, updates, seed=seed), rule, source)


def _method(name: str, schedule: Schedule, rule: Any, source: Callable[..., Any]) -> Method:
    return Method(name=name, schedule=schedule, rule=rule, reference=citation(source))


def _rate(
    learning_rate: optax.ScalarOrSchedule | None, smoothness: float | None, theorem: Callable[[float], float]
) -> optax.ScalarOrSchedule:
    """The learning rate that was given, or that of the theorem."""
    if (learning_rate is None) == (smoothness is None):
        raise ValueError("give either `learning_rate` or `smoothness`, from which the paper's step size follows.")
    return theorem(smoothness) if smoothness is not None else learning_rate
